"""Convolution over blocked activations by the one micro-kernel of `tile.py`."""

from __future__ import annotations

from numba import prange

from .activation import activate_fused, clear_lanes
from .halo import clear_halo
from .jit import device, inlined, kernel
from .pooling import pool_rows
from .simd import vload, vstore
from .tile import (
    COLOURS,
    FEW_PIXELS,
    MANY_PIXELS,
    MANY_TILES,
    NARROW,
    PAIR_TILES,
    PIXELS,
    ROWS,
    SINGLE_TILES,
    THIN,
    THIN_2,
    many_depthwise,
    many_straight_depthwise,
    straight_depthwise,
    tile_depthwise,
)
from .turns import begin_turns, next_turn


@device
def finish_tile(y, at, column, width, pixels, wrap, channels, activation):
    """Apply the activation to one tile's vectors, row by row, and keep lanes past the last channel zero."""
    while pixels > 0:
        run = min(pixels, width - column)
        cells = y[at : at + run * 16]
        activate_fused(cells, activation)
        if channels < 16:
            clear_lanes(cells, channels)
        at += (run - 1) * 16 + wrap
        pixels -= run
        column = 0


@device
def add_to_tile(y, y_at, y_wrap, added, a_at, a_wrap, column, width, pixels):
    """Add what stands in another tensor to one tile's vectors."""
    for _ in range(pixels):
        vstore(y, y_at, vload(y, y_at) + vload(added, a_at))
        column += 1
        y_at += 16 if column < width else y_wrap
        a_at += 16 if column < width else a_wrap
        column = column if column < width else 0


@inlined
def is_straight(x_step, x_wrap, y_wrap, column, width, pixels, count):
    """Whether the cells of a tile of `count` pixels are all as far apart, in the input and in the output."""
    joined = x_wrap == x_step and y_wrap == 16
    return pixels >= count and (joined or column + count <= width)


# Kinds of tiles: straight ones, whose distances stand in their instructions, with stride 1 or 2, and the same for
# pictures of three colours in four lanes; any others, short ones, any others for three colours.
STRAIGHT, STRAIGHT_2, COLOURED_THIN, COLOURED_THIN_2, ANY, FEW, COLOURED = range(7)


@inlined
def _kind(lanes, straight, x_step, pixels):
    """The kind of tile that the lanes in use and the way its cells lie ask for."""
    if lanes == COLOURS:
        if straight and x_step == THIN:
            return COLOURED_THIN
        if straight and x_step == THIN_2:
            return COLOURED_THIN_2
        return COLOURED
    if straight and x_step == 16:
        return STRAIGHT
    if straight and x_step == 32:
        return STRAIGHT_2
    return FEW if FEW_PIXELS > 0 and pixels <= FEW_PIXELS else ANY


def one_of(tiles):
    """Tiles of all kinds, in their order, as one function of the kind and the rest."""
    first, *others = tiles
    following = one_of(others) if others else None

    @inlined
    def tile(kind, x, x_at, x_step, x_wrap, taps, first_tap, tap_count, weights, weights_at, bias, bias_at,
             y, y_at, y_block, y_wrap, column, width, pixels, slope, accumulate):  # fmt: skip
        if following is None or kind == 0:
            first(
                x, x_at, x_step, x_wrap, taps, first_tap, tap_count, weights, weights_at, bias, bias_at, y, y_at,
                y_block, y_wrap, column, width, pixels, slope, accumulate,
            )  # fmt: skip
        else:
            following(
                kind - 1, x, x_at, x_step, x_wrap, taps, first_tap, tap_count, weights, weights_at, bias, bias_at, y,
                y_at, y_block, y_wrap, column, width, pixels, slope, accumulate,
            )  # fmt: skip

    return tile


# For ROWS vectors of output channels, for one, and for one narrow one and twice as many pixels.
_pair, _single, _many = one_of(PAIR_TILES), one_of(SINGLE_TILES), one_of(MANY_TILES)


