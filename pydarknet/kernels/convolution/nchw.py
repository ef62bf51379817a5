"""Convolutions of NCHW planes, a network's picture or of as few channels, row by row. Filters of 3 x 3 cells
compute a picture's rows two at a time. NCHW tensors have no halo. A task is a band of rows."""

from typing import Any, NamedTuple

import numba
from numba import prange

from ...runtime.jit import device, inlined, kernel, named
from ..activation import activate_fused
from ..addressing import band_task, cell, clear, next_task, reset_queue
from ..simd import cells_of, fetch, floats_at, pooled_cells_of, transpose, vload, vsplat, vstore
from .direct import FLOAT32, make_convert_cell
from .microkernel import Product
from .nchw_microkernel import (
    COLUMN_OUTS,
    COLUMN_SPAN,
    FEWEST,
    NARROW,
    OUTS,
    PLANE_SPAN,
    POINTS,
    SPAN,
    VECTORS,
    WIDE,
    split_pairs,
    tile_columns,
    tile_plane,
    tile_plane3,
    tile_planes,
)

f32 = numba.float32

BANDS = 8  # of rows, for each worker
BOTTLENECK_BANDS = 4  # of an inverted bottleneck's rows
FIRST = 16  # where a row begins in the memory of a worker: there are zeros before it

# --- rows -------------------------------------------------------------------------------------------------------------


@inlined
def _tile(vectors, x, x_at, filters, first_out, y, y_at, y_plane, slope):
    tile_planes(vectors, x, x_at, filters, 0, filters.offsets.shape[0], first_out, y, y_at, y_plane, slope)


