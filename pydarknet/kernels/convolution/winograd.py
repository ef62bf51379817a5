"""Convolution with 3x3 filters and stride 1 or 2 by Winograd's method, F(m x m, 3 x 3) for m = 2, 3 and 4.

    Y = A^T [ sum over channels of (G g G^T) o (B^T d B) ] A

d: an input tile of m + 2 cells a side, g: a filter, Y: m x m cells of the output. Where the direct method takes
9 products an output cell, this takes (m + 2)^2 / m^2 of them: 2.25 with m = 4. With stride 2 input tiles have 2
m + 1 cells a side, and 5.4 products are taken with m = 3 (see `winograd_transforms.py`); several points then
share a filter. Andrew Lavin and Scott Gray, "Fast Algorithms for Convolutional Neural Networks" (2016).

A task of a worker is `tiles_per_task` tiles x a range of panels of filters:

1. `transform_input`: B^T d B of every input tile and input block, unless the task before had the same tiles.
2. For `panels_per_pass` panels at a time:
   a. `_multiply`: for each of the (m + 2)^2 points the product of all transformed tiles with the panels' filters.
      Between points, input tiles of the next task are prefetched, and where this pass's output goes.
   b. `transform_output`: A^T M A of every tile and output block, with bias, activation, pooling or residual.
"""

from typing import NamedTuple

import numba
from numba import prange

from ...runtime.jit import device, kernel
from ..activation import activate_fused, clear_lanes
from ..addressing import cell, next_task, reset_queue, residual_cell, zero_halo
from ..pooling import pool_rows
from ..simd import LANES, ZERO, fetch, instructions, one_of, vload, vsplat, vstore
from .microkernel import MR, NR, loop_over_taps
from .pack import KEPT, QUAD, SCALES, float_vectors, int24_vectors, panel_size
from .winograd_transforms import (
    ADDED,
    FINISHES,
    PATCH,
    POOLED,
    STORED,
    Cells,
    Points,
    code_of,
    side_of,
    transform_patch,
    transform_products,
)

f32 = numba.float32

MOST = MR  # tiles that one product takes: what the registers hold
SKEW = 16  # floats between planes of transformed tiles, so that they do not share the cache's sets

# From so many input blocks and floats on, what is needed soon is prefetched while products are computed: of smaller
# tensors a good part is in the cores' own caches, and beside fewer products prefetching takes too long. Where the
# output goes is prefetched only if something is read there too: stores alone wait for nobody.
MANY_BLOCKS, LARGE = 2, 5 << 18

# Input channels that one step of the product takes. With AVX-512 all registers hold sums, and of a longer step LLVM
# loads everything first, for which there is no room: the sums went to memory and back, and took twice as long.
STEP = 4 if NR == 2 else LANES


