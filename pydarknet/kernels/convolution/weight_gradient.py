"""The gradient of a convolution's weights: sums over all pictures and pixels of delta times input, in registers.

Winograd's method for a 3 x 3 filter with stride 1, F(4 x 4, 3 x 3) transposed, takes 36 products where the direct
one takes 144:

    gradient = G^T [ sum over tiles of (B^T d B) o (A dY A^T) ] G

d: an input tile of 6 x 6 cells, dY: the 4 x 4 cells of the delta that it meets.
"""

import numba
from numba import prange

from ...runtime.jit import kernel
from ..addressing import clear, next_task, reset_queue, strided_cell
from ..simd import LANES, instructions, vload, vmuladd, vsplat, vstore
from .microkernel import NR, loop_over_taps
from .winograd import SKEW, Tiles, make_input_transform, transform_input
from .winograd_transforms import PATCH, code_of, transform_delta, transform_gradient

f32 = numba.float32

# Input channels of a tile, which is GRADIENT_LANES x NR vectors of output channels.
GRADIENT_LANES = 8 if NR == 2 else 4

# Pixels whose inputs and deltas stay in a core's first cache while all cells of a filter meet them.
PIXELS_AT_ONCE = 160


@instructions
def tile_gradient(
    b, x, x_at, x_row, x_step, delta, delta_at, delta_row, delta_step, delta_block, rows, width, out, out_at, out_block
):
    """out[r][c] += sum over the pixels p of `rows` lines of `width` pixels of  delta[r][p] * x[p + c]

    for NR vectors r of output channels, `delta_block` and `out_block` floats apart, and GRADIENT_LANES input
    channels c. x advances by `x_step` floats a pixel and `x_row` a line, delta likewise.
    """
    x_base, delta_base, out_base = b.ahead(x, x_at), b.ahead(delta, delta_at), b.ahead(out, out_at)
    blocks = [b.ahead(out_base, b.mul(out_block, r)) for r in range(NR)]
    places = [[b.ahead(block, c * LANES) for c in range(GRADIENT_LANES)] for block in blocks]

    def line_of_products(line, now):
        x_line, delta_line = b.ahead(x_base, b.mul(line, x_row)), b.ahead(delta_base, b.mul(line, delta_row))

        def products(t, sums):
            at_x, at_delta = b.ahead(x_line, b.mul(t, x_step)), b.ahead(delta_line, b.mul(t, delta_step))
            d = b.load_vectors(at_delta, delta_block, NR)
            for c in range(GRADIENT_LANES):
                channel = b.splat(b.load(b.ahead(at_x, c)))
                for r in range(NR):
                    sums[r][c] = b.multiply_add(channel, d[r], sums[r][c])

        now[:] = loop_over_taps(b, width, now, products)

    start = [[b.load_vector(place) for place in row] for row in places]
    for row, targets in zip(loop_over_taps(b, rows, start, line_of_products), places):
        for value, place in zip(row, targets):
            b.store_vector(value, place)