@inlined
def _next_vectors(left, width):
    tiles = (left + VECTORS - 1) // VECTORS
    return max(FEWEST, min((left + tiles - 1) // tiles, width // 16))


@device
def convolve_row(x, x_at, filters, y, y_at, y_plane, outs, width):
    """One row of all `outs` planes, of at least FEWEST vectors; its last tile may overlap the one before."""
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


def make_store_words(product: Product) -> Any:
    """store_words(work, at, pitch, rows, count, y, y_at, y_row, epilogue): `count` cells of `rows` rows, `pitch`
    floats apart in `work`, become numbers of the product in y."""
    convert_cell = make_convert_cell(product)

    @device
    def store_words(work, at, pitch, rows, count, y, y_at, y_row, epilogue):
        for row in range(rows):
            for k in range(count):
                source, to = at + row * pitch + k * 16, y_at + row * y_row + k * 16
                convert_cell(work, source, epilogue.scale, epilogue.zero, y, to)

    return store_words


@device
def cell_of_words(y_at, picture, block, row, column, factors):
    """The first word of block `block`'s channels in a cell of words of `factors` numbers."""
    unit = block // factors
    return cell(y_at, picture, unit, row, column) + (block - unit * factors) * (16 // factors)


@device
def _take_row(x, x_at, exists, ahead, stride, width, work, at, pitch):
    """One row of a plane, or zeros: with stride 2 its even pixels, and its odd ones `pitch` floats farther on.
    `ahead`: how far from here a row begins that will be needed soon."""
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


def make_convolve_rows(product: Product, module: str, name: str) -> Any:
    """The kernel `name` of `module`: y = activation(bias + weights * x), with stride 1 or 2.

    address: of x, (pictures, channels, height, width) float32; x_at: NchwRows. filters: NchwFilters, whose
    offsets are in what `_take_row` gives of `size` rows of each plane. y: NCHW, where there is a slope alone, or
    where `x_at.blocked` nChw16c with whole blocks, of numbers of the product, in rows no shorter than the shortest
    tile. A task is some rows; a worker's `work_size` floats of `work` are for those, for sixteen rows of SPAN
    pixels, and as many before they become other numbers.
    """
    factors, stores = product.factors, product.converts
    store_words: Any = make_store_words(product) if stores else None

    @device
    def convolve_cells(x, x_at, filters, work, sums, y, y_at, picture, row, epilogue):
        width = y_at.width
        left, start = (width + 15) // 16, 0
        while left > 0:
            vectors = _next_vectors(left, width)
            column = min(start, width - vectors * 16)
            for block in range(filters.bias.size // 16):
                to = cell_of_words(y_at, picture, block, row, column, factors)
                for out in range(0, 16, OUTS):
                    for k in range(out * vectors, (out + OUTS) * vectors):
                        fetch(y, to + (vectors * 16 + k) * 16)
                    _tile(vectors, x, x_at + column, filters, block * 16 + out, work, sums + out * SPAN, SPAN, f32(1))
                if stores:
                    room = sums + 16 * SPAN
                    store_cells(vectors, 1, work, sums, SPAN, work, room, 0, filters.slope, epilogue.activation)
                    store_words(work, room, 0, 1, vectors * 16, y, to, 0, epilogue)
                else:
                    store_cells(vectors, 1, work, sums, SPAN, y, to, 0, filters.slope, epilogue.activation)
            start += vectors * 16
            left -= vectors

    @kernel
    @named(module, name)
    def convolve_rows(address, x_at, filters, y, y_at, epilogue, queue, workers, work, work_size):
        channels, size, stride, pitch = x_at.channels, x_at.size, x_at.stride, x_at.pitch
        height, blocked = y_at.height, x_at.blocked
        bands, lines = min(height, BANDS * workers), channels * size
        reset_queue(queue, workers)
        for worker in prange(workers):
            x = floats_at(address, y_at.pictures * channels * x_at.height * x_at.width)
            rows_at = worker * work_size
            sums = rows_at + lines * stride * pitch
            clear(work[rows_at:sums])
            task = next_task(queue, worker, workers, y_at.pictures * bands)
            while task >= 0:
                picture, top, end = band_task(task, bands, height, y, y_at)
                for row in range(top, end):
                    for line in range(lines):
                        channel = line // size
                        from_row = row * stride - x_at.padding + line - channel * size
                        source = ((picture * channels + channel) * x_at.height + from_row) * x_at.width
                        exists = 0 <= from_row and from_row < x_at.height
                        _take_row(x, source, exists, stride * x_at.width, stride, x_at.width, work,
                                  rows_at + line * stride * pitch + FIRST, pitch)  # fmt: skip
                    if blocked:
                        convolve_cells(work, rows_at, filters, work, sums, y, y_at, picture, row, epilogue)
                    else:
                        target = picture * y_at.picture_stride + row * y_at.pitch
                        convolve_row(work, rows_at, filters, y, target, y_at.block_stride, y_at.blocks, y_at.width)
                task = next_task(queue, worker, workers, y_at.pictures * bands)

    return convolve_rows


# --- 3 x 3 filters over a picture -------------------------------------------------------------------------------------


@device
def _row(x, at, exists):
    return vload(x, at) if exists else vsplat(f32(0))


@device
def _transform_rows(x, x_at, x_plane, channels, height, width, row, work, at, pitch):
    """t = B^T d of four rows of each plane, from the one above `row` on: (channels, POINTS, pitch), pixels from
    FIRST on. The last vector of a row overlaps the one before."""
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
def _convolve_span(vectors, pooled, work, t_at, pitch, filters, first_out, sums, y, y_at, y_row):
    """Sixteen planes of the output, `vectors` vectors of their rows: COLUMN_SPAN floats for each plane, pooled,
    or for each plane of the first row and then of the second."""
    for out in range(0, 16, COLUMN_OUTS):
        for k in range(out * vectors >> pooled, (out + COLUMN_OUTS) * vectors >> pooled):
            if pooled:
                fetch(y, y_at + k * 16)
            else:
                fetch(y, y_at + (vectors * 16 + k) * 16)
                fetch(y, y_at + y_row + (vectors * 16 + k) * 16)
        tile_columns(2 * vectors + pooled, work, t_at, pitch, filters, filters.offsets.shape[0], first_out + out, work,
                     sums + out * COLUMN_SPAN, COLUMN_SPAN, 16 * COLUMN_SPAN)  # fmt: skip


def make_convolve_picture(product: Product, module: str, name: str) -> Any:
    """The kernel `name` of `module`: y = activation(bias + weights * x), or where `x_at.pooled` is 1 the largest of
    each 2 x 2 cells of that.

    address: of x, (pictures, channels, height, width) float32; x_at: NchwRows, its width at least COLUMN_SPAN,
    both sides even where they are pooled; then the slope is applied afterwards, and no activation. filters:
    NchwFilters in the order of `nchw_microkernel.make_column_tile`, of whole blocks. y: of numbers of the product. A
    task is some pairs of rows; a worker's `work` is for a pair after B^T, `x_at.pitch` floats apart, for two rows of
    sixteen planes of COLUMN_SPAN pixels, and as many before they become other numbers.
    """
    factors, stores = product.factors, product.converts
    store_words: Any = make_store_words(product) if stores else None

    @kernel
    @named(module, name)
    def convolve_picture(address, x_at, filters, y, y_at, epilogue, queue, workers, work, work_size):
        channels, height, width, pitch, pooled = x_at.channels, x_at.height, x_at.width, x_at.pitch, x_at.pooled
        pairs, plane, slope = (height + 1) // 2, height * width, filters.slope
        bands, y_row, span = min(pairs, BANDS * workers), y_at.pitch * 16, COLUMN_SPAN
        reset_queue(queue, workers)
        for worker in prange(workers):
            x = floats_at(address, y_at.pictures * channels * plane)
            t_at = worker * work_size
            sums = t_at + channels * POINTS * pitch
            out, out_row, room = y, y_row, sums + 2 * 16 * span
            if stores:
                out, out_row = work, span * 16
            for left in range(t_at + FIRST - 1, t_at + channels * POINTS * pitch, pitch):
                work[left] = work[left + width + 1] = 0
            task = next_task(queue, worker, workers, y_at.pictures * bands)
            while task >= 0:
                picture, top, end = band_task(task, bands, pairs, y, y_at)
                for pair in range(top, end):
                    source = picture * channels * plane
                    _transform_rows(x, source, plane, channels, height, width, 2 * pair, work, t_at, pitch)
                    rows, left, start = min(2, height - 2 * pair), (width + 15) // 16, 0
                    while left > 0:
                        vectors = NARROW if left == NARROW or left == 2 * NARROW else WIDE
                        column = min(start, width - vectors * 16)
                        for block in range(filters.bias.size // 16):
                            to = cell_of_words(y_at, picture, block, 2 * pair >> pooled, column >> pooled, factors)
                            _convolve_span(vectors, pooled, work, t_at + column, pitch, filters, block * 16, sums, y,
                                           to, y_row)  # fmt: skip
                            out_at = room if stores else to
                            if pooled:
                                for v in range(vectors):
                                    pooled_cells_of(work, sums + v * 16, span, out, out_at + v * 8 * 16, slope)
                            else:
                                store_cells(vectors, rows, work, sums, span, out, out_at, out_row, slope,
                                            epilogue.activation)  # fmt: skip
                            if stores:
                                store_words(work, room, out_row, 1 if pooled else rows, vectors * 16 >> pooled, y, to,
                                            y_row, epilogue)  # fmt: skip
                        start += vectors * 16
                        left -= vectors
                task = next_task(queue, worker, workers, y_at.pictures * bands)

    return convolve_picture


convolve_rows = make_convolve_rows(FLOAT32, __name__, "convolve_rows")
convolve_picture = make_convolve_picture(FLOAT32, __name__, "convolve_picture")


# --- inverted bottlenecks ---------------------------------------------------------------------------------------------


class Ring(NamedTuple):
    """The rows of `channels` expanded planes that a row of the output reads, `size` of them, one written over
    another: row r in slot r % size, `side` cells of zeros left and right of its `width`."""

    at: int
    channels: int
    size: int
    width: int
    side: int


@device
def _expand_row(x, x_at, filters, work, ring, row, exists):
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
    """One row of each channel with its own filter, `width` floats apart from `to` on; `phase`: the first row's
    slot."""
    taps = ring.size * ring.size
    plane, first = ring.size * (ring.width + 2 * ring.side), phase * taps
    if ring.size == 3 and padding == 1:
        _depthwise3_row(work, ring, stride, filters, first, to, width)
        return
    for channel in range(ring.channels):
        at, y_at = ring.at + channel * plane, to + channel * width
        for column in range(0, width, PLANE_SPAN):
            left = min(column, width - PLANE_SPAN)
            tile_plane(stride, work, at + stride * left, filters, first, taps, channel, work, y_at + left, width,
                       filters.slope)  # fmt: skip


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
            tile_plane3(stride, work, above, here, below, filters, channel, work, y_at)


@device
def _add_row(work, at, channels, width, residual, residual_at, y, y_at, y_plane):
    for channel in range(channels):
        start, other = at + channel * width, residual_at + channel * residual.block_stride
        to = y_at + channel * y_plane
        for column in range(0, width - 15, 16):
            vstore(y, to + column, vload(work, start + column) + vload(residual.data, other + column))
        for column in range(width // 16 * 16, width):
            y[to + column] = work[start + column] + residual.data[other + column]


@kernel
def convolve_nchw_bottleneck(
    address, x_at, expand, depthwise, project, y, y_at, residual, queue, workers, work, work_size
):  # fmt: skip
    """y = project(depthwise(expand(x))), plus the residual, an NCHW tensor.

    address: of x, NCHW float32; x_at: NchwRows; expand, depthwise, project: NchwFilters, of which depthwise has
    offsets for each slot of the first row. y: NCHW, or where `x_at.blocked` one block of nChw16c. A task is some
    rows; a worker's `work` is for a Ring, one row of its planes after the depthwise convolution, and one of the
    output's.
    """
    height, width, size, stride, padding = y_at.height, y_at.width, x_at.size, x_at.stride, x_at.padding
    middle, channels, blocked = depthwise.bias.shape[0], project.bias.shape[0], x_at.blocked
    picture_stride = x_at.channels * x_at.height * x_at.width
    bands = min(height, BOTTLENECK_BANDS * workers)
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
            picture, top, end = band_task(task, bands, height, y, y_at)
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
                    for column in range(0, width, 16):
                        left = min(column, width - 16)
                        transpose(work, out + left, width, y, cell(y_at, picture, 0, row, left), 16, 16)
            task = next_task(queue, worker, workers, y_at.pictures * bands)
