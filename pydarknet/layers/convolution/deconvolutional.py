"""`[deconvolutional]`: a transposed convolution on the convolutions' micro-kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ...config.dialect import Dialect
from ...config.sections import Section
from ...kernels.elementwise import add_scaled
from ...kernels.views import Extent
from ...runtime.program import Call
from ...tensor import Layout, Shape, Tensor
from ...utils.arrays import Array
from ..activations import Activation, read_activation
from ..base import BuildContext, Layer, Parameter, Trainable
from ..batchnorm import BatchNorm
from .backward import ConvolutionLearning, Parameters
from .convolutional import LARGEST_FILTERS
from .direct import TiledConvolution
from .geometry import Window, not_bound


@dataclass(kw_only=True, eq=False, repr=False)
class Deconvolutional(Layer):
    """y[f, i s - p + u, j s - p + v] += w[c, f, u, v] x[c, i, j]: a convolution, with turned filters, of x spread
    out by the stride with zeros between its cells."""

    sets_channels: ClassVar[bool] = True

    channels: int
    filters: int
    size: int
    stride: int
    padding: int
    activation: Activation
    norm: BatchNorm | None
    biases: Array = field(init=False, repr=False)
    weights: Array = field(init=False, repr=False)
    _packed: TiledConvolution | None = field(default=None, repr=False)
    _spread: Tensor | None = field(default=None, repr=False)
    _call: Call = field(default=not_bound, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        count = self.channels * self.filters * self.size**2
        if count > LARGEST_FILTERS:
            raise self.section.shape_error(f"has {count} weights; expected at most {LARGEST_FILTERS}")
        self.biases = np.zeros(self.filters, np.float32)
        self.weights = np.zeros((self.channels, self.filters, self.size, self.size), np.float32)

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> Deconvolutional:
        filters, size = section.positive("filters", 1, 1 << 16), section.positive("size", 1, 1 << 8)
        padding = section.natural("padding", 0, 1 << 16)
        return cls.build(
            section,
            context,
            channels=context.shape(context.index - 1).channels,
            filters=filters,
            size=size,
            stride=section.positive("stride", 1, 1 << 12),
            padding=size // 2 if section.flag("pad") else padding,
            activation=read_activation(section, context.dialect, "logistic"),
            norm=BatchNorm(filters, context.dialect.epsilon_inside_root) if section.flag("batch_normalize") else None,
        )

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        (shape,) = inputs
        height = (shape.height - 1) * self.stride + self.size - 2 * self.padding
        width = (shape.width - 1) * self.stride + self.size - 2 * self.padding
        return Shape(self.filters, height, width)

    def named_parameters(self) -> list[Parameter]:
        norm = self.norm.named_parameters() if self.norm else []
        return [Parameter("biases", self.biases), *norm, Parameter("weights", self.weights)]

    def parameters_changed(self) -> None:
        self._packed = None

    def initialise(self, rng: np.random.Generator, dialect: Dialect) -> None:
        growth = self.shape.cells / self.inputs[0].cells
        self.weights[:] = np.float32(0.02 * growth) * rng.standard_normal(self.weights.shape, np.float32)
        self.biases[:] = 0
        if self.norm:
            self.norm.initialise()
        self.parameters_changed()

    def setup(self, sources: list[Tensor], output: Tensor | None) -> None:
        super().setup(sources, output)
        assert output is not None
        shape = self.inputs[0]
        if self._packed is None:
            ones = np.ones(self.filters, np.float32)
            gain, offset = self.norm.fold(self.biases) if self.norm else (ones, self.biases)
            self._packed = TiledConvolution(self._turned(), gain, offset, 1, 16)
        wide = Shape(shape.channels, (shape.height - 1) * self.stride + 1, (shape.width - 1) * self.stride + 1)
        window = self._window
        self._spread = Tensor(Layout(sources[0].layout.batch, wide, max(0, window.padding)))
        self._call = self._packed.bind(
            self._spread, output, window, self.activation.fused_slope, self.activation.fused_id
        )

    def _spread_input(self) -> None:
        assert self._spread is not None
        (x,), at, shape = self.source_tensors, self._spread.layout, self.inputs[0]
        keep, gain = np.zeros(at.blocks * 16, np.float32), np.ones(at.blocks * 16, np.float32)
        extent = Extent(at.batch, at.blocks, shape.height, shape.width)
        add_scaled(
            x.data, x.layout.strides(), keep, gain, self._spread.data, at.strides(self.stride, self.stride), extent
        )

    def forward(self) -> None:
        if self._packed is None:  # the parameters have changed
            self.setup(self.source_tensors, self.output)
        assert self._packed is not None and self.output is not None
        self._spread_input()
        self._call()
        if not self.activation.fusable:
            self.activation.apply(self.output)

    # --- training: the gradients of the convolution of the spread input ---

    def setup_training(self, source_deltas: list[Tensor | None], delta: Tensor | None) -> None:
        super().setup_training(source_deltas, delta)
        assert self.output is not None and self._spread is not None and delta is not None
        scales = Trainable("scales", self.norm.scales) if self.norm else None
        biases, turned = Trainable("biases", self.biases), self._turned()
        self._parameters = (biases, scales, Trainable("weights", self.weights, decays=True))
        self._turned_weights = Trainable("turned", turned)
        self._spread_delta = Tensor(Layout(self.batch, self._spread.shape))
        self._learning = ConvolutionLearning(
            Parameters(biases, scales, self._turned_weights), turned, self.norm, self._spread, self.output,
            self._window, 1, self.activation, self._spread_delta if source_deltas[0] else None, delta,
        )  # fmt: skip

    def _turned(self) -> Array:
        return np.ascontiguousarray(self.weights[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))

    @property
    def _window(self) -> Window:
        return Window(self.size, 1, 1, self.size - 1 - self.padding)

    def trainables(self) -> list[Trainable]:
        return [parameter for parameter in self._parameters if parameter is not None]

    def forward_training(self) -> None:
        self._spread_input()
        ones, zeros = np.ones(self.filters, np.float32), np.zeros(self.filters, np.float32)
        self._learning.gradient.weights[:] = self._turned()
        packed = TiledConvolution(self._learning.gradient.weights, ones, zeros if self.norm else self.biases, 1, 16)
        self._learning.forward(packed, self.biases)

    def backward(self) -> None:
        self._turned_weights.update[:] = 0
        self._spread_delta.data.fill(0)
        self._learning.backward()
        self._parameters[2].update += self._turned_weights.update[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
        (target,), wide, shape = self.source_deltas, self._spread_delta, self.inputs[0]
        if target is not None:
            at, ones = target.layout, np.ones(target.layout.blocks * 16, np.float32)
            x_at = wide.layout.strides(self.stride, self.stride)
            extent = Extent(at.batch, at.blocks, shape.height, shape.width)
            add_scaled(wide.data, x_at, ones, ones, target.data, at.strides(), extent)

    def table_row(self) -> str:
        shape, out = self.inputs[0], self.shape
        window = f"{self.size:2d} x{self.size:2d} /{self.stride:2d}"
        before = f"{shape.width:4d} x{shape.height:4d} x{shape.channels:4d}"
        after = f"{out.width:4d} x{out.height:4d} x{out.channels:4d}"
        return f"deconv{self.filters:5d} {window}  {before}   ->  {after}"
