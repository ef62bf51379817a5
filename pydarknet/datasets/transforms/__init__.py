"""Random changes of pictures and their boxes."""
