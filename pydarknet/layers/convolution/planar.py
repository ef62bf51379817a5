"""Thin layers in planar tensors: which convolutions can be computed there, and how their filters lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...kernels.convolution.planar import FIRST, convolve_rows
from ...kernels.convolution.planar_inverted_bottleneck import convolve_planar_chain
from ...kernels.convolution.planar_microkernel import LEAST, OUTS, PLANE_SPAN, SPAN
from ...runtime.program import Call
from ...runtime.threads import threads
from ...tensor import PLANAR, Layout, Shape, Tensor
from ...utils.arrays import LANES, Array, aligned_empty
from ..workspace import with_workspace
from .geometry import FusableConvolution, Table, Window

MOST_CHANNELS = LANES // 2  # of a thin layer: more fill a block's lanes well enough
MOST_PLANES = 4  # of a picture


class PlanarConvolution:
    """A convolution over all channels, or of each with its own filter, that reads a planar tensor."""

    lanes = PLANAR

    def __init__(self, weights: Array, gain: Array, bias: Array, groups: int) -> None:
        """weights: (n, channels / groups, size, size), `groups` 1 or n; gain, bias: (n,)."""
        n, self.channels, self.size, _ = weights.shape
        self.filters, outs = n, OUTS if groups == 1 else 1
        scaled = (weights * gain[:, None, None, None]).transpose(0, 2, 3, 1)  # in the order of a blocked one's taps
        self.packed = aligned_empty(weights.size)
        self.packed[:] = scaled.reshape(n // outs, outs, -1).transpose(0, 2, 1).ravel()
        self.bias = bias

    def taps(self, x: Layout, window: Window) -> Table:
        """Floats from an output pixel's origin to what a filter reads, in the order of its weights."""
        row, column, channel = np.meshgrid(*map(np.arange, (self.size, self.size, self.channels)), indexing="ij")
        return np.ascontiguousarray((channel * x.block + window.offset(x, row, column)).ravel())

    def bind(
        self, x: Tensor, y: Tensor, window: Window, slope: np.float32, code: int, pooled: bool = False,
        added: Tensor | None = None,
    ) -> Call:  # fmt: skip
        """See `PackedConvolution.bind`; y is planar or blocked, neither pooled nor added to."""
        assert not pooled and added is None
        step, blocked = window.stride_x, y.layout.lanes != PLANAR
        row, column, channel = np.meshgrid(*map(np.arange, (self.size, self.size, self.channels)), indexing="ij")
        cell, phase = np.divmod(column - window.padding, step)
        width = max(y.shape.width + int(cell.max()), -(-x.shape.width // step))
        pitch = -(-(FIRST + width) // LANES) * LANES
        taps = np.ascontiguousarray((((channel * self.size + row) * step + phase) * pitch + FIRST + cell).ravel())
        arguments = (
            x.place, self.channels, x.shape.height, x.shape.width, self.size, step, window.padding, pitch, taps,
            self.packed, self.bias, slope, code, x.layout.batch, y.shape.height, y.shape.width, *y.target, self.filters,
            blocked,
        )  # fmt: skip
        room = self.channels * self.size * step * pitch + LANES * SPAN
        return with_workspace(convolve_rows, threads(), room, *arguments)


def lanes_from_rows(link: FusableConvolution) -> tuple[int, ...]:
    """In how many lanes a convolution over all channels can write what it computes from a planar tensor, row by row:
    in planes, and in blocks those of pictures; none where it cannot."""
    window, x = link.window, link.inputs[0]
    out = window.out_shape(x, link.filters)
    if not _has_known_steps(window) or window.padding > FIRST or out.width < LEAST or x.width < LANES:
        return ()
    blocked = link.filters % LANES == 0 and x.channels <= MOST_PLANES and link.applies_as_it_stores
    return (PLANAR,) * is_planar(link) + (LANES,) * blocked


def is_planar(link: FusableConvolution) -> bool:
    """Whether a convolution can be computed from a planar tensor to another: rows long enough, planes that fill the
    tiles, steps and an activation that these know."""
    window, x = link.window, link.inputs[0]
    out = window.out_shape(x, link.filters)
    whole = link.filters % OUTS == 0 or link.is_depthwise
    return whole and _has_known_steps(window) and out.width >= PLANE_SPAN and link.activates_by_slope


def _has_known_steps(window: Window) -> bool:
    return window.stride_y == window.stride_x in (1, 2) and window.dilation == 1


def fits_four_lanes(shape: Shape) -> bool:
    """Whether a tensor should be planar, where what writes and reads it can do with that."""
    return shape.channels <= MOST_CHANNELS


def bind_planar_chain(links: Sequence[FusableConvolution], x: Tensor, y: Tensor, added: Tensor | None) -> Call:
    """As `bind_chain`, from a planar tensor to a planar one or to one block."""
    expand, middle, project = links
    window, shape, out = middle.window, middle.inputs[0], y.shape
    size = window.size
    side = -(-window.halo(shape) // LANES) * LANES  # so that rows begin with a cache line, where these are whole ones
    pitch = shape.width + 2 * side
    blocked = y.layout.lanes != PLANAR
    assert not blocked or y.layout.blocks == 1
    ring, between = (Layout(1, Shape(shape.channels, *sides), 0, PLANAR) for sides in ((size, pitch), (1, out.width)))
    slot, row, column = np.meshgrid(*[np.arange(size)] * 3, indexing="ij")
    steps = ((slot + row) % size * pitch + column - window.padding + side).ravel()
    arguments = (
        x.place, x.layout.size, x.layout.item, x.layout.pitch, shape.height, shape.width, *_filters(expand, x.layout),
        *_filters(middle, ring, np.ascontiguousarray(steps)), size, window.stride_y, window.padding, side,
        shape.channels, *_filters(project, between), x.layout.batch, out.height, out.width, *y.target, out.channels,
        blocked, added is not None, (added or x).data, (added or x).layout.item, (added or x).layout.block,
    )  # fmt: skip
    room = ring.size + between.size + LANES * out.width + LANES  # the last ones are read beyond what is needed
    return with_workspace(convolve_planar_chain, threads(), -(-room // LANES) * LANES, *arguments)


def _filters(link: FusableConvolution, x: Layout, taps: Table | None = None) -> tuple[Any, ...]:
    """As the kernels take them."""
    plan = link.packed(x)
    assert isinstance(plan, PlanarConvolution)
    return (
        plan.taps(x, link.window) if taps is None else taps,
        plan.packed,
        plan.bias,
        link.applied_activation.fused_slope,
    )
