"""`[connected]` and `[local]`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..activations import Activation, read_activation
from ..config import Section
from ..dialect import Dialect
from ..kernels.dense import dense, locally_connected
from ..tensor import Array, Shape
from .base import Parameter, Place, PlainLayer
from .batchnorm import BatchNorm

LARGEST_MATRIX = 1 << 29  # weights of one layer


@dataclass(kw_only=True, eq=False, repr=False)
class Connected(PlainLayer):
    """y = activation(W x + bias), or the batch-normalised W x. The record keeps the statistics after the weights."""

    inputs_count: int
    outputs_count: int
    activation: Activation
    norm: BatchNorm | None = None
    prefix: str = ""
    biases: Array = field(init=False, repr=False)
    weights: Array = field(init=False, repr=False)
    _gain: Array | None = field(default=None, repr=False)
    _offset: Array | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inputs_count * self.outputs_count > LARGEST_MATRIX:
            raise self.section.shape_error(
                f"has {self.outputs_count} x {self.inputs_count} weights; expected at most {LARGEST_MATRIX}"
            )
        self.biases = np.zeros(self.outputs_count, np.float32)
        self.weights = np.zeros((self.outputs_count, self.inputs_count), np.float32)

    @classmethod
    def from_section(cls, section: Section, place: Place) -> Connected:
        outputs = section.positive("output", 1)
        return cls.part(
            section,
            place,
            "",
            place.shape(place.index - 1).outputs,
            outputs,
            read_activation(section, place.dialect, "logistic"),
        )

    @classmethod
    def part(
        cls, section: Section, place: Place, prefix: str, inputs: int, outputs: int, activation: Activation
    ) -> Connected:
        """A connected layer as such, or as the part called `prefix` of a recurrent layer."""
        normalised = section.flag("batch_normalize")
        return cls(
            section=section,
            sources=place.previous,
            inputs_count=inputs,
            outputs_count=outputs,
            activation=activation,
            norm=BatchNorm(outputs, place.dialect.connected_epsilon_inside_root) if normalised else None,
            prefix=prefix,
        )

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        if inputs[0].outputs != self.inputs_count:
            raise self.section.shape_error(
                f"has weights for {self.inputs_count} inputs, but its input has {inputs[0].outputs} numbers "
                f"({inputs[0]}); a network with such a layer runs at one size only"
            )
        return Shape(self.outputs_count)

    def records(self) -> list[Parameter]:
        own = [
            Parameter(f"{self.prefix}biases", self.biases),
            Parameter(f"{self.prefix}weights", self.weights, matrix=True),
        ]
        norm = self.norm.records() if self.norm else []
        return own + [Parameter(f"{self.prefix}{record.name}", record.array) for record in norm]

    def parameters_changed(self) -> None:
        self._gain = self._offset = None

    def initialise(self, rng: np.random.Generator, dialect: Dialect) -> None:
        spread = np.float32(math.sqrt(2 / self.inputs_count))
        self.weights[:] = spread * (2 * rng.random(self.weights.shape, np.float32) - 1)
        self.biases[:] = 0
        if self.norm:
            self.norm.initialise()
        self.parameters_changed()

    def compute(self, x: Array, y: Array) -> None:
        if self._gain is None:
            ones = np.ones(self.outputs_count, np.float32)
            self._gain, self._offset = self.norm.fold(self.biases) if self.norm else (ones, self.biases)
        dense(
            x.reshape(-1),
            self.inputs_count,
            self.weights.reshape(-1),
            self._gain,
            self._offset,
            y.reshape(-1),
            len(x),
            self.inputs_count,
            self.outputs_count,
        )
        self.activation.apply_plain(y)

    def operations(self, dialect: Dialect) -> int:
        return 2 * self.inputs_count * self.outputs_count

    def table_row(self) -> str:
        return f"connected                            {self.inputs_count:4d}  ->  {self.outputs_count:4d}"


@dataclass(kw_only=True, eq=False, repr=False)
class Local(PlainLayer):
    """A convolution whose every output location has filters of its own; `pad` counts cells."""

    channels: int
    filters: int
    size: int
    stride: int
    pad: int
    activation: Activation
    biases: Array = field(init=False, repr=False)
    weights: Array = field(init=False, repr=False)

    @classmethod
    def from_section(cls, section: Section, place: Place) -> Local:
        previous = place.shape(place.index - 1)
        layer = cls(
            section=section,
            sources=place.previous,
            channels=previous.channels,
            filters=section.positive("filters", 1),
            size=section.positive("size", 1, 1 << 12),
            stride=section.positive("stride", 1, 1 << 12),
            pad=section.natural("pad", 0, 1 << 12),
            activation=read_activation(section, place.dialect, "logistic"),
        )
        out = layer._size_for(previous)
        count = out.cells * layer.filters * layer.channels * layer.size**2
        if out.cells < 1 or count > LARGEST_MATRIX:
            raise section.shape_error(f"has {count} weights for an input of {previous}; expected 1 to {LARGEST_MATRIX}")
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

    def records(self) -> list[Parameter]:
        return [Parameter("biases", self.biases), Parameter("weights", self.weights)]

    def initialise(self, rng: np.random.Generator, dialect: Dialect) -> None:
        self.weights[:] = 0
        spread = np.float32(math.sqrt(2 / (self.size**2 * self.channels)))
        self.weights[0] = spread * (
            2 * rng.random(self.weights[0].shape, np.float32) - 1
        )  # as in C, the first place only
        self.biases[:] = 0

    def compute(self, x: Array, y: Array) -> None:
        shape, out = self.inputs[0], self.shape
        locally_connected(
            x.reshape(-1),
            self.weights.reshape(-1),
            self.biases,
            len(x),
            shape.channels,
            shape.height,
            shape.width,
            self.size,
            self.stride,
            self.pad,
            self.filters,
            out.height,
            out.width,
            y.reshape(-1),
        )
        self.activation.apply_plain(y)

    def table_row(self) -> str:
        shape, out = self.inputs[0], self.shape
        return (
            f"Local Layer: {shape.height} x {shape.width} x {shape.channels} image, {self.filters} filters -> "
            f"{out.height} x {out.width} x {self.filters} image"
        )
