"""`[deconvolutional]`: a transposed convolution on the convolutions' micro-kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ...config.dialect import Dialect
from ...config.sections import Section
from ...kernels.activation import NONE
from ...kernels.elementwise import add_scaled
from ...kernels.views import Extent
from ...runtime.program import Call
from ...tensor import Layout, Shape, Tensor
from ...utils.arrays import Array
from ..activations import Activation, read_activation
from ..backward_ops import activation_backward, channel_sums, write_dilated
from ..base import BuildContext, Layer, Parameter, Trainable
from ..batchnorm import BatchNorm, BatchNormTraining
from .backward import ConvolutionGradient
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
            turned = np.ascontiguousarray(self.weights[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))
            ones = np.ones(self.filters, np.float32)
            gain, offset = self.norm.fold(self.biases) if self.norm else (ones, self.biases)
            self._packed = TiledConvolution(turned, gain, offset, 1, 16)
        wide = Shape(shape.channels, (shape.height - 1) * self.stride + 1, (shape.width - 1) * self.stride + 1)
        window = Window(self.size, 1, 1, self.size - 1 - self.padding)
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
        assert self.output is not None and self._spread is not None
        scales = Trainable("scales", self.norm.scales) if self.norm else None
        self._parameters = (Trainable("biases", self.biases), scales, Trainable("weights", self.weights, decays=True))
        layout = Layout(self.batch, self.shape)
        self._norm = BatchNormTraining(self.norm, scales, self._parameters[0], layout) if self.norm else None
        self._raw = self._norm.pre_norm if self._norm else Tensor(layout)
        window = Window(self.size, 1, 1, self.size - 1 - self.padding)
        turned = self._turned()
        self._gradient = ConvolutionGradient(self._spread, self.shape, window, turned, 1)
        self._spread_delta = Tensor(Layout(self.batch, self._spread.shape))

    def _turned(self) -> Array:
        return np.ascontiguousarray(self.weights[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))

    def trainables(self) -> list[Trainable]:
        return [parameter for parameter in self._parameters if parameter is not None]

    def forward_training(self) -> None:
        assert self._spread is not None and self.output is not None
        self._spread_input()
        ones, zeros = np.ones(self.filters, np.float32), np.zeros(self.filters, np.float32)
        packed = TiledConvolution(self._turned(), ones, zeros if self._norm else self.biases, 1, 16)
        window = Window(self.size, 1, 1, self.size - 1 - self.padding)
        packed.bind(self._spread, self._raw, window, np.float32(1), NONE)()
        if self._norm:
            self._norm.forward(self.biases, self.output)
        else:
            write_dilated(self._raw, self.output)
        self.activation.apply(self.output)

    def backward(self) -> None:
        assert self.delta is not None and self.output is not None
        delta, n = self.delta, self.filters
        activation_backward(self.activation, delta, self.output, self._raw)
        if self._norm:
            self._norm.backward(delta, self._gradient.spread)
        else:
            self._parameters[0].update += channel_sums(delta)
            write_dilated(delta, self._gradient.spread)
        update = np.zeros((n, self.channels, self.size, self.size), np.float32)
        self._gradient.add_filter_gradient(update)
        self._parameters[2].update += update[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
        (target,), wide, shape = self.source_deltas, self._spread_delta, self.inputs[0]
        if target is not None:
            self._gradient.weights = self._turned()
            wide.data.fill(0)
            self._gradient.add_input_gradient(wide)
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
