"""Filters packed for the direct micro-kernels, and the tables that make a convolution's geometry data."""

from collections.abc import Iterator

import numpy as np

from ...kernels.convolution.direct import convolve, convolve_depthwise, convolve_pooled
from ...kernels.convolution.microkernel import COLOURS, MR, NR, OC_VECTORS, TAP_LANES, TAPS, WEIGHTS
from ...kernels.convolution.pack import CHANNEL, COLUMN, ROW, pack_filters
from ...kernels.views import Epilogue, PackedFilters, Residual, Schedule
from ...runtime.program import Call
from ...runtime.threads import threads
from ...tensor import Layout, Shape, Tensor
from ...utils.arrays import LANES, Array, aligned_empty, aligned_zeros
from ..workspace import with_workspace
from .geometry import PackedConvolution, Table, Window, origins_of


class TiledConvolution(PackedConvolution):
    """A convolution of any size, stride, dilation and grouping on the micro-kernel."""

    kernel = convolve
    begins_with_output = True

    def __init__(
        self, weights: Array, gain: Array, bias: Array, groups: int, oc_vectors: int = NR, tap_lanes: int = TAP_LANES
    ) -> None:  # fmt: skip
        """weights: (n, channels / groups, size, size); gain, bias: (n,); oc_vectors: output blocks that are computed
        together; tap_lanes: input channels of a tap."""
        n, channels, self.size, _ = weights.shape
        self.filters = n
        self.used = COLOURS if groups == 1 and channels == COLOURS else TAP_LANES
        self.taps, self.panels = _tables(n, channels, groups, self.size, oc_vectors, tap_lanes)
        last = self.panels[-1]
        self.packed = aligned_empty(last[WEIGHTS] + last[OC_VECTORS] * last[TAPS] * tap_lanes * LANES)
        pack_filters(
            weights.reshape(-1), self.size, channels, n // groups, gain, self.taps, tap_lanes, self.panels, self.packed
        )
        self.bias = padded(bias, -(-n // LANES) * LANES)

    def filters_for(self, x: Layout, within: Table) -> PackedFilters:
        """The filters as kernels take them. within: for each tap, floats from a pixel's origin to its cell in x."""
        channel = self.taps[:, CHANNEL]
        offsets = np.ascontiguousarray(channel // x.lanes * x.block + channel % x.lanes + within)
        return PackedFilters(offsets, self.used, self.panels, self.packed, self.bias)

    def call(
        self, x: Tensor, y: Tensor, window: Window, out: Shape, epilogue: Epilogue, residual: Residual, pooled: bool
    ) -> Call:
        within = window.offset(x.layout, self.taps[:, ROW], self.taps[:, COLUMN])
        filters = self.filters_for(x.layout, within)
        arguments = x.data, origins_of(x, window, out), filters, y.data, y.planes, epilogue
        if pooled:
            room = NR * 2 * out.width * LANES
            return with_workspace(convolve_pooled, threads(), room, *arguments, residual, Schedule(1, False))
        return with_workspace(self.kernel, threads(), 0, *arguments, residual, self._schedule(out, x.layout))

    def _schedule(self, out: Shape, x: Layout) -> Schedule:
        """Few enough tiles that every thread gets several tasks; whole planes where the filters outweigh them."""
        by_panel, wanted = self.packed.size > x.item, 8 * threads()
        pieces = max(1, -(-wanted // (len(self.panels) * x.batch)))
        if not by_panel:
            pieces = max(pieces, wanted)
        tiles = -(-out.cells // MR)
        return Schedule(max(1, min(-(-tiles // pieces), 64)), by_panel)


class DepthwiseConvolution(TiledConvolution):
    """A convolution of each channel with one filter of its own."""

    kernel, pools = convolve_depthwise, False

    def __init__(self, weights: Array, gain: Array, bias: Array) -> None:
        """weights: (n, 1, size, size); gain, bias: (n,)."""
        n, _, self.size, _ = weights.shape
        self.filters, self.used, blocks = n, 1, -(-n // LANES)
        self.taps = _taps(range(1), self.size)
        taps = len(self.taps)
        self.panels = np.array([(block, 1, 0, taps, block * taps * LANES) for block in range(blocks)], np.int64)
        lanes = aligned_zeros(blocks * LANES * taps).reshape(blocks * LANES, taps)
        lanes[:n] = weights.reshape(n, taps) * gain[:, None]
        self.packed = aligned_empty(lanes.size)
        self.packed[:] = lanes.reshape(blocks, LANES, taps).transpose(0, 2, 1).ravel()
        self.bias = padded(bias, blocks * LANES)

    def _schedule(self, out: Shape, x: Layout) -> Schedule:
        """Some rows of one block are a task."""
        return Schedule(-(-out.cells // (MR * max(1, min(8, out.height // 8)))), True)


def padded(numbers: Array, size: int) -> Array:
    """The numbers, and zeros behind them."""
    array = aligned_zeros(size)
    array[: numbers.size] = numbers
    return array


def output_panels(
    n: int, channels: int, groups: int, together: int, lanes: int
) -> Iterator[tuple[int, int, int, int]]:  # fmt: skip
    """(block, blocks, low, high) of each panel of up to `together` output blocks: they read the input channels from
    unit `low` to unit `high`, of `lanes` channels each. channels: of one of the convolution's groups."""
    per_group, all_blocks, block = n // groups, -(-n // LANES), 0
    while block < all_blocks:
        count = together if block + together <= all_blocks else 1
        last = min(n, (block + count) * LANES) - 1
        yield (
            block,
            count,
            block * LANES // per_group * channels // lanes,
            -(-(last // per_group + 1) * channels // lanes),
        )
        block += count


def _tables(n: int, channels: int, groups: int, size: int, together: int, lanes: int) -> tuple[Table, Table]:
    """(taps, panels) as `pack_filters` takes them.

    A tap is `lanes` input channels under one cell of the filter. Taps run block by block of 16 channels, so
    that the cells a filter shares between its taps stay in the nearest cache. Output blocks read only the channels
    of the convolution groups that they belong to.
    """
    tables: list[Table] = []
    panels: list[tuple[int, int, int, int, int]] = []
    first_taps: dict[tuple[int, int], int] = {}
    first_tap = weights_at = 0
    for block, oc_vectors, low, high in output_panels(n, channels, groups, together, lanes):
        if (low, high) not in first_taps:
            first_taps[low, high] = first_tap
            tables.append(_taps(range(low * lanes, high * lanes, lanes), size))
            first_tap += len(tables[-1])
        taps = (high - low) * size * size
        panels.append((block, oc_vectors, first_taps[low, high], taps, weights_at))
        weights_at += taps * lanes * oc_vectors * LANES
    return np.concatenate(tables), np.array(panels, np.int64)


def _taps(channels: range, size: int) -> Table:
    """(channel, row, column), ordered by block of 16 channels, row, column, channel."""
    channel, row, column = (each.ravel() for each in np.meshgrid(channels, range(size), range(size), indexing="ij"))
    order = np.lexsort((channel, column, row, channel // LANES))
    return np.stack([channel, row, column], axis=1)[order].astype(np.int64)
