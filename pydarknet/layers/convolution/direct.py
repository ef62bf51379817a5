"""Filters packed for the direct micro-kernels, and the tables that make a convolution's geometry data."""

from __future__ import annotations

import numpy as np

from ...kernels.convolution.direct import convolve, convolve_depthwise, convolve_pooled
from ...kernels.convolution.microkernel import COLOURS, MR, NR, OC_VECTORS, TAP_LANES, TAPS, WEIGHTS
from ...kernels.convolution.pack import COLUMN, ROW, UNIT, pack_depthwise, pack_filters
from ...kernels.convolution.views import DepthwiseFilters, Epilogue, PackedFilters, Schedule
from ...runtime.program import Call
from ...runtime.threads import threads
from ...tensor import Layout, Tensor
from ...utils.arrays import LANES, Array, aligned_empty, aligned_zeros
from ..workspace import with_queue, with_workspace
from .geometry import Table, Window, origins_of, residual_of


class TiledConvolution:
    """A convolution of any size, stride, dilation and grouping on the micro-kernel.

    Packed once; bound to tensors as often as their sizes change.
    """

    def __init__(self, weights: Array, gain: Array, bias: Array, groups: int, lanes: int, oc_vectors: int = NR) -> None:
        """weights: (n, channels / groups, size, size); gain, bias: (n,); lanes: of the tensor that will be read;
        oc_vectors: output blocks that are computed together."""
        n, channels, self.size, _ = weights.shape
        self.filters, self.lanes = n, lanes
        self.used = COLOURS if groups == 1 and channels == COLOURS else TAP_LANES
        self.taps, self.panels = _tables(n, channels, groups, self.size, oc_vectors)
        last = self.panels[-1]
        self.packed = aligned_empty(last[WEIGHTS] + last[OC_VECTORS] * last[TAPS] * TAP_LANES * LANES)
        pack_filters(weights.reshape(-1), self.size, channels, n // groups, gain, self.taps, self.panels, self.packed)
        self.bias = aligned_zeros(-(-n // LANES) * LANES)
        self.bias[:n] = bias

    def filters_for(self, x: Layout, within: Table) -> PackedFilters:
        """The filters as kernels take them. within: for each tap, floats from a pixel's origin to its cell in x."""
        channel = self.taps[:, UNIT] * TAP_LANES
        offsets = np.ascontiguousarray(channel // x.lanes * x.block + channel % x.lanes + within)
        return PackedFilters(offsets, self.used, self.panels, self.packed, self.bias)

    def bind(
        self, x: Tensor, y: Tensor, window: Window, slope: np.float32, code: int, pooled: bool = False,
        added: Tensor | None = None,
    ) -> Call:  # fmt: skip
        """See `PackedConvolution.bind`."""
        within = window.offset(x.layout, self.taps[:, ROW], self.taps[:, COLUMN])
        filters = self.filters_for(x.layout, within)
        out = window.out_shape(x.shape, self.filters) if pooled else y.shape
        x_at, epilogue = origins_of(x, window, out), Epilogue(self.filters, slope, code, added is y)
        if pooled:
            size = NR * 2 * out.width * LANES
            return with_workspace(convolve_pooled, threads(), size, x.data, x_at, filters, y.data, y.planes, epilogue)
        by_panel = self.packed.size > x.layout.item
        tiles = _tiles_per_task(-(-out.cells // MR), len(self.panels), x.layout.batch, by_panel)
        return with_queue(
            convolve, x.data, x_at, filters, y.data, y.planes, epilogue, residual_of(added, y),
            Schedule(tiles, by_panel),
        )  # fmt: skip


class DepthwiseConvolution:
    """A convolution of each channel with one filter of its own."""

    def __init__(self, weights: Array, gain: Array, bias: Array) -> None:
        """weights: (n, 1, size, size); gain, bias: (n,)."""
        n, _, self.size, _ = weights.shape
        self.filters, blocks = n, -(-n // LANES)
        self.packed = aligned_empty(blocks * self.size**2 * LANES)
        pack_depthwise(weights.reshape(-1), self.size**2, gain, self.packed)
        self.bias = aligned_zeros(blocks * LANES)
        self.bias[:n] = bias

    def bind(
        self, x: Tensor, y: Tensor, window: Window, slope: np.float32, code: int, pooled: bool = False,
        added: Tensor | None = None,
    ) -> Call:  # fmt: skip
        """See `PackedConvolution.bind`; neither pooled nor added to."""
        assert not pooled and added is None
        offsets = np.ascontiguousarray(window.offset(x.layout, *np.divmod(np.arange(self.size**2), self.size)))
        return with_queue(
            convolve_depthwise, x.data, origins_of(x, window, y.shape),
            DepthwiseFilters(offsets, self.packed, self.bias), y.data, y.planes,
            Epilogue(self.filters, slope, code, False),
        )  # fmt: skip


def _tiles_per_task(tiles: int, panels: int, batch: int, by_panel: bool) -> int:
    """Few enough tiles that every thread gets several tasks; whole planes where the filters outweigh them."""
    wanted = 8 * threads()
    pieces = max(1, -(-wanted // (panels * batch)))
    if not by_panel:
        pieces = max(pieces, wanted)
    return max(1, min(-(-tiles // pieces), 64))


def _tables(n: int, channels: int, groups: int, size: int, together: int) -> tuple[Table, Table]:
    """(taps, panels) as `pack_filters` takes them.

    A tap is a unit of TAP_LANES input channels under one cell of the filter. Taps run block by block of 16 channels, so
    that the cells a filter shares between its taps stay in the nearest cache. Output blocks read only the channels
    of the convolution groups that they belong to.
    """
    tables: list[Table] = []
    panels: list[tuple[int, int, int, int, int]] = []
    first_taps: dict[tuple[int, int], int] = {}
    first_tap = weights_at = block = 0
    per_group = n // groups
    while block * LANES < n:
        oc_vectors = together if (block + together) * LANES <= -(-n // LANES) * LANES else 1
        last = min(n, (block + oc_vectors) * LANES) - 1
        low = block * LANES // per_group * channels // TAP_LANES
        high = -(-(last // per_group + 1) * channels // TAP_LANES)
        if (low, high) not in first_taps:
            first_taps[low, high] = first_tap
            tables.append(_taps(low, high, size))
            first_tap += len(tables[-1])
        taps = (high - low) * size * size
        panels.append((block, oc_vectors, first_taps[low, high], taps, weights_at))
        weights_at += taps * TAP_LANES * oc_vectors * LANES
        block += oc_vectors
    return np.concatenate(tables), np.array(panels, np.int64)


def _taps(low: int, high: int, size: int) -> Table:
    """(unit, row, column) for units low..high, ordered by block of 16 channels, row, column, unit."""
    unit, row, column = np.meshgrid(np.arange(low, high), np.arange(size), np.arange(size), indexing="ij")
    order = np.lexsort((unit.ravel(), column.ravel(), row.ravel(), unit.ravel() * TAP_LANES // LANES))
    return np.stack([unit.ravel(), row.ravel(), column.ravel()], axis=1)[order].astype(np.int64)
