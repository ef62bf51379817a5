"""Kernels on boxes: overlap, suppression, k-means."""
