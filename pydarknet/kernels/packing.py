"""Filters in the order in which the tiles read them, with batch normalisation folded in."""

from __future__ import annotations

import numba
from numba import prange

from .jit import kernel
from .tile import ROWS, TAP_LANES
from .turns import begin_turns, next_turn
from .winograd_transforms import transform_filter

f32 = numba.float32


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


@kernel
def pack_winograd(m, stride, weights, channels, multiplier, packed, turns, workers, work, work_size):
    """G g G^T of (n, channels, 3, 3) filters, times a factor a filter: (groups, points, channels rounded up to blocks,
    ROWS, 16), zeros where there is no filter or channel.

    weights: flat; multiplier: (n,) float32. Each worker has `work_size` floats of `work` for itself.
    """
    n, filters = m + 2, multiplier.shape[0]
    padded = (channels + 15) // 16 * 16
    panel = padded * ROWS * 16
    blocks = (filters + ROWS * 16 - 1) // (ROWS * 16) * ROWS
    begin_turns(turns, workers)
    for worker in prange(workers):
        filter_at = worker * work_size
        block = next_turn(turns, worker, workers, blocks)
        while block >= 0:
            base = block // ROWS * n * n * panel + block % ROWS * 16
            for c in range(padded):
                for lane in range(16):
                    f = block * 16 + lane
                    for t in range(9):
                        value = f32(0)
                        if f < filters and c < channels:
                            value = weights[(f * channels + c) * 9 + t] * multiplier[f]
                        work[filter_at + t * 16 + lane] = value
                to = base + c * ROWS * 16
                transform_filter(m, stride, work, filter_at, 48, 16, packed, to, panel, work, filter_at)
            block = next_turn(turns, worker, workers, blocks)
