"""Convolution whose products are of bfloat16 numbers and whose sums are float32; see `bf16_tile.py`."""

from __future__ import annotations

from numba import prange

from ...runtime.jit import device, kernel
from ..halo import clear_halos
from ..simd.switch import one_of
from ..task_queue import next_task, reset_queue
from .bf16_microkernel import (
    ANY,
    CELL,
    FEW,
    MISSING,
    PAIR_TILES,
    PROCESSOR,
    SINGLE_TILES,
    STRAIGHT,
    STRAIGHT_IN,
    TAP_PAIRS,
    round_cell,
    round_pairs,
)
from .convolution_pixels import finish_tiles, is_straight, next_pixels
from .microkernel import FEW_PIXELS, PIXELS, ROWS

__all__ = ["CELL", "MISSING", "PROCESSOR", "convolve_bf16", "pack_pairs"]

_pair, _single = one_of(PAIR_TILES), one_of(SINGLE_TILES)


@kernel
def pack_pairs(filters, groups, packed):
    """Filters as `pack_filters` orders them, rounded, two input lanes side by side: per group (pairs, blocks, 16).

    packed: float32 in whose bits a pair lies, half as many as filters. groups: see `convolve`.
    """
    for g in prange(groups.shape[0]):
        rows, pairs, start = groups[g, 1], groups[g, 3] * TAP_PAIRS, groups[g, 4]
        for pair in range(pairs):
            for r in range(rows):
                first = start + (2 * pair * rows + r) * 16
                round_pairs(filters, first, first + rows * 16, packed, start // 2 + (pair * rows + r) * 16)


@device
def _convolve_pixels(rows, x, x_origin, x_row, x_step, taps, first_tap, tap_count, weights, weights_at, bias, bias_at,
                     y, y_origin, y_block, y_pitch, first, last, width, channels, slope, activation, accumulate,
                     adds, added, a_origin, a_block, a_pitch):  # fmt: skip
    """`convolve_pixels` on pairs: distances in x count pairs."""
    x_wrap = x_row - (width - 1) * x_step
    y_wrap, a_wrap = (y_pitch - width + 1) * 16, (a_pitch - width + 1) * 16
    row = first // width
    column = first - row * width
    pixel = first
    while pixel < last:
        x_at = x_origin + row * x_row + column * x_step
        y_at = y_origin + (row * y_pitch + column) * 16
        pixels = next_pixels(last - pixel, PIXELS)
        kind = FEW if FEW_PIXELS > 0 and pixels <= FEW_PIXELS else ANY
        if x_step == CELL and is_straight(x_step, x_wrap, 16, column, width, pixels, PIXELS):
            kind = STRAIGHT if is_straight(x_step, x_wrap, y_wrap, column, width, pixels, PIXELS) else STRAIGHT_IN
        if rows == ROWS:
            _pair(kind, x, x_at, x_step, x_wrap, taps, first_tap, tap_count, weights, weights_at, bias, bias_at, y,
                  y_at, y_block, y_wrap, column, width, pixels, slope, accumulate)  # fmt: skip
        else:
            _single(kind, x, x_at, x_step, x_wrap, taps, first_tap, tap_count, weights, weights_at, bias, bias_at, y,
                    y_at, y_block, y_wrap, column, width, pixels, slope, accumulate)  # fmt: skip
        a_at = a_origin + (row * a_pitch + column) * 16
        finish_tiles(rows, y, y_at, y_block, y_wrap, column, width, pixels, channels, activation, adds, added, a_at,
                     a_block, a_wrap)  # fmt: skip
        pixel += pixels
        column += pixels
        while column >= width:
            column -= width
            row += 1


@device
def _round_cells(x, x_at, x_block, x_step, blocks, count, y, y_at, y_block):
    """`count` cells of each block, `x_step` floats apart, as pairs that lie side by side."""
    for block in range(blocks):
        source, target = x_at + block * x_block, y_at + block * y_block
        for cell in range(count):
            round_cell(x, source + cell * x_step, y, target + cell * CELL)


@kernel
def convolve_bf16(x, x_item, x_block, x_row, x_step, x_low, x_reach, blocks, span, taps, groups, weights, bias, batch,
                  height, width, chunk, y, y_item, y_block, y_pitch, halo, channels, slope, activation, accumulate,
                  adds, added, a_item, a_block, a_pitch, a_origin, turns, workers, work, work_size):  # fmt: skip
    """y = activation(bias + weights * x) as `convolve`, whose arguments these are, but for the following.

    A worker rounds what a task reads of x into its `work_size` floats of `work`, `span` pairs for each of `blocks`
    blocks of channels, unless it has just done so. taps: offsets there. weights: see `pack_pairs`. `x_low`: from a
    pixel's origin to the first float that a filter reads; `x_reach`: to the last cell from there; where that is 0,
    only the cells in use are taken, which then lie side by side.
    """
    plane = height * width
    tiles = (plane + PIXELS - 1) // PIXELS
    chunks = (tiles + chunk - 1) // chunk
    group_count = groups.shape[0]
    tasks = batch * chunks * group_count
    gathers = x_reach == 0
    pair_step = CELL if gathers else x_step // 2
    pair_row = CELL * width if gathers else x_row // 2
    reset_queue(turns, workers)
    for worker in prange(workers):
        scratch, present = worker * work_size, -1
        task = next_task(turns, worker, workers, tasks)
        while task >= 0:
            item = task // (chunks * group_count)
            rest = task - item * chunks * group_count
            piece = rest // group_count
            group = rest - piece * group_count
            first = piece * chunk * PIXELS
            last = min(plane, first + chunk * PIXELS)
            row, last_row = first // width, (last - 1) // width
            if present != item * chunks + piece:
                present = item * chunks + piece
                x_at = item * x_item + x_low
                if gathers:
                    pixel = first
                    while pixel < last:
                        line = pixel // width
                        column = pixel - line * width
                        count = min(width - column, last - pixel)
                        _round_cells(x, x_at + line * x_row + column * x_step, x_block, x_step, blocks, count, work,
                                     scratch + (pixel - first) * CELL, span)  # fmt: skip
                        pixel += count
                else:
                    count = ((last_row - row) * x_row + (width - 1) * x_step) // 16 + x_reach + 1
                    _round_cells(x, x_at + row * x_row, x_block, 16, blocks, count, work, scratch, span)
            start = first * CELL if gathers else row * pair_row
            block, rows = groups[group, 0], groups[group, 1]
            y_base = item * y_item + block * y_block
            if piece == 0:
                clear_halos(y, y_base, y_block, rows, height, width, halo)
            _convolve_pixels(
                rows, work, scratch - start, pair_row, pair_step, taps, groups[group, 2], groups[group, 3], weights,
                groups[group, 4] // 2, bias, block * 16, y, y_base + (halo * y_pitch + halo) * 16, y_block, y_pitch,
                first, last, width, channels - block * 16, slope, activation, accumulate, adds, added,
                a_origin + item * a_item + block * a_block, a_block, a_pitch,
            )  # fmt: skip
            task = next_task(turns, worker, workers, tasks)
