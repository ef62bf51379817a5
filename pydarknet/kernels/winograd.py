"""Convolution with 3x3 filters and stride 1 by Winograd's method, F(m x m, 3 x 3) for m = 2, 3 and 4.

    Y = A^T [ sum over channels of (G g G^T) o (B^T d B) ] A

d: a patch of m + 2 cells a side, g: a filter, Y: m x m cells of the output. Where the direct method takes 9 products an
output cell, this takes (m + 2)^2 / m^2 of them: 2.25 with m = 4. Andrew Lavin and Scott Gray, "Fast Algorithms for
Convolutional Neural Networks" (2016).

A worker transforms the patches of a few tiles into memory that stays in its core's own cache, multiplies them by the
filters of a few output blocks, transforms those back, and goes on to the next output blocks.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
from numba import prange

from .activation import activate_fused, clear_lanes
from .halo import clear_halo
from .jit import device, kernel
from .simd import vload, vmax, vstore
from .tile import PIXELS, ROWS, make_products
from .winograd_lines import input_line, last_line, output_line

f32 = numba.float32

# How many tiles one call of the product takes: what the registers hold, then what is left over.
MOST, SOME, FEW = (14, 4, 2) if PIXELS == 14 else (6, 4, 2)
_most, _some, _few = make_products(MOST), make_products(SOME), make_products(FEW)
PATCH = 36 * 16  # floats of the largest patch
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
    accumulate: int
    pool: int


class Tiles(NamedTuple):
    """Those of one task: `used` of them from `first` on, in reading order over all items; memory for `width`."""

    m: int
    a_row: int
    an_item: int
    first: int
    used: int
    width: int


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
def _transform_input(x, source, tiles, work, scratch, patches):
    """B^T d B of a task's patches, to work from `patches` on: (n n, blocks, width, 16), SKEW between planes."""
    n = tiles.m + 2
    plane = source.blocks * tiles.width * 16 + SKEW
    line = scratch + PATCH
    for t in range(tiles.used):
        item, top, left = _place(tiles, t)
        start = item * source.item + source.start + (top * source.pitch + left) * 16
        inside = top + n <= source.rows and left + n <= source.columns
        for block in range(source.blocks):
            at = start + block * source.block
            if inside:
                for j in range(n):
                    input_line(tiles.m, x, at + j * 16, source.pitch * 16, work, line + j * 16, n * 16)
            else:
                _copy_patch(x, at, source.pitch, source.rows - top, source.columns - left, n, work, scratch)
                for j in range(n):
                    input_line(tiles.m, work, scratch + j * 16, n * 16, work, line + j * 16, n * 16)
            to = patches + (block * tiles.width + t) * 16
            for i in range(n):
                input_line(tiles.m, work, line + i * n * 16, 16, work, to + i * n * plane, plane)


@device
def _multiply_point(work, x_at, width, blocks, filters, w_at, next_at, y_at):
    """The products of all patches with one group of filters, at one point."""
    done = 0
    while width - done >= MOST:
        next_line = next_at + done * ROWS * 16
        _most(work, x_at + done * 16, width * 16, blocks, filters, w_at, next_line, work, y_at + done * ROWS * 16)
        done += MOST
    while width - done >= SOME:
        next_line = next_at + done * ROWS * 16
        _some(work, x_at + done * 16, width * 16, blocks, filters, w_at, next_line, work, y_at + done * ROWS * 16)
        done += SOME
    while width - done > 0:
        next_line = next_at + done * ROWS * 16
        _few(work, x_at + done * 16, width * 16, blocks, filters, w_at, next_line, work, y_at + done * ROWS * 16)
        done += FEW


@device
def _multiply(points, blocks, width, work, patches, filters, group, count, products):
    """The products of all patches with `count` groups of filters. work from `products` on: (count, points, width,
    ROWS, 16); filters: (groups, points, blocks, 16, ROWS, 16)."""
    plane = blocks * width * 16 + SKEW
    panel = blocks * 16 * ROWS * 16
    for point in range(points):
        for g in range(count):
            w_at = ((group + g) * points + point) * panel
            last = g + 1 == count
            next_at = (group * points + point + 1) * panel if last else w_at + points * panel
            y_at = products + (g * points + point) * width * ROWS * 16
            _multiply_point(work, patches + point * plane, width, blocks, filters, w_at, next_at, y_at)


@device
def _finish_row(work, at, target, block, cells, y, to):
    """Activate some cells of one row and take them to their place."""
    if target.activation != 0:
        run = work[at : at + cells * 16]
        activate_fused(run, target.activation)
        if target.channels - block * 16 < 16:
            clear_lanes(run, target.channels - block * 16)
    if target.pool == 0:
        for cell in range(cells):
            value = vload(work, at + cell * 16)
            if target.accumulate != 0:
                value = value + vload(y, to + cell * 16)
            vstore(y, to + cell * 16, value)


