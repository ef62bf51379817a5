"""Convolution with 3x3 filters and stride 1 or 2 by Winograd's method, F(m x m, 3 x 3) for m = 2, 3 and 4.

    Y = A^T [ sum over channels of (G g G^T) o (B^T d B) ] A

d: an input tile of m + 2 cells a side, g: a filter, Y: m x m cells of the output. Where the direct method takes 9
products an output cell, this takes (m + 2)^2 / m^2 of them: 2.25 with m = 4. With stride 2 input tiles have 2 m + 1
cells a side, and 5.4 products are taken with m = 3 (see `winograd_transforms.py`); several points then share a filter.
Andrew Lavin and Scott Gray, "Fast Algorithms for Convolutional Neural Networks" (2016).

The order in time, for one task of a worker (`tiles_per_task` tiles, a range of panels of filters):

1. `transform_input`: B^T d B of every input tile and input block, into memory that stays in the core's own cache. Left
   out where the task before had the same tiles.
2. For `panels_per_pass` panels at a time, until the range is done:
   a. `_multiply`: for each of the (m + 2)^2 points the product of all transformed tiles with the panels' filters, a
      matrix product. Between points, what is needed next is prefetched: input tiles of the next task, and where this
      pass's output goes.
   b. `transform_output`: A^T M A of every tile and output block, with bias, activation, pooling or residual, stored.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
from numba import prange

from ...runtime.jit import device, kernel
from ..activation import activate_fused, clear_lanes
from ..halo import clear_halos
from ..pooling import pool_rows
from ..simd.intrinsics import one_of
from ..simd.vector import fetch, vload, vstore
from ..task_queue import next_task, reset_queue
from .int24 import KEPT, QUAD, panel_size
from .microkernel import MR, NR
from .winograd_microkernel import make_products
from .winograd_output import Cells, Points, add_products, pool_products, store_products
from .winograd_transforms import code_of, transform_patch

f32 = numba.float32

MOST = MR  # tiles that one product takes: what the registers hold
PATCH = 49 * 16  # floats of the largest input tile
SKEW = 16  # floats between planes of transformed tiles, so that they do not share the cache's sets

# From so many input blocks and floats on, what is needed soon is prefetched while products are computed: of smaller
# tensors a good part is in the cores' own caches, and beside fewer products prefetching takes too long. Where the
# output goes is prefetched only if something is read there too: stores alone wait for nobody.
MANY_BLOCKS, LARGE = 2, 5 << 18

# The product of so many tiles: each even number of them has code of its own.
_product, _int24_product = (
    one_of({columns: make_products(columns, int24) for columns in range(2, MOST + 1, 2)}) for int24 in (False, True)
)


class Tiles(NamedTuple):
    """The tiles of one task: `used` of them from `first` on, in reading order over all pictures. Memory is for `width`
    tiles, which is even, in `parts`: as few as a product takes at a time, of about the same size, as each reads all
    filters."""

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
    """What is prefetched while products are computed: input tiles of the task `tiles` from the first to the last, and
    where the products' own tiles go in so many output blocks, with the residual there. Nothing of tensors that are not
    LARGE."""

    tiles: Tiles
    first: int
    last: int
    block: int
    blocks: int


@device
def tiles_of(m, stride, a_row, a_picture, piece, tiles_per_task, pictures):
    """The piece-th `tiles_per_task` tiles of a batch; none behind the last."""
    first = min(piece * tiles_per_task, pictures * a_picture)
    count = min(tiles_per_task, pictures * a_picture - first)
    held = (count + 1) // 2 * 2
    side = m + 2 if stride == 1 else 2 * m + 1
    parts = (held + MOST - 1) // MOST
    return Tiles(m, stride, code_of(m, stride), side, a_row, a_picture, first, count, held, parts)


@device
def _position(tiles, t):
    """(picture, top row, left column) of the t-th tile of a task."""
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
    """The first rows x columns cells of an input tile, and zeros for the others."""
    for i in range(n):
        for j in range(n):
            to = patch + (i * n + j) * 16
            if i < rows and j < columns:
                vstore(work, to, vload(x, x_at + (i * pitch + j) * 16))
            else:
                for lane in range(16):
                    work[to + lane] = f32(0)


@device
def transform_input(x, source, tiles, work, scratch, patches):
    """B^T d B of a task's input tiles, to work from `patches` on: (n n, for each part: (blocks, its width, 16)), SKEW
    between planes."""
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
                    transform_patch(form, x, at, source.pitch * 16, 16, work, to, plane, work, scratch)
                else:
                    _copy_patch(x, at, source.pitch, source.rows - top, source.columns - left, n, work, scratch)
                    transform_patch(form, work, scratch, n * 16, 16, work, to, plane, work, scratch)


@device
def fetch_patches(x, source, tiles, begin, end):
    """Prefetch what some input tiles of a task read, in the order of blocks of tiles, but for what their neighbours
    above and on the left have read."""
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
    """The products of all transformed tiles with one panel of filters, at one point."""
    for part in range(tiles.parts):
        begin, end = part_of(tiles.width, tiles.parts, part)
        count, x_part, y_part = end - begin, x_at + begin * blocks * 16, y_at + begin * NR * 16
        if int24 != 0:
            soon = next_at + begin * NR * KEPT // QUAD * 16
            _int24_product(count, work, x_part, count * 16, blocks, weights, w_at, soon, work, y_part)
        else:
            soon = next_at + begin * NR * 16
            _product(count, work, x_part, count * 16, blocks, weights, w_at, soon, work, y_part)


@device
def _multiply(tiles, work, patches, filters, first_panel, count, products, prefetch, x, source, y, target, residual):
    """The products of all transformed tiles with `count` panels of filters. work from `products` on: (count, points,
    width, NR, 16)."""
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
            fetch_targets(y, target, residual, tiles, prefetch.block, written * point // points,
                          written * (point + 1) // points)  # fmt: skip
        first = first_panel * whole + panel_of(tiles.m, tiles.side, point) * panel
        following = (first_panel + count) * whole
        if point + 1 < points:
            following = first_panel * whole + panel_of(tiles.m, tiles.side, point + 1) * panel
        for p in range(count):
            next_at = following if p + 1 == count else first + (p + 1) * whole
            y_at = products + (p * points + point) * width * NR * 16
            x_at, w_at = patches + point * plane, first + p * whole
            _multiply_point(tiles, work, x_at, blocks, filters.weights, filters.int24, w_at, next_at, y_at)


# --- output tiles -----------------------------------------------------------------------------------------------------


@device
def _target_of(target, block, picture, top, left):
    """Where an output tile is written, whose first cell before pooling is (top, left)."""
    shrink = 1 + target.pool
    to = picture * target.picture_stride + block * target.block_stride
    return to + ((top // shrink + target.halo) * target.pitch + left // shrink + target.halo) * 16


@device
def _residual_of(residual, block, picture, top, left):
    """Where the residual of an output tile is read."""
    at = residual.origin + picture * residual.picture_stride + block * residual.block_stride
    return at + (top * residual.pitch + left) * 16


@device
def _finish_activated(work, cells, m, target, block, rows, columns, y, to, residual, residual_at):
    """Activate the m x m cells of a tile and take the first rows x columns of them to their place."""
    run = work[cells : cells + m * m * 16]
    activate_fused(run, target.activation)
    if target.channels - block * 16 < 16:
        clear_lanes(run, target.channels - block * 16)
    if target.pool != 0:
        for i in range(0, rows, 2):
            below = to + i // 2 * target.pitch * 16
            pool_rows(work, cells + i * m * 16, m, min(2, rows - i), columns, y, below)
        return
    for i in range(rows):
        for j in range(columns):
            value = vload(work, cells + (i * m + j) * 16)
            if residual.adds:
                value = value + vload(residual.data, residual_at + (i * residual.pitch + j) * 16)
            vstore(y, to + (i * target.pitch + j) * 16, value)


@device
def transform_output(tiles, block, work, products, scratch, bias, y, target, residual):
    """A^T M A of a task's tiles for one output block, with bias and activation; pooled, or with the residual added."""
    m, n, form = tiles.m, tiles.side, tiles.form
    step = tiles.width * NR * 16
    residual_row = residual.pitch * 16
    for t in range(tiles.used):
        picture, top, left = _position(tiles, t)
        points = Points(products + (t * NR + block % NR) * 16, n * step, step, scratch)
        to = _target_of(target, block, picture, top, left)
        other = _residual_of(residual, block, picture, top, left)
        rows, columns = min(m, target.height - top), min(m, target.width - left)
        if target.activation != 0:
            cells = Cells(scratch, m * 16, m, m)
            store_products(form, work, points, bias, block * 16, target.slope, work, cells, residual.data, other,
                           residual_row)  # fmt: skip
            _finish_activated(work, scratch, m, target, block, rows, columns, y, to, residual, other)
            continue
        cells = Cells(to, target.pitch * 16, rows, columns)
        if target.pool != 0:
            pool_products(form, work, points, bias, block * 16, target.slope, y, cells, residual.data, other,
                          residual_row)  # fmt: skip
        elif residual.adds:
            add_products(form, work, points, bias, block * 16, target.slope, y, cells, residual.data, other,
                         residual_row)  # fmt: skip
        else:
            store_products(form, work, points, bias, block * 16, target.slope, y, cells, residual.data, other,
                           residual_row)  # fmt: skip


