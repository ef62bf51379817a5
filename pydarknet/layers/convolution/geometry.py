"""How a filter moves over a picture, and what all convolutions have in common, however they are computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...kernels.convolution.views import Origins, Residual
from ...runtime.program import Call
from ...tensor import Layout, Shape, Tensor
from ...utils.arrays import Array
from ..activations import Activation

Table = NDArray[np.int64]


def not_bound() -> None:
    """What a layer would call before it has been prepared."""
    raise RuntimeError("forward before setup")


@dataclass(frozen=True)
class Window:
    """How a filter moves over the picture. `padding` counts cells on every side, before dilation."""

    size: int
    stride_y: int
    stride_x: int
    padding: int
    dilation: int = 1

    @property
    def is_plain_3x3(self) -> bool:
        """Whether Winograd's method can compute it."""
        return (self.size, self.dilation) == (3, 1) and self.stride_y == self.stride_x in (1, 2)

    def out_shape(self, shape: Shape, filters: int) -> Shape:
        """darknet's rule, which leaves dilation out."""
        height = (shape.height + 2 * self.padding - self.size) // self.stride_y + 1
        width = (shape.width + 2 * self.padding - self.size) // self.stride_x + 1
        fits = shape.height + 2 * self.padding >= self.size and shape.width + 2 * self.padding >= self.size
        return Shape(filters, height, width) if fits else Shape(filters, 0, 0)

    def halo(self, shape: Shape) -> int:
        """Cells of zeros that the filter reads beyond a plane's edges."""
        out = self.out_shape(shape, 1)
        before = self.padding * self.dilation
        reach = (self.size - 1) * self.dilation - before
        below = (out.height - 1) * self.stride_y + reach - (shape.height - 1)
        right = (out.width - 1) * self.stride_x + reach - (shape.width - 1)
        return max(before, below, right, 0)

    def offset(self, layout: Layout, row: NDArray[np.int64], column: NDArray[np.int64]) -> Table:
        """Floats from an output pixel's origin to the cell under the filter's (row, column)."""
        rows = (row - self.padding) * self.dilation
        columns = (column - self.padding) * self.dilation
        return (rows * layout.pitch + columns) * layout.lanes + layout.origin


def origins_of(x: Tensor, window: Window, out: Shape) -> Origins:
    """Where the windows of output pixels begin in x, for kernels; out: the shape before pooling."""
    at = x.layout
    rows, columns = window.stride_y * at.pitch * at.lanes, window.stride_x * at.lanes
    return Origins(at.item, at.block, rows, columns, out.height, out.width)


def residual_of(added: Tensor | None, y: Tensor) -> Residual:
    """What is added to y after the activation, for kernels, unless it is None or y itself."""
    tensor = added or y
    at = tensor.layout
    return Residual(tensor.data, tensor is not y, at.item, at.block, at.pitch, at.origin)


class PackedConvolution(Protocol):
    """Filters and biases in a kernel's order, by whichever method. Packed once; bound to tensors as often as their
    sizes change."""

    filters: int
    packed: Array
    bias: Array

    def bind(
        self, x: Tensor, y: Tensor, window: Window, slope: np.float32, code: int, pooled: bool = False,
        added: Tensor | None = None,
    ) -> Call:  # fmt: skip
        """What computes y from x, with the slope below zero and the activation's code. `pooled`: y takes the largest
        of each 2 x 2 cells. `added`: what is there is added after the activation; where there is none, y itself
        may be given. Methods that can do neither are not chosen where they are asked for."""


class FusableConvolution(Protocol):
    """What is asked of a convolution that may be computed in one go with others, or from a planar tensor."""

    sources: tuple[int, ...]
    inputs: tuple[Shape, ...]
    batch: int
    filters: int
    window: Window

    @property
    def is_pointwise(self) -> bool:
        """Whether it is 1x1 over all channels, and its activation is applied as it stores."""

    @property
    def is_depthwise(self) -> bool:
        """Whether each channel has one filter without dilation, and its activation is applied as it stores."""

    @property
    def applies_as_it_stores(self) -> bool:
        """Whether the activation is, and nothing else is done with the sums."""

    @property
    def activates_by_slope(self) -> bool:
        """Whether all that is done with the sums is to multiply them by a slope below zero."""

    @property
    def applied_activation(self) -> Activation:
        """What is applied to the sums."""

    def packed(self, x: Layout) -> PackedConvolution:
        """The filters, laid out for what is read."""