@device
def _pool(work, at, m, rows, columns, y, to, pitch):
    """The largest of each 2 x 2 of a tile's cells, of those that lie in the plane."""
    for i in range((rows + 1) // 2):
        for j in range((columns + 1) // 2):
            cell = at + (2 * i * m + 2 * j) * 16
            best = vload(work, cell)
            if 2 * j + 1 < columns:
                best = vmax(vload(work, cell + 16), best)
            if 2 * i + 1 < rows:
                best = vmax(vload(work, cell + m * 16), best)
                if 2 * j + 1 < columns:
                    best = vmax(vload(work, cell + m * 16 + 16), best)
            vstore(y, to + (i * pitch + j) * 16, best)


@device
def _transform_output(tiles, block, work, products, scratch, bias, y, target):
    """A^T M A of a task's tiles for one output block, with bias and activation, pooled where that is asked for."""
    m = tiles.m
    n = m + 2
    step = tiles.width * ROWS * 16
    line = scratch + PATCH
    shrink = 1 + target.pool
    whole = target.accumulate == 0 and target.activation == 0 and target.pool == 0
    for t in range(tiles.used):
        item, top, left = _place(tiles, t)
        at = products + (t * ROWS + block % ROWS) * 16
        for j in range(n):
            output_line(m, work, at + j * step, n * step, work, line + j * 16, n * 16)
        to = item * target.item + block * target.block
        to += ((top // shrink + target.halo) * target.pitch + left // shrink + target.halo) * 16
        rows, columns = min(m, target.height - top), min(m, target.width - left)
        for i in range(rows):
            row = line + i * n * 16
            if whole and columns == m:
                last_line(m, work, row, bias, block * 16, target.slope, y, to + i * target.pitch * 16)
            else:
                cells = scratch + i * m * 16
                last_line(m, work, row, bias, block * 16, target.slope, work, cells)
                _finish_row(work, cells, target, block, columns, y, to + i * target.pitch * 16)
        if target.pool != 0:
            _pool(work, scratch, m, rows, columns, y, to, target.pitch)


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
def convolve_winograd(m, x, x_item, x_block, x_pitch, x_start, x_rows, x_columns, blocks, filters, groups, bias, batch,
                      y, y_item, y_block, y_pitch, halo, height, width, channels, slope, activation, accumulate, pool,
                      chunk, at_once, splits, workers, work, work_size):  # fmt: skip
    """y = activation(bias + filters * x), and of that the largest of each 2 x 2 where `pool` is 1 (m even).

    x, y: flat, see Source and Target; `height`, `width`: of the output before pooling. filters: as `pack_winograd`
    gives them, `groups` groups of ROWS output blocks; bias: (groups * ROWS * 16,). A task is `chunk` tiles (even) of
    the batch x one of `splits` ranges of groups, `at_once` groups at a time. Each worker takes its share of the tasks
    and has `work_size` floats of `work` for itself.
    """
    points = (m + 2) * (m + 2)
    source = Source(x_item, x_block, x_pitch, x_start, x_rows, x_columns, blocks)
    target = Target(y_item, y_block, y_pitch, halo, height, width, channels, slope, activation, accumulate, pool)
    a_row = (width + m - 1) // m
    an_item = (height + m - 1) // m * a_row
    tasks = (batch * an_item + chunk - 1) // chunk * splits
    for worker in prange(workers):
        scratch = worker * work_size
        patches = scratch + 2 * PATCH
        products = patches + points * (blocks * chunk * 16 + SKEW)
        present = -1
        for task in range(tasks * worker // workers, tasks * (worker + 1) // workers):
            piece = task // splits
            split = task - piece * splits
            count = min(chunk, batch * an_item - piece * chunk)
            tiles = Tiles(m, a_row, an_item, piece * chunk, count, (count + 1) // 2 * 2)
            if piece != present:
                _transform_input(x, source, tiles, work, scratch, patches)
                present = piece
            group, end = groups * split // splits, groups * (split + 1) // splits
            while group < end:
                now = min(at_once, end - group)
                _multiply(points, blocks, tiles.width, work, patches, filters, group, now, products)
                for block in range(group * ROWS, min((group + now) * ROWS, (channels + 15) // 16)):
                    if halo > 0:
                        _clear_halos(tiles, block, y, target)
                    at = products + (block // ROWS - group) * points * tiles.width * ROWS * 16
                    _transform_output(tiles, block, work, at, scratch, bias, y, target)
                group += now


@kernel
def pack_winograd(m, weights, matrix, channels, multiplier, packed):
    """G g G^T of (n, channels, 3, 3) filters, times a factor a filter: (groups, points, channels rounded up to blocks,
    ROWS, 16).

    weights: flat; matrix: G, (m + 2, 3) float64; multiplier: (n,) float32.
    """
    n = m + 2
    filters = multiplier.shape[0]
    panel = (channels + 15) // 16 * 16 * ROWS * 16
    for g in prange((filters + ROWS * 16 - 1) // (ROWS * 16)):
        base = g * n * n * panel
        packed[base : base + n * n * panel] = f32(0)
        for f in range(g * ROWS * 16, min(filters, (g + 1) * ROWS * 16)):
            for c in range(channels):
                w = weights[(f * channels + c) * 9 : (f * channels + c + 1) * 9]
                to = base + c * ROWS * 16 + f - g * ROWS * 16
                for i in range(n):
                    a, b, d = matrix[i, 0] * multiplier[f], matrix[i, 1] * multiplier[f], matrix[i, 2] * multiplier[f]
                    p, q, r = (
                        a * w[0] + b * w[3] + d * w[6],
                        a * w[1] + b * w[4] + d * w[7],
                        a * w[2] + b * w[5] + d * w[8],
                    )
                    for j in range(n):
                        packed[to + (i * n + j) * panel] = matrix[j, 0] * p + matrix[j, 1] * q + matrix[j, 2] * r