@device
def _clear_first_halos(tiles, block, y, target):
    """Write zeros round the planes of those pictures whose first tile is in this task."""
    shrink = 1 + target.pool
    height, width = (target.height + target.pool) // shrink, (target.width + target.pool) // shrink
    picture = (tiles.first + tiles.a_picture - 1) // tiles.a_picture
    count = (tiles.first + tiles.used + tiles.a_picture - 1) // tiles.a_picture - picture
    at = picture * target.picture_stride + block * target.block_stride
    clear_halos(y, at, target.picture_stride, count, height, width, target.halo)


@device
def fetch_targets(y, target, residual, tiles, first_block, begin, end):
    """Prefetch where some tiles of a task are to be written, and their residual, in the order of tiles of blocks."""
    side = tiles.m // (1 + target.pool)
    for cell in range(begin, end):
        block = cell // tiles.used
        picture, top, left = _position(tiles, cell - block * tiles.used)
        block += first_block
        to = _target_of(target, block, picture, top, left)
        other = _residual_of(residual, block, picture, top, left)
        for i in range(side):
            for j in range(side):
                fetch(y, to + (i * target.pitch + j) * 16)
                if residual.adds:
                    fetch(residual.data, other + (i * residual.pitch + j) * 16)


# --- the kernel -------------------------------------------------------------------------------------------------------


