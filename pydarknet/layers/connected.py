"""`[connected]`: a fully connected layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..config.dialect import Dialect
from ..config.sections import Section
from ..kernels.dense import dense, dense_input_gradient, dense_weight_gradient
from ..tensor import Layout, Shape, Tensor
from ..utils.arrays import Array
from .activations import Activation, read_activation
from .base import BuildContext, Parameter
from .batchnorm import BatchNorm, BatchNormTraining
from .nchw_layer import NchwLayer

LARGEST_MATRIX = 1 << 29  # weights of one layer


@dataclass(kw_only=True, eq=False, repr=False)
class Connected(NchwLayer):
    """y = activation(W x + bias), with W x batch-normalised before the bias where `norm` is set.

    In a .weights file, the statistics of batch normalisation come after the weights.
    """

    row: ClassVar[str] = "connected                            {self.inputs_count:4d}  ->  {self.outputs_count:4d}"
    sets_channels: ClassVar[bool] = True
    sets_size: ClassVar[bool] = True

    inputs_count: int
    outputs_count: int
    activation: Activation
    norm: BatchNorm | None = None
    biases: Array = field(init=False)
    weights: Array = field(init=False)
    _folded: tuple[Array, Array] | None = None  # gain and offset
    normalisation: BatchNormTraining | None = None  # of the last mini-batch

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inputs_count * self.outputs_count > LARGEST_MATRIX:
            raise self.section.shape_error(
                f"has {self.outputs_count} x {self.inputs_count} weights; expected at most {LARGEST_MATRIX}"
            )
        self.biases = np.zeros(self.outputs_count, np.float32)
        self.weights = np.zeros((self.outputs_count, self.inputs_count), np.float32)

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> Connected:
        outputs, activation = section.positive("output", 1), read_activation(section, context.dialect, "logistic")
        return cls.part(section, context, context.before.outputs, outputs, activation)

    @classmethod
    def part(
        cls, section: Section, context: BuildContext, inputs: int, outputs: int, activation: Activation
    ) -> Connected:
        """A connected layer with these sizes, alone or as a part of a recurrent layer."""
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
            self._folded = self.norm.fold(self.biases) if self.norm else (self._ones, self.biases)
        self._multiply(x, *self._folded, y)
        self.activation.apply_nchw(y)

    @property
    def _ones(self) -> Array:
        return np.ones(self.outputs_count, np.float32)

    def _multiply(self, x: Array, gain: Array, offset: Array, y: Array) -> None:
        """y = gain W x + offset."""
        sizes = len(x), self.inputs_count, self.outputs_count
        flat = self.weights.reshape(-1)
        dense(x.reshape(-1), self.inputs_count, flat, gain, offset, y.reshape(-1), *sizes)

    # === Training ===

    def forward_training(self) -> None:
        self.read_sources()
        (x,), y = self.nchw_inputs, self.values
        self._multiply(x, self._ones, np.zeros_like(self.biases) if self.norm else self.biases, y)
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
        dense_weight_gradient(x.reshape(-1), delta.reshape(-1), *sizes, self.learned["weights"].update.reshape(-1))
        out = np.empty_like(x)
        dense_input_gradient(delta.reshape(-1), self.weights.reshape(-1), *sizes, out.reshape(-1))
        return [out]

    def operations(self, dialect: Dialect) -> int:
        return 2 * self.inputs_count * self.outputs_count
