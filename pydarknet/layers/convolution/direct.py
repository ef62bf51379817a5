"""Filters laid out for the direct micro-kernels, and the tables that make a convolution's geometry data."""

from __future__ import annotations

import numpy as np

from ...kernels.convolution.direct import convolve, convolve_depthwise, convolve_pooled
from ...kernels.convolution.microkernel import COLOURS, PIXELS, ROWS, TAP_LANES
from ...kernels.convolution.pack import pack_depthwise, pack_filters
from ...runtime.program import Call
from ...runtime.threads import threads
from ...tensor import Tensor
from ...utils.arrays import LANES, Array, aligned_empty, aligned_zeros
from ..workspace import with_turns, with_workspace
from .geometry import Table, Window


class TiledConvolution:
    """A convolution of any size, stride, dilation and grouping on the micro-kernel.

    Packed once; bound to tensors as often as their sizes change.
    """

    def __init__(self, weights: Array, gain: Array, bias: Array, groups: int, lanes: int, rows: int = ROWS) -> None:
        """weights: (n, channels / groups, size, size); gain, bias: (n,); lanes: of the tensor that will be read; rows:
        blocks that are computed together."""
        n, channels, self.size, _ = weights.shape
        self.filters, self.lanes = n, lanes
        self.used = COLOURS if groups == 1 and channels == COLOURS else TAP_LANES
        self.units, self.groups = _tap_tables(n, channels, groups, self.size, rows)
        taps_end = self.groups[-1, 4] + self.groups[-1, 1] * self.groups[-1, 3] * TAP_LANES * LANES
        self.packed = aligned_empty(taps_end)
        pack_filters(weights.reshape(-1), self.size, channels, n // groups, gain, self.units, self.groups, self.packed)
        self.bias = aligned_zeros(-(-n // LANES) * LANES)
        self.bias[:n] = bias

    def bind(
        self, x: Tensor, y: Tensor, window: Window, slope: np.float32, code: int, pooled: bool = False,
        added: Tensor | None = None,
    ) -> Call:  # fmt: skip
        """See `PackedConvolution.bind`."""
        channel = self.units[:, 0] * TAP_LANES
        within = window.offset(x.layout, self.units[:, 1], self.units[:, 2])
        taps = channel // self.lanes * x.layout.block + channel % self.lanes + within
        shape = window.out_shape(x.shape, self.filters) if pooled else y.shape
        source = (
            x.data, x.layout.item, window.stride_y * x.layout.pitch * self.lanes, window.stride_x * self.lanes,
            np.ascontiguousarray(taps), self.used, self.groups, self.packed, self.bias, x.layout.batch, shape.height,
            shape.width,
        )  # fmt: skip
        target = (*y.target, self.filters, slope, code)
        if pooled:
            size = ROWS * 2 * shape.width * LANES
            return with_workspace(convolve_pooled, threads(), size, *source, *target)
        tiles = -(-shape.cells // PIXELS)
        by_group = self.packed.size > x.layout.item
        chunk = _tiles_per_task(tiles, len(self.groups), x.layout.batch, by_group)
        adds = added is y, added is not None and added is not y, *(added or y).source
        return with_turns(convolve, *source, chunk, by_group, *target, *adds)


class DepthwiseConvolution:
    """A convolution of each channel with one filter of its own."""

    def __init__(self, weights: Array, gain: Array, bias: Array) -> None:
        """weights: (n, 1, size, size)."""
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
        rows, columns = np.divmod(np.arange(self.size**2), self.size)
        taps = window.offset(x.layout, rows, columns)
        return with_turns(
            convolve_depthwise,
            x.data, x.layout.item, x.layout.block, window.stride_y * x.layout.pitch * LANES, window.stride_x * LANES,
            np.ascontiguousarray(taps), self.packed, self.bias, y.layout.batch, self.filters, y.shape.height,
            y.shape.width, *y.target, slope, code,
        )  # fmt: skip


def _tiles_per_task(tiles: int, groups: int, batch: int, by_group: bool) -> int:
    """Few enough tiles that every thread gets several tasks; whole planes where the filters outweigh them."""
    wanted = 8 * threads()
    pieces = max(1, -(-wanted // (groups * batch)))
    if not by_group:
        pieces = max(pieces, wanted)
    return max(1, min(-(-tiles // pieces), 64))


def _tap_tables(n: int, channels: int, groups: int, size: int, together: int) -> tuple[Table, Table]:
    """(units, groups) as `pack_filters` and `convolve` take them.

    A tap is a unit of TAP_LANES input channels under one cell of the filter. Taps run block by block of 16 channels, so
    that the cells a filter shares between its taps stay in the nearest cache. Output blocks read only the channels
    of the convolution groups that they belong to.
    """
    tables: list[Table] = []
    rows: list[tuple[int, int, int, int, int]] = []
    made: dict[tuple[int, int], int] = {}
    first_tap = weights_at = 0
    per_group = n // groups
    block = 0
    while block * LANES < n:
        count = together if (block + together) * LANES <= -(-n // LANES) * LANES else 1
        last = min(n, (block + count) * LANES) - 1
        low = block * LANES // per_group * channels // TAP_LANES
        high = -(-(last // per_group + 1) * channels // TAP_LANES)
        if (low, high) not in made:
            made[low, high] = first_tap
            tables.append(_taps(low, high, size))
            first_tap += len(tables[-1])
        taps = (high - low) * size * size
        rows.append((block, count, made[low, high], taps, weights_at))
        weights_at += taps * TAP_LANES * count * LANES
        block += count
    return np.concatenate(tables), np.array(rows, np.int64)


def _taps(low: int, high: int, size: int) -> Table:
    """(unit, row, column) for units low..high, ordered by block of 16 channels, row, column, unit."""
    unit, row, column = np.meshgrid(np.arange(low, high), np.arange(size), np.arange(size), indexing="ij")
    order = np.lexsort((unit.ravel(), column.ravel(), row.ravel(), unit.ravel() * TAP_LANES // LANES))
    return np.stack([unit.ravel(), row.ravel(), column.ravel()], axis=1)[order].astype(np.int64)
