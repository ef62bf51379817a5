"""A run of pixels of a plane, tile by tile: which of the tiles of `tile.py` takes the next ones."""

from __future__ import annotations

from ...runtime.jit import device, inlined
from ..activation import activate_fused, clear_lanes
from ..simd.switch import one_of
from ..simd.vector import vload, vstore
from .microkernel import (
    AHEAD,
    ANY,
    COLOURED,
    COLOURED_THIN,
    COLOURED_THIN_2,
    COLOURS,
    FEW,
    FEW_PIXELS,
    MANY_PIXELS,
    MANY_TILES,
    NARROW,
    PAIR_TILES,
    PIXELS,
    ROWS,
    SINGLE_TILES,
    SQUARE,
    STRAIGHT,
    STRAIGHT_2,
    TAP_LANES,
    THIN,
    THIN_2,
    WHOLE,
)


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
def _add_to_tile(y, y_at, y_wrap, added, a_at, a_wrap, column, width, pixels):
    """Add what stands in another tensor to one tile's vectors."""
    for _ in range(pixels):
        vstore(y, y_at, vload(y, y_at) + vload(added, a_at))
        column += 1
        y_at += 16 if column < width else y_wrap
        a_at += 16 if column < width else a_wrap
        column = column if column < width else 0


@inlined
def finish_tiles(rows, y, y_at, y_block, y_wrap, column, width, pixels, channels, activation, adds, added, a_at,
                 a_block, a_wrap):  # fmt: skip
    """What is done after the products of a tile of `rows` blocks: the activation, then what stands in another tensor
    added, where they are asked for. `channels`: how many there are from the first of these blocks on."""
    for r in range(rows):
        if activation != 0:
            finish_tile(y, y_at + r * y_block, column, width, pixels, y_wrap, channels - r * 16, activation)
        if adds:
            _add_to_tile(y, y_at + r * y_block, y_wrap, added, a_at + r * a_block, a_wrap, column, width, pixels)


@inlined
def is_straight(x_step, x_wrap, y_wrap, column, width, pixels, count):
    """Whether the cells of a tile of `count` pixels are all as far apart, in the input and in the output."""
    joined = x_wrap == x_step and y_wrap == 16
    return pixels >= count and (joined or column + count <= width)


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


# For ROWS vectors of output channels, for one, and for one narrow one and twice as many pixels.
_pair, _single, _many = one_of(PAIR_TILES), one_of(SINGLE_TILES), one_of(MANY_TILES)


@inlined
def next_pixels(left, most):
    """How many pixels of those that are left the next tile takes: as few as that takes no more tiles."""
    return FEW_PIXELS if most < left <= 2 * FEW_PIXELS else min(most, left)


@device
def convolve_pixels(rows, lanes, x, x_origin, x_row, x_step, taps, first_tap, tap_count, weights, weights_at, bias,
                    bias_at, y, y_origin, y_block, y_pitch, first, last, width, channels, slope, activation, accumulate,
                    adds, added, a_origin, a_block, a_pitch, distant):  # fmt: skip
    """`rows` blocks of output channels at the pixels from `first` to `last` of a plane, in reading order.

    `x_origin`, `y_origin`, `a_origin`: where the plane's first pixel lies; `channels`: how many there are from the
    first of these blocks on; `distant`: whether the filters that follow these come from memory and are needed next; the
    other arguments as `convolve`.
    """
    x_wrap = x_row - (width - 1) * x_step
    y_wrap, a_wrap = (y_pitch - width + 1) * 16, (a_pitch - width + 1) * 16
    row = first // width
    column = first - row * width
    pixel = first
    whole = rows == 1 and lanes == TAP_LANES and x_step == 16 and width == SQUARE and last - first == SQUARE * SQUARE
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
        if distant and not many and kind == STRAIGHT and last - pixel <= 3 * PIXELS:
            kind = AHEAD
        if whole:
            many, kind, pixels = False, WHOLE, SQUARE * SQUARE
        if many:
            _many(kind, x, x_at, x_step, x_wrap, taps, first_tap, tap_count, weights, weights_at, bias,
                  bias_at, y, y_at, y_block, y_wrap, column, width, pixels, slope, accumulate)  # fmt: skip
        elif rows == ROWS and ROWS > 1:
            _pair(kind, x, x_at, x_step, x_wrap, taps, first_tap, tap_count, weights, weights_at, bias,
                  bias_at, y, y_at, y_block, y_wrap, column, width, pixels, slope, accumulate)  # fmt: skip
        else:
            _single(kind, x, x_at, x_step, x_wrap, taps, first_tap, tap_count, weights, weights_at, bias,
                    bias_at, y, y_at, y_block, y_wrap, column, width, pixels, slope, accumulate)  # fmt: skip
        a_at = a_origin + (row * a_pitch + column) * 16
        finish_tiles(rows, y, y_at, y_block, y_wrap, column, width, pixels, channels, activation, adds, added, a_at,
                     a_block, a_wrap)  # fmt: skip
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