@kernel
def weight_gradient(x, x_at, offsets, delta, delta_at, tasks, extent, out, sums):
    """out[part] = sum over pictures and pixels of delta * input, for the filters and channels of each task.

    x_at, delta_at: `Strides`; extent: `Extent` of delta; sums: `PartialSums` in out. tasks: (m, 4) int64:
    offsets of the first input channel in x, of the first filter's block in delta, of the result in out, and 1 or
    2 blocks of filters. offsets: (size * size,) int64, of the filter's cells in x. The number of parts does not
    depend on the number of threads, so the order of the sums is always the same.
    """
    lines = extent.pictures * extent.height
    for number in prange(tasks.shape[0] * sums.parts):
        task = number // sums.parts
        part = number - task * sums.parts
        blocks, to = tasks[task, 3], part * sums.part_stride + tasks[task, 2]
        for r in range(blocks):
            at = to + r * sums.block_stride
            clear(out[at : at + offsets.shape[0] * GRADIENT_LANES * LANES])
        # A single block at the end is computed as a pair of the same: the second result falls on the first.
        delta_second = delta_at.block_stride if blocks == NR else 0
        out_second = sums.block_stride if blocks == NR else 0
        line, end = lines * part // sums.parts, lines * (part + 1) // sums.parts
        while line < end:
            picture = line // extent.height
            row = line - picture * extent.height
            rows = min(end - line, extent.height - row, max(1, PIXELS_AT_ONCE // extent.width))
            x_row = strided_cell(x_at, picture, 0, row) + tasks[task, 0]
            delta_row = strided_cell(delta_at, picture, 0, row) + tasks[task, 1]
            for tap in range(offsets.shape[0]):
                tile_gradient(
                    x, x_row + offsets[tap], x_at.row_stride, x_at.column_stride,
                    delta, delta_row, delta_at.row_stride, delta_at.column_stride, delta_second,
                    rows, extent.width, out, to + tap * GRADIENT_LANES * LANES, out_second,
                )  # fmt: skip
            line += rows


# --- Winograd's method ------------------------------------------------------------------------------------------------

M, POINTS, TAPS = 4, 36, 9
PIECES = 4  # into which tiles are divided for each worker
# Floats of a worker: of its pieces, a tile each; of its task, the sums at all points and the filters they become.
ROOM = max(PIECES * PATCH, (NR * POINTS + TAPS) * GRADIENT_LANES * LANES)

_transform_delta = make_input_transform(transform_delta)


@kernel
def transform_gradient_tiles(x, source, delta, change, tiles, queue, workers, work, work_size):
    """B^T d B of input tiles and A dY A^T of delta's, to `work`: (points, blocks, tiles.width, 16) each, SKEW
    between points.

    source, change: WinogradInput of x and of delta; tiles: GradientTiles.
    """
    pieces, form = PIECES * workers, code_of(M, 1)
    for piece in prange(pieces):
        begin, end = tiles.used * piece // pieces, tiles.used * (piece + 1) // pieces
        first, count, scratch = tiles.first + begin, end - begin, piece * PATCH
        patches = Tiles(M, 1, form, M + 2, tiles.a_row, tiles.a_picture, first, count, tiles.width, 1)
        cells = Tiles(M, 1, form, M, tiles.a_row, tiles.a_picture, first, count, tiles.width, 1)
        transform_input(x, source, patches, work, scratch, tiles.x_at + begin * LANES)
        _transform_delta(delta, change, cells, work, scratch, tiles.delta_at + begin * LANES)


@kernel
def winograd_weight_gradient(blocks, tiles, tasks, out, sums, adds, queue, workers, work, work_size):
    """out = the gradient by the tiles that `transform_gradient_tiles` has transformed, or += where it `adds`.

    blocks: (of the input's channels, of the filters); tasks, sums: as of `weight_gradient`, where offsets are those
    of the transformed tiles of a point.
    """
    x_plane = blocks[0] * tiles.width * LANES + SKEW
    delta_plane = blocks[1] * tiles.width * LANES + SKEW
    vectors = GRADIENT_LANES * LANES
    reset_queue(queue, workers)
    for worker in prange(workers):
        at = worker * ROOM
        filters = at + NR * POINTS * vectors
        half = filters + TAPS * LANES
        number = next_task(queue, worker, workers, tasks.shape[0] * sums.parts)
        while number >= 0:
            task = number // sums.parts
            part = number - task * sums.parts
            begin = tiles.used * part // sums.parts
            count = tiles.used * (part + 1) // sums.parts - begin
            clear(work[at:filters])
            delta_second = tiles.width * LANES if tasks[task, 3] == NR else 0
            for point in range(POINTS):
                x_at = tiles.x_at + point * x_plane + tasks[task, 0] + begin * LANES
                delta_at = tiles.delta_at + point * delta_plane + tasks[task, 1] + begin * LANES
                tile_gradient(
                    work, x_at, 0, LANES, work, delta_at, 0, LANES, delta_second, 1, count,
                    work, at + point * vectors, POINTS * vectors,
                )  # fmt: skip
            to = part * sums.part_stride + tasks[task, 2]
            for vector in range(tasks[task, 3] * GRADIENT_LANES):
                r = vector // GRADIENT_LANES
                lanes = (vector - r * GRADIENT_LANES) * LANES
                start, place = at + r * POINTS * vectors + lanes, to + r * sums.block_stride + lanes
                transform_gradient(work, start, 6 * vectors, vectors, work, filters, LANES, work, half)
                for tap in range(TAPS):
                    value = vload(work, filters + tap * LANES)
                    if adds:
                        value = value + vload(out, place + tap * vectors)
                    vstore(out, place + tap * vectors, value)
            number = next_task(queue, worker, workers, tasks.shape[0] * sums.parts)


# --- filters of one channel -------------------------------------------------------------------------------------------


@kernel
def depthwise_weight_gradient(x, x_at, offsets, delta, delta_at, extent, out):
    """The gradient for filters of one channel each: out (blocks, size * size, LANES), flat."""
    taps = offsets.shape[0]
    for task in prange(extent.blocks * taps):
        block = task // taps
        tap = task - block * taps
        total = vsplat(f32(0.0))
        for picture in range(extent.pictures):
            for row in range(extent.height):
                x_row = strided_cell(x_at, picture, block, row) + offsets[tap]
                delta_row, line = strided_cell(delta_at, picture, block, row), vsplat(f32(0.0))
                for column in range(extent.width):
                    value = vload(x, x_row + column * x_at.column_stride)
                    line = vmuladd(value, vload(delta, delta_row + column * delta_at.column_stride), line)
                total = total + line
        vstore(out, task * LANES, total)


@kernel
def unpack_weight_gradient(packed, sums, tasks, units, channels_per_group, filters_per_group, size, gradient):
    """gradient (n, channels / groups, size, size), flat, += what `weight_gradient` gave, part by part in order.

    `packed` is written to: its first part becomes the sum of all.
    units: (m, 2) int64 for each task: the first block of filters and the first group of GRADIENT_LANES channels.
    """
    taps = size * size
    n = gradient.shape[0] // (channels_per_group * taps)
    for task in prange(tasks.shape[0]):
        first_channel = units[task, 1] * GRADIENT_LANES
        for r in range(tasks[task, 3]):
            start = tasks[task, 2] + r * sums.block_stride
            # The sum of all parts in the place of the first, a vector at a time.
            for at in range(start, start + (sums.parts > 1) * taps * GRADIENT_LANES * LANES, LANES):
                total = vload(packed, at)
                for part in range(1, sums.parts):
                    total = total + vload(packed, part * sums.part_stride + at)
                vstore(packed, at, total)
            for lane in range(LANES):
                f = (units[task, 0] + r) * LANES + lane
                if f >= n:
                    continue
                base = f // filters_per_group * channels_per_group
                first, last = base - first_channel, base - first_channel + channels_per_group  # of the filter's group
                for i in range(max(0, first), min(GRADIENT_LANES, last)):
                    out = (f * channels_per_group + first_channel + i - base) * taps
                    at = start + i * LANES + lane
                    for tap in range(taps):
                        gradient[out + tap] += packed[at + tap * (GRADIENT_LANES * LANES)]