@inlined
def next_pixels(left, most):
    """How many pixels of those that are left the next tile takes: as few as that takes no more tiles."""
    return FEW_PIXELS if most < left <= 2 * FEW_PIXELS else min(most, left)


@device
def convolve_pixels(rows, lanes, x, x_origin, x_row, x_step, taps, first_tap, tap_count, weights, weights_at, bias,
                    bias_at, y, y_origin, y_block, y_pitch, first, last, width, channels, slope, activation, accumulate,
                    adds, added, a_origin, a_block, a_pitch):  # fmt: skip
    """`rows` blocks of output channels at the pixels from `first` to `last` of a plane, in reading order.

    `x_origin`, `y_origin`, `a_origin`: where the plane's first pixel lies; `channels`: how many there are from the
    first of these blocks on; the other arguments as `convolve`.
    """
    x_wrap = x_row - (width - 1) * x_step
    y_wrap, a_wrap = (y_pitch - width + 1) * 16, (a_pitch - width + 1) * 16
    row = first // width
    column = first - row * width
    pixel = first
    while pixel < last:
        x_at = x_origin + row * x_row + column * x_step
        y_at = y_origin + (row * y_pitch + column) * 16
        many = channels <= NARROW
        pixels = next_pixels(last - pixel, MANY_PIXELS if many else PIXELS)
        straight = is_straight(x_step, x_wrap, y_wrap, column, width, pixels, MANY_PIXELS if many else PIXELS)
        kind = _kind(lanes, straight, x_step, pixels)
        if ROWS > 1 and many and kind >= ANY:
            many = False
            pixels = next_pixels(last - pixel, PIXELS)
            kind = _kind(lanes, is_straight(x_step, x_wrap, y_wrap, column, width, pixels, PIXELS), x_step, pixels)
        if many:
            _many(kind, x, x_at, x_step, x_wrap, taps, first_tap, tap_count, weights, weights_at, bias,
                  bias_at, y, y_at, y_block, y_wrap, column, width, pixels, slope, accumulate)  # fmt: skip
        elif rows == ROWS and ROWS > 1:
            _pair(kind, x, x_at, x_step, x_wrap, taps, first_tap, tap_count, weights, weights_at, bias,
                  bias_at, y, y_at, y_block, y_wrap, column, width, pixels, slope, accumulate)  # fmt: skip
        else:
            _single(kind, x, x_at, x_step, x_wrap, taps, first_tap, tap_count, weights, weights_at, bias,
                    bias_at, y, y_at, y_block, y_wrap, column, width, pixels, slope, accumulate)  # fmt: skip
        for r in range(rows):
            if activation != 0:
                finish_tile(y, y_at + r * y_block, column, width, pixels, y_wrap, channels - r * 16, activation)
            if adds:
                a_at = a_origin + r * a_block + (row * a_pitch + column) * 16
                add_to_tile(y, y_at + r * y_block, y_wrap, added, a_at, a_wrap, column, width, pixels)
        pixel += pixels
        column += pixels
        while column >= width:
            column -= width
            row += 1


@device
def unknown(count):
    """0 and False, for `count` above zero, so that the compiler does not know it: it would compile all tiles once more
    for arguments of `convolve_pixels` that it knows."""
    return 0 * count, count < 0


