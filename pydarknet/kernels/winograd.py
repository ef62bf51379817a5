"""Convolution with 3x3 filters and stride 1 or 2 by Winograd's method, F(m x m, 3 x 3) for m = 2, 3 and 4.

    Y = A^T [ sum over channels of (G g G^T) o (B^T d B) ] A

d: a patch of m + 2 cells a side, g: a filter, Y: m x m cells of the output. Where the direct method takes 9 products an
output cell, this takes (m + 2)^2 / m^2 of them: 2.25 with m = 4. With stride 2 patches have 2 m + 1 cells a side, and
5.4 products are taken with m = 3 (see `winograd_transforms.py`); several points then share a filter. Andrew Lavin and
Scott Gray, "Fast Algorithms for Convolutional Neural Networks" (2016).

A worker transforms the patches of a few tiles into memory that stays in its core's own cache, multiplies them by the
filters of a few output blocks, transforms those back, and goes on to the next output blocks.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
from numba import prange

from .activation import activate_fused, clear_lanes
from .halo import clear_halo
from .jit import device, inlined, kernel
from .pooling import pool_rows
from .simd import fetch, vload, vstore
from .tile import PIXELS, ROWS
from .tile_products import make_products
from .turns import begin_turns, next_turn
from .winograd_store import add_products, pool_products, store_products
from .winograd_transforms import transform_patch

f32 = numba.float32

MOST = PIXELS  # tiles that one product takes: what the registers hold
PATCH = 49 * 16  # floats of the largest patch

# From so many input blocks and floats on, what is needed soon is asked for while products are computed: of smaller
# tensors a good part is in the cores' own caches, and beside fewer products the asking takes too long.
MANY_BLOCKS, LARGE = 4, 5 << 18

SKEW = 16  # floats between planes of transformed patches, so that they do not share the cache's sets


class Source(NamedTuple):
    """Where patches are read: floats between items and blocks, cells between rows, the first patch's first float, and
    how many rows and columns of cells there are from it on; what lies beyond counts as zero."""

    item: int
    block: int
    pitch: int
    start: int
    rows: int
    columns: int
    blocks: int


class Target(NamedTuple):
    """Where the output goes, `halo` cells of zeros round each plane, and what is done with it."""

    item: int
    block: int
    pitch: int
    halo: int
    height: int
    width: int
    channels: int
    slope: float
    activation: int
    pool: int


class Added(NamedTuple):
    """Where that is read which is added to the output, unless it is not asked for: `start` is inside the halo."""

    asked: bool
    item: int
    block: int
    pitch: int
    start: int


class Tiles(NamedTuple):
    """Those of one task: `used` of them from `first` on, in reading order over all items; memory for `width`, which is
    even, in `parts`: as few as a product takes at a time, of about the same size, as each reads all filters. `side`: of
    a patch, in cells."""

    m: int
    stride: int
    side: int
    a_row: int
    an_item: int
    first: int
    used: int
    width: int
    parts: int


@device
def _tiles(m, stride, a_row, an_item, piece, chunk, batch):
    """Those of the piece-th `chunk` of a batch's tiles; none behind the last."""
    first = min(piece * chunk, batch * an_item)
    count = min(chunk, batch * an_item - first)
    held = (count + 1) // 2 * 2
    side = m + 2 if stride == 1 else 2 * m + 1
    return Tiles(m, stride, side, a_row, an_item, first, count, held, (held + MOST - 1) // MOST)


@device
def _place(tiles, t):
    """(item, top row, left column) of the t-th tile of a task."""
    item = (tiles.first + t) // tiles.an_item
    tile = tiles.first + t - item * tiles.an_item
    row = tile // tiles.a_row
    return item, row * tiles.m, (tile - row * tiles.a_row) * tiles.m


@device
def _copy_patch(x, x_at, pitch, rows, columns, n, work, patch):
    """The first rows x columns cells of a patch, and zeros for the others."""
    for i in range(n):
        for j in range(n):
            to = patch + (i * n + j) * 16
            if i < rows and j < columns:
                vstore(work, to, vload(x, x_at + (i * pitch + j) * 16))
            else:
                for lane in range(16):
                    work[to + lane] = f32(0)


@device
def _part(width, parts, part):
    """The tiles from the first to the last of one part, each part an even number and all about as many."""
    return 2 * (width // 2 * part // parts), 2 * (width // 2 * (part + 1) // parts)


@device
def _transform_input(x, source, tiles, work, scratch, patches):
    """B^T d B of a task's patches, to work from `patches` on: (n n, for each part: (blocks, its width, 16)), SKEW
    between planes."""
    n, m, stride = tiles.side, tiles.m, tiles.stride
    plane = source.blocks * tiles.width * 16 + SKEW
    for part in range(tiles.parts):
        begin, end = _part(tiles.width, tiles.parts, part)
        for t in range(begin, min(end, tiles.used)):
            item, top, left = _place(tiles, t)
            top, left = top * stride, left * stride
            start = item * source.item + source.start + (top * source.pitch + left) * 16
            inside = top + n <= source.rows and left + n <= source.columns
            for block in range(source.blocks):
                at = start + block * source.block
                to = patches + (begin * source.blocks + block * (end - begin) + t - begin) * 16
                if inside:
                    transform_patch(m, stride, x, at, source.pitch * 16, 16, work, to, plane, work, scratch)
                else:
                    _copy_patch(x, at, source.pitch, source.rows - top, source.columns - left, n, work, scratch)
                    transform_patch(m, stride, work, scratch, n * 16, 16, work, to, plane, work, scratch)


def _products_up_to(most):
    """The product of so many tiles, at most `most`, as one function: each number of them has code of its own."""
    these = make_products(most)
    if most == 2:

        @inlined
        def product(columns, x, x_at, x_tap, tap_count, weights, weights_at, next_at, y, y_at):
            these(x, x_at, x_tap, tap_count, weights, weights_at, next_at, y, y_at)

        return product
    fewer = _products_up_to(most - 2)

    @inlined
    def product(columns, x, x_at, x_tap, tap_count, weights, weights_at, next_at, y, y_at):
        if columns == most:
            these(x, x_at, x_tap, tap_count, weights, weights_at, next_at, y, y_at)
        else:
            fewer(columns, x, x_at, x_tap, tap_count, weights, weights_at, next_at, y, y_at)

    return product


_product = _products_up_to(MOST)


@device
def _multiply_point(tiles, work, x_at, blocks, filters, w_at, next_at, y_at):
    """The products of all patches with one group of filters, at one point."""
    for part in range(tiles.parts):
        begin, end = _part(tiles.width, tiles.parts, part)
        _product(end - begin, work, x_at + begin * blocks * 16, (end - begin) * 16, blocks, filters, w_at,
                 next_at + begin * ROWS * 16, work, y_at + begin * ROWS * 16)  # fmt: skip


@device
def _panel(m, side, point):
    """Which of the (m + 2)^2 transformed filters meets a point of the patches: odd cells all meet the last."""
    row = point // side
    return min(row, m + 1) * (m + 2) + min(point - row * side, m + 1)


@device
def _fetch_patches(x, source, tiles, begin, end):
    """Ask for what some patches of a task read, in the order of blocks of tiles, but for what their neighbours
    above and on the left have read."""
    n, step = tiles.side, tiles.m * tiles.stride
    for patch in range(begin, end):
        t = patch // source.blocks
        item, top, left = _place(tiles, t)
        at = item * source.item + source.start + (top * tiles.stride * source.pitch + left * tiles.stride) * 16
        at += (patch - t * source.blocks) * source.block
        for i in range(n - step, n):
            for j in range(n - step, n):
                fetch(x, at + (i * source.pitch + j) * 16)


@device
def _fetch_targets(y, target, added, more, tiles, first_block, begin, end):
    """Ask for where some tiles of a task are to be written, and for what is added there, in the order of tiles of
    blocks."""
    shrink = 1 + target.pool
    side = tiles.m // shrink
    for cell in range(begin, end):
        block = cell // tiles.used
        item, top, left = _place(tiles, cell - block * tiles.used)
        block += first_block
        to = item * target.item + block * target.block
        to += ((top // shrink + target.halo) * target.pitch + left // shrink + target.halo) * 16
        other = more.start + item * more.item + block * more.block + (top * more.pitch + left) * 16
        for i in range(side):
            for j in range(side):
                fetch(y, to + (i * target.pitch + j) * 16)
                if more.asked:
                    fetch(added, other + (i * more.pitch + j) * 16)


class Ahead(NamedTuple):
    """What is asked for while products are computed: patches of the task `tiles` from the first to the last, and where
    the products' own tiles go in so many output blocks. Nothing at all where there are few products."""

    tiles: Tiles
    first: int
    last: int
    block: int
    blocks: int


@device
def _multiply(tiles, blocks, work, patches, filters, group, count, products, ahead, x, source, y, target, added,
              more):  # fmt: skip
    """The products of all patches with `count` groups of filters. work from `products` on: (count, points, width,
    ROWS, 16); filters: (groups, (m + 2)^2, blocks, 16, ROWS, 16)."""
    points, width = tiles.side * tiles.side, tiles.width
    plane = blocks * width * 16 + SKEW
    panel = blocks * 16 * ROWS * 16
    whole = (tiles.m + 2) * (tiles.m + 2) * panel
    fetched, written = ahead.last - ahead.first, ahead.blocks * tiles.used
    for point in range(points):
        if fetched > 0:
            _fetch_patches(x, source, ahead.tiles, ahead.first + fetched * point // points,
                           ahead.first + fetched * (point + 1) // points)  # fmt: skip
        if written > 0:
            _fetch_targets(y, target, added, more, tiles, ahead.block, written * point // points,
                           written * (point + 1) // points)  # fmt: skip
        first = group * whole + _panel(tiles.m, tiles.side, point) * panel
        following = (group + count) * whole
        if point + 1 < points:
            following = group * whole + _panel(tiles.m, tiles.side, point + 1) * panel
        for g in range(count):
            next_at = following if g + 1 == count else first + (g + 1) * whole
            y_at = products + (g * points + point) * width * ROWS * 16
            _multiply_point(tiles, work, patches + point * plane, blocks, filters, first + g * whole, next_at, y_at)


@device
def _finish_activated(work, cells, m, target, block, rows, columns, y, to, more, added, added_at):
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
            if more.asked:
                value = value + vload(added, added_at + (i * more.pitch + j) * 16)
            vstore(y, to + (i * target.pitch + j) * 16, value)


@device
def _transform_output(tiles, block, work, products, scratch, bias, y, target, more, added):
    """A^T M A of a task's tiles for one output block, with bias and activation; pooled, or with `added` added."""
    m, n, stride = tiles.m, tiles.side, tiles.stride
    step = tiles.width * ROWS * 16
    shrink = 1 + target.pool
    y_row, a_row = target.pitch * 16, more.pitch * 16
    for t in range(tiles.used):
        item, top, left = _place(tiles, t)
        at = products + (t * ROWS + block % ROWS) * 16
        to = item * target.item + block * target.block
        to += ((top // shrink + target.halo) * target.pitch + left // shrink + target.halo) * 16
        other = more.start + item * more.item + block * more.block + (top * more.pitch + left) * 16
        rows, columns = min(m, target.height - top), min(m, target.width - left)
        if target.activation != 0:
            store_products(m, stride, work, at, n * step, step, bias, block * 16, target.slope, work, scratch, m * 16,
                           m, m, added, other, a_row, work, scratch)  # fmt: skip
            _finish_activated(work, scratch, m, target, block, rows, columns, y, to, more, added, other)
        elif target.pool != 0:
            pool_products(m, stride, work, at, n * step, step, bias, block * 16, target.slope, y, to, y_row, rows,
                          columns, added, other, a_row, work, scratch)  # fmt: skip
        elif more.asked:
            add_products(m, stride, work, at, n * step, step, bias, block * 16, target.slope, y, to, y_row, rows,
                         columns, added, other, a_row, work, scratch)  # fmt: skip
        else:
            store_products(m, stride, work, at, n * step, step, bias, block * 16, target.slope, y, to, y_row, rows,
                           columns, added, other, a_row, work, scratch)  # fmt: skip


@device
def _clear_halos(tiles, block, y, target):
    """Write zeros round the planes of those items whose first tile is in this task."""
    shrink = 1 + target.pool
    height, width = (target.height + target.pool) // shrink, (target.width + target.pool) // shrink
    item = (tiles.first + tiles.an_item - 1) // tiles.an_item
    while item * tiles.an_item < tiles.first + tiles.used:
        clear_halo(y, item * target.item + block * target.block, height, width, target.halo)
        item += 1


@kernel
def convolve_winograd(m, stride, x, x_item, x_block, x_pitch, x_start, x_rows, x_columns, blocks, filters, groups,
                      bias, batch, y, y_item, y_block, y_pitch, halo, height, width, channels, slope, activation, pool,
                      adds, added, a_item, a_block, a_pitch, a_origin, chunk, at_once, splits,
                      turns, workers, work, work_size):  # fmt: skip
    """y = activation(bias + filters * x); of that the largest of each 2 x 2 cells where `pool` is 1 (m even), or plus
    what stands in `added` where `adds` is set.

    x, y: flat, see Source and Target; `height`, `width`: of the output before pooling. filters: as `pack_winograd`
    gives them, `groups` groups of ROWS output blocks; bias: (groups * ROWS * 16,). A task is `chunk` tiles (even) of
    the batch x one of `splits` ranges of groups, `at_once` groups at a time. Workers take turns (`turns.py`); each has
    `work_size` floats of `work` for itself.
    """
    side = m + 2 if stride == 1 else 2 * m + 1
    points = side * side
    source = Source(x_item, x_block, x_pitch, x_start, x_rows, x_columns, blocks)
    target = Target(y_item, y_block, y_pitch, halo, height, width, channels, slope, activation, pool)
    more = Added(adds, a_item, a_block, a_pitch, a_origin)
    a_row = (width + m - 1) // m
    an_item = (height + m - 1) // m * a_row
    tasks = (batch * an_item + chunk - 1) // chunk * splits
    fetches_x = blocks >= MANY_BLOCKS and blocks * x_block > LARGE
    fetches_y = blocks >= MANY_BLOCKS and groups * ROWS * y_block > LARGE
    begin_turns(turns, workers)
    for worker in prange(workers):
        scratch = worker * work_size
        patches = scratch + PATCH
        products = patches + points * (blocks * chunk * 16 + SKEW)
        present = -1
        task = next_turn(turns, worker, workers, tasks)
        while task >= 0:
            piece = task // splits
            split = task - piece * splits
            tiles = _tiles(m, stride, a_row, an_item, piece, chunk, batch)
            if piece != present:
                _transform_input(x, source, tiles, work, scratch, patches)
                present = piece
            following = _tiles(m, stride, a_row, an_item, piece + 1, chunk, batch)
            group, end = groups * split // splits, groups * (split + 1) // splits
            steps, step = (end - group + at_once - 1) // at_once, 0
            soon = following.used * blocks if split == splits - 1 and fetches_x else 0
            while group < end:
                now = min(at_once, end - group)
                first, last = group * ROWS, min((group + now) * ROWS, (channels + 15) // 16)
                written = last - first if fetches_y else 0
                ahead = Ahead(following, soon * step // steps, soon * (step + 1) // steps, first, written)
                _multiply(tiles, blocks, work, patches, filters, group, now, products, ahead, x, source, y, target,
                          added, more)  # fmt: skip
                for block in range(first, last):
                    if halo > 0:
                        _clear_halos(tiles, block, y, target)
                    at = products + (block // ROWS - group) * points * tiles.width * ROWS * 16
                    _transform_output(tiles, block, work, at, scratch, bias, y, target, more, added)
                group += now
                step += 1
            task = next_turn(turns, worker, workers, tasks)
