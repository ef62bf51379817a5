"""darknet's tools that make pictures."""
