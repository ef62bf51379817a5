"""Checks and changes of network files."""
