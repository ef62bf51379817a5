"""Convolutions of NCHW planes, row by row: of rows in a worker's memory, or of whole planes, which are a network's
picture or have as few channels."""

from __future__ import annotations

import numba
from numba import prange

from ...runtime.jit import device, inlined, kernel
from ..activation import activate_fused
from ..addressing import band_task, cell
from ..halo import clear, zero_halos
from ..simd.intrinsics import one_of
from ..simd.transpose import cells_of, pooled_cells_of
from ..simd.vector import fetch, floats_at, vload, vstore
from ..task_queue import next_task, reset_queue
from .nchw_microkernel import FEWEST, OUTS, SPAN, VECTORS, split_pairs, tiles_of_planes

f32 = numba.float32

BANDS = 8  # of rows, for each worker
FIRST = 16  # where a row begins in the memory of a worker: there are zeros before it

_tile_of = one_of(tiles_of_planes)


@inlined
def _tile(vectors, x, x_at, filters, first_out, y, y_at, y_plane, slope):
    """The tile of so many vectors, from FEWEST to VECTORS."""
    count = filters.offsets.shape[0]
    _tile_of(vectors, x, x_at, filters.offsets, 0, count, filters.weights, first_out * count, filters.bias, first_out,
             y, y_at, y_plane, slope)  # fmt: skip


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
def store_cells(vectors, rows, work, sums, span, y, y_at, y_row, slope, activation):
    """Store the first `vectors` vectors of `rows` rows of sixteen planes. sums: (rows, 16, span)."""
    for row in range(rows):
        for v in range(vectors):
            cells_of(work, sums + row * 16 * span + v * 16, span, y, y_at + row * y_row + v * 16 * 16, slope)
        if activation != 0:
            activate_fused(y[y_at + row * y_row : y_at + row * y_row + vectors * 16 * 16], activation)


@device
def store_pooled_cells(vectors, work, sums, span, y, y_at, slope):
    """The same for one row, where each cell takes the larger of two neighbouring pixels."""
    for v in range(vectors):
        pooled_cells_of(work, sums + v * 16, span, y, y_at + v * 8 * 16, slope)


@device
def _convolve_cells(x, x_at, filters, work, sums, y, y_at, y_block, blocks, width, activation):
    """One row of so many blocks."""
    left, start = (width + 15) // 16, 0
    while left > 0:
        vectors = _next_vectors(left, width)
        column = min(start, width - vectors * 16)
        for block in range(blocks):
            to = y_at + block * y_block + column * 16
            for out in range(0, 16, OUTS):
                for k in range(out * vectors, (out + OUTS) * vectors):
                    fetch(y, to + (vectors * 16 + k) * 16)
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
def convolve_rows(address, x_at, filters, y, y_at, activation, queue, workers, work, work_size):
    """y = activation(bias + weights * x), with stride 1 or 2.

    address: of x, (pictures, channels, height, width) float32; x_at: NchwRows. filters: NchwFilters, whose offsets are
    in what `_take_row` gives of `size` rows of each plane. y_at: Planes; y: NCHW, where there is a slope alone, or
    where `x_at.blocked` nChw16c with whole blocks. The width is at least that of the shortest tile. A task is some
    rows. queue: the tasks of `workers` workers (`task_queue.py`); each has `work_size` floats of `work`: for those
    rows, and for sixteen of SPAN pixels.
    """
    channels, size, stride, pitch = x_at.channels, x_at.size, x_at.stride, x_at.pitch
    height, width, blocked = y_at.height, y_at.width, x_at.blocked
    bands, lines = min(height, BANDS * workers), channels * size
    reset_queue(queue, workers)
    for worker in prange(workers):
        x = floats_at(address, y_at.pictures * channels * x_at.height * x_at.width)
        rows_at = worker * work_size
        sums = rows_at + lines * stride * pitch
        clear(work[rows_at:sums])
        task = next_task(queue, worker, workers, y_at.pictures * bands)
        while task >= 0:
            picture, band, top, end = band_task(task, bands, height)
            if band == 0 and blocked:
                zero_halos(y, y_at, picture, y_at.blocks)
            for row in range(top, end):
                for line in range(lines):
                    channel = line // size
                    from_row = row * stride - x_at.padding + line - channel * size
                    source = ((picture * channels + channel) * x_at.height + from_row) * x_at.width
                    exists = 0 <= from_row and from_row < x_at.height
                    _take_row(x, source, exists, stride * x_at.width, stride, x_at.width, work,
                              rows_at + line * stride * pitch + FIRST, pitch)  # fmt: skip
                if blocked:
                    _convolve_cells(work, rows_at, filters, work, sums, y, cell(y_at, picture, 0, row, 0),
                                    y_at.block_stride, y_at.blocks, width, activation)  # fmt: skip
                else:
                    target = picture * y_at.picture_stride + row * y_at.pitch
                    convolve_row(work, rows_at, filters, y, target, y_at.block_stride, y_at.blocks, width)
            task = next_task(queue, worker, workers, y_at.pictures * bands)
