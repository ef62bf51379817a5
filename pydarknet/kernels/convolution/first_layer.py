"""3 x 3 convolutions of the network's picture, which is NCHW, to blocks of channels, two rows at a time."""

from __future__ import annotations

import numba
from numba import prange

from ...runtime.jit import device, kernel
from ..addressing import band_task, cell
from ..halo import zero_halos
from ..simd.vector import fetch, floats_at, vload, vsplat, vstore
from ..task_queue import next_task, reset_queue
from .first_layer_microkernel import NARROW, OUTS, POINTS, WIDE, tile
from .nchw import store_cells, store_pooled_cells

f32 = numba.float32

BANDS = 8  # of rows, for each worker
FIRST = 16  # where a row of the picture begins in the memory of a worker, so that there is a zero before it
SPAN = WIDE * 16  # pixels of a row whose sums a worker has room for


@device
def _row(x, at, exists):
    """Sixteen pixels of a row, zeros where the row does not exist."""
    return vload(x, at) if exists else vsplat(f32(0))


@device
def _transform_rows(x, x_at, x_plane, channels, height, width, row, work, at, pitch):
    """t = B^T d of four rows of each plane, from the one above `row` on: (channels, POINTS, pitch), pixels from FIRST
    on. The last vector of a row overlaps the one before."""
    above, second, third = row > 0, row + 1 < height, row + 2 < height
    for channel in range(channels):
        first, to = x_at + channel * x_plane + row * width, at + channel * POINTS * pitch + FIRST
        for start in range(0, width, 16):
            column = min(start, width - 16)
            source, target = first + column, to + column
            fetch(x, source + 3 * width)
            fetch(x, source + 4 * width)
            d1, d2 = vload(x, source), _row(x, source + width, second)
            vstore(work, target, _row(x, source - width, above) - d2)
            vstore(work, target + pitch, d1 + d2)
            vstore(work, target + 2 * pitch, d2 - d1)
            vstore(work, target + 3 * pitch, _row(x, source + 2 * width, third) - d1)


@device
def _clear_sides(work, at, rows, pitch, width):
    """Zeros left and right of `rows` rows of pixels."""
    for row in range(rows):
        work[at + row * pitch + FIRST - 1] = 0
        work[at + row * pitch + FIRST + width] = 0


@device
def _convolve_span(vectors, pooled, work, t_at, pitch, taps, weights, weights_at, bias, bias_at, sums, y, y_at, y_row):
    """Sixteen planes of the output, `vectors` vectors of their rows: SPAN floats for each plane, pooled, or for each
    plane of the first row and then of the second."""
    count = taps.shape[0]
    for out in range(0, 16, OUTS):
        filters, to = weights_at + out * POINTS * count, sums + out * SPAN
        for k in range(out * vectors >> pooled, (out + OUTS) * vectors >> pooled):
            if pooled:
                fetch(y, y_at + k * 16)
            else:
                fetch(y, y_at + (vectors * 16 + k) * 16)
                fetch(y, y_at + y_row + (vectors * 16 + k) * 16)
        tile(2 * vectors + pooled, work, t_at, pitch, taps, count, weights, filters, bias, bias_at + out, work, to,
             SPAN, 16 * SPAN)  # fmt: skip


@kernel
def convolve_picture(address, x_at, filters, y, y_at, activation, queue, workers, work, work_size):
    """y = activation(bias + weights * x), or where `x_at.pooled` is 1 the largest of each 2 x 2 cells of that.

    address: of x, (pictures, channels, height, width) float32; x_at: NchwRows, its width at least SPAN, both sides
    even where they are pooled; then the slope is applied afterwards, and no activation. filters: NchwFilters in the
    order of `first_layer_microkernel.py`, of whole blocks; y_at: Planes. A task is some pairs of rows. queue: the tasks
    of `workers` workers (`task_queue.py`); each has `work_size` floats of `work`: for the rows of a pair after B^T,
    `x_at.pitch` floats apart, and for two rows of sixteen planes of SPAN pixels.
    """
    channels, height, width, pitch, pooled = x_at.channels, x_at.height, x_at.width, x_at.pitch, x_at.pooled
    offsets, weights, bias, slope = filters.offsets, filters.weights, filters.bias, filters.slope
    pairs, plane = (height + 1) // 2, height * width
    bands, y_row = min(pairs, BANDS * workers), y_at.pitch * 16
    reset_queue(queue, workers)
    for worker in prange(workers):
        x = floats_at(address, y_at.pictures * channels * plane)
        t_at = worker * work_size
        sums = t_at + channels * POINTS * pitch
        _clear_sides(work, t_at, channels * POINTS, pitch, width)
        task = next_task(queue, worker, workers, y_at.pictures * bands)
        while task >= 0:
            picture, band, top, end = band_task(task, bands, pairs)
            if band == 0:
                zero_halos(y, y_at, picture, y_at.blocks)
            for pair in range(top, end):
                source = picture * channels * plane
                _transform_rows(x, source, plane, channels, height, width, 2 * pair, work, t_at, pitch)
                rows, left, start = min(2, height - 2 * pair), (width + 15) // 16, 0
                while left > 0:
                    vectors = NARROW if left == NARROW or left == 2 * NARROW else WIDE
                    column = min(start, width - vectors * 16)
                    for block in range(y_at.blocks):
                        target = cell(y_at, picture, block, 2 * pair >> pooled, column >> pooled)
                        weights_at = block * 16 * POINTS * offsets.shape[0]
                        _convolve_span(vectors, pooled, work, t_at + column, pitch, offsets, weights, weights_at, bias,
                                       block * 16, sums, y, target, y_row)  # fmt: skip
                        if pooled:
                            store_pooled_cells(vectors, work, sums, SPAN, y, target, slope)
                        else:
                            store_cells(vectors, rows, work, sums, SPAN, y, target, y_row, slope, activation)
                    start += vectors * 16
                    left -= vectors
            task = next_task(queue, worker, workers, y_at.pictures * bands)
