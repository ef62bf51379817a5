"""`[connected]`, fully connected, and `[local]`, with filters of its own at every place."""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..config.dialect import Dialect
from ..config.sections import Section, natural, positive
from ..kernels.dense import dense, dense_input_gradient, dense_weight_gradient, locally_connected
from ..kernels.views import SlidingWindow
from ..tensor import Layout, Shape, Tensor
from ..utils.arrays import Array
from .activations import Activation, read_activation
from .base import LARGEST_WEIGHTS, BuildContext, NchwLayer, Parameter
from .batchnorm import BatchNorm, BatchNormTraining

CACHED = 1 << 17  # weights whose gradient a core's cache keeps


@dataclass(kw_only=True, eq=False, repr=False)
class Connected(NchwLayer):
    """y = activation(W x + bias), with W x batch-normalised before the bias where `norm` is set.

    In a .weights file, the statistics of batch normalisation come after the weights.
    """

    row = "connected                            {self.inputs_count:4d}  ->  {self.outputs_count:4d}"
    sets_channels = True
    sets_size = True

    inputs_count: int
    outputs_count: int
    activation: Activation
    norm: BatchNorm | None = None
    _folded: tuple[Array, Array] | None = None  # gain and offset
    normalisation: BatchNormTraining | None = None  # of the last mini-batch

    def __post_init__(self) -> None:
        super().__post_init__()
        self.weights = self.new_weights(self.outputs_count, self.inputs_count)
        self.biases = np.zeros(self.outputs_count, np.float32)

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> "Connected":
        outputs, activation = section.positive("output", 1), read_activation(section, context.dialect, "logistic")
        return cls.part(section, context, context.before.outputs, outputs, activation)

    @classmethod
    def part(
        cls, section: Section, context: BuildContext, inputs: int, outputs: int, activation: Activation
    ) -> "Connected":
        """Alone or as a part of a recurrent layer."""
        inside_root = context.dialect.connected_epsilon_inside_root
        norm = BatchNorm(outputs, inside_root) if section.flag("batch_normalize") else None
        return cls.build(section, context, inputs_count=inputs, outputs_count=outputs, activation=activation, norm=norm)

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        if inputs[0].outputs != self.inputs_count:
            raise self.section.shape_error(
                f"has weights for {self.inputs_count} inputs, but its input has {inputs[0].outputs} numbers "
                f"({inputs[0]}); a network with such a layer runs at one size only"
            )
        return Shape(self.outputs_count)

    def named_parameters(self) -> list[Parameter]:
        own = [Parameter("biases", self.biases), Parameter("weights", self.weights, matrix=True)]
        return own + (self.norm.named_parameters() if self.norm else [])

    def parameters_changed(self) -> None:
        self._folded = None

    def initialise(self, rng: np.random.Generator, dialect: Dialect) -> None:
        spread = np.float32(math.sqrt(2 / self.inputs_count))
        self.weights[:] = spread * (2 * rng.random(self.weights.shape, np.float32) - 1)
        self.biases[:] = 0
        if self.norm:
            self.norm.initialise()
        self.parameters_changed()

    def compute(self, x: Array, y: Array) -> None:
        if self._folded is None:
            self._folded = self.norm.fold(self.biases) if self.norm else (np.ones_like(self.biases), self.biases)
        self._multiply(x, *self._folded, y)
        self.activation.apply_nchw(y)

    def _multiply(self, x: Array, gain: Array, offset: Array, y: Array) -> None:
        sizes = len(x), self.inputs_count, self.outputs_count
        dense(x.reshape(-1), self.inputs_count, self.weights.reshape(-1), gain, offset, y.reshape(-1), *sizes)

    def forward_training(self) -> None:
        self.read_sources()
        (x,), y = self.nchw_inputs, self.values
        self._multiply(x, np.ones_like(self.biases), np.zeros_like(self.biases) if self.norm else self.biases, y)
        self.normalisation = None
        if self.norm:
            layout = Layout(len(x), Shape(self.outputs_count))
            self.normalisation, scaled = BatchNormTraining(self.norm, self.learned, layout), Tensor(layout)
            self.normalisation.pre_norm.fill(y)
            self.normalisation.forward(self.biases, scaled)
            scaled.read_into(y)
        self._before = self.activation.apply_nchw(y)
        self.write_output()

    def compute_backward(self, delta: Array) -> list[Array]:
        x, sizes = self.nchw_inputs[0], (len(delta), self.inputs_count, self.outputs_count)
        change = self.activation.backward_nchw(delta, self.values, self._before)
        if self.normalisation:
            self.normalisation.backward(change, change)
        delta = self.pre_norm_delta = change.plain()
        if not self.normalisation:
            self.learned["biases"].update += delta.sum(axis=0)
        self._add_weight_gradient(x, delta)
        out = np.empty_like(x)
        dense_input_gradient(delta.reshape(-1), self.weights.reshape(-1), *sizes, out.reshape(-1))
        return [out]

    def _add_weight_gradient(self, x: Array, delta: Array) -> None:
        """Some rows at a time. A mini-batch adds one number to each, so that it can be computed elsewhere."""
        inputs, update = self.inputs_count, self.learned["weights"].update
        rows = max(1, CACHED // inputs)
        for first in range(0, self.outputs_count, rows):
            part = np.ascontiguousarray(delta[:, first : first + rows])
            gradient = np.zeros((part.shape[1], inputs), np.float32)
            dense_weight_gradient(x.reshape(-1), part.reshape(-1), len(x), *gradient.shape[::-1], gradient.reshape(-1))
            update[first : first + rows] += gradient

    def operations(self, dialect: Dialect) -> int:
        return 2 * self.inputs_count * self.outputs_count


@dataclass(kw_only=True, eq=False, repr=False)
class Local(NchwLayer):
    """A convolution with filters of its own at every place; `pad` counts cells."""

    row = (
        "Local Layer: {x.height} x {x.width} x {x.channels} image, {y.channels} filters -> {y.height} x {y.width} x "
        "{y.channels} image"
    )
    sets_channels = True

    channels: int
    activation: Activation
    filters: int = positive()
    size: int = positive(largest=1 << 12)
    stride: int = positive(largest=1 << 12)
    pad: int = natural(largest=1 << 12)
    biases: Array = field(init=False)
    weights: Array = field(init=False)

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> "Local":
        before, activation = context.before, read_activation(section, context.dialect, "logistic")
        layer = cls.build(section, context, channels=before.channels, activation=activation)
        out = layer._size_for(before)
        count = out.cells * layer.filters * layer.channels * layer.size**2
        if out.cells < 1 or count > LARGEST_WEIGHTS:
            raise section.shape_error(f"has {count} weights for an input of {before}; expected 1 to {LARGEST_WEIGHTS}")
        layer.biases = np.zeros(out.outputs, np.float32)
        layer.weights = np.zeros((out.cells, layer.filters, layer.channels, layer.size, layer.size), np.float32)
        return layer

    def _size_for(self, shape: Shape) -> Shape:
        less = 1 if self.pad else self.size
        if min(shape.height, shape.width) < less:
            return Shape(self.filters, 0, 0)
        return Shape(self.filters, (shape.height - less) // self.stride + 1, (shape.width - less) // self.stride + 1)

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        out = self._size_for(inputs[0])
        if out.cells != len(self.weights) or inputs[0].channels != self.channels:
            raise self.section.shape_error(
                f"has weights for {len(self.weights)} locations of {self.channels} channels, but its input is "
                f"{inputs[0]}; a network with such a layer runs at one size only"
            )
        return out

    def named_parameters(self) -> list[Parameter]:
        return [Parameter("biases", self.biases), Parameter("weights", self.weights)]

    def initialise(self, rng: np.random.Generator, dialect: Dialect) -> None:
        self.weights[:] = 0
        spread = np.float32(math.sqrt(2 / (self.size**2 * self.channels)))
        # As in C, the first place only.
        self.weights[0] = spread * (2 * rng.random(self.weights[0].shape, np.float32) - 1)
        self.biases[:] = 0

    def compute(self, x: Array, y: Array) -> None:
        window = SlidingWindow(self.size, self.stride, self.stride, self.pad)
        x_at, y_at = (Layout(len(x), shape).nchw for shape in (self.inputs[0], self.shape))
        locally_connected(x.reshape(-1), x_at, window, self.weights.reshape(-1), self.biases, y.reshape(-1), y_at)
        self._before = self.activation.apply_nchw(y)

    def _padded_sides(self) -> tuple[int, int, int]:
        shape, out = self.inputs[0], self.shape
        rows = max(shape.height + 2 * self.pad, (out.height - 1) * self.stride + self.size)
        columns = max(shape.width + 2 * self.pad, (out.width - 1) * self.stride + self.size)
        return shape.channels, rows, columns

    def _patches(self, x: Array) -> tuple[Array, NDArray[np.int64]]:
        shape, p, sides = self.inputs[0], self.pad, self._padded_sides()
        index = np.arange(np.prod(sides)).reshape(sides)
        windows = np.lib.stride_tricks.sliding_window_view(index, (self.size, self.size), axis=(1, 2))
        windows = windows[:, :: self.stride, :: self.stride][:, : self.shape.height, : self.shape.width]
        at = windows.transpose(1, 2, 0, 3, 4).reshape(self.shape.cells, -1)
        padded = np.zeros((len(x), *sides), np.float32)
        padded[:, :, p : p + shape.height, p : p + shape.width] = x.reshape(len(x), *astuple(shape))
        return padded.reshape(len(x), -1)[:, at], at

    def compute_backward(self, delta: Array) -> list[Array]:
        x, shape, p = self.nchw_inputs[0], self.inputs[0], self.pad
        change = self.activation.backward_nchw(delta, self.values, self._before)
        change_at = change.plain().reshape(len(x), self.filters, -1)
        self.learned["biases"].update += change_at.sum(axis=0).reshape(-1)
        patches, at = self._patches(x)
        weights = self.weights.reshape(self.shape.cells, self.filters, -1)
        self.learned["weights"].update += np.einsum("nfl,nlk->lfk", change_at, patches).reshape(self.weights.shape)
        back = np.einsum("nfl,lfk->nlk", change_at, weights)
        padded = np.zeros((len(x), *self._padded_sides()), np.float32)
        for item in range(len(x)):
            np.add.at(padded[item].reshape(-1), at, back[item])
        return [padded[:, :, p : p + shape.height, p : p + shape.width].reshape(len(x), -1)]
