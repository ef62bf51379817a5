"""`[convolutional]` and its transpose `[deconvolutional]`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ...config.dialect import Dialect
from ...config.sections import Section
from ...kernels.convolution.microkernel import NR
from ...kernels.elementwise import add_scaled
from ...kernels.views import Extent
from ...runtime.program import Call
from ...tensor import FLOATS, NCHW, Layout, Numbers, Shape, Tensor
from ...utils.arrays import LANES, Array
from ..activations import Activation, read_activation
from ..base import CONVOLUTIONS, BuildContext, Layer, Parameter, Trainable
from ..batchnorm import BatchNorm, BatchNormTraining
from ..workspace import lent_filters
from .algorithm import Algorithm
from .backward import BinaryLearning, ConvolutionLearning, binary_weights, write_dilated, write_signs
from .direct import FLOAT32, INT8, TiledConvolution, number_type
from .geometry import FilterLayer, FusableConvolution, PackedConvolution, Window
from .nchw import bind_inverted_bottleneck, chain_length, lanes_from_nchw, lanes_from_rows, reads_picture
from .section import UNUSED, blur_row, convolution_row, read_groups, read_padding, read_strides, read_window


@dataclass(kw_only=True, eq=False, repr=False)
class Convolutional(FusableConvolution):
    """y[f, i, j] = activation(bias[f] + sum over c, u, v of w[f, c, u, v] x[c, i s - p d + u d, j s - p d + v d])."""

    xnor_padding: float = 0.0
    xnor_folds: bool = False
    shares: Convolutional | None = None
    has_filters = True

    precision: str = FLOAT32
    _algorithm: Algorithm | None = None
    input_range: tuple[float, float] | None = None  # of what becomes 8-bit integers
    binary: BinaryLearning | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        shape = (self.filters, self.channels // self.groups, self.window.size, self.window.size)
        self.biases, self.weights = np.zeros(self.filters, np.float32), self.new_weights(*shape)
        if other := self.shares:
            if other.weights.shape != shape or (self.norm is None) != (other.norm is None):
                raise self.section.shape_error(
                    f"share_index: filters {shape} must match those of the shared layer, {other.weights.shape}",
                    "share_index",
                )
            self.biases, self.weights, self.norm = other.biases, other.weights, other.norm

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> Convolutional:
        section.ignore(*UNUSED)
        stride_y, stride_x, blur = read_strides(section)
        return cls.part(
            section, context, context.before.channels, section.positive("filters", 1),
            read_window(section, 1, stride_y, stride_x), read_activation(section, context.dialect, "logistic"),
            blur=blur, bin_output=section.flag("bin_output"), shares=cls._shared(section, context),
        )  # fmt: skip

    @classmethod
    def part(
        cls, section: Section, context: BuildContext, channels: int, filters: int, window: Window,
        activation: Activation, **options: Any,
    ) -> Convolutional:  # fmt: skip
        """A convolution of these sizes, alone or as a part of a recurrent layer. Raises ShapeError."""
        dialect, xnor = context.dialect, section.flag("xnor")
        normalised = section.flag("batch_normalize") or (section.kind in CONVOLUTIONS and section.flag("cbn"))
        return cls.build(
            section, context, channels=channels, filters=filters, window=window, activation=activation,
            norm=BatchNorm(filters, dialect.epsilon_inside_root) if normalised else None,
            groups=read_groups(section, channels, filters, xnor),
            xnor=xnor, xnor_padding=dialect.xnor_padding, xnor_folds=dialect.xnor_folds_batch_norm, **options,
        )  # fmt: skip

    @classmethod
    def _shared(cls, section: Section, context: BuildContext) -> Convolutional | None:
        if not section.has("share_index"):
            return None
        index = context.resolve(section, "share_index", section.integer("share_index", 0))
        layer = context.layers[index]
        if not isinstance(layer, cls):
            text = f"share_index: layer {index} is [{layer.kind}]; expected [convolutional]"
            raise section.error(text, "share_index")
        return layer

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        (shape,) = inputs
        if shape.channels != self.channels:
            raise self.section.shape_error(
                f"has filters for {self.channels} channels, but its input has {shape.channels}"
            )
        out = self.window.out_shape(shape, self.filters)
        return self.blur.out_shape(out) if self.blur else out

    def named_parameters(self) -> list[Parameter]:
        return [] if self.shares is not None else super().named_parameters()

    def initialise(self, rng: np.random.Generator, dialect: Dialect) -> None:
        if self.shares is None:
            products = self.window.size**2 * self.channels / self.groups
            self._initialise(math.sqrt(2 / products), rng, dialect.uniform_filters)

    def halo(self, lanes: int = LANES) -> int:
        return 0 if self.xnor or lanes == NCHW else self.window.halo(self.inputs[0])

    @property
    def reads_four_lanes(self) -> bool:
        return not self.xnor

    def mark_branch(self) -> None:
        self.bin_output = False

    def _pack(self, algorithm: Algorithm) -> PackedConvolution:
        weights, (gain, bias) = self.weights, self._gain_and_bias()
        if self.xnor:
            if self.xnor_folds:
                weights, gain = weights * gain[:, None, None, None], np.ones_like(gain)
            weights = binary_weights(weights)
        return algorithm.pack(weights, gain, bias, self.groups, self._inputs)

    @property
    def _inputs(self) -> Numbers:
        return number_type(self.precision).inputs(self.input_range)

    @property
    def converts_to(self) -> Numbers:
        return self._inputs if self._converts and self.window.stride_x <= 2 else FLOATS

    def can_write(self, numbers: Numbers, lanes: int) -> bool:
        if self.filters % (NR * LANES) or not self.applies_as_it_stores:
            return False
        if lanes == NCHW:
            return all(layer.is_maxpool_2x2 for layer in self.fused)
        return lanes == LANES and numbers.factors == self._inputs.factors and self._converts

    def can_copy(self, numbers: Numbers, lanes: int) -> bool:
        can_copy = number_type(self.precision).copies and self.activates_by_slope
        return can_copy and lanes == LANES and self.can_write(numbers, lanes)

    @property
    def _converts(self) -> bool:
        if self.precision == FLOAT32:
            return False
        return self._algorithm_for(Layout(1, self.inputs[0]), precision=self.precision).precision != FLOAT32

    def set_precision(self, precision: str, sources: Sequence[Layer], readers: Sequence[Layer]) -> None:
        # Chains are in float32, as are pooled outputs where that is faster, also where threads or kept outputs prevent
        # them: numbers shall not depend on that.
        chained = any(isinstance(each, Convolutional) and each.has_filter_a_channel for each in (*sources, *readers))
        pooled = len(readers) == 1 and readers[0].is_maxpool_2x2
        pooled = pooled and not (sources and number_type(precision).before_maxpool)  # pictures are read in float32
        unknown = precision == INT8 and self.input_range is None
        self.precision = FLOAT32 if chained or pooled or unknown else precision

    def _algorithm_for(self, x: Layout, pooled: bool = False, precision: str = FLOAT32) -> Algorithm:
        if self.xnor:  # sums of signs must come out exact, as binary layers look at their signs
            return Algorithm(x.lanes)
        out = self.window.out_shape(self.inputs[0], self.filters)
        return Algorithm.select(
            self.filters, self.channels, self.groups, self.window, x, out, pooled, self.autotuned, precision
        )

    def packed(self, x: Layout, pooled: bool = False, precision: str = FLOAT32) -> Any:
        algorithm = self._algorithm_for(x, pooled, precision)
        if self._packed is None or algorithm != self._algorithm:
            self._algorithm, self._packed = algorithm, self._pack(algorithm)
        return self._packed

    def setup(self, sources: list[Tensor], output: Tensor | None) -> None:
        super().setup(sources, output)
        x, added = sources[0], sources[1] if len(sources) > 1 else None
        self._links = list(_leading(self.fused))
        self._target = self.output
        if self._links:
            self._call = bind_inverted_bottleneck([self, *self._links], x, self.output, added)
            return
        pooled = any(layer.is_maxpool_2x2 for layer in self.fused)
        packed = self.packed(x.layout, pooled, self.precision)
        if self.xnor:
            x = self._signs = Tensor(Layout(x.layout.batch, x.shape, self.window.halo(x.shape)))
            self._signs.data.fill(self.xnor_padding)
        if self.blur:
            self._target = self.blur.setup(self.window.out_shape(self.inputs[0], self.filters), self.output)
        kind = self.applied_activation
        self._call = packed.bind(x, self._target, self.window, kind.fused_slope, kind.fused_id, pooled, added)

    def fusable(self, after: Sequence[Layer]) -> int:
        links = [self, *_leading(after)]
        count = chain_length(links)
        last, rest = links[count - 1], after[count - 1 :]
        if not rest or last.has_filter_a_channel or not last.applies_as_it_stores:
            return count - 1
        pools = count == 1 and self.precision == FLOAT32 and rest[0].is_maxpool_2x2
        return count - 1 + (rest[0].is_residual_add or pools)

    def lanes_from_nchw(self, after: Sequence[Layer]) -> tuple[int, ...]:
        links = [self, *_leading(after)]
        if len(links) > 1:
            return lanes_from_nchw(links)
        if self.groups > 1 or not all(layer.is_maxpool_2x2 for layer in after):
            return ()
        if reads_picture(self, pooled=bool(after)):
            return (LANES,)
        return () if after else lanes_from_rows(self)

    def bind(self) -> list[Call]:
        signs = [partial(write_signs, self.source_tensors[0], self._signs)] if self.xnor else []
        applied = [] if self.applied_activation.fusable else self.applied_activation.calls(self._target)
        return [*signs, self._call, *applied, *([self.blur.run] if self.blur else [])]

    def setup_training(self, source_deltas: list[Tensor | None], delta: Tensor | None) -> None:
        super().setup_training(source_deltas, delta)
        if self.shares:
            self.learned = self.shares.learned
        sharp_delta = self.blur.setup_training(self.delta) if self.blur else self.delta
        x, source_delta, weights = self.source_tensors[0], source_deltas[0], self.weights
        if self.xnor:
            self.binary = BinaryLearning(weights, x, source_delta, self.window)
            x, source_delta, weights = self.binary.signs, self.binary.delta, self.binary.weights
        self.learning = ConvolutionLearning(
            self.learned, weights, self.norm, x, self._target, self.window, self.groups, self.activation, source_delta,
            sharp_delta,
        )  # fmt: skip

    @property
    def normalisation(self) -> BatchNormTraining | None:
        """That of training, where there is one."""
        return self.learning.norm

    @property
    def can_overwrite(self) -> bool:
        return not self.xnor

    def trainables(self) -> list[Trainable]:
        return [] if self.shares is not None else super().trainables()

    @property
    def pre_norm_delta(self) -> Array:
        """After `backward`, the delta before activation and normalisation: (batch, outputs)."""
        return self.learning.gradient.spread.plain()

    def forward_training(self) -> None:
        if self.binary:
            self.binary.forward()
        algorithm = self._algorithm_for(self.learning.x.layout)
        with lent_filters():
            packed = algorithm.without_int24.pack(self.learning.gradient.weights, *self._unnormalised(), self.groups)
        self.learning.forward(packed, self.biases)
        if self.blur:
            self.blur.run()

    def backward(self) -> None:
        if self.blur:
            self.blur.backward()
        self.learning.backward(self.overwrites)
        if self.binary:
            self.binary.backward()

    def operations(self, dialect: Dialect) -> int:
        products = 2 * self.filters * self.window.size**2 * self.channels
        if dialect.ops_per_group:
            products //= self.groups
        return products * self.window.out_shape(self.inputs[0], self.filters).cells

    def table_operations(self) -> float:
        operations = 2.0 * self.weights.size * self.window.out_shape(self.inputs[0], self.filters).cells
        return operations / 32 if self.xnor else operations

    def table_row(self) -> str:
        name = "conv  "
        if self.xnor:
            name = "convXB" if self.bin_output else "convX "
        elif self.shares is not None:
            name = "convS "
        elif self.section.integer("assisted_excitation", 0):
            name = "convAE"
        x = self.inputs[0]
        row = name + convolution_row(self.filters, self.groups, self.window, x, self.table_operations())
        return row + blur_row(self.blur, self.window.out_shape(x, self.filters))


def _leading(layers: Sequence[Layer]) -> Iterator[Convolutional]:
    for layer in layers:
        if not isinstance(layer, Convolutional):
            return
        yield layer


@dataclass(kw_only=True, eq=False, repr=False)
class Deconvolutional(FilterLayer):
    """A convolution, with turned filters, of x spread out by the stride."""

    row = "deconv{self.filters:5d} {self.size:2d} x{self.size:2d} /{self.stride:2d}  {x_sizes}   ->  {y_sizes}"
    size: int
    stride: int
    padding: int

    def __post_init__(self) -> None:
        super().__post_init__()
        shape = self.channels, self.filters, self.size, self.size
        self.weights = self.new_weights(*shape, named=str(math.prod(shape)))
        self.biases = np.zeros(self.filters, np.float32)

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> Deconvolutional:
        filters, size = section.positive("filters", 1, 1 << 16), section.positive("size", 1, 1 << 8)
        return cls.build(
            section, context, channels=context.before.channels, filters=filters, size=size,
            stride=section.positive("stride", 1, 1 << 12), padding=read_padding(section, size),
            activation=read_activation(section, context.dialect, "logistic"),
            norm=BatchNorm(filters, context.dialect.epsilon_inside_root) if section.flag("batch_normalize") else None,
        )  # fmt: skip

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        sides = (inputs[0].height, inputs[0].width)
        return Shape(self.filters, *((side - 1) * self.stride + self.size - 2 * self.padding for side in sides))

    def initialise(self, rng: np.random.Generator, dialect: Dialect) -> None:
        self._initialise(0.02 * (self.shape.cells / self.inputs[0].cells), rng)

    def setup(self, sources: list[Tensor], output: Tensor | None) -> None:
        super().setup(sources, output)
        shape = self.inputs[0]
        if self._packed is None:
            self._packed = TiledConvolution(self._turned(), *self._gain_and_bias(), 1)
        wide = Shape(shape.channels, (shape.height - 1) * self.stride + 1, (shape.width - 1) * self.stride + 1)
        window, kind = self._window, self.activation
        self._spread = Tensor(Layout(sources[0].layout.batch, wide, max(0, window.padding)))
        self._call = self._packed.bind(self._spread, self.output, window, kind.fused_slope, kind.fused_id)

    def _spread_input(self) -> None:
        write_dilated(self.source_tensors[0], self._spread, self.stride, self.stride)

    def bind(self) -> list[Call]:
        applied = [] if self.activation.fusable else self.activation.calls(self.output)
        return [self._spread_input, self._call, *applied]

    def setup_training(self, source_deltas: list[Tensor | None], delta: Tensor | None) -> None:
        super().setup_training(source_deltas, delta)
        self._turned_weights = Trainable("turned", self._turned())
        self._spread_delta = Tensor(Layout(self.batch, self._spread.shape))
        self._learning = ConvolutionLearning(
            self.learned | {"weights": self._turned_weights}, self._turned_weights.array, self.norm, self._spread,
            self.output, self._window, 1, self.activation, self._spread_delta if source_deltas[0] else None, self.delta,
        )  # fmt: skip

    def _turned(self) -> Array:
        return np.ascontiguousarray(self.weights[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))

    @property
    def _window(self) -> Window:
        return Window(self.size, 1, 1, self.size - 1 - self.padding)

    def forward_training(self) -> None:
        self._spread_input()
        weights = self._learning.gradient.weights
        weights[:] = self._turned()
        self._learning.forward(TiledConvolution(weights, *self._unnormalised(), 1), self.biases)

    def backward(self) -> None:
        self._turned_weights.update[:] = 0
        self._spread_delta.data.fill(0)
        self._learning.backward()
        self.learned["weights"].update += self._turned_weights.update[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
        (target,), wide, shape = self.source_deltas, self._spread_delta, self.inputs[0]
        if target is not None:
            at, ones = target.layout, np.ones(target.layout.blocks * LANES, np.float32)
            x_at = wide.layout.strides(self.stride, self.stride)
            extent = Extent(at.batch, at.blocks, shape.height, shape.width)
            add_scaled(wide.data, x_at, ones, ones, target.data, at.strides(), extent)
