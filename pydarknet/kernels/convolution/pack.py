"""Filters in the order in which the tiles read them, with batch normalisation folded in.

Winograd's may be kept as signed 24-bit integers with one scale per output channel: four vectors in the space of
three, for products that are limited by memory bandwidth. That is as exact as float32 where weights are not far
below the largest one, and sums over channels are dominated by those. Of four numbers, each of the first three is
the upper 24 bits of a 32-bit word. The lower 8 bits of the three words are the fourth, its lowest bits in the
first word; below it follow the uppermost 8 bits of the first word. Numbers are rounded so that every whole word
is 256 times its number as nearly as can be: three vectors need no unpacking but the conversion to float, the
fourth three instructions. A panel is NR vectors of scales, and then words: vectors in the order (input channel,
output block).
"""

from collections.abc import Iterator

import numba
import numpy as np
from llvmlite import ir
from numba import prange

from ...runtime.jit import device, kernel
from ..addressing import next_task, reset_queue
from ..simd import INT32, LANES, VECTOR, Emitter
from .microkernel import BLOCK, FIRST_TAP, NR, OC_VECTORS, TAPS, WEIGHTS
from .winograd_transforms import PATCH, code_of, transform_filter

f32 = numba.float32

CHANNEL, ROW, COLUMN = range(3)  # columns of the table of taps

WORDS = ir.VectorType(INT32, LANES)
QUAD, KEPT = 4, 3  # vectors, and words of each lane that hold them
SCALES = NR * LANES


@kernel
def pack_filters(weights, order, size, channels, filters_per_group, gain, taps, tap_lanes, panels, packed):
    """Order (n, channels, size, size) filters by panel of output blocks, tap, input lane, output block, output
    lane.

    weights, order: flat, and its `FilterOrder`; `channels`: of one group of the convolution; gain: (n,) float32, a
    factor for each filter.
    taps: (all taps, 3) int64, the columns CHANNEL (the first of `tap_lanes`), ROW and COLUMN; panels: see
    PackedFilters. Lanes of no filter, or whose input channel another group reads, become 0.
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
                    for i in range(tap_lanes):
                        c = taps[tap, CHANNEL] + i - base
                        value = weights[0] * 0
                        if f < gain.shape[0] and 0 <= c < channels:
                            at = order.first + f * order.filter + c * order.channel + (row * size + column) * order.cell
                            value = weights[at] * gain[f]
                        packed[start + ((t * tap_lanes + i) * oc_vectors + r) * 16 + lane] = value


@kernel
def pack_winograd(m, stride, weights, order, channels, gain, int24, packed, queue, workers, work, work_size):
    """G g G^T of (n, channels, 3, 3) filters, times a factor a filter: (panels, points, channels rounded up to
    blocks, NR, 16), zeros where there is no filter or channel; where `int24` is not 0, as many panels of 24-bit
    integers.

    weights, order: flat, and its `FilterOrder`; gain: (n,) float32. Each worker has `work_size` floats of `work` for
    itself: a PATCH, and with `int24` a panel of each point.
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
            out, out_at = (work, scratch) if int24 != 0 else (packed, to)
            _transform_panel(form, weights, order, channels, gain, index, work, filter_at, out, out_at, float_panel)
            for point in range(points if int24 != 0 else 0):
                pack_int24_panel(work, scratch + point * float_panel, blocks, packed, to + point * panel)
            index = next_task(queue, worker, workers, panels)


@device
def _transform_panel(form, weights, order, channels, gain, index, work, filter_at, out, out_at, panel):
    """The points of one panel of filters in float32; in `work` from `filter_at` on there is room for a PATCH."""
    for c in range((channels + 15) // 16 * 16):
        for r in range(NR):
            for lane in range(16):
                f = (index * NR + r) * 16 + lane
                for t in range(9):
                    value = f32(0)
                    if f < gain.shape[0] and c < channels:
                        value = weights[order.first + f * order.filter + c * order.channel + t * order.cell] * gain[f]
                    work[filter_at + t * 16 + lane] = value
            to = out_at + (c * NR + r) * 16
            transform_filter(form, work, filter_at, 48, 16, out, to, panel, work, filter_at)


# --- 24-bit integers --------------------------------------------------------------------------------------------------


@device
def panel_size(blocks, int24):
    """Floats of memory for NR output blocks' filters at one point, over so many blocks of channels."""
    vectors = blocks * 16 * NR
    return SCALES + vectors // QUAD * KEPT * 16 if int24 != 0 else vectors * 16


def float_vectors(b: Emitter, filters) -> Iterator[ir.Value]:
    """What loads one vector after another from `filters` on."""
    while True:
        yield b.load_vector(filters)
        filters = b.ahead(filters, LANES)


def int24_vectors(b: Emitter, filters) -> Iterator[ir.Value]:
    """The same of numbers in 24 bits, without their scales and 256 times as large."""
    while True:
        fourth = None
        for _ in range(KEPT):
            word = b.load_vector(filters, WORDS)
            filters = b.ahead(filters, LANES)
            yield b.sitofp(word, VECTOR)
            below = word if fourth is None else fourth  # its upper 24 bits go below the lowest 8 of `word`
            fourth = b.llvm(f"llvm.fshl.v{LANES}i32", WORDS, word, below, ir.Constant(WORDS, [24] * LANES))
        yield b.sitofp(fourth, VECTOR)


@device
def pack_int24_panel(values, at, blocks, panel, to):
    """Write the panel of float32 `values` from `at` on, (channels, NR, 16), to `panel` from `to` on."""
    vectors = blocks * 16 * NR
    _write_scales(values.view(np.int32)[at : at + vectors * 16], panel[to : to + SCALES])
    for quad in range(vectors // QUAD):
        first, word = at + quad * QUAD * 16, to + SCALES + quad * KEPT * 16
        numbers, words = values[first : first + QUAD * 16], panel.view(np.int32)[word : word + KEPT * 16]
        for lane in range(16):
            below = _upper_bits(_scaled(numbers, 0, lane, panel, to), 0) >> 16 & 255
            fourth = _upper_bits(_scaled(numbers, KEPT, lane, panel, to), below)
            for k in range(KEPT):
                byte = fourth >> 8 * k & 255
                upper = _upper_bits(_scaled(numbers, k, lane, panel, to), byte)
                words[k * 16 + lane] = upper * 256 + byte


@device
def _write_scales(bits, scales):
    """The largest of each lane's numbers, whose bits these are, as a multiple of the largest word. From 2^31 -
    2^8 on nothing would be rounded up. A filter that is no number makes no numbers."""
    largest = scales.view(np.int32)  # of numbers without their sign: what is larger has larger bits
    for lane in range(SCALES):
        largest[lane] = 0
    for channel in range(bits.size // SCALES):
        row = bits[channel * SCALES : (channel + 1) * SCALES]
        for lane in range(SCALES):
            largest[lane] = max(largest[lane], row[lane] & np.int32(0x7FFFFFFF))
    for lane in range(SCALES):
        scales[lane] = scales[lane] / np.float32(2147483392) if scales[lane] < np.inf else np.float32(np.nan)


@device
def _upper_bits(number, byte):
    return np.int64(np.rint((number - byte) / 256))


@device
def _scaled(numbers, k, lane, panel, scales):
    scale = panel[scales + k % NR * 16 + lane]
    return np.float64(numbers[k * 16 + lane]) / scale if scale > 0 else 0.0
