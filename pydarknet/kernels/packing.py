"""Filters in the order in which the tiles read them, with batch normalisation folded in."""

from __future__ import annotations

from numba import prange

from .jit import kernel
from .tile import TAP_LANES


@kernel
def pack_filters(weights, size, channels, filters_per_group, multiplier, units, groups, packed):
    """Order (n, channels, size, size) filters by group of output blocks, tap, input lane, output block, output lane.

    weights: flat; `channels`: of one group of the convolution; multiplier: (n,) float32. units: (taps, 3) int64, per
    tap the unit of TAP_LANES input channels, kernel row and kernel column; groups: see `convolve`. Lanes that belong
    to no filter, or whose input channel another group of the convolution reads, become 0.
    """
    for g in prange(groups.shape[0]):
        block, rows, first_tap = groups[g, 0], groups[g, 1], groups[g, 2]
        tap_count, start = groups[g, 3], groups[g, 4]
        for r in range(rows):
            for lane in range(16):
                f = (block + r) * 16 + lane
                base = f // filters_per_group * channels
                for t in range(tap_count):
                    tap = first_tap + t
                    row, column = units[tap, 1], units[tap, 2]
                    for i in range(TAP_LANES):
                        c = units[tap, 0] * TAP_LANES + i - base
                        value = weights[0] * 0
                        if f < multiplier.shape[0] and 0 <= c < channels:
                            value = weights[((f * channels + c) * size + row) * size + column] * multiplier[f]
                        packed[start + ((t * TAP_LANES + i) * rows + r) * 16 + lane] = value


@kernel
def pack_depthwise(weights, taps, multiplier, packed):
    """Order (n, 1, rows, columns) filters as (blocks, taps, 16); lanes past the last filter become 0."""
    for block in prange((multiplier.shape[0] + 15) // 16):
        for t in range(taps):
            for lane in range(16):
                f = block * 16 + lane
                value = weights[0] * 0
                if f < multiplier.shape[0]:
                    value = weights[f * taps + t] * multiplier[f]
                packed[(block * taps + t) * 16 + lane] = value
