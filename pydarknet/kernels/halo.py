"""The cells of zeros round each plane."""

from __future__ import annotations

from ..runtime.jit import device
from .addressing import storage
from .simd.vector import LANES


@device
def clear(run):
    """Write zeros."""
    for k in range(run.size):
        run[k] = 0.0


@device
def zero_halo(y, at, picture, block):
    """Write zeros round one plane of y; nothing where it has no halo. at: `Planes` of y."""
    if at.halo == 0:
        return
    pitch, first = at.pitch * LANES, storage(at, picture, block)
    edge = at.halo * (pitch + LANES)  # the rows above the plane, and the cells on the left of its first row
    clear(y[first : first + edge])
    for row in range(at.height):
        end = first + edge + row * pitch + at.width * LANES
        gap = pitch - at.width * LANES if row < at.height - 1 else edge
        clear(y[end : end + gap])


@device
def zero_halos(y, at, picture, blocks):
    """The same of the first `blocks` planes of a picture."""
    for block in range(blocks):
        zero_halo(y, at, picture, block)


@device
def clear_halo(y, at, height, width, halo):
    """Write zeros round the plane of `height` x `width` cells whose storage, halo included, begins at `at`."""
    pitch = (width + 2 * halo) * 16
    edge = halo * pitch + halo * 16
    clear(y[at : at + edge])
    gap = 2 * halo * 16
    for row in range(height - 1):
        start = at + edge + row * pitch + width * 16
        clear(y[start : start + gap])
    start = at + edge + (height - 1) * pitch + width * 16
    clear(y[start : start + edge])


@device
def clear_halos(y, at, y_block, blocks, height, width, halo):
    """The same of so many blocks, `y_block` floats apart; nothing where there is no halo."""
    for block in range(blocks if halo > 0 else 0):
        clear_halo(y, at + block * y_block, height, width, halo)
