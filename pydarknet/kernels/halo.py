"""The cells of zeros round each plane."""

from __future__ import annotations

from .jit import device


@device
def clear_halo(y, at, height, width, halo):
    """Write zeros round the plane of `height` x `width` cells whose storage, halo included, begins at `at`."""
    pitch = (width + 2 * halo) * 16
    edge = halo * pitch + halo * 16
    for k in range(at, at + edge):
        y[k] = 0.0
    gap = 2 * halo * 16
    for row in range(height - 1):
        start = at + edge + row * pitch + width * 16
        for k in range(start, start + gap):
            y[k] = 0.0
    start = at + edge + (height - 1) * pitch + width * 16
    for k in range(start, start + edge):
        y[k] = 0.0
