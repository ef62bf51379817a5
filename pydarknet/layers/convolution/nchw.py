"""Convolutions that read NCHW tensors: of the network's picture, and of layers with few channels. And inverted
bottlenecks, which one kernel computes: pointwise (expand), depthwise, pointwise (project) convolution, or the
last two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import gcd
from typing import Any

import numpy as np

from ...kernels.activation import NONE
from ...kernels.convolution import bf16, int8
from ...kernels.convolution.direct import SHORTEST
from ...kernels.convolution.inverted_bottleneck import convolve_inverted_bottleneck
from ...kernels.convolution.microkernel import MR, NR, TAP_LANES
from ...kernels.convolution.nchw import FIRST, convolve_nchw_bottleneck, convolve_picture, convolve_rows
from ...kernels.convolution.nchw_microkernel import COLUMN_OUTS, COLUMN_SPAN, LEAST, OUTS, PLANE_SPAN, POINTS, SPAN
from ...kernels.views import BandedPlanes, BottleneckLink, Epilogue, NchwFilters, NchwRows, Residual
from ...runtime.program import Call
from ...runtime.threads import threads
from ...tensor import NCHW, Layout, Shape, Tensor
from ...utils.arrays import LANES, Array, aligned_empty
from ..base import INPUT
from ..workspace import with_workspace
from .direct import TiledConvolution
from .geometry import FusableConvolution, PackedConvolution, Table, Window, residual_of

# By the numbers in a word of the output.
ROW_KERNELS = {1: convolve_rows, 2: bf16.convolve_rows_bf16, 4: int8.convolve_rows_int8}
PICTURE_KERNELS = {1: convolve_picture, 2: bf16.convolve_picture_bf16, 4: int8.convolve_picture_int8}

MOST_CHANNELS = LANES // 2  # few channels: more fill a block's lanes well enough
MOST_PLANES = 4  # of a picture


class NchwConvolution(PackedConvolution):
    """A convolution over all channels, or of each with its own filter, from an NCHW tensor to it or blocks."""

    pools = adds = False

    def __init__(self, weights: Array, gain: Array, bias: Array, groups: int) -> None:
        n, self.channels, self.size, _ = weights.shape
        self.filters, outs = n, OUTS if groups == 1 else 1
        scaled = (weights * gain[:, None, None, None]).transpose(0, 2, 3, 1)  # in the order of a blocked one's taps
        self.packed = aligned_empty(weights.size)
        self.packed[:] = scaled.reshape(n // outs, outs, -1).transpose(0, 2, 1).ravel()
        self.bias = bias

    def offsets(self, x: Layout, window: Window) -> Table:
        """Floats from an output pixel's origin to what a filter reads."""
        row, column, channel = np.meshgrid(*map(np.arange, (self.size, self.size, self.channels)), indexing="ij")
        return np.ascontiguousarray((channel * x.block + window.offset(x, row, column)).ravel())

    def call(
        self, x: Tensor, y: Tensor, window: Window, out: Shape, epilogue: Epilogue, residual: Residual, pooled: bool
    ) -> Call:
        step = window.stride_x
        row, column, channel = np.meshgrid(*map(np.arange, (self.size, self.size, self.channels)), indexing="ij")
        cell, phase = np.divmod(column - window.padding, step)
        width = max(y.shape.width + int(cell.max()), -(-x.shape.width // step))
        pitch = -(-(FIRST + width) // LANES) * LANES
        offsets = np.ascontiguousarray((((channel * self.size + row) * step + phase) * pitch + FIRST + cell).ravel())
        kernel, x_at = ROW_KERNELS[y.layout.numbers.factors], _rows(x.shape, window, pitch, y)
        room = self.channels * self.size * step * pitch + (1 + epilogue.stores) * LANES * SPAN
        return _call(kernel, room, x, x_at, self, offsets, y, epilogue)


WINDOW_3X3 = Window(3, 1, 1, 1)

# G of F(2, 3), applied to the three rows of a filter: the two middle points first, then the two outer ones.
MIDDLE, OUTER = np.array([[0.5, 0.5, 0.5], [0.5, -0.5, 0.5]]), np.array([[1.0, 0, 0], [0, 0, 1]])


class PictureConvolution(PackedConvolution):
    """A 3 x 3 convolution that reads an NCHW tensor and writes blocks."""

    adds = False

    def __init__(self, weights: Array, gain: Array, bias: Array, groups: int) -> None:
        n, self.channels, *_ = weights.shape
        self.filters = n
        self.packed = aligned_empty(n * self.channels * 3 * POINTS)
        scaled = (weights * gain[:, None, None, None]).reshape(n // COLUMN_OUTS, COLUMN_OUTS, self.channels, 3, 3)
        points = (np.einsum("kr,gocrx->gcxko", matrix, scaled) for matrix in (MIDDLE, OUTER))
        self.packed[:] = np.stack([*points], axis=1).ravel()
        self.bias = bias

    def call(
        self, x: Tensor, y: Tensor, window: Window, out: Shape, epilogue: Epilogue, residual: Residual, pooled: bool
    ) -> Call:
        assert not (pooled and epilogue.activation)
        pitch = -(-(FIRST + x.shape.width + 1) // LANES) * LANES
        columns = FIRST - window.padding + np.arange(window.size)
        offsets = np.add.outer(POINTS * pitch * np.arange(self.channels), columns).ravel()
        kernel, x_at = PICTURE_KERNELS[y.layout.numbers.factors], _rows(x.shape, window, pitch, y, pooled)
        room = self.channels * POINTS * pitch + 2 * (1 + epilogue.stores) * LANES * COLUMN_SPAN
        return _call(kernel, room, x, x_at, self, offsets, y, epilogue)


def _rows(x: Shape, window: Window, pitch: int, y: Tensor, pooled: bool = False) -> NchwRows:
    return NchwRows(
        x.channels, x.height, x.width, window.size, window.stride_y, window.padding, pitch, y.layout.lanes != NCHW,
        int(pooled),
    )  # fmt: skip


def _call(
    kernel: Any, room: int, x: Tensor, x_at: NchwRows, packed: NchwConvolution | PictureConvolution, offsets: Table,
    y: Tensor, epilogue: Epilogue,
) -> Call:  # fmt: skip
    return with_workspace(
        kernel, threads(), room, x.place, x_at, NchwFilters(offsets, packed.packed, packed.bias, epilogue.slope),
        y.data, y.planes, epilogue,
    )  # fmt: skip


def lanes_from_rows(link: FusableConvolution) -> tuple[int, ...]:
    """The lanes that a convolution over all channels can write from an NCHW tensor, row by row."""
    window, x = link.window, link.inputs[0]
    out = window.out_shape(x, link.filters)
    if not _has_known_steps(window) or window.padding > FIRST or out.width < LEAST or x.width < LANES:
        return ()
    blocked = link.filters % LANES == 0 and x.channels <= MOST_PLANES and link.applies_as_it_stores
    return (NCHW,) * fits_nchw(link) + (LANES,) * blocked


def fits_nchw(link: FusableConvolution) -> bool:
    """Whether a convolution can read and write NCHW tensors."""
    window, x = link.window, link.inputs[0]
    out = window.out_shape(x, link.filters)
    whole = link.filters % OUTS == 0 or link.is_depthwise
    return whole and _has_known_steps(window) and out.width >= PLANE_SPAN and link.activates_by_slope


def _has_known_steps(window: Window) -> bool:
    return window.stride_y == window.stride_x in (1, 2) and window.dilation == 1


def fits_four_lanes(shape: Shape) -> bool:
    """Whether a tensor should be NCHW."""
    return shape.channels <= MOST_CHANNELS


def bind_nchw_bottleneck(links: Sequence[FusableConvolution], x: Tensor, y: Tensor, added: Tensor | None) -> Call:
    """As `bind_inverted_bottleneck`, from an NCHW tensor to an NCHW one or to one block."""
    expand, middle, project = links
    window, shape, out = middle.window, middle.inputs[0], y.shape
    size = window.size
    side = -(-window.halo(shape) // LANES) * LANES  # rows begin with a cache line
    pitch = shape.width + 2 * side
    ring, between = (Layout(1, Shape(shape.channels, *sides), 0, NCHW) for sides in ((size, pitch), (1, out.width)))
    slot, row, column = np.meshgrid(*[np.arange(size)] * 3, indexing="ij")
    steps = ((slot + row) % size * pitch + column - window.padding + side).ravel()
    x_at = _rows(shape, window, pitch, y)._replace(channels=x.shape.channels)
    room = ring.size + between.size + LANES * out.width + LANES  # the last ones are read, but not needed
    return with_workspace(
        convolve_nchw_bottleneck, threads(), -(-room // LANES) * LANES,
        x.place, x_at, _filters(expand, x.layout), _filters(middle, ring, np.ascontiguousarray(steps)),
        _filters(project, between), y.data, y.planes, residual_of(added, y),
    )  # fmt: skip


def _filters(link: FusableConvolution, x: Layout, offsets: Table | None = None) -> NchwFilters:
    packed = link.packed(x)
    table = packed.offsets(x, link.window) if offsets is None else offsets
    return NchwFilters(table, packed.packed, packed.bias, link.applied_activation.fused_slope)


def is_picture_filter(filters: int, channels: int, groups: int, window: Window) -> bool:
    """Whether a PictureConvolution can compute these filters."""
    return window == WINDOW_3X3 and filters % LANES == 0 and channels <= MOST_PLANES and groups == 1


def reads_picture(link: FusableConvolution, pooled: bool) -> bool:
    """Whether a PictureConvolution computes a convolution over all channels."""
    shape = link.inputs[0]
    if not is_picture_filter(link.filters, shape.channels, 1, link.window) or shape.width < COLUMN_SPAN:
        return False
    if pooled:
        return link.activates_by_slope and shape.height % 2 == 0 and shape.width % 2 == 0
    return link.applies_as_it_stores


# Bounds of a band: floats that stay in a core's L2 cache, and rows computed for each of its own.
NEAR, MOST_WORK = 128 << 10, 1.35

# In the place of the first convolution where there is none.
NOTHING = BottleneckLink(
    np.zeros(0, np.int64), TAP_LANES, np.zeros((0, 5), np.int64), np.zeros(0, np.float32), np.zeros(0, np.float32),
    np.float32(1), 0, 0, LANES,
)  # fmt: skip


@dataclass
class Bands:
    """The division of an inverted bottleneck's output rows into `count` bands for each picture.

    x: what the depthwise convolution reads, computed here where the bottleneck `expands`; window: its own. With
    size k and stride s, neighbouring bands overlap by k - s rows of x, which both compute.
    """

    x: Shape
    window: Window
    expands: bool
    count: int

    @classmethod
    def of(cls, x: Shape, window: Window, expands: bool, batch: int, workers: int) -> Bands | None:
        """The fewest bands that stay in a core's cache, as many for every worker."""
        step = workers // gcd(workers, batch)
        for count in range(step, window.out_shape(x, 1).height + 1, step):
            bands = cls(x, window, expands, count)
            if bands.work_size <= NEAR:
                return bands if bands.work <= MOST_WORK else None
        return None

    def __post_init__(self) -> None:
        x, window = self.x, self.window
        self.out = window.out_shape(x, x.channels)  # of the depthwise convolution
        self.rows = -(-self.out.height // self.count)  # the most that a band has
        self.side = window.halo(x)  # cells of zeros left and right of an expanded band
        self.expanded_pitch = x.width + 2 * self.side
        self.expanded_block = ((self.rows - 1) * window.stride_y + window.size) * self.expanded_pitch * LANES  # floats
        self.between = Layout(1, Shape(x.channels, self.rows, self.out.width))  # what the depthwise one makes of a band
        expanded = min(NR, self.between.blocks) * self.expanded_block + MR * LANES
        self.work_size = self.between.size + (expanded if self.expands else 0)  # floats between the convolutions

    @property
    def work(self) -> float:
        """Rows of the expanded plane that are computed, for each that there is."""
        if not self.expands:
            return 1.0
        window, edges = self.window, [self.out.height * band // self.count for band in range(self.count + 1)]
        lows = [max(0, edge * window.stride_y - window.padding) for edge in edges[:-1]]
        ends = [(edge - 1) * window.stride_y - window.padding + window.size for edge in edges[1:]]
        return sum(max(0, min(self.x.height, end) - low) for low, end in zip(lows, ends, strict=True)) / self.x.height


def chain_length(links: Sequence[FusableConvolution]) -> int:
    """The number of convolutions, from the first on, that one kernel computes."""
    expands = links[0].is_pointwise
    middle, project = (*links[expands : expands + 2], None, None)[:2]
    if middle is None or project is None or not middle.is_depthwise or not project.is_pointwise:
        return 1
    if not expands and INPUT in middle.sources:  # which may lie in fewer lanes
        return 1
    bands = Bands.of(middle.inputs[0], middle.window, expands, middle.batch, threads())
    return 2 + expands if bands else 1


def lanes_from_nchw(links: Sequence[FusableConvolution]) -> tuple[int, ...]:
    """The lanes of an inverted bottleneck's output where it reads an NCHW tensor."""
    if len(links) != 3 or not all(map(fits_nchw, links)):
        return ()
    return (NCHW, LANES) if links[-1].filters <= LANES else (NCHW,)


def bind_inverted_bottleneck(links: Sequence[FusableConvolution], x: Tensor, y: Tensor, added: Tensor | None) -> Call:
    """The call that computes y from x through all links."""
    if x.layout.lanes == NCHW:
        return bind_nchw_bottleneck(links, x, y, added)
    *expand, middle, project = links
    window, workers = middle.window, threads()
    # There may be more threads than when the links were fused.
    divide = partial(Bands.of, middle.inputs[0], window, bool(expand), x.layout.batch)
    bands: Any = divide(workers) or divide(1)
    x_at = BandedPlanes(
        x.layout.item, x.layout.pitch * x.layout.lanes, bands.x.height, bands.x.width, bands.side, bands.count,
        bands.rows,
    )  # fmt: skip
    return with_workspace(
        convolve_inverted_bottleneck, workers, bands.work_size, x.data, x_at,
        _pointwise(expand[0], x.layout) if expand else NOTHING, _depthwise(middle, bands, x.layout),
        _pointwise(project, bands.between), y.data, y.planes, residual_of(added, y),
    )  # fmt: skip


def _pointwise(link: FusableConvolution, x: Layout) -> BottleneckLink:
    direct: TiledConvolution = link.packed(x)
    kind = link.applied_activation
    filters = direct.filters_for(x, np.int64(x.origin))
    return BottleneckLink(*filters, kind.fused_slope, kind.fused_id, direct.filters, x.lanes)


def _depthwise(link: FusableConvolution, bands: Bands, x: Layout) -> BottleneckLink:
    packed, kind, window = link.packed(bands.between), link.applied_activation, link.window
    rows, columns = np.divmod(np.arange(window.size**2), window.size)
    if bands.expands:
        offsets = (rows * bands.expanded_pitch + columns - window.padding + bands.side) * LANES
        block, pitch = bands.expanded_block, bands.expanded_pitch
    else:
        offsets, block, pitch = window.offset(x, rows, columns), x.block, x.pitch
    is_straight = bands.expands and window.stride_x == 1 and kind.fused_id == NONE and bands.out.width >= SHORTEST
    return BottleneckLink(
        np.ascontiguousarray(offsets), 1, packed.panels, packed.packed, packed.bias, kind.fused_slope, kind.fused_id,
        bands.x.channels, window.stride_x * LANES, window.stride_y * pitch * LANES, block, window.size, window.stride_y,
        window.padding, is_straight,
    )  # fmt: skip
