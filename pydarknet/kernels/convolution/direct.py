"""Convolution over blocked activations by the one micro-kernel of `tile.py`."""

from __future__ import annotations

from numba import prange

from ...runtime.jit import device, kernel
from ..halo import clear_halo, clear_halos
from ..pooling import pool_rows
from ..task_queue import next_task, reset_queue
from .convolution_pixels import convolve_pixels, finish_tile, is_straight, unknown
from .depthwise_microkernel import many_depthwise, many_straight_depthwise, straight_depthwise, tile_depthwise
from .microkernel import MANY_PIXELS, NARROW, PIXELS, ROWS

SHORTEST = (PIXELS + 1) // 2  # pixels of a row, so that a tile goes no farther than the end of the next
FEW_TILES = 8  # of a plane: its products take about as long as its filters from memory


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
    reset_queue(turns, workers)
    for worker in prange(workers):
        task = next_task(turns, worker, workers, tasks)
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
            if piece == 0:
                clear_halos(y, y_base, y_block, rows, height, width, halo)
            first = piece * chunk * PIXELS
            convolve_pixels(
                rows, lanes, x, item * x_item, x_row, x_step, taps, groups[group, 2], groups[group, 3], weights,
                groups[group, 4], bias, block * 16, y, y_base + (halo * y_pitch + halo) * 16, y_block, y_pitch, first,
                min(plane, first + chunk * PIXELS), width, channels - block * 16, slope, activation, accumulate, adds,
                added, a_origin + item * a_item + block * a_block, a_block, a_pitch, by_group and tiles <= FEW_TILES,
            )  # fmt: skip
            task = next_task(turns, worker, workers, tasks)


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
    reset_queue(turns, workers)
    for worker in prange(workers):
        scratch = worker * work_size
        task = next_task(turns, worker, workers, tasks)
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
                never,
            )  # fmt: skip
            for r in range(rows):
                cells = scratch + r * 2 * width * 16
                y_at = item * y_item + (block + r) * y_block
                if pair == 0 and halo > 0:
                    clear_halo(y, y_at, half, (width + 1) // 2, halo)
                pool_rows(work, cells, width, pixels // width, width, y, y_at + ((pair + halo) * y_pitch + halo) * 16)
            task = next_task(turns, worker, workers, tasks)


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


@device
def straight_rows(x, x_at, x_row, taps, weights, weights_at, bias, bias_at, y, y_at, rows, width, slope):
    """The same with stride 1, to rows of at least SHORTEST pixels that follow one another: in tiles that begin in their
    row and may go beyond its end, into what the next row's then overwrite. Up to PIXELS are read and written behind
    the last row."""
    for row in range(rows):
        column = 0
        while column < width:
            source, target = x_at + row * x_row + column * 16, y_at + (row * width + column) * 16
            if ROWS > 1 and width - column > PIXELS:
                many_straight_depthwise(x, source, 16, 16, taps, taps.shape[0], weights, weights_at, bias, bias_at, y,
                                        target, 16, 0, MANY_PIXELS, MANY_PIXELS, slope)  # fmt: skip
                column += MANY_PIXELS
            else:
                straight_depthwise(x, source, 16, 16, taps, taps.shape[0], weights, weights_at, bias, bias_at, y,
                                   target, 16, 0, PIXELS, PIXELS, slope)  # fmt: skip
                column += PIXELS


@kernel
def convolve_depthwise(x, x_item, x_block, x_row, x_step, taps, weights, bias, batch, channels, height, width,
                       y, y_item, y_block, y_pitch, halo, slope, activation, turns, workers):  # fmt: skip
    """y = activation(bias + each channel convolved with its own filter); arguments as `convolve`.

    weights: (blocks, taps, 16). A task is some rows of one block of one item.
    """
    blocks = (channels + 15) // 16
    bands = max(1, min(8, height // 8))
    tasks = batch * blocks * bands
    reset_queue(turns, workers)
    for worker in prange(workers):
        task = next_task(turns, worker, workers, tasks)
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
            task = next_task(turns, worker, workers, tasks)