@kernel
def convolve_winograd(x, source, filters, y, target, residual, schedule, queue, workers, work, work_size):
    """y = activation(bias + filters * x); of that the largest of each 2 x 2 cells where `target.pool` is 1 (m even), or
    plus the residual.

    x, y: flat float32; source: WinogradInput; filters: WinogradFilters; target: WinogradOutput; residual: Residual;
    schedule: WinogradSchedule; queue: the tasks of `workers` workers (`task_queue.py`), each of which has `work_size`
    floats of `work` for itself.
    """
    m, stride = filters.m, filters.stride
    side = m + 2 if stride == 1 else 2 * m + 1
    points, blocks = side * side, source.blocks
    a_row = (target.width + m - 1) // m
    a_picture = (target.height + m - 1) // m * a_row
    ranges = schedule.panel_ranges
    tasks = (target.pictures * a_picture + schedule.tiles_per_task - 1) // schedule.tiles_per_task * ranges
    fetches_x = blocks >= MANY_BLOCKS and blocks * source.block_stride > LARGE
    fetches_y = residual.adds and blocks >= MANY_BLOCKS and filters.panels * NR * target.block_stride > LARGE
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
            tiles = tiles_of(m, stride, a_row, a_picture, piece, schedule.tiles_per_task, target.pictures)
            if piece != present:
                transform_input(x, source, tiles, work, scratch, patches)
                present = piece
            following = tiles_of(m, stride, a_row, a_picture, piece + 1, schedule.tiles_per_task, target.pictures)
            panel, end = filters.panels * part // ranges, filters.panels * (part + 1) // ranges
            passes, step = (end - panel + schedule.panels_per_pass - 1) // schedule.panels_per_pass, 0
            soon = following.used * blocks if part == ranges - 1 and fetches_x else 0
            while panel < end:
                now = min(schedule.panels_per_pass, end - panel)
                first, last = panel * NR, min((panel + now) * NR, (target.channels + 15) // 16)
                written = last - first if fetches_y else 0
                prefetch = Prefetch(following, soon * step // passes, soon * (step + 1) // passes, first, written)
                _multiply(tiles, work, patches, filters, panel, now, products, prefetch, x, source, y, target, residual)
                for block in range(first, last):
                    _clear_first_halos(tiles, block, y, target)
                    at = products + (block // NR - panel) * points * tiles.width * NR * 16
                    transform_output(tiles, block, work, at, scratch, filters.bias, y, target, residual)
                panel += now
                step += 1
            task = next_task(queue, worker, workers, tasks)
