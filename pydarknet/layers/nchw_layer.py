"""Layers that compute in NCHW order, mostly by NumPy, between tensors of the engine's blocked layout."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..kernels.reorder import pack
from ..runtime.program import Call, KernelCall
from ..tensor import Tensor
from ..utils.arrays import Array
from .base import Layer


@dataclass(kw_only=True, eq=False, repr=False)
class NchwLayer(Layer):
    """A layer whose `compute` reads and writes NCHW order."""

    keeps_nchw_output = True
    in_place = False  # whether `compute` gets the same array as x and y
    values: Array = field(init=False)  # (batch, outputs); packed into `output` where another layer reads it
    nchw_inputs: list[Array] = field(init=False)  # the sources, (batch, outputs of the source) each
    value_deltas: Array = field(init=False)  # in training

    def setup(self, sources: list[Tensor], output: Tensor | None) -> None:
        super().setup(sources, output)
        batch = sources[0].layout.batch
        self.values = np.zeros((batch, self.shape.outputs), np.float32)
        self.nchw_inputs = [np.zeros((batch, source.shape.outputs), np.float32) for source in sources]
        if self.in_place:
            self.nchw_inputs = [self.values]

    def bind(self) -> Sequence[Call]:
        return [self.forward_in_python]

    def forward_in_python(self) -> None:
        """The forward pass by `compute`."""
        self.read_sources()
        self.compute(self.nchw_inputs[0], self.values)
        self.write_output()

    def read_sources(self) -> None:
        """Unpack the sources into `nchw_inputs`."""
        for tensor, array in zip(self.source_tensors, self.nchw_inputs, strict=True):
            tensor.read_into(array)

    def write_output(self) -> None:
        """Pack `values` into the output, if there is one."""
        if self.output is not None:
            self.output.fill(self.values)

    def pack_calls(self) -> list[Call]:
        """`write_output` as kernel calls."""
        if self.output is None:
            return []
        at = self.output.layout
        return [KernelCall(pack, self.values.reshape(-1), self.shape.channels, at.lanes, self.output.data, at.planes)]

    def compute(self, x: Array, y: Array) -> None:
        """y (batch, outputs) from x (batch, inputs), both contiguous."""
        raise NotImplementedError

    def setup_training(self, source_deltas: list[Tensor | None], delta: Tensor | None) -> None:
        super().setup_training(source_deltas, delta)
        self.value_deltas = np.zeros_like(self.values)

    def backward(self) -> None:
        if self.delta is not None:  # later layers may add to the delta of the layer's own loss
            incoming = self.delta.plain()
            self.value_deltas = self.value_deltas + incoming if self.has_loss else incoming
        changes = self.compute_backward(self.value_deltas)
        for target, change in zip(self.source_deltas, changes, strict=False):
            if target is not None and change is not None:
                target.add_plain(change)

    def compute_backward(self, delta: Array) -> Sequence[Array | None]:
        """The delta of each source, or None; accumulates updates. By default delta itself: where darknet does so, or
        where `loss` gives it."""
        return [delta]
