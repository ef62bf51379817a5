"""`[activation]`, and `[logistic]` with its loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..config.sections import Section
from ..kernels.elementwise import add_channels
from ..kernels.reorder import copy_channels
from ..runtime.program import Call, KernelCall
from ..utils.arrays import Array
from .activations import LOGISTIC, Activation, read_activation
from .backward_ops import activation_backward
from .base import BuildContext, KernelLayer
from .nchw_layer import NchwLayer, stacked_truth

_TINY = np.float32(1e-38)  # keeps logarithms finite


@dataclass(kw_only=True, eq=False, repr=False)
class ActivationLayer(KernelLayer):
    """`[activation]`: y = f(x) for each element."""

    row: ClassVar[str] = "Activation Layer: {x.outputs} inputs"
    activation: Activation

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> ActivationLayer:
        activation = read_activation(section, context.dialect, "linear")
        return cls.build(section, context, activation=activation)

    def bind(self) -> list[Call]:
        (x,), y = self.source_tensors, self.output
        copy = KernelCall(copy_channels, x.data, x.planes, 0, self.shape.channels, y.data, y.planes, 0)
        return [copy, *self.activation.calls(y)]

    def backward(self) -> None:
        activation_backward(self.activation, self.delta, self.output, self.source_tensors[0])
        (target,), delta = self.source_deltas, self.delta
        if target is not None:
            add_channels(delta.data, delta.planes, 0, self.shape.channels, target.data, target.planes, 0)


@dataclass(kw_only=True, eq=False, repr=False)
class Logistic(NchwLayer):
    """`[logistic]`: 1 / (1 + e^-x), with a cross-entropy loss in training."""

    row: ClassVar[str] = "logistic x entropy                             {x.outputs:4d}"
    has_loss: ClassVar[bool] = True

    def compute(self, x: Array, y: Array) -> None:
        y[:] = x
        LOGISTIC.apply_nchw(y)

    def loss(self, truth: Sequence[Array], network_size: tuple[int, int], seen: int) -> float:
        """Binary cross entropy with the truth, (batch, outputs) from 0 to 1; the delta of x is truth - p."""
        target, p = stacked_truth(self, truth), self.values
        self.value_deltas[:] = target - p
        entropy = target * np.log(np.maximum(p, _TINY)) + (1 - target) * np.log(np.maximum(1 - p, _TINY))
        return float(-entropy.sum(dtype=np.float64))
