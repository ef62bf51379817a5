"""The tiles of one task of Winograd's method: their patches transformed on the way in, their products on the way out,
and what of memory is asked for before it is needed."""

from __future__ import annotations

from typing import NamedTuple

import numba

from ...runtime.jit import device
from ..activation import activate_fused, clear_lanes
from ..halo import clear_halo
from ..pooling import pool_rows
from ..simd.vector import fetch, vload, vstore
from .microkernel import PIXELS, ROWS
from .winograd_output import add_products, pool_products, store_products
from .winograd_transforms import code_of, transform_patch

f32 = numba.float32

MOST = PIXELS  # tiles that one product takes: what the registers hold
PATCH = 49 * 16  # floats of the largest patch
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
def tiles_of(m, stride, a_row, an_item, piece, chunk, batch):
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
def part_of(width, parts, part):
    """The tiles from the first to the last of one part, each part an even number and all about as many."""
    return 2 * (width // 2 * part // parts), 2 * (width // 2 * (part + 1) // parts)


@device
def transform_input(x, source, tiles, work, scratch, patches):
    """B^T d B of a task's patches, to work from `patches` on: (n n, for each part: (blocks, its width, 16)), SKEW
    between planes."""
    n, m, stride = tiles.side, tiles.m, tiles.stride
    plane = source.blocks * tiles.width * 16 + SKEW
    for part in range(tiles.parts):
        begin, end = part_of(tiles.width, tiles.parts, part)
        for t in range(begin, min(end, tiles.used)):
            item, top, left = _place(tiles, t)
            top, left = top * stride, left * stride
            start = item * source.item + source.start + (top * source.pitch + left) * 16
            inside = top + n <= source.rows and left + n <= source.columns
            for block in range(source.blocks):
                at = start + block * source.block
                to = patches + (begin * source.blocks + block * (end - begin) + t - begin) * 16
                if inside:
                    transform_patch(code_of(m, stride), x, at, source.pitch * 16, 16, work, to, plane, work, scratch)
                else:
                    _copy_patch(x, at, source.pitch, source.rows - top, source.columns - left, n, work, scratch)
                    transform_patch(code_of(m, stride), work, scratch, n * 16, 16, work, to, plane, work, scratch)


@device
def panel_of(m, side, point):
    """Which of the (m + 2)^2 transformed filters meets a point of the patches: odd cells all meet the last."""
    row = point // side
    return min(row, m + 1) * (m + 2) + min(point - row * side, m + 1)


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
def transform_output(tiles, block, work, products, scratch, bias, y, target, more, added):
    """A^T M A of a task's tiles for one output block, with bias and activation; pooled, or with `added` added."""
    m, n = tiles.m, tiles.side
    form = code_of(m, tiles.stride)
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
            store_products(form, work, at, n * step, step, bias, block * 16, target.slope, work, scratch, m * 16, m, m,
                           added, other, a_row, work, scratch)  # fmt: skip
            _finish_activated(work, scratch, m, target, block, rows, columns, y, to, more, added, other)
        elif target.pool != 0:
            pool_products(form, work, at, n * step, step, bias, block * 16, target.slope, y, to, y_row, rows, columns,
                          added, other, a_row, work, scratch)  # fmt: skip
        elif more.asked:
            add_products(form, work, at, n * step, step, bias, block * 16, target.slope, y, to, y_row, rows, columns,
                         added, other, a_row, work, scratch)  # fmt: skip
        else:
            store_products(form, work, at, n * step, step, bias, block * 16, target.slope, y, to, y_row, rows, columns,
                           added, other, a_row, work, scratch)  # fmt: skip


@device
def clear_halos(tiles, block, y, target):
    """Write zeros round the planes of those items whose first tile is in this task."""
    shrink = 1 + target.pool
    height, width = (target.height + target.pool) // shrink, (target.width + target.pool) // shrink
    item = (tiles.first + tiles.an_item - 1) // tiles.an_item
    while item * tiles.an_item < tiles.first + tiles.used:
        clear_halo(y, item * target.item + block * target.block, height, width, target.halo)
        item += 1


@device
def fetch_patches(x, source, tiles, begin, end):
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
def fetch_targets(y, target, added, more, tiles, first_block, begin, end):
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
