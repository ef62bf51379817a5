"""`[batchnorm]`: batch normalisation as a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..config.sections import Section
from ..kernels import elementwise
from ..tensor import Layout, Shape, Tensor
from ..utils.arrays import Array
from .backward_ops import NormTraining
from .base import BuildContext, Layer, Parameter, Trainable, padded_lanes
from .batchnorm import BatchNorm


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
    def from_section(cls, section: Section, place: BuildContext) -> BatchNormLayer:
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

    def named_parameters(self) -> list[Parameter]:
        biases = [Parameter("biases", self.biases)] if self.biases_stored else []
        return biases + self.norm.named_parameters()

    def parameters_changed(self) -> None:
        self._gain = self._offset = None

    def initialise(self, rng: np.random.Generator, dialect: object) -> None:
        self.norm.initialise()
        self.biases[:] = 0

    def setup(self, sources: list[Tensor], output: Tensor | None) -> None:
        super().setup(sources, output)
        gain, offset = self.norm.fold(self.biases)
        blocks = sources[0].layout.blocks
        self._gain, self._offset = padded_lanes(gain, blocks), padded_lanes(offset, blocks)

    def forward(self) -> None:
        if self._gain is None:  # the parameters have changed
            self.setup(self.source_tensors, self.output)
        assert self.output is not None
        (x,) = self.source_tensors
        elementwise.scale(*x.source, self._gain, self._offset, np.float32(1), *self.output.target, *self.output.extent)

    # --- training ---

    def setup_training(self, source_deltas: list[Tensor | None], delta: Tensor | None) -> None:
        super().setup_training(source_deltas, delta)
        self._trainables = (
            [Trainable("biases", self.biases), Trainable("scales", self.norm.scales)] if self.biases_stored else []
        )
        biases, scales = self._trainables or (None, None)
        self._training = NormTraining(self.norm, scales, biases, Layout(self.batch, self.shape))

    def trainables(self) -> list[Trainable]:
        return self._trainables

    def forward_training(self) -> None:
        assert self.output is not None
        (x,), raw, blocks = self.source_tensors, self._training.raw, self.output.layout.blocks
        copy = np.ones(blocks * 16, np.float32), np.zeros(blocks * 16, np.float32)
        elementwise.scale(*x.source, *copy, np.float32(1), *raw.target, *raw.extent)
        self._training.forward(self.biases, self.output)

    def backward(self) -> None:
        assert self.delta is not None
        (target,) = self.source_deltas
        change = Tensor(self.delta.layout)
        self._training.backward(self.delta, change)
        if target is not None:
            target.data += change.data

    def table_row(self) -> str:
        shape = self.inputs[0]
        return f"Batch Normalization Layer: {shape.width} x {shape.height} x {shape.channels} image"
