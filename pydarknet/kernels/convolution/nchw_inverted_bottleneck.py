"""Inverted bottlenecks as in `inverted_bottleneck.py`, of few channels in NCHW planes, row by row.

NCHW tensors have no halo; rows have at least PLANE_SPAN pixels.
"""

from __future__ import annotations

from typing import NamedTuple

from numba import prange

from ...runtime.jit import device, kernel
from ..addressing import band_task, cell
from ..halo import clear, zero_halo
from ..simd.transpose import transpose
from ..simd.vector import floats_at, vload, vstore
from ..task_queue import next_task, reset_queue
from .nchw import convolve_row
from .nchw_microkernel import PLANE_SPAN, tile_plane, tile_plane3

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
            tile_plane(stride, work, at + stride * left, filters.offsets, first, taps, filters.weights, channel * taps,
                       filters.bias, channel, work, y_at + left, width, filters.slope)  # fmt: skip


@device
def _depthwise3_row(work, ring, stride, filters, first, to, width):
    """The same with filters of 3 x 3 cells and a cell of padding, from the middle one of each row's three taps."""
    plane = 3 * (ring.width + 2 * ring.side)
    middle = filters.offsets[first + 1], filters.offsets[first + 4], filters.offsets[first + 7]
    for channel in range(ring.channels):
        for column in range(0, width, PLANE_SPAN):
            left = min(column, width - PLANE_SPAN)
            at, y_at = ring.at + channel * plane + stride * left, to + channel * width + left
            above, here, below = at + middle[0], at + middle[1], at + middle[2]
            tile_plane3(stride, work, above, here, below, filters.weights, channel * 9, filters.bias, channel, work,
                        y_at, filters.slope)  # fmt: skip


@device
def _add_row(work, at, channels, width, residual, residual_at, y, y_at, y_plane):
    """y = what `work` holds, `width` floats apart from `at` on, plus the same row of the residual."""
    for channel in range(channels):
        start, other = at + channel * width, residual_at + channel * residual.block_stride
        to = y_at + channel * y_plane
        for column in range(0, width - 15, 16):
            vstore(y, to + column, vload(work, start + column) + vload(residual.data, other + column))
        for column in range(width // 16 * 16, width):
            y[to + column] = work[start + column] + residual.data[other + column]


@device
def _interleave_row(work, at, width, y, y_at):
    """To a tensor of one block: of sixteen planes, those that it does not have zeros."""
    for column in range(0, width, 16):
        left = min(column, width - 16)
        transpose(work, at + left, width, y, y_at + left * 16, 16, 16)


@kernel
def convolve_nchw_bottleneck(
    address, x_at, expand, depthwise, project, y, y_at, residual, queue, workers, work, work_size
):  # fmt: skip
    """y = project(depthwise(expand(x))), plus the residual, an NCHW tensor.

    address: of x, NCHW float32; x_at: NchwRows; expand, depthwise, project: NchwFilters, of which depthwise has
    offsets for each slot of the first row. y_at: Planes; y: NCHW, or where `x_at.blocked` one block of nChw16c. A task
    is some rows. queue: the tasks of `workers` workers (`task_queue.py`); each has `work_size` floats of `work`: for a
    Ring of the expanded planes, one row of these after the depthwise convolution, and one row of sixteen planes of the
    output.
    """
    height, width, size, stride, padding = y_at.height, y_at.width, x_at.size, x_at.stride, x_at.padding
    middle, channels, blocked = depthwise.bias.shape[0], project.bias.shape[0], x_at.blocked
    picture_stride = x_at.channels * x_at.height * x_at.width
    bands = min(height, BANDS * workers)
    reset_queue(queue, workers)
    for worker in prange(workers):
        x = floats_at(address, y_at.pictures * picture_stride)
        ring = Ring(worker * work_size, middle, size, x_at.width, (x_at.pitch - x_at.width) // 2)
        between = ring.at + middle * size * x_at.pitch
        out = between + middle * width
        clear(work[ring.at : between])
        clear(work[out : out + 16 * width])
        task = next_task(queue, worker, workers, y_at.pictures * bands)
        while task >= 0:
            picture, band, top, end = band_task(task, bands, height)
            if band == 0 and blocked:
                zero_halo(y, y_at, picture, 0)
            next_row = top * stride - padding
            for row in range(top, end):
                low = row * stride - padding
                next_row = max(next_row, low)
                while next_row < low + size:
                    source = picture * picture_stride + next_row * x_at.width
                    _expand_row(x, source, expand, work, ring, next_row, 0 <= next_row and next_row < x_at.height)
                    next_row += 1
                _depthwise_row(work, ring, stride, padding, depthwise, low % size, between, width)
                target = picture * y_at.picture_stride + row * width
                other = picture * residual.picture_stride + row * width
                if not blocked and not residual.adds:
                    convolve_row(work, between, project, y, target, y_at.block_stride, channels, width)
                else:
                    convolve_row(work, between, project, work, out, width, channels, width)
                    if not blocked:
                        _add_row(work, out, channels, width, residual, other, y, target, y_at.block_stride)
                    elif residual.adds:
                        _add_row(work, out, channels, width, residual, other, work, out, width)
                if blocked:
                    _interleave_row(work, out, width, y, cell(y_at, picture, 0, row, 0))
            task = next_task(queue, worker, workers, y_at.pictures * bands)
