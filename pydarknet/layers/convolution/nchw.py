"""Convolutions that read NCHW tensors: of the network's picture, and of layers with few channels. Which ones can, and
how their filters are packed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...kernels.convolution.nchw import FIRST, convolve_nchw_bottleneck, convolve_picture, convolve_rows
from ...kernels.convolution.nchw_microkernel import COLUMN_OUTS, COLUMN_SPAN, LEAST, OUTS, PLANE_SPAN, POINTS, SPAN
from ...kernels.views import Epilogue, NchwFilters, NchwRows, Residual
from ...runtime.program import Call
from ...runtime.threads import threads
from ...tensor import NCHW, Layout, Shape, Tensor
from ...utils.arrays import LANES, Array, aligned_empty
from ..workspace import with_workspace
from .geometry import FusableConvolution, PackedConvolution, Table, Window, residual_of

MOST_CHANNELS = LANES // 2  # few channels: more fill a block's lanes well enough
MOST_PLANES = 4  # of a picture


class NchwConvolution(PackedConvolution):
    """A convolution over all channels, or of each with its own filter, that reads an NCHW tensor and writes it or
    blocks."""

    pools = adds = False

    def __init__(self, weights: Array, gain: Array, bias: Array, groups: int) -> None:
        """weights: (n, channels / groups, size, size), `groups` 1 or n; gain, bias: (n,)."""
        n, self.channels, self.size, _ = weights.shape
        self.filters, outs = n, OUTS if groups == 1 else 1
        scaled = (weights * gain[:, None, None, None]).transpose(0, 2, 3, 1)  # in the order of a blocked one's taps
        self.packed = aligned_empty(weights.size)
        self.packed[:] = scaled.reshape(n // outs, outs, -1).transpose(0, 2, 1).ravel()
        self.bias = bias

    def offsets(self, x: Layout, window: Window) -> Table:
        """Floats from an output pixel's origin to what a filter reads, in the order of its weights."""
        row, column, channel = np.meshgrid(*map(np.arange, (self.size, self.size, self.channels)), indexing="ij")
        return np.ascontiguousarray((channel * x.block + window.offset(x, row, column)).ravel())

    def call(
        self, x: Tensor, y: Tensor, window: Window, out: Shape, epilogue: Epilogue, residual: Residual, pooled: bool
    ) -> Call:
        step, blocked = window.stride_x, y.layout.lanes != NCHW
        row, column, channel = np.meshgrid(*map(np.arange, (self.size, self.size, self.channels)), indexing="ij")
        cell, phase = np.divmod(column - window.padding, step)
        width = max(y.shape.width + int(cell.max()), -(-x.shape.width // step))
        pitch = -(-(FIRST + width) // LANES) * LANES
        offsets = np.ascontiguousarray((((channel * self.size + row) * step + phase) * pitch + FIRST + cell).ravel())
        x_at = NchwRows(
            self.channels, x.shape.height, x.shape.width, self.size, step, window.padding, pitch, blocked, 0
        )  # fmt: skip
        room = self.channels * self.size * step * pitch + LANES * SPAN
        return with_workspace(
            convolve_rows, threads(), room,
            x.place, x_at, NchwFilters(offsets, self.packed, self.bias, epilogue.slope), y.data, y.planes,
            epilogue.activation,
        )  # fmt: skip


WINDOW_3X3 = Window(3, 1, 1, 1)

# G of F(2, 3), applied to the three rows of a filter: the two middle points first, then the two outer ones.
MIDDLE, OUTER = np.array([[0.5, 0.5, 0.5], [0.5, -0.5, 0.5]]), np.array([[1.0, 0, 0], [0, 0, 1]])


class PictureConvolution(PackedConvolution):
    """A 3 x 3 convolution that reads an NCHW tensor and writes blocks. Where it is pooled, the slope is applied after
    that, and a code is not."""

    adds = False

    def __init__(self, weights: Array, gain: Array, bias: Array, groups: int) -> None:
        """weights: (n, channels, 3, 3), n a multiple of LANES; gain, bias: (n,); groups: 1."""
        n, self.channels, *_ = weights.shape
        self.filters = n
        self.packed = aligned_empty(n * self.channels * 3 * POINTS)
        scaled = (weights * gain[:, None, None, None]).reshape(n // COLUMN_OUTS, COLUMN_OUTS, self.channels, 3, 3)
        points = [np.einsum("kr,gocrx->gcxko", matrix, scaled) for matrix in (MIDDLE, OUTER)]
        self.packed[:] = np.stack(points, axis=1).ravel()
        self.bias = bias

    def call(
        self, x: Tensor, y: Tensor, window: Window, out: Shape, epilogue: Epilogue, residual: Residual, pooled: bool
    ) -> Call:
        assert not (pooled and epilogue.activation)
        pitch = -(-(FIRST + x.shape.width + 1) // LANES) * LANES
        columns = FIRST - window.padding + np.arange(window.size)
        offsets = np.add.outer(POINTS * pitch * np.arange(self.channels), columns).ravel()
        x_at = NchwRows(
            self.channels, x.shape.height, x.shape.width, window.size, 1, window.padding, pitch, True, int(pooled)
        )  # fmt: skip
        size = self.channels * POINTS * pitch + 2 * LANES * COLUMN_SPAN
        return with_workspace(
            convolve_picture, threads(), size,
            x.place, x_at, NchwFilters(offsets, self.packed, self.bias, epilogue.slope), y.data, y.planes,
            epilogue.activation,
        )  # fmt: skip


def lanes_from_rows(link: FusableConvolution) -> tuple[int, ...]:
    """The lanes in which a convolution over all channels can write what it computes from an NCHW tensor, row by row:
    NCHW, and blocks where it reads pictures; none where it cannot."""
    window, x = link.window, link.inputs[0]
    out = window.out_shape(x, link.filters)
    if not _has_known_steps(window) or window.padding > FIRST or out.width < LEAST or x.width < LANES:
        return ()
    blocked = link.filters % LANES == 0 and x.channels <= MOST_PLANES and link.applies_as_it_stores
    return (NCHW,) * fits_nchw(link) + (LANES,) * blocked


def fits_nchw(link: FusableConvolution) -> bool:
    """Whether a convolution can read and write NCHW tensors: rows are long enough, planes fill the tiles, and the tiles
    know its strides and its activation."""
    window, x = link.window, link.inputs[0]
    out = window.out_shape(x, link.filters)
    whole = link.filters % OUTS == 0 or link.is_depthwise
    return whole and _has_known_steps(window) and out.width >= PLANE_SPAN and link.activates_by_slope


def _has_known_steps(window: Window) -> bool:
    return window.stride_y == window.stride_x in (1, 2) and window.dilation == 1


def fits_four_lanes(shape: Shape) -> bool:
    """Whether a tensor should be NCHW, where its writer and its readers support that."""
    return shape.channels <= MOST_CHANNELS


def bind_nchw_bottleneck(links: Sequence[FusableConvolution], x: Tensor, y: Tensor, added: Tensor | None) -> Call:
    """As `bind_inverted_bottleneck`, from an NCHW tensor to an NCHW one or to one block."""
    expand, middle, project = links
    window, shape, out = middle.window, middle.inputs[0], y.shape
    size = window.size
    side = -(-window.halo(shape) // LANES) * LANES  # so that rows begin with a cache line, where these are whole ones
    pitch = shape.width + 2 * side
    blocked = y.layout.lanes != NCHW
    assert not blocked or y.layout.blocks == 1
    ring, between = (Layout(1, Shape(shape.channels, *sides), 0, NCHW) for sides in ((size, pitch), (1, out.width)))
    slot, row, column = np.meshgrid(*[np.arange(size)] * 3, indexing="ij")
    steps = ((slot + row) % size * pitch + column - window.padding + side).ravel()
    x_at = NchwRows(
        x.shape.channels, shape.height, shape.width, size, window.stride_y, window.padding, pitch, blocked, 0
    )  # fmt: skip
    room = ring.size + between.size + LANES * out.width + LANES  # the last ones are read beyond what is needed
    return with_workspace(
        convolve_nchw_bottleneck, threads(), -(-room // LANES) * LANES,
        x.place, x_at, _filters(expand, x.layout), _filters(middle, ring, np.ascontiguousarray(steps)),
        _filters(project, between), y.data, y.planes, residual_of(added, y),
    )  # fmt: skip


def _filters(link: FusableConvolution, x: Layout, offsets: Table | None = None) -> NchwFilters:
    """The filters as kernels take them."""
    packed = link.packed(x)
    assert isinstance(packed, NchwConvolution)
    table = packed.offsets(x, link.window) if offsets is None else offsets
    return NchwFilters(table, packed.packed, packed.bias, link.applied_activation.fused_slope)


def is_picture_filter(filters: int, channels: int, groups: int, window: Window) -> bool:
    """Whether a PictureConvolution can compute these filters: whole output blocks, few input planes."""
    return window == WINDOW_3X3 and filters % LANES == 0 and channels <= MOST_PLANES and groups == 1


def reads_picture(link: FusableConvolution, pooled: bool) -> bool:
    """Whether a PictureConvolution computes a convolution over all channels: rows are long enough, and where it is
    pooled, sides are even and the activation is a slope, which may as well follow."""
    shape = link.inputs[0]
    if not is_picture_filter(link.filters, shape.channels, 1, link.window) or shape.width < COLUMN_SPAN:
        return False
    if pooled:
        return link.activates_by_slope and shape.height % 2 == 0 and shape.width % 2 == 0
    return link.applies_as_it_stores
