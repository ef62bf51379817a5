"""Results as the text that darknet prints."""
