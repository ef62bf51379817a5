"""The window of a convolution, and what all convolutions have in common."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels.activation import NONE
from ...kernels.views import Epilogue, FilterOrder, Origins, Residual
from ...runtime.program import Call
from ...tensor import Layout, Shape, Tensor
from ...utils.arrays import Array
from ..activations import LINEAR, Activation
from ..base import Layer, Parameter
from ..batchnorm import BatchNorm

Table = NDArray[np.int64]


def filters_in_memory(weights: Array) -> tuple[Array, FilterOrder]:
    """Filters (n, channels, size, size) as a flat array and its order. Neither plain ones are copied nor a view of
    such turned, with inputs and outputs exchanged."""
    n, channels, size, _ = weights.shape
    cells = size**2
    if weights.flags.c_contiguous:
        return weights.reshape(-1), FilterOrder(channels * cells, cells, 0, 1)
    plain = np.ascontiguousarray(weights[:, :, ::-1, ::-1].swapaxes(0, 1))
    return plain.reshape(-1), FilterOrder(cells, n * cells, cells - 1, -1)


def not_bound() -> None:
    raise RuntimeError("forward before setup")


@dataclass(frozen=True)
class Window:
    """The size and the steps of a filter. `padding` counts cells on every side, before dilation."""

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
        """Cells of zeros that the filter reads beyond the edges."""
        out, before = self.out_shape(shape, 1), self.padding * self.dilation
        reach = (self.size - 1) * self.dilation - before
        below = (out.height - 1) * self.stride_y + reach - (shape.height - 1)
        right = (out.width - 1) * self.stride_x + reach - (shape.width - 1)
        return max(before, below, right, 0)

    def offset(self, layout: Layout, row: NDArray[np.int64], column: NDArray[np.int64]) -> Table:
        """Floats from a pixel's origin to the cell under the filter's (row, column)."""
        rows = (row - self.padding) * self.dilation
        columns = (column - self.padding) * self.dilation
        return (rows * layout.pitch + columns) * layout.lanes + layout.origin


def origins_of(x: Tensor, window: Window, out: Shape) -> Origins:
    """Where the windows of output pixels begin in x; out: the shape before pooling."""
    at = x.layout
    rows, columns = window.stride_y * at.pitch * at.lanes, window.stride_x * at.lanes
    return Origins(at.item, at.block, rows, columns, out.height, out.width)


def residual_of(added: Tensor | None, y: Tensor) -> Residual:
    """What is added to y after the activation."""
    tensor = added or y
    at = tensor.layout
    return Residual(tensor.data, added is not None, at.item, at.block, at.pitch, at.origin)


def neutral(filters: int) -> tuple[Array, Array]:
    """(gain, bias) that change nothing."""
    return np.ones(filters, np.float32), np.zeros(filters, np.float32)


class PackedConvolution:
    """Filters and biases in the order of one algorithm's kernel."""

    filters: int
    pools = True  # it can give the largest of each 2 x 2 cells
    adds = True  # it can add another tensor
    begins_with_output = False  # sums begin with what they are added to

    def bind(
        self, x: Tensor, y: Tensor, window: Window, slope: np.float32, code: int, pooled: bool = False,
        added: Tensor | None = None,
    ) -> Call:  # fmt: skip
        """The call that computes y from x, with the slope below zero and the activation's code. `pooled`: y
        takes the largest of each 2 x 2 cells. `added`, which may be y, is added after the activation."""
        assert (self.pools or not pooled) and (self.adds or added is None)
        out = window.out_shape(x.shape, self.filters) if pooled else y.shape
        begins = self.begins_with_output and added is y
        copy = y.layout.copy
        stores, scale, zero = copy or y.layout.numbers
        epilogue = Epilogue(self.filters, slope, code, begins, stores > 1 and not copy, scale, zero, bool(copy))
        return self.call(x, y, window, out, epilogue, residual_of(None if begins else added, y), pooled)

    def call(
        self, x: Tensor, y: Tensor, window: Window, out: Shape, epilogue: Epilogue, residual: Residual, pooled: bool
    ) -> Call:
        """out: the output's shape before pooling."""
        raise NotImplementedError


@dataclass(kw_only=True, eq=False, repr=False)
class FilterLayer(Layer):
    """A layer that convolves with filters, normalises where it has a norm, and activates."""

    sets_channels = True

    channels: int
    filters: int
    activation: Activation
    norm: BatchNorm | None = None
    biases: Array = field(init=False)
    weights: Array = field(init=False)
    _packed: PackedConvolution | None = None
    _call: Call = not_bound
    _links: Sequence[Any] = ()  # computed in one go with this one, after it

    def calls(self) -> Sequence[Call]:
        if any(link._packed is None for link in [self, *self._links]):  # the parameters have changed
            self.setup(self.source_tensors, self.output)
        return super().calls()

    def named_parameters(self) -> list[Parameter]:
        norm = self.norm.named_parameters() if self.norm else []
        weights = Parameter("weights", self.weights, matrix=self.has_filters and self.record_options.flipped)
        return [Parameter("biases", self.biases), *norm, weights]

    def parameters_changed(self) -> None:
        super().parameters_changed()
        self._packed = None

    def _initialise(self, spread: float, rng: np.random.Generator, uniform: bool = False) -> None:
        shape = self.weights.shape
        numbers = 2 * rng.random(shape, np.float32) - 1 if uniform else rng.standard_normal(shape, np.float32)
        self.weights[:] = np.float32(spread) * numbers
        self.biases[:] = 0
        if self.norm:
            self.norm.initialise()
        self.parameters_changed()

    def _gain_and_bias(self) -> tuple[Array, Array]:
        return self.norm.fold(self.biases) if self.norm else (neutral(self.filters)[0], self.biases)

    def _unnormalised(self) -> tuple[Array, Array]:
        gain, zeros = neutral(self.filters)
        return gain, zeros if self.norm else self.biases


@dataclass(kw_only=True, eq=False, repr=False)
class FusableConvolution(FilterLayer):
    """What a convolution says to be fused with others, or to read an NCHW tensor."""

    window: Window
    groups: int = 1
    blur: Any = None
    xnor: bool = False
    bin_output: bool = False

    @property
    def is_pointwise(self) -> bool:
        """1x1 over all channels; the kernel applies its activation."""
        return self.window == Window(1, 1, 1, 0) and self.groups == 1 and self.applies_as_it_stores

    @property
    def is_depthwise(self) -> bool:
        """A filter a channel without dilation; the kernel applies its activation."""
        return self.has_filter_a_channel and self.window.dilation == 1 and self.applies_as_it_stores

    @property
    def has_filter_a_channel(self) -> bool:
        """Whether each channel has one filter."""
        return self.groups == self.channels == self.filters and self.groups > 1

    @property
    def applies_as_it_stores(self) -> bool:
        """Whether the kernel applies the activation, and nothing else follows."""
        return not self.xnor and self.blur is None and self.applied_activation.fusable

    @property
    def activates_by_slope(self) -> bool:
        """Whether sums are only multiplied by a slope below zero."""
        return self.applies_as_it_stores and self.applied_activation.fused_id == NONE

    @property
    def applied_activation(self) -> Activation:
        """The activation, but for binary outputs that only a binary layer reads."""
        return LINEAR if self.xnor and self.bin_output else self.activation

    def packed(self, x: Layout) -> Any:
        """The filters for a tensor of this layout."""
        raise NotImplementedError
