"""Filters in the order in which the tiles read them, with batch normalisation folded in."""

from __future__ import annotations

import numba
from numba import prange

from ...runtime.jit import device, kernel
from ..task_queue import next_task, reset_queue
from .int24 import compact_panel, panel_size
from .microkernel import ROWS, TAP_LANES
from .winograd_tiles import PATCH
from .winograd_transforms import code_of, transform_filter

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
def pack_winograd(m, stride, weights, channels, multiplier, compact, packed, turns, workers, work, work_size):
    """G g G^T of (n, channels, 3, 3) filters, times a factor a filter: (groups, points, channels rounded up to blocks,
    ROWS, 16), zeros where there is no filter or channel; with `compact` so many panels as in `compact.py`.

    weights: flat; multiplier: (n,) float32. Each worker has `work_size` floats of `work` for itself: a PATCH, and if
    `compact` a group's panels.
    """
    points, blocks = (m + 2) * (m + 2), (channels + 15) // 16
    panel, plain = panel_size(blocks, compact), panel_size(blocks, 0)
    groups = (multiplier.shape[0] + ROWS * 16 - 1) // (ROWS * 16)
    reset_queue(turns, workers)
    for worker in prange(workers):
        filter_at = worker * work_size
        panels = filter_at + PATCH
        group = next_task(turns, worker, workers, groups)
        while group >= 0:
            to = group * points * panel
            if compact != 0:
                _transform_group(m, stride, weights, channels, multiplier, group, work, filter_at, work, panels, plain)
                for point in range(points):
                    compact_panel(work, panels + point * plain, blocks, packed, to + point * panel)
            else:
                _transform_group(m, stride, weights, channels, multiplier, group, work, filter_at, packed, to, plain)
            group = next_task(turns, worker, workers, groups)


@device
def _transform_group(m, stride, weights, channels, multiplier, group, work, filter_at, out, out_at, panel):
    """The panels of one group of filters in float32; in `work` from `filter_at` on there is room for a PATCH."""
    for c in range((channels + 15) // 16 * 16):
        for row in range(ROWS):
            for lane in range(16):
                f = (group * ROWS + row) * 16 + lane
                for t in range(9):
                    value = f32(0)
                    if f < multiplier.shape[0] and c < channels:
                        value = weights[(f * channels + c) * 9 + t] * multiplier[f]
                    work[filter_at + t * 16 + lane] = value
            to = out_at + (c * ROWS + row) * 16
            transform_filter(code_of(m, stride), work, filter_at, 48, 16, out, to, panel, work, filter_at)
