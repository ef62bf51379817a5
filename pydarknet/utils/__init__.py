"""Helpers without a subject of their own: files, arrays, prefetch, memory of the machine."""
