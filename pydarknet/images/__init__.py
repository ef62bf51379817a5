"""Pictures in memory: reading, resizing, colours, drawing."""
