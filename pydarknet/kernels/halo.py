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
def clear_halo(y, first, height, width, pitch, halo):
    """Write zeros round a plane of `height` x `width` cells.

    first: where its storage begins, halo included; pitch: cells from row to row.
    """
    row_size = pitch * LANES
    edge = halo * (row_size + LANES)  # the rows above the plane, and the cells on the left of its first row
    clear(y[first : first + edge])
    for row in range(height):
        end = first + edge + row * row_size + width * LANES
        gap = row_size - width * LANES if row < height - 1 else edge
        clear(y[end : end + gap])


@device
def clear_halos(y, first, y_step, planes, height, width, halo):
    """The same of so many planes, `y_step` floats apart; nothing where there is no halo."""
    for plane in range(planes if halo > 0 else 0):
        clear_halo(y, first + plane * y_step, height, width, width + 2 * halo, halo)


@device
def zero_halo(y, at, picture, block):
    """Write zeros round one plane of y; nothing where it has no halo. at: `Planes` of y."""
    if at.halo > 0:
        clear_halo(y, storage(at, picture, block), at.height, at.width, at.pitch, at.halo)


@device
def zero_halos(y, at, picture, blocks):
    """The same of the first `blocks` planes of a picture."""
    for block in range(blocks):
        zero_halo(y, at, picture, block)
