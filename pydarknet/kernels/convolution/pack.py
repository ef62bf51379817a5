"""Filters in the order in which the tiles read them, with batch normalisation folded in."""

from __future__ import annotations

import numba
from numba import prange

from ...runtime.jit import device, kernel
from ..task_queue import next_task, reset_queue
from .int24 import pack_int24_panel, panel_size
from .microkernel import BLOCK, FIRST_TAP, NR, OC_VECTORS, TAP_LANES, TAPS, WEIGHTS
from .winograd import PATCH
from .winograd_transforms import code_of, transform_filter

f32 = numba.float32

UNIT, ROW, COLUMN = range(3)  # columns of the table of taps


@kernel
def pack_filters(weights, size, channels, filters_per_group, gain, taps, panels, packed):
    """Order (n, channels, size, size) filters by panel of output blocks, tap, input lane, output block, output lane.

    weights: flat; `channels`: of one group of the convolution; gain: (n,) float32, a factor for each filter. taps: (all
    taps, 3) int64, the columns UNIT (of TAP_LANES input channels), ROW and COLUMN of each tap; panels: see
    PackedFilters. Lanes that belong to no filter, or whose input channel another group of the convolution reads, become
    0.
    """
    for p in prange(panels.shape[0]):
        block, oc_vectors, first_tap = panels[p, BLOCK], panels[p, OC_VECTORS], panels[p, FIRST_TAP]
        tap_count, start = panels[p, TAPS], panels[p, WEIGHTS]
        for r in range(oc_vectors):
            for lane in range(16):
                f = (block + r) * 16 + lane
                base = f // filters_per_group * channels
                for t in range(tap_count):
                    tap = first_tap + t
                    row, column = taps[tap, ROW], taps[tap, COLUMN]
                    for i in range(TAP_LANES):
                        c = taps[tap, UNIT] * TAP_LANES + i - base
                        value = weights[0] * 0
                        if f < gain.shape[0] and 0 <= c < channels:
                            value = weights[((f * channels + c) * size + row) * size + column] * gain[f]
                        packed[start + ((t * TAP_LANES + i) * oc_vectors + r) * 16 + lane] = value


@kernel
def pack_winograd(m, stride, weights, channels, gain, int24, packed, queue, workers, work, work_size):
    """G g G^T of (n, channels, 3, 3) filters, times a factor a filter: (panels, points, channels rounded up to blocks,
    NR, 16), zeros where there is no filter or channel; where `int24` is not 0, as many panels as in `int24.py`.

    weights: flat; gain: (n,) float32. Each worker has `work_size` floats of `work` for itself: a PATCH, and with
    `int24` a panel of each point.
    """
    points, blocks = (m + 2) * (m + 2), (channels + 15) // 16
    panel, float_panel = panel_size(blocks, int24), panel_size(blocks, 0)
    panels = (gain.shape[0] + NR * 16 - 1) // (NR * 16)
    form = code_of(m, stride)
    reset_queue(queue, workers)
    for worker in prange(workers):
        filter_at = worker * work_size
        scratch = filter_at + PATCH
        index = next_task(queue, worker, workers, panels)
        while index >= 0:
            to = index * points * panel
            if int24 != 0:
                _transform_panel(form, weights, channels, gain, index, work, filter_at, work, scratch, float_panel)
                for point in range(points):
                    pack_int24_panel(work, scratch + point * float_panel, blocks, packed, to + point * panel)
            else:
                _transform_panel(form, weights, channels, gain, index, work, filter_at, packed, to, float_panel)
            index = next_task(queue, worker, workers, panels)


@device
def _transform_panel(form, weights, channels, gain, index, work, filter_at, out, out_at, panel):
    """The points of one panel of filters in float32; in `work` from `filter_at` on there is room for a PATCH."""
    for c in range((channels + 15) // 16 * 16):
        for r in range(NR):
            for lane in range(16):
                f = (index * NR + r) * 16 + lane
                for t in range(9):
                    value = f32(0)
                    if f < gain.shape[0] and c < channels:
                        value = weights[(f * channels + c) * 9 + t] * gain[f]
                    work[filter_at + t * 16 + lane] = value
            to = out_at + (c * NR + r) * 16
            transform_filter(form, work, filter_at, 48, 16, out, to, panel, work, filter_at)
