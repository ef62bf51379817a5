"""Batch normalisation: as a part of convolutional and connected layers, and as the layer `[batchnorm]`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..config import Section
from ..kernels import elementwise
from ..tensor import Array, Layout, Shape, Tensor
from .base import Layer, Parameter, Place, padded_lanes

if TYPE_CHECKING:
    from .training import NormTraining, Trainable


@dataclass(eq=False)
class BatchNorm:
    """Scale and rolling statistics of n channels. At inference it is a gain and an offset per channel.

    `inside_root` chooses between (x - m) / sqrt(v + 1e-5) and (x - m) / (sqrt(v) + 1e-6).
    """

    channels: int
    inside_root: bool
    scales: Array = field(init=False, repr=False)
    rolling_mean: Array = field(init=False, repr=False)
    rolling_variance: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.scales = np.ones(self.channels, np.float32)
        self.rolling_mean = np.zeros(self.channels, np.float32)
        self.rolling_variance = np.zeros(self.channels, np.float32)

    def records(self) -> list[Parameter]:
        """Scales, mean and variance, in file order."""
        return [
            Parameter("scales", self.scales),
            Parameter("rolling_mean", self.rolling_mean),
            Parameter("rolling_variance", self.rolling_variance),
        ]

    def initialise(self) -> None:
        """darknet's initial values: the variance is 0, not 1."""
        self.scales[:], self.rolling_mean[:], self.rolling_variance[:] = 1, 0, 0

    def fold(self, biases: Array) -> tuple[Array, Array]:
        """(gain, offset) float32 such that gain * x + offset is the normalised, scaled and shifted x."""
        with np.errstate(invalid="ignore", over="ignore"):  # untrained or broken statistics give what they give in C
            variance = self.rolling_variance.astype(np.float64)
            root = np.sqrt(variance + 1e-5) if self.inside_root else np.sqrt(variance) + 1e-6
            gain = self.scales / root
            return gain.astype(np.float32), (biases - gain * self.rolling_mean).astype(np.float32)


@dataclass(kw_only=True, eq=False, repr=False)
class BatchNormLayer(Layer):
    """`[batchnorm]`. pjreddie's darknet neither stores nor trains its biases."""

    norm: BatchNorm
    biases: Array = field(repr=False)
    biases_stored: bool
    _gain: Array | None = field(default=None, repr=False)
    _offset: Array | None = field(default=None, repr=False)
    _training: NormTraining = field(init=False, repr=False)
    _trainables: list[Trainable] = field(default_factory=list, repr=False)

    @classmethod
    def from_section(cls, section: Section, place: Place) -> BatchNormLayer:
        channels = place.shape(place.index - 1).channels
        return cls(
            section=section,
            sources=place.previous,
            norm=BatchNorm(channels, place.dialect.epsilon_inside_root),
            biases=np.zeros(channels, np.float32),
            biases_stored=place.dialect.batchnorm_layer_has_bias,
        )

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        return inputs[0]

    def records(self) -> list[Parameter]:
        biases = [Parameter("biases", self.biases)] if self.biases_stored else []
        return biases + self.norm.records()

    def parameters_changed(self) -> None:
        self._gain = self._offset = None

    def initialise(self, rng: np.random.Generator, dialect: object) -> None:
        self.norm.initialise()
        self.biases[:] = 0

    def prepare(self, sources: list[Tensor], output: Tensor | None) -> None:
        super().prepare(sources, output)
        gain, offset = self.norm.fold(self.biases)
        blocks = sources[0].layout.blocks
        self._gain, self._offset = padded_lanes(gain, blocks), padded_lanes(offset, blocks)

    def forward(self) -> None:
        if self._gain is None:  # the parameters have changed
            self.prepare(self.source_tensors, self.output)
        assert self.output is not None
        (x,) = self.source_tensors
        elementwise.scale(*x.source, self._gain, self._offset, *self.output.target, *self.output.extent)

    # --- training ---

    def prepare_training(self, source_deltas: list[Tensor | None], delta: Tensor | None) -> None:
        from .training import NormTraining, Trainable

        super().prepare_training(source_deltas, delta)
        self._trainables = [Trainable(self.biases), Trainable(self.norm.scales)] if self.biases_stored else []
        biases, scales = self._trainables or (None, None)
        self._training = NormTraining(self.norm, scales, biases, Layout(self.batch, self.shape))

    def trainables(self) -> list[Trainable]:
        return self._trainables

    def forward_training(self) -> None:
        assert self.output is not None
        (x,), raw, blocks = self.source_tensors, self._training.raw, self.output.layout.blocks
        copy = np.ones(blocks * 16, np.float32), np.zeros(blocks * 16, np.float32)
        elementwise.scale(*x.source, *copy, *raw.target, *raw.extent)
        gain, offset = self._training.coefficients(self.biases)
        factors = padded_lanes(gain, blocks), padded_lanes(offset, blocks)
        elementwise.scale(*raw.source, *factors, *self.output.target, *self.output.extent)

    def backward(self) -> None:
        from .training import write_combined

        assert self.delta is not None
        factors = self._training.backward(self.delta)
        (target,) = self.source_deltas
        if target is not None:
            change = Tensor(self.delta.layout)
            write_combined(self.delta, self._training.raw, *factors, change, 1, 1)
            target.data += change.data

    def table_row(self) -> str:
        shape = self.inputs[0]
        return f"Batch Normalization Layer: {shape.width} x {shape.height} x {shape.channels} image"
