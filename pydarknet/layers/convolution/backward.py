"""The backward pass of a convolution, and how binary ones learn."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...kernels.activation import NONE
from ...kernels.convolution.microkernel import NR
from ...kernels.convolution.weight_gradient import (
    GRADIENT_LANES,
    POINTS,
    ROOM,
    M,
    depthwise_weight_gradient,
    transform_gradient_tiles,
    unpack_weight_gradient,
    weight_gradient,
    winograd_weight_gradient,
)
from ...kernels.convolution.winograd import SKEW
from ...kernels.elementwise import spread_cells, sum_planes
from ...kernels.views import Extent, GradientTiles, PartialSums
from ...runtime.program import Call
from ...runtime.threads import threads
from ...tensor import Layout, Shape, Tensor
from ...utils.arrays import LANES, Array, aligned_empty
from ..activations import Activation
from ..base import Trainable
from ..batchnorm import BatchNorm, BatchNormTraining
from ..workspace import lent_filters, with_workspace
from .algorithm import Algorithm, tile_count, winograd_input
from .direct import DepthwiseConvolution, output_panels
from .geometry import PackedConvolution, Window, neutral

TASKS_WANTED = 16  # below, rows are divided too; a constant, so that sums do not depend on the machine
TILES_AT_ONCE = 64  # of Winograd's method: so many stay in a core's second cache


class ConvolutionLearning:
    """A convolution with its normalisation and activation, forward and back."""

    def __init__(
        self, learned: Mapping[str, Trainable], weights: Array, norm: BatchNorm | None, x: Tensor, output: Tensor,
        window: Window, groups: int, activation: Activation, source_delta: Tensor | None, delta: Tensor,
    ) -> None:  # fmt: skip
        """weights: what x is convolved with."""
        self.learned, self.x, self.output, self.window = learned, x, output, window
        self.activation, self.source_delta, self.delta = activation, source_delta, delta
        layout = Layout(x.layout.batch, output.shape)
        self._sloped = activation.id == NONE and not activation.over_channels
        self._slope = np.float32(activation.negative_slope if self._sloped else 1)
        self.norm = BatchNormTraining(norm, learned, layout, self._slope) if norm else None
        self.before = Tensor(layout) if activation.needs_input else output
        self.raw = self.norm.pre_norm if self.norm else self.before
        self.gradient = ConvolutionGradient(x, output.shape, window, weights, groups)

    def forward(self, packed: PackedConvolution, biases: Array) -> None:
        packed.bind(self.x, self.raw, self.window, np.float32(1) if self.norm else self._slope, NONE)()
        if self.norm:
            self.norm.forward(biases, self.before)
        if self.before is not self.output:
            write_dilated(self.before, self.output)
        if not self._sloped:
            self.activation.apply(self.output)

    def backward(self, overwrites: bool = False) -> None:
        delta, spread = self.delta, self.gradient.spread
        if not (self.norm and self._sloped):
            self.activation.backward(delta, self.output, self.before)
        steps = self.window.stride_y, self.window.stride_x
        if self.norm:
            self.norm.backward(delta, spread, *steps)
        else:
            self.learned["biases"].update += _channel_sums(delta)
            write_dilated(delta, spread, *steps)
        self.gradient.add_filter_gradient(self.learned["weights"].update)
        if self.source_delta is not None:
            self.gradient.add_input_gradient(self.source_delta, overwrites)


def write_dilated(delta: Tensor, out: Tensor, stride_y: int = 1, stride_x: int = 1) -> None:
    """Copy delta to `out`, its pixels `stride` apart."""
    spread_cells(delta.data, delta.planes, out.data, out.layout.strides(stride_y, stride_x))


def _channel_sums(tensor: Tensor) -> Array:
    at = tensor.layout
    sums = Tensor(Layout(at.batch, Shape(tensor.shape.channels)))
    sum_planes(tensor.data, tensor.planes, np.float32(1), sums.data, sums.planes)
    return sums.data.reshape(at.batch, -1).sum(axis=0, dtype=np.float64)[: tensor.shape.channels].astype(np.float32)


@dataclass(eq=False)
class ConvolutionGradient:
    """Gradients of one convolution for given sizes.

    spread: the delta of the raw output, its cells a stride apart with zeros between and round them; the input
    gradient is a convolution of it with turned filters. tiles: of Winograd's method for the filters' gradient, 0 where
    the direct one takes less time.
    """

    x: Tensor
    out: Shape
    window: Window
    weights: Array  # (n, channels / groups, size, size)
    groups: int

    def __post_init__(self) -> None:
        w, out, shape = self.window, self.out, self.x.shape
        wide = Shape(out.channels, (out.height - 1) * w.stride_y + 1, (out.width - 1) * w.stride_x + 1)
        reach = w.padding * w.dilation
        halo = max(
            (w.size - 1) * w.dilation - reach, shape.height + reach - wide.height, shape.width + reach - wide.width, 0
        )
        self.spread = Tensor(Layout(self.x.layout.batch, wide, halo))
        self.tiles = 0
        self._depthwise = self.groups == shape.channels == out.channels > 1 and self.x.layout.lanes == LANES
        if self._depthwise:
            self._packed = aligned_empty(-(-out.channels // LANES) * w.size**2 * LANES)
        else:
            lines = self.x.layout.batch * out.height
            strides = self.x.layout.block, self.spread.layout.block
            if self._pays():
                self.tiles = tile_count(M, out, self.x.layout.batch)
                self._width = min(TILES_AT_ONCE, self.tiles + self.tiles % 2)
                lines, strides = self._width, (self._width * LANES,) * 2
            self._tasks, self._units, size = _tasks(self.x.layout.lanes, *strides, self.weights, self.groups)
            self._splits = min(lines, max(1, -(-TASKS_WANTED // len(self._tasks))))
            self._sums = PartialSums(self._splits, size, GRADIENT_LANES * LANES * self.window.size**2)
            self._packed = aligned_empty(self._splits * size)

    def add_filter_gradient(self, update: Array) -> None:
        """update, of the weights' shape, += the gradient."""
        n, channels, size, _ = self.weights.shape
        if self.tiles:
            for call in self._tile_calls:
                call()
        else:
            self._sum_pixels()
        if self._depthwise:
            packed = self._packed.reshape(-1, size**2, LANES).transpose(0, 2, 1).reshape(-1, size**2)
            update += packed[:n].reshape(update.shape)
            return
        unpack_weight_gradient(
            self._packed, self._sums, self._tasks, self._units, channels, n // self.groups, size, update.reshape(-1)
        )

    def _sum_pixels(self) -> None:
        w, x, d = self.window, self.x.layout, self.spread.layout
        row, column = np.divmod(np.arange(w.size**2), w.size)
        taps = np.ascontiguousarray(w.offset(x, row, column))
        x_at = x.strides(w.stride_y, w.stride_x)._replace(first=0)  # `taps` begin at the first cell
        extent = Extent(x.batch, d.blocks, self.out.height, self.out.width)
        read = self.x.data, x_at, taps, self.spread.data, d.strides(w.stride_y, w.stride_x)
        if self._depthwise:
            depthwise_weight_gradient(*read, extent, self._packed)
        else:
            weight_gradient(*read, self._tasks, extent, self._packed, self._sums)

    def _pays(self) -> bool:
        """Whether Winograd's method takes less time: where products are many beside transforms."""
        out, (n, channels, _, _) = self.out, self.weights.shape
        plain = self.window.is_plain_3x3 and self.window.stride_x == self.groups == 1 and self.x.layout.lanes == LANES
        tiles = tile_count(M, out, 1) * POINTS
        return plain and min(n, channels) >= 2 * LANES and 2 * tiles < self.window.size**2 * out.height * out.width

    @cached_property
    def _tile_calls(self) -> list[Call]:
        """The gradient by Winograd's method, some tiles at a time, so that they stay in a core's second cache."""
        x, d, workers, width = self.x, self.spread, threads(), self._width
        floats = [POINTS * (tensor.layout.blocks * width * LANES + SKEW) for tensor in (x, d)]
        x_at, room = workers * ROOM, ROOM + -(-sum(floats) // workers)
        source = winograd_input(x, self.window.padding, self.out)
        change = winograd_input(d, 0, self.out)._replace(rows=self.out.height, columns=self.out.width)
        a_row, a_picture = tile_count(M, Shape(1, M, self.out.width), 1), tile_count(M, self.out, 1)
        blocks, calls = (x.layout.blocks, d.layout.blocks), list[Call]()
        for first in range(0, self.tiles, width):
            used = min(width, self.tiles - first)
            tiles = GradientTiles(a_row, a_picture, first, used, width, x_at, x_at + floats[0])
            inputs = x.data, source, d.data, change, tiles
            sums = blocks, tiles, self._tasks, self._packed, self._sums, first > 0
            calls += [
                with_workspace(transform_gradient_tiles, workers, room, *inputs),
                with_workspace(winograd_weight_gradient, workers, room, *sums),
            ]
        return calls

    def add_input_gradient(self, target: Tensor, overwrites: bool = False) -> None:
        """target, of the input's shape, += the gradient, or = where it overwrites."""
        w, n = self.window, self.out.channels
        turned = Window(w.size, 1, 1, w.size - 1 - w.padding, w.dilation)
        if self._depthwise:
            filters = np.ascontiguousarray(self.weights[:, :, ::-1, ::-1])
            depthwise = DepthwiseConvolution(filters, *neutral(n))
            addition = target if overwrites else Tensor(target.layout)
            depthwise.bind(self.spread, addition, turned, np.float32(1), NONE)()
            if not overwrites:
                target.data += addition.data
            return
        filters = _transposed(self.weights, self.groups)
        channels = len(filters)
        algorithm = Algorithm.select(channels, n, self.groups, turned, self.spread.layout, target.shape)
        with lent_filters():
            packed = algorithm.without_int24.pack(filters, *neutral(channels), self.groups)
        packed.bind(self.spread, target, turned, np.float32(1), NONE, added=None if overwrites else target)()


def _transposed(weights: Array, groups: int) -> Array:
    """(c groups, n / groups, k, k) filters, turned, inputs and outputs exchanged; of one group a view."""
    n, channels, size, _ = weights.shape
    parts = weights.reshape(groups, n // groups, channels, size, size)[..., ::-1, ::-1].transpose(0, 2, 1, 3, 4)
    return parts.reshape(groups * channels, n // groups, size, size)


def _tasks(
    lanes: int, x_block: int, d_block: int, weights: Array, groups: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:  # fmt: skip
    n, channels, size, _ = weights.shape
    tasks, units, at = [], [], 0
    for block, count, low, high in output_panels(n, channels, groups, NR, GRADIENT_LANES):
        for unit in range(low, high):
            channel = unit * GRADIENT_LANES
            tasks.append((channel // lanes * x_block + channel % lanes, block * d_block, at, count))
            units.append((block, unit))
            at += GRADIENT_LANES * LANES * size * size * count
    return np.array(tasks, np.int64), np.array(units, np.int64), at


# As in XNOR-Net (Rastegari et al., 2016) filters take the gradient of their binary form, inputs that of their signs.


def binary_weights(weights: Array) -> Array:
    """Each weight is plus or minus its filter's mean absolute value."""
    mean = np.abs(weights).mean(axis=(1, 2, 3), keepdims=True)
    return np.where(weights > 0, mean, -mean).astype(np.float32)


def write_signs(x: Tensor, signs: Tensor) -> None:
    """Write the sign of every input, 0 counting as negative."""
    at, h, w = signs.layout, x.shape.height, x.shape.width
    inner = signs.data.reshape(at.batch, at.blocks, h + 2 * at.halo, at.pitch, LANES)
    outer = x.data.reshape(at.batch, at.blocks, h + 2 * x.layout.halo, x.layout.pitch, LANES)
    read = outer[:, :, x.layout.halo : x.layout.halo + h, x.layout.halo : x.layout.halo + w]
    inner[:, :, at.halo : at.halo + h, at.halo : at.halo + w] = np.where(read > 0, np.float32(1), np.float32(-1))


class BinaryLearning:
    """Signs and binary filters of one mini-batch. In training the padding is 0."""

    def __init__(self, weights: Array, x: Tensor, source_delta: Tensor | None, window: Window) -> None:
        self._real, self._x, self._source_delta = weights, x, source_delta
        self.weights = np.empty_like(weights)
        self.signs = Tensor(Layout(x.layout.batch, x.shape, window.halo(x.shape)))
        self.delta = Tensor(source_delta.layout) if source_delta is not None else None  # of the signs

    def forward(self) -> None:
        write_signs(self._x, self.signs)
        self.weights[:] = binary_weights(self._real)
        if self.delta is not None:
            self.delta.data.fill(0)

    def backward(self) -> None:
        if self._source_delta is not None and self.delta is not None:
            self._source_delta.add_plain(self.delta.plain() * (np.abs(self._x.plain()) < 1))