def make_products(columns: int, int24: bool = False):
    """The matrix product of Winograd's method for `columns` tiles, as a Numba intrinsic.

    y[column][row] = sum over t < tap_count, lanes i of  weights[t, i, row] * x[column + t * x_tap + i]

    weights: (tap_count, 16, NR, 16), with `int24` a panel of 24-bit integers (`pack.py`); y: (columns, NR, 16);
    columns of x are 16 floats apart. Meanwhile some of the next weights, from `next_at` on, are prefetched.
    """
    vectors, head = (int24_vectors, SCALES) if int24 else (float_vectors, 0)
    steps = LANES // STEP
    stored = STEP * NR * KEPT // QUAD if int24 else STEP * NR  # vectors in memory that a step reads
    lines = -(-columns * stored // LANES)  # to be fetched meanwhile

    @instructions
    def products_of(b, x, x_at, x_tap, tap_count, weights, weights_at, next_at, y, y_at):
        x_base, panel, y_base = b.ahead(x, x_at), b.ahead(weights, weights_at), b.ahead(y, y_at)
        scales = b.load_vectors(panel, LANES, NR) if int24 else None
        filters, following = b.ahead(panel, head), b.ahead(b.ahead(weights, next_at), head)

        def products(t, now):
            tap, part = b.udiv(t, steps), b.urem(t, steps)
            pixels = b.ahead(x_base, b.add(b.mul(tap, x_tap), b.mul(part, STEP)))
            w_of_lanes = vectors(b, b.ahead(filters, b.mul(t, stored * LANES)))
            next_tap = b.ahead(following, b.mul(tap, steps * stored * LANES))
            next_lines = b.ahead(next_tap, b.mul(part, lines * LANES))
            for line in range(lines):
                b.prefetch(b.ahead(next_lines, line * LANES))
            for lane in range(STEP):
                w = [next(w_of_lanes) for _ in range(NR)]
                for c in range(columns):
                    pixel = b.splat(b.load(b.ahead(pixels, c * LANES + lane)))
                    for r in range(NR):
                        now[r][c] = b.multiply_add(pixel, w[r], now[r][c])

        sums = loop_over_taps(b, b.mul(tap_count, steps), [[ZERO] * columns for _ in range(NR)], products)
        for r, row in enumerate(sums):
            for c, value in enumerate(row):
                product = b.fmul(value, scales[r]) if scales else value
                b.store_vector(product, b.ahead(y_base, (c * NR + r) * LANES))

    return products_of


# The product of so many tiles, an even number of them, plus 1 with 24-bit filters.
_product = one_of(
    {columns + int24: make_products(columns, int24) for columns in range(2, MOST + 1, 2) for int24 in (False, True)}
)


class Tiles(NamedTuple):
    """The tiles of one task: `used` of them from `first` on, in reading order over all pictures. Memory is for
    `width` tiles, an even number, in as few `parts` as products can take, as each reads all filters."""

    m: int
    stride: int
    form: int  # by which transforms are chosen
    side: int  # of an input tile, in cells
    a_row: int  # tiles of a row of tiles
    a_picture: int  # tiles of a picture
    first: int
    used: int
    width: int
    parts: int


class Prefetch(NamedTuple):
    """What is prefetched while products are computed: input tiles of the task `tiles`, and where the products'
    own tiles go in so many output blocks, with the residual there. Nothing of tensors that are not LARGE."""

    tiles: Tiles
    first: int
    last: int
    block: int
    blocks: int


@device
def tiles_of(filters, source, pictures, piece, tiles_per_task):
    """The piece-th `tiles_per_task` tiles of a batch; none behind the last."""
    m, stride = filters.m, filters.stride
    a_row = (source.width + m - 1) // m
    a_picture = (source.height + m - 1) // m * a_row
    first = min(piece * tiles_per_task, pictures * a_picture)
    count = min(tiles_per_task, pictures * a_picture - first)
    held = (count + 1) // 2 * 2
    parts = (held + MOST - 1) // MOST
    return Tiles(m, stride, code_of(m, stride), side_of(m, stride), a_row, a_picture, first, count, held, parts)


@device
def _position(tiles, t):
    picture = (tiles.first + t) // tiles.a_picture
    tile = tiles.first + t - picture * tiles.a_picture
    row = tile // tiles.a_row
    return picture, row * tiles.m, (tile - row * tiles.a_row) * tiles.m


@device
def part_of(width, parts, part):
    """The tiles from the first to the last of one part, each part an even number and all about as many."""
    return 2 * (width // 2 * part // parts), 2 * (width // 2 * (part + 1) // parts)


# --- input tiles ------------------------------------------------------------------------------------------------------


@device
def _copy_patch(x, x_at, pitch, rows, columns, n, work, patch):
    for i in range(n):
        for j in range(n):
            inside = i < rows and j < columns
            vstore(work, patch + (i * n + j) * 16, vload(x, x_at + (i * pitch + j) * 16) if inside else vsplat(f32(0)))


def make_input_transform(transform):
    """The transform of all input tiles of a task by that of one."""

    @device
    def transform_input(x, source, tiles, work, scratch, patches):
        """B^T d B of a task's input tiles, to work from `patches` on: (n n, for each part: (blocks, its width, 16)),
        SKEW between planes."""
        n, stride, form = tiles.side, tiles.stride, tiles.form
        plane = source.blocks * tiles.width * 16 + SKEW
        for part in range(tiles.parts):
            begin, end = part_of(tiles.width, tiles.parts, part)
            for t in range(begin, min(end, tiles.used)):
                picture, top, left = _position(tiles, t)
                top, left = top * stride, left * stride
                start = picture * source.picture_stride + source.start + (top * source.pitch + left) * 16
                inside = top + n <= source.rows and left + n <= source.columns
                for block in range(source.blocks):
                    at = start + block * source.block_stride
                    to = patches + (begin * source.blocks + block * (end - begin) + t - begin) * 16
                    if inside:
                        transform(form, x, at, source.pitch * 16, 16, work, to, plane, work, scratch)
                    else:
                        _copy_patch(x, at, source.pitch, source.rows - top, source.columns - left, n, work, scratch)
                        transform(form, work, scratch, n * 16, 16, work, to, plane, work, scratch)

    return transform_input


transform_input = make_input_transform(transform_patch)


@device
def fetch_patches(x, source, tiles, begin, end):
    """Prefetch what some input tiles of a task read that their neighbours above and on the left have not."""
    n, step = tiles.side, tiles.m * tiles.stride
    for patch in range(begin, end):
        t = patch // source.blocks
        picture, top, left = _position(tiles, t)
        at = picture * source.picture_stride + source.start
        at += (top * tiles.stride * source.pitch + left * tiles.stride) * 16
        at += (patch - t * source.blocks) * source.block_stride
        for i in range(n - step, n):
            for j in range(n - step, n):
                fetch(x, at + (i * source.pitch + j) * 16)


# --- products ---------------------------------------------------------------------------------------------------------


@device
def panel_of(m, side, point):
    """Which of the (m + 2)^2 transformed filters meets a point of the input tiles: odd cells all meet the last."""
    row = point // side
    return min(row, m + 1) * (m + 2) + min(point - row * side, m + 1)


@device
def _multiply_point(tiles, work, x_at, blocks, weights, int24, w_at, next_at, y_at):
    for part in range(tiles.parts):
        begin, end = part_of(tiles.width, tiles.parts, part)
        count, x_part, y_part = end - begin, x_at + begin * blocks * 16, y_at + begin * NR * 16
        soon = next_at + (begin * NR * KEPT // QUAD if int24 != 0 else begin * NR) * 16
        _product(count + int24, work, x_part, count * 16, blocks, weights, w_at, soon, work, y_part)


@device
def _multiply(tiles, work, patches, filters, first_panel, count, products, prefetch, x, source, y, y_at,
              residual):  # fmt: skip
    """The products of all transformed tiles with `count` panels of filters. work from `products` on: (count,
    points, width, NR, 16)."""
    points, width, blocks = tiles.side * tiles.side, tiles.width, source.blocks
    plane = blocks * width * 16 + SKEW
    panel = panel_size(blocks, filters.int24)
    whole = (tiles.m + 2) * (tiles.m + 2) * panel
    fetched, written = prefetch.last - prefetch.first, prefetch.blocks * tiles.used
    for point in range(points):
        if fetched > 0:
            fetch_patches(x, source, prefetch.tiles, prefetch.first + fetched * point // points,
                          prefetch.first + fetched * (point + 1) // points)  # fmt: skip
        if written > 0:
            fetch_targets(y, y_at, residual, tiles, source.pool, prefetch.block, written * point // points,
                          written * (point + 1) // points)  # fmt: skip
        first = first_panel * whole + panel_of(tiles.m, tiles.side, point) * panel
        following = (first_panel + count) * whole
        if point + 1 < points:
            following = first_panel * whole + panel_of(tiles.m, tiles.side, point + 1) * panel
        for p in range(count):
            next_at = following if p + 1 == count else first + (p + 1) * whole
            to = products + (p * points + point) * width * NR * 16
            x_at, w_at = patches + point * plane, first + p * whole
            _multiply_point(tiles, work, x_at, blocks, filters.weights, filters.int24, w_at, next_at, to)


# --- output tiles -----------------------------------------------------------------------------------------------------


@device
def _finish_activated(work, cells, m, epilogue, block, rows, columns, pool, y, y_at, to, residual, residual_at):
    """Activate the m x m cells of a tile and take the first rows x columns of them to their place."""
    run = work[cells : cells + m * m * 16]
    activate_fused(run, epilogue.activation)
    if epilogue.channels - block * 16 < 16:
        clear_lanes(run, epilogue.channels - block * 16)
    if pool != 0:
        for i in range(0, rows, 2):
            below = to + i // 2 * y_at.pitch * 16
            pool_rows(work, cells + i * m * 16, m, min(2, rows - i), columns, y, below)
        return
    for i in range(rows):
        for j in range(columns):
            value = vload(work, cells + (i * m + j) * 16)
            if residual.adds:
                value = value + vload(residual.data, residual_at + (i * residual.pitch + j) * 16)
            vstore(y, to + (i * y_at.pitch + j) * 16, value)


@device
def transform_output(tiles, source, block, work, products, scratch, bias, y, y_at, epilogue, residual):
    """A^T M A of a task's tiles for one output block, with bias and activation; pooled, or with the residual
    added."""
    m, n, pool, finish = tiles.m, tiles.side, source.pool, FINISHES * tiles.form
    step, activated = tiles.width * NR * 16, epilogue.activation != 0
    if not activated:
        finish += POOLED if pool != 0 else (ADDED if residual.adds else STORED)
    for t in range(tiles.used):
        picture, top, left = _position(tiles, t)
        points = Points(products + (t * NR + block % NR) * 16, n * step, step, scratch)
        to = cell(y_at, picture, block, top >> pool, left >> pool)
        other = residual_cell(residual, picture, block, top, left)
        rows, columns = min(m, source.height - top), min(m, source.width - left)
        if activated:
            transform_products(finish, work, points, bias, block * 16, epilogue.slope, work,
                               Cells(scratch, m * 16, m, m), residual.data, other, 0)  # fmt: skip
            _finish_activated(work, scratch, m, epilogue, block, rows, columns, pool, y, y_at, to, residual, other)
        else:
            transform_products(finish, work, points, bias, block * 16, epilogue.slope, y,
                               Cells(to, y_at.pitch * 16, rows, columns), residual.data, other,
                               residual.pitch * 16)  # fmt: skip


@device
def _clear_first_halos(tiles, block, y, y_at):
    first = (tiles.first + tiles.a_picture - 1) // tiles.a_picture
    for picture in range(first, (tiles.first + tiles.used + tiles.a_picture - 1) // tiles.a_picture):
        zero_halo(y, y_at, picture, block)


@device
def fetch_targets(y, y_at, residual, tiles, pool, first_block, begin, end):
    """Prefetch where some tiles of a task are to be written, and their residual, in the order of tiles of
    blocks."""
    side = tiles.m >> pool
    for number in range(begin, end):
        block = number // tiles.used
        picture, top, left = _position(tiles, number - block * tiles.used)
        block += first_block
        to = cell(y_at, picture, block, top >> pool, left >> pool)
        other = residual_cell(residual, picture, block, top, left)
        for i in range(side):
            for j in range(side):
                fetch(y, to + (i * y_at.pitch + j) * 16)
                if residual.adds:
                    fetch(residual.data, other + (i * residual.pitch + j) * 16)


# --- the kernel -------------------------------------------------------------------------------------------------------


@kernel
def convolve_winograd(x, source, filters, y, y_at, epilogue, residual, schedule, queue, workers, work, work_size):
    """y = activation(bias + filters * x); of that the largest of each 2 x 2 cells where `source.pool` is 1 (m
    even), or plus the residual.

    source: WinogradInput; filters: WinogradFilters; schedule: WinogradSchedule; queue: the tasks of `workers`
    workers (`addressing.next_task`), each of which has `work_size` floats of `work`.
    """
    points, blocks, ranges = side_of(filters.m, filters.stride) ** 2, source.blocks, schedule.panel_ranges
    whole = tiles_of(filters, source, y_at.pictures, 0, schedule.tiles_per_task)
    tasks = (y_at.pictures * whole.a_picture + schedule.tiles_per_task - 1) // schedule.tiles_per_task * ranges
    fetches_x = blocks >= MANY_BLOCKS and blocks * source.block_stride > LARGE
    fetches_y = residual.adds and blocks >= MANY_BLOCKS and filters.panels * NR * y_at.block_stride > LARGE
    reset_queue(queue, workers)
    for worker in prange(workers):
        scratch = worker * work_size
        patches = scratch + PATCH
        products = patches + points * (blocks * schedule.tiles_per_task * 16 + SKEW)
        present = -1
        task = next_task(queue, worker, workers, tasks)
        while task >= 0:
            piece = task // ranges
            part = task - piece * ranges
            tiles = tiles_of(filters, source, y_at.pictures, piece, schedule.tiles_per_task)
            if piece != present:
                transform_input(x, source, tiles, work, scratch, patches)
                present = piece
            following = tiles_of(filters, source, y_at.pictures, piece + 1, schedule.tiles_per_task)
            panel, end = filters.panels * part // ranges, filters.panels * (part + 1) // ranges
            passes, step = (end - panel + schedule.panels_per_pass - 1) // schedule.panels_per_pass, 0
            soon = following.used * blocks if part == ranges - 1 and fetches_x else 0
            while panel < end:
                now = min(schedule.panels_per_pass, end - panel)
                first, last = panel * NR, min((panel + now) * NR, y_at.blocks)
                written = last - first if fetches_y else 0
                prefetch = Prefetch(following, soon * step // passes, soon * (step + 1) // passes, first, written)
                _multiply(tiles, work, patches, filters, panel, now, products, prefetch, x, source, y, y_at, residual)
                for block in range(first, last):
                    _clear_first_halos(tiles, block, y, y_at)
                    at = products + (block // NR - panel) * points * tiles.width * NR * 16
                    transform_output(tiles, source, block, work, at, scratch, filters.bias, y, y_at, epilogue, residual)
                panel += now
                step += 1
            task = next_task(queue, worker, workers, tasks)
