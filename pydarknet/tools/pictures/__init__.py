"""darknet's commands that make pictures."""
