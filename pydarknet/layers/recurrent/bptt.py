"""Back-propagation through time: recurrent layers in training, unrolled over the T time steps of a sequence.

A mini-batch of T x b samples holds b sequences, ordered by time: time step t of sequence i is sample t b + i. Each part
of a layer has T copies with tensors of their own; all copies share their parameters and updates.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np

from ...tensor import Layout, Tensor
from ...utils.arrays import Array
from ..base import Layer, Trainable


class Unrolled:
    """`time_steps` copies of every part of a recurrent layer, each bound to tensors and deltas of its own."""

    def __init__(self, parts: Mapping[str, Layer], time_steps: int, sequences: int) -> None:
        """sequences: the batch of each copy."""
        self.time_steps = time_steps
        self._trainables: list[Trainable] = []
        self._copies: list[dict[str, Layer]] = [{} for _ in range(time_steps)]
        for name, part in parts.items():
            first: Layer | None = None
            for copies in self._copies:
                layer = copy.copy(first or part)
                layer.batch = sequences
                x = Tensor(Layout(sequences, part.inputs[0], part.halo()))
                y = Tensor(Layout(sequences, part.shape))
                layer.setup([x], y)
                layer.setup_training([Tensor(Layout(sequences, part.inputs[0]))], Tensor(Layout(sequences, part.shape)))
                copies[name] = layer
                first = first or layer
            assert first is not None
            for trainable in first.trainables():
                trainable.name = f"{name}.{trainable.name}"
                self._trainables.append(trainable)

    def trainables(self) -> list[Trainable]:
        """The parameters of the parts, which all copies share."""
        return self._trainables

    def forward(self, t: int, part: str, x: Array) -> Array:
        """The part's output (b, outputs) for x (b, inputs) at time step t."""
        layer = self._copies[t][part]
        layer.source_tensors[0].fill(np.ascontiguousarray(x, np.float32))
        layer.forward_training()
        return layer.output.plain()

    def begin_backward(self) -> None:
        """To be called between the forward and the backward pass.

        darknet keeps one mean and variance a layer: all time steps use those of the last one in the backward pass.
        """
        for copies in self._copies:
            for name, layer in copies.items():
                layer.use_statistics_of(self._copies[-1][name])

    def backward(self, t: int, part: str, delta: Array) -> Array:
        """Accumulate the part's updates from the delta of its output at time step t; the delta of its input."""
        layer = self._copies[t][part]
        assert layer.delta is not None and layer.source_deltas[0] is not None
        layer.delta.fill(np.ascontiguousarray(delta, np.float32))
        layer.source_deltas[0].data.fill(0)
        layer.backward()
        return layer.source_deltas[0].plain()

    def pre_norm_delta(self, t: int, part: str) -> Array:
        """After `backward`, the delta of the part before its activation and normalisation."""
        return self._copies[t][part].pre_norm_delta

    def replace_input(self, t: int, part: str, x: Array) -> None:
        """Let the part's weight gradient at time step t use x instead of the input of the forward pass."""
        layer = self._copies[t][part]
        layer.source_tensors[0].fill(np.ascontiguousarray(x, np.float32))
        layer.inputs_changed()
