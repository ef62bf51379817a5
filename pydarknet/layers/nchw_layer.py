"""The base of layers that leave the engine's layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..kernels.reorder import pack
from ..runtime.program import Call, KernelCall
from ..tensor import Array, Tensor
from .base import KernelLayer


@dataclass(kw_only=True, eq=False, repr=False)
class NchwLayer(KernelLayer):
    """A layer that works on plain order. Its sources are unpacked for it, its result is packed for later readers."""

    keeps_nchw_output: ClassVar[bool] = True
    # Whether `compute` gets the same array for x and y.
    in_place: ClassVar[bool] = False
    values: Array = field(default_factory=lambda: np.empty((0, 0), np.float32), repr=False)
    plain_inputs: list[Array] = field(default_factory=list, repr=False)
    value_deltas: Array = field(default_factory=lambda: np.empty((0, 0), np.float32), repr=False)

    def setup(self, sources: list[Tensor], output: Tensor | None) -> None:
        super().setup(sources, output)
        batch = sources[0].layout.batch
        self.values = np.zeros((batch, self.shape.outputs), np.float32)
        self.plain_inputs = [np.zeros((batch, source.shape.outputs), np.float32) for source in sources]
        if self.in_place:
            self.plain_inputs = [self.values]

    def bind(self) -> Sequence[Call]:
        return [self.compute_all]

    def compute_all(self) -> None:
        """The forward pass by Python."""
        for tensor, plain in zip(self.source_tensors, self.plain_inputs, strict=True):
            tensor.read_into(plain)
        self.compute(self.plain_inputs[0], self.values)
        if self.output is not None:
            self.output.fill(self.values)

    def packing(self) -> list[Call]:
        """What `compute_all` ends with, as calls of kernels."""
        if self.output is None:
            return []
        at = self.output.layout
        return [
            KernelCall(pack, self.values.reshape(-1), *self.output.plain_extent, at.lanes, at.halo, self.output.data)
        ]

    def setup_training(self, source_deltas: list[Tensor | None], delta: Tensor | None) -> None:
        super().setup_training(source_deltas, delta)
        self.value_deltas = np.zeros_like(self.values)

    def backward(self) -> None:
        if self.delta is not None:  # later layers may add to what the layer's own loss has given
            incoming = self.delta.plain()
            self.value_deltas = self.value_deltas + incoming if self.has_loss else incoming
        changes = self.compute_backward(self.value_deltas)
        for target, change in zip(self.source_deltas, changes, strict=False):
            if target is not None and change is not None:
                target.add_plain(change)

    def inputs_changed(self) -> None:
        for tensor, plain in zip(self.source_tensors, self.plain_inputs, strict=True):
            tensor.read_into(plain)

    def compute_backward(self, delta: Array) -> Sequence[Array | None]:
        """From delta (batch, outputs), accumulate updates; what is to be added to the delta of each source, in plain
        order."""
        raise NotImplementedError

    def compute(self, x: Array, y: Array) -> None:
        """y (batch, outputs) from x (batch, inputs), both contiguous float32 in plain order."""
        raise NotImplementedError
