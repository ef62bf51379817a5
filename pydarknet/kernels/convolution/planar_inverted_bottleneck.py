"""Chains of convolutions as in `chain.py`, of thin layers in planar tensors, row by row.

A planar tensor is (batch, channels, rows, columns), without a halo; rows have at least PLANE_SPAN pixels.
"""

from __future__ import annotations

from typing import NamedTuple

from numba import prange

from ...runtime.jit import device, kernel
from ..halo import clear, clear_halo
from ..simd.transpose import transpose
from ..simd.vector import floats_at, vload, vstore
from ..task_queue import next_task, reset_queue
from .planar import Filters, convolve_row
from .planar_microkernel import PLANE_SPAN, tile_plane, tile_plane3, tile_plane3_2, tile_plane_2

BANDS = 4  # of rows, for each worker


class Ring(NamedTuple):
    """The rows of `channels` expanded planes that a row of the output reads, `size` of them, one written over another:
    row r in slot r % size, `side` cells of zeros left and right of its `width`."""

    at: int
    channels: int
    size: int
    width: int
    side: int


@device
def _expand_row(x, x_at, filters, work, ring, row, exists):
    """Compute one row of the ring, of zeros where the plane does not have it."""
    pitch = ring.width + 2 * ring.side
    at = ring.at + row % ring.size * pitch + ring.side
    if exists:
        convolve_row(x, x_at, filters, work, at, ring.size * pitch, ring.channels, ring.width)
    else:
        for channel in range(ring.channels):
            start = at + channel * ring.size * pitch
            clear(work[start : start + ring.width])


@device
def _depthwise_row(work, ring, stride, padding, filters, phase, to, width):
    """One row of each channel with its own filter, `width` floats apart from `to` on; `phase`: the first row's slot."""
    taps = ring.size * ring.size
    plane, first = ring.size * (ring.width + 2 * ring.side), phase * taps
    if ring.size == 3 and padding == 1:
        _depthwise3_row(work, ring, stride, filters, first, to, width)
        return
    for channel in range(ring.channels):
        at, y_at = ring.at + channel * plane, to + channel * width
        for column in range(0, width, PLANE_SPAN):
            left = min(column, width - PLANE_SPAN)
            if stride == 1:
                tile_plane(work, at + left, filters.taps, first, taps, filters.weights, channel * taps, filters.bias,
                           channel, work, y_at + left, width, filters.slope)  # fmt: skip
            else:
                tile_plane_2(work, at + 2 * left, filters.taps, first, taps, filters.weights, channel * taps,
                             filters.bias, channel, work, y_at + left, width, filters.slope)  # fmt: skip


@device
def _depthwise3_row(work, ring, stride, filters, first, to, width):
    """The same with filters of 3 x 3 cells and a cell of padding, from the middle one of each row's three taps."""
    plane = 3 * (ring.width + 2 * ring.side)
    middle = filters.taps[first + 1], filters.taps[first + 4], filters.taps[first + 7]
    for channel in range(ring.channels):
        for column in range(0, width, PLANE_SPAN):
            left = min(column, width - PLANE_SPAN)
            at, y_at = ring.at + channel * plane + stride * left, to + channel * width + left
            above, here, below = at + middle[0], at + middle[1], at + middle[2]
            if stride == 1:
                tile_plane3(work, above, here, below, filters.weights, channel * 9, filters.bias, channel, work, y_at,
                            filters.slope)  # fmt: skip
            else:
                tile_plane3_2(work, above, here, below, filters.weights, channel * 9, filters.bias, channel, work, y_at,
                              filters.slope)  # fmt: skip


@device
def _add_row(work, at, channels, width, added, a_at, a_plane, y, y_at, y_plane):
    """y = what stands in `work`, `width` floats apart from `at` on, plus the same row of another planar tensor."""
    for channel in range(channels):
        start, other, to = at + channel * width, a_at + channel * a_plane, y_at + channel * y_plane
        for column in range(0, width - 15, 16):
            vstore(y, to + column, vload(work, start + column) + vload(added, other + column))
        for column in range(width // 16 * 16, width):
            y[to + column] = work[start + column] + added[other + column]


@device
def _interleave_row(work, at, width, y, y_at):
    """To a tensor of one block: of sixteen planes, those that it does not have zeros."""
    for column in range(0, width, 16):
        left = min(column, width - 16)
        transpose(work, at + left, width, y, y_at + left * 16, 16, 16)


@kernel
def convolve_planar_chain(place, x_size, x_item, x_row, in_height, in_width, e_taps, e_weights, e_bias, e_slope,
                          d_taps, d_weights, d_bias, d_slope, size, stride, padding, side, middle,
                          p_taps, p_weights, p_bias, p_slope, batch, height, width,
                          y, y_item, y_block, y_pitch, halo, channels, blocked, adds, added, a_item, a_plane,
                          turns, workers, work, work_size):  # fmt: skip
    """y = project(depthwise(expand(x))), plus what stands in the planar `added` where `adds` is set.

    e, d, p: see Filters; d_taps: for each slot of the first row. place: the address of x, planar, of `x_size` floats,
    `in_height` x `in_width`. y: planar, or
    where it is `blocked` one block with `halo` cells of zeros; `y_block`: floats between planes or blocks. A task is
    some rows. Workers take turns (`turns.py`); each has `work_size` floats of `work`: for a Ring of `middle` planes,
    one row of these after the depthwise convolution, and one row of sixteen planes of the output.
    """
    expand, depthwise = Filters(e_taps, e_weights, e_bias, e_slope), Filters(d_taps, d_weights, d_bias, d_slope)
    project = Filters(p_taps, p_weights, p_bias, p_slope)
    bands = min(height, BANDS * workers)
    reset_queue(turns, workers)
    for worker in prange(workers):
        x = floats_at(place, x_size)
        ring = Ring(worker * work_size, middle, size, in_width, side)
        between = ring.at + middle * size * (in_width + 2 * side)
        out = between + middle * width
        clear(work[ring.at : between])
        clear(work[out : out + 16 * width])
        task = next_task(turns, worker, workers, batch * bands)
        while task >= 0:
            item = task // bands
            band = task - item * bands
            top = height * band // bands
            if band == 0 and blocked and halo > 0:
                clear_halo(y, item * y_item, height, width, halo)
            next_row = top * stride - padding
            for row in range(top, height * (band + 1) // bands):
                low = row * stride - padding
                next_row = max(next_row, low)
                while next_row < low + size:
                    x_at = item * x_item + next_row * x_row
                    _expand_row(x, x_at, expand, work, ring, next_row, 0 <= next_row and next_row < in_height)
                    next_row += 1
                _depthwise_row(work, ring, stride, padding, depthwise, low % size, between, width)
                y_at, a_at = item * y_item + row * width, item * a_item + row * width
                if not blocked and not adds:
                    convolve_row(work, between, project, y, y_at, y_block, channels, width)
                else:
                    convolve_row(work, between, project, work, out, width, channels, width)
                    if not blocked:
                        _add_row(work, out, channels, width, added, a_at, a_plane, y, y_at, y_block)
                    elif adds:
                        _add_row(work, out, channels, width, added, a_at, a_plane, work, out, width)
                if blocked:
                    _interleave_row(work, out, width, y, item * y_item + ((row + halo) * y_pitch + halo) * 16)
            task = next_task(turns, worker, workers, batch * bands)