@kernel
def convolve(x, x_item, x_row, x_step, taps, lanes, groups, weights, bias, batch, height, width, chunk, by_group,
             y, y_item, y_block, y_pitch, halo, channels, slope, activation,
             accumulate, adds, added, a_item, a_block, a_pitch, a_origin, turns, workers):  # fmt: skip
    """y = activation(bias + weights * x), over all items, groups of output blocks and pixels.

    x: flat input; `x_item`, `x_row`, `x_step`: floats between items, output rows and output columns (stride included).
    taps: (sum of tap counts,) int64, offsets from a pixel's origin, where the first `lanes` are in use. groups: (g, 5)
    int64, per group: first output block, number of blocks (ROWS or 1), first tap, number of taps, offset of its
    weights. weights: per group (taps, TAP_LANES, blocks, 16); bias: (blocks * 16,). y: flat output with `halo` cells
    of zeros round each plane; `y_block`, `y_pitch`: floats between blocks, cells between rows. A task is one group x
    `chunk` tiles; `by_group` says whether neighbouring tasks share the group (weights larger than the picture) or the
    pixels. `slope` is the factor below zero (1: linear); `activation` is what the slope cannot express, 0 for none.
    With `accumulate` the sums begin with what stands in y instead of the bias. Where `adds` is set, what stands in
    `added` (flat, its first float inside the halo at `a_origin`) is added after the activation. Workers take turns
    (`turns.py`).
    """
    plane = height * width
    tiles = (plane + PIXELS - 1) // PIXELS
    chunks = (tiles + chunk - 1) // chunk
    group_count = groups.shape[0]
    tasks = batch * chunks * group_count
    begin_turns(turns, workers)
    for worker in prange(workers):
        task = next_turn(turns, worker, workers, tasks)
        while task >= 0:
            item = task // (chunks * group_count)
            rest = task - item * chunks * group_count
            if by_group:
                group = rest // chunks
                piece = rest - group * chunks
            else:
                piece = rest // group_count
                group = rest - piece * group_count
            block, rows = groups[group, 0], groups[group, 1]
            y_base = item * y_item + block * y_block
            if piece == 0 and halo > 0:
                for r in range(rows):
                    clear_halo(y, y_base + r * y_block, height, width, halo)
            first = piece * chunk * PIXELS
            convolve_pixels(
                rows, lanes, x, item * x_item, x_row, x_step, taps, groups[group, 2], groups[group, 3], weights,
                groups[group, 4], bias, block * 16, y, y_base + (halo * y_pitch + halo) * 16, y_block, y_pitch, first,
                min(plane, first + chunk * PIXELS), width, channels - block * 16, slope, activation, accumulate, adds,
                added, a_origin + item * a_item + block * a_block, a_block, a_pitch,
            )  # fmt: skip
            task = next_turn(turns, worker, workers, tasks)


