"""Convolutions in planes, row by row: of rows that lie in a worker's memory, or of whole planes, which are a network's
picture or what is as thin."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
from numba import prange

from ...runtime.jit import device, inlined, kernel
from ..halo import clear, clear_halos
from ..simd.switch import one_of
from ..simd.vector import fetch, floats_at, vload, vstore
from ..task_queue import next_task, reset_queue
from .planar_microkernel import FEWEST, OUTS, SPAN, VECTORS, split_pairs, tiles_of_planes
from .planar_store import store_cells

f32 = numba.float32

BANDS = 8  # of rows, for each worker
FIRST = 16  # where a row begins in the memory of a worker: there are zeros before it


class Filters(NamedTuple):
    """taps: offsets in what is read, where a filter reads, from one of its pixels; weights: (outs / OUTS, taps, OUTS),
    of a depthwise convolution (channels, taps); bias: (outs,); slope: the factor below zero."""

    taps: Any
    weights: Any
    bias: Any
    slope: float


_tile_of = one_of(tiles_of_planes)


@inlined
def _tile(vectors, x, x_at, filters, first_out, y, y_at, y_plane, slope):
    """The tile of so many vectors, from FEWEST to VECTORS."""
    count = filters.taps.shape[0]
    _tile_of(vectors, x, x_at, filters.taps, 0, count, filters.weights, first_out * count, filters.bias, first_out, y,
             y_at, y_plane, slope)  # fmt: skip


@inlined
def _next_vectors(left, width):
    """How many vectors the next tile of a row of `width` pixels has, of `left` ones, as evenly as can be."""
    tiles = (left + VECTORS - 1) // VECTORS
    return max(FEWEST, min((left + tiles - 1) // tiles, width // 16))


@device
def convolve_row(x, x_at, filters, y, y_at, y_plane, outs, width):
    """One row of all `outs` planes, of at least FEWEST vectors; the last of a row's tiles computes some pixels of the
    one before once more, rather than being a shorter one."""
    for first in range(0, outs, OUTS):
        left, start = (width + 15) // 16, 0
        while left > 0:
            vectors = _next_vectors(left, width)
            column = min(start, width - vectors * 16)
            _tile(vectors, x, x_at + column, filters, first, y, y_at + first * y_plane + column, y_plane,
                  filters.slope)  # fmt: skip
            start += vectors * 16
            left -= vectors


@device
def _convolve_cells(x, x_at, filters, work, sums, y, y_at, y_block, outs, width, activation):
    """One row of `outs` // 16 blocks."""
    left, start = (width + 15) // 16, 0
    while left > 0:
        vectors = _next_vectors(left, width)
        column = min(start, width - vectors * 16)
        for block in range(outs // 16):
            to = y_at + block * y_block + column * 16
            for out in range(0, 16, OUTS):
                for cell in range(out * vectors, (out + OUTS) * vectors):
                    fetch(y, to + (vectors * 16 + cell) * 16)
                _tile(vectors, x, x_at + column, filters, block * 16 + out, work, sums + out * SPAN, SPAN, f32(1))
            store_cells(vectors, 1, work, sums, SPAN, y, to, 0, filters.slope, activation)
        start += vectors * 16
        left -= vectors


@device
def _take_row(x, x_at, exists, ahead, stride, width, work, at, pitch):
    """One row of a plane, or zeros: with stride 2 its even pixels, and its odd ones `pitch` floats farther on. `ahead`:
    how far from here a row begins that will be needed soon."""
    if not exists:
        for phase in range(stride):
            clear(work[at + phase * pitch : at + phase * pitch + (width + 1 - phase) // stride])
    elif stride == 1:
        for start in range(0, width, 16):
            column = min(start, width - 16)
            fetch(x, x_at + column + ahead)
            vstore(work, at + column, vload(x, x_at + column))
    else:
        for column in range(0, width - 31, 32):
            fetch(x, x_at + column + ahead)
            fetch(x, x_at + column + ahead + 16)
            split_pairs(x, x_at + column, work, at + column // 2, at + pitch + column // 2)
        for column in range(width // 32 * 32, width):
            work[at + column % 2 * pitch + column // 2] = x[x_at + column]


@kernel
def convolve_rows(place, channels, in_height, in_width, size, stride, padding, pitch, taps, weights, bias, slope,
                  activation, batch, height, width, y, y_item, y_block, y_pitch, halo, outs, blocked,
                  turns, workers, work, work_size):  # fmt: skip
    """y = activation(bias + weights * x), with `stride` 1 or 2.

    place: the address of x, (batch, channels, in_height, in_width). taps, weights, bias, slope: see Filters; the taps
    are offsets in what `_take_row` gives of `size` rows of each plane, `pitch` floats apart. y: planar, where there is
    a slope alone, or where it is `blocked` blocks of sixteen channels, of which `outs` is then a multiple. The width is
    at least that of the shortest tile. The other arguments as `convolve`. A task is some rows. Workers take turns
    (`turns.py`); each has `work_size` floats of `work`: for those rows, and for sixteen of SPAN pixels.
    """
    filters = Filters(taps, weights, bias, slope)
    bands, lines = min(height, BANDS * workers), channels * size
    reset_queue(turns, workers)
    for worker in prange(workers):
        x = floats_at(place, batch * channels * in_height * in_width)
        rows_at = worker * work_size
        sums = rows_at + lines * stride * pitch
        clear(work[rows_at:sums])
        task = next_task(turns, worker, workers, batch * bands)
        while task >= 0:
            item = task // bands
            band = task - item * bands
            if band == 0:
                clear_halos(y, item * y_item, y_block, outs // 16, height, width, halo)
            for row in range(height * band // bands, height * (band + 1) // bands):
                for line in range(lines):
                    channel = line // size
                    from_row = row * stride - padding + line - channel * size
                    x_at = ((item * channels + channel) * in_height + from_row) * in_width
                    exists = 0 <= from_row and from_row < in_height
                    _take_row(x, x_at, exists, stride * in_width, stride, in_width, work,
                              rows_at + line * stride * pitch + FIRST, pitch)  # fmt: skip
                if blocked:
                    y_at = item * y_item + ((row + halo) * y_pitch + halo) * 16
                    _convolve_cells(work, rows_at, filters, work, sums, y, y_at, y_block, outs, width, activation)
                else:
                    y_at = item * y_item + row * y_pitch
                    convolve_row(work, rows_at, filters, y, y_at, y_block, outs, width)
            task = next_task(turns, worker, workers, batch * bands)
