"""Normalisation over channels: `[normalization]` (local response normalisation) and `[l2norm]`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..config.declared import positive, real
from ..utils.arrays import Array
from .nchw_layer import NchwLayer


@dataclass(kw_only=True, eq=False, repr=False)
class Normalization(NchwLayer):
    """Local response normalisation: y[k] = x[k] (kappa + alpha * sum over a window of channels of x^2) ^ -beta.

    The sum is darknet's recurrence from channel to channel, whose first window is shorter than the textbook's.
    """

    row: ClassVar[str] = (
        "Local Response Normalization Layer: {x.width} x {x.height} x {x.channels} image, {self.size} size"
    )
    alpha: float = real(0.0001)
    beta: float = real(0.75)
    kappa: float = real(1.0)
    size: int = positive(5)
    _factors: Array = field(init=False, repr=False)

    def compute(self, x: Array, y: Array) -> None:
        channels = self.shape.channels
        squares = np.square(x.reshape(len(x), channels, -1)) * np.float32(self.alpha)
        norms = np.empty_like(squares)
        norms[:, 0] = np.float32(self.kappa) + squares[:, : self.size // 2].sum(axis=1)
        for k in range(1, channels):
            norms[:, k] = norms[:, k - 1]
            leaving, entering = k - (self.size - 1) // 2 - 1, k + self.size // 2
            if leaving >= 0:
                norms[:, k] -= squares[:, leaving]
            if entering < channels:
                norms[:, k] += squares[:, entering]
        self._factors = np.power(norms, np.float32(-self.beta)).reshape(x.shape)
        y[:] = x * self._factors

    def compute_backward(self, delta: Array) -> list[Array]:
        return [delta * self._factors]  # darknet leaves out the derivative by the other channels of the window


@dataclass(kw_only=True, eq=False, repr=False)
class L2Norm(NchwLayer):
    """`[l2norm]`: the channels of each pixel divided by their Euclidean norm."""

    row: ClassVar[str] = "l2norm                                         {x.outputs:4d}"

    def compute(self, x: Array, y: Array) -> None:
        planes = x.reshape(len(x), self.shape.channels, -1)
        with np.errstate(invalid="ignore", divide="ignore"):  # as in C, a pixel of zeros gives NaN
            y[:] = (planes / np.sqrt(np.square(planes).sum(axis=1, keepdims=True))).reshape(y.shape)