@kernel
def convolve_pooled(x, x_item, x_row, x_step, taps, lanes, groups, weights, bias, batch, height, width,
                    y, y_item, y_block, y_pitch, halo, channels, slope, activation,
                    turns, workers, work, work_size):  # fmt: skip
    """The largest of each 2 x 2 cells of `convolve`'s output, of those that there are.

    `height`, `width`: before pooling; the other arguments as `convolve`. A task is two rows of one group's blocks.
    Workers take turns (`turns.py`); each has `work_size` floats of `work` for its rows.
    """
    half, group_count = (height + 1) // 2, groups.shape[0]
    tasks = batch * half * group_count
    begin_turns(turns, workers)
    for worker in prange(workers):
        scratch = worker * work_size
        task = next_turn(turns, worker, workers, tasks)
        while task >= 0:
            item = task // (half * group_count)
            pair = task // group_count - item * half
            group = task - (item * half + pair) * group_count
            block, rows = groups[group, 0], groups[group, 1]
            pixels = width * min(2, height - 2 * pair)
            none, never = unknown(rows)
            convolve_pixels(
                rows, lanes, x, item * x_item + 2 * pair * x_row, x_row, x_step, taps, groups[group, 2],
                groups[group, 3], weights, groups[group, 4], bias, block * 16, work, scratch, 2 * width * 16, width,
                none, pixels, width, channels - block * 16, slope, activation, never, never, work, none, none, none,
            )  # fmt: skip
            for r in range(rows):
                cells = scratch + r * 2 * width * 16
                y_at = item * y_item + (block + r) * y_block
                if pair == 0 and halo > 0:
                    clear_halo(y, y_at, half, (width + 1) // 2, halo)
                pool_rows(work, cells, width, pixels // width, width, y, y_at + ((pair + halo) * y_pitch + halo) * 16)
            task = next_turn(turns, worker, workers, tasks)


@device
def depthwise_rows(x, x_at, x_row, x_step, taps, weights, weights_at, bias, bias_at, y, y_at, y_pitch, rows, width,
                   channels, slope, activation):  # fmt: skip
    """One block of `convolve_depthwise`: `rows` rows, from those on that begin at `x_at` and `y_at`; `channels`: how
    many there are from the block's first one on."""
    x_wrap = x_row - (width - 1) * x_step
    y_wrap = (y_pitch - width + 1) * 16
    row, column, pixel = 0, 0, 0
    while pixel < rows * width:
        source = x_at + row * x_row + column * x_step
        target = y_at + (row * y_pitch + column) * 16
        left = rows * width - pixel
        many = ROWS > 1 or channels <= NARROW
        count = MANY_PIXELS if many else PIXELS
        straight = x_step == 16 and is_straight(x_step, x_wrap, y_wrap, column, width, min(count, left), count)
        if ROWS > 1 and many and not straight:
            many, count = False, PIXELS
            straight = x_step == 16 and is_straight(x_step, x_wrap, y_wrap, column, width, min(count, left), count)
        pixels = min(count, left)
        if many and straight:
            many_straight_depthwise(x, source, x_step, x_wrap, taps, taps.shape[0], weights, weights_at, bias, bias_at,
                                    y, target, y_wrap, column, width, pixels, slope)  # fmt: skip
        elif many:
            many_depthwise(x, source, x_step, x_wrap, taps, taps.shape[0], weights, weights_at, bias, bias_at, y,
                           target, y_wrap, column, width, pixels, slope)  # fmt: skip
        elif straight:
            straight_depthwise(x, source, x_step, x_wrap, taps, taps.shape[0], weights, weights_at, bias, bias_at, y,
                               target, y_wrap, column, width, pixels, slope)  # fmt: skip
        else:
            tile_depthwise(x, source, x_step, x_wrap, taps, taps.shape[0], weights, weights_at, bias, bias_at, y,
                           target, y_wrap, column, width, pixels, slope)  # fmt: skip
        if activation != 0:
            finish_tile(y, target, column, width, pixels, y_wrap, channels, activation)
        pixel += pixels
        column += pixels
        while column >= width:
            column -= width
            row += 1


@kernel
def convolve_depthwise(x, x_item, x_block, x_row, x_step, taps, weights, bias, batch, channels, height, width,
                       y, y_item, y_block, y_pitch, halo, slope, activation, turns, workers):  # fmt: skip
    """y = activation(bias + each channel convolved with its own filter); arguments as `convolve`.

    weights: (blocks, taps, 16). A task is some rows of one block of one item.
    """
    blocks = (channels + 15) // 16
    bands = max(1, min(8, height // 8))
    tasks = batch * blocks * bands
    begin_turns(turns, workers)
    for worker in prange(workers):
        task = next_turn(turns, worker, workers, tasks)
        while task >= 0:
            item = task // (blocks * bands)
            block = task // bands - item * blocks
            band = task - (item * blocks + block) * bands
            y_base = item * y_item + block * y_block
            if band == 0 and halo > 0:
                clear_halo(y, y_base, height, width, halo)
            row, end = height * band // bands, height * (band + 1) // bands
            depthwise_rows(
                x, item * x_item + block * x_block + row * x_row, x_row, x_step, taps, weights,
                block * taps.shape[0] * 16, bias, block * 16, y, y_base + ((row + halo) * y_pitch + halo) * 16, y_pitch,
                end - row, width, channels - block * 16, slope, activation,
            )  # fmt: skip
            task = next_turn(turns, worker, workers, tasks)
