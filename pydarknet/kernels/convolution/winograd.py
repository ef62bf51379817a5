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

from numba import prange

from ...runtime.jit import device, kernel
from ..simd.switch import one_of
from ..task_queue import next_task, reset_queue
from .int24 import KEPT, QUAD, panel_size
from .microkernel import ROWS
from .winograd_microkernel import make_products
from .winograd_tiles import (
    MOST,
    PATCH,
    SKEW,
    Added,
    Source,
    Target,
    Tiles,
    clear_halos,
    fetch_patches,
    fetch_targets,
    panel_of,
    part_of,
    tiles_of,
    transform_input,
    transform_output,
)

# From so many input blocks and floats on, what is needed soon is asked for while products are computed: of smaller
# tensors a good part is in the cores' own caches, and beside fewer products the asking takes too long. Where the output
# goes is asked for only if something is read there too: stores alone wait for nobody.
MANY_BLOCKS, LARGE = 2, 5 << 18


# The product of so many tiles: each even number of them has code of its own.
_product, _compact_product = (
    one_of({columns: make_products(columns, compact) for columns in range(2, MOST + 1, 2)}) for compact in (False, True)
)


@device
def _multiply_point(tiles, work, x_at, blocks, filters, compact, w_at, next_at, y_at):
    """The products of all patches with one group of filters, at one point."""
    for part in range(tiles.parts):
        begin, end = part_of(tiles.width, tiles.parts, part)
        count, x_part, y_part = end - begin, x_at + begin * blocks * 16, y_at + begin * ROWS * 16
        if compact != 0:
            soon = next_at + begin * ROWS * KEPT // QUAD * 16
            _compact_product(count, work, x_part, count * 16, blocks, filters, w_at, soon, work, y_part)
        else:
            soon = next_at + begin * ROWS * 16
            _product(count, work, x_part, count * 16, blocks, filters, w_at, soon, work, y_part)


class Prefetch(NamedTuple):
    """What is asked for while products are computed: patches of the task `tiles` from the first to the last, and where
    the products' own tiles go in so many output blocks, and what is added there. Nothing of tensors that are not
    LARGE."""

    tiles: Tiles
    first: int
    last: int
    block: int
    blocks: int


@device
def _multiply(tiles, blocks, work, patches, filters, compact, group, count, products, ahead, x, source, y, target,
              added, more):  # fmt: skip
    """The products of all patches with `count` groups of filters. work from `products` on: (count, points, width,
    ROWS, 16); filters: (groups, (m + 2)^2) panels."""
    points, width = tiles.side * tiles.side, tiles.width
    plane = blocks * width * 16 + SKEW
    panel = panel_size(blocks, compact)
    whole = (tiles.m + 2) * (tiles.m + 2) * panel
    fetched, written = ahead.last - ahead.first, ahead.blocks * tiles.used
    for point in range(points):
        if fetched > 0:
            fetch_patches(x, source, ahead.tiles, ahead.first + fetched * point // points,
                           ahead.first + fetched * (point + 1) // points)  # fmt: skip
        if written > 0:
            fetch_targets(y, target, added, more, tiles, ahead.block, written * point // points,
                           written * (point + 1) // points)  # fmt: skip
        first = group * whole + panel_of(tiles.m, tiles.side, point) * panel
        following = (group + count) * whole
        if point + 1 < points:
            following = group * whole + panel_of(tiles.m, tiles.side, point + 1) * panel
        for g in range(count):
            next_at = following if g + 1 == count else first + (g + 1) * whole
            y_at = products + (g * points + point) * width * ROWS * 16
            w_at = first + g * whole
            _multiply_point(tiles, work, patches + point * plane, blocks, filters, compact, w_at, next_at, y_at)


@kernel
def convolve_winograd(m, stride, x, x_item, x_block, x_pitch, x_start, x_rows, x_columns, blocks, filters, compact,
                      groups, bias, batch, y, y_item, y_block, y_pitch, halo, height, width, channels, slope,
                      activation, pool, adds, added, a_item, a_block, a_pitch, a_origin, chunk, at_once, splits,
                      turns, workers, work, work_size):  # fmt: skip
    """y = activation(bias + filters * x); of that the largest of each 2 x 2 cells where `pool` is 1 (m even), or plus
    what stands in `added` where `adds` is set.

    x, y: flat, see Source and Target; `height`, `width`: of the output before pooling. filters: as `pack_winograd`
    gives them, `compact` or not, `groups` groups of ROWS output blocks; bias: (groups * ROWS * 16,). A task is `chunk`
    tiles (even) of the batch x one of `splits` ranges of groups, `at_once` groups at a time. Workers take turns
    (`turns.py`); each has `work_size` floats of `work` for itself.
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
    fetches_y = adds and blocks >= MANY_BLOCKS and groups * ROWS * y_block > LARGE
    reset_queue(turns, workers)
    for worker in prange(workers):
        scratch = worker * work_size
        patches = scratch + PATCH
        products = patches + points * (blocks * chunk * 16 + SKEW)
        present = -1
        task = next_task(turns, worker, workers, tasks)
        while task >= 0:
            piece = task // splits
            split = task - piece * splits
            tiles = tiles_of(m, stride, a_row, an_item, piece, chunk, batch)
            if piece != present:
                transform_input(x, source, tiles, work, scratch, patches)
                present = piece
            following = tiles_of(m, stride, a_row, an_item, piece + 1, chunk, batch)
            group, end = groups * split // splits, groups * (split + 1) // splits
            steps, step = (end - group + at_once - 1) // at_once, 0
            soon = following.used * blocks if split == splits - 1 and fetches_x else 0
            while group < end:
                now = min(at_once, end - group)
                first, last = group * ROWS, min((group + now) * ROWS, (channels + 15) // 16)
                written = last - first if fetches_y else 0
                ahead = Prefetch(following, soon * step // steps, soon * (step + 1) // steps, first, written)
                _multiply(tiles, blocks, work, patches, filters, compact, group, now, products, ahead, x, source, y,
                          target, added, more)  # fmt: skip
                for block in range(first, last):
                    if halo > 0:
                        clear_halos(tiles, block, y, target)
                    at = products + (block // ROWS - group) * points * tiles.width * ROWS * 16
                    transform_output(tiles, block, work, at, scratch, bias, y, target, more, added)
                group += now
                step += 1
            task = next_task(turns, worker, workers, tasks)
