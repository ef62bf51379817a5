"""Binary convolutions (`xnor`): the signs of inputs and filters, and how both learn.

As in XNOR-Net (Rastegari et al., 2016) the backward pass is a straight-through estimator: filters take the gradient of
their binary form, inputs take the gradient of their signs where they are between -1 and 1.
"""

from __future__ import annotations

import numpy as np

from ...tensor import Layout, Tensor
from ...utils.arrays import LANES, Array
from .geometry import Window


def binary_weights(weights: Array) -> Array:
    """Binary filters (n, c, k, k): each weight is plus or minus its filter's mean absolute value."""
    mean = np.abs(weights).mean(axis=(1, 2, 3), keepdims=True)
    return np.where(weights > 0, mean, -mean).astype(np.float32)


def write_signs(x: Tensor, signs: Tensor) -> None:
    """Write the sign of every input, 0 counting as negative, inside the halo of `signs`."""
    at, h, w = signs.layout, x.shape.height, x.shape.width
    inner = signs.data.reshape(at.batch, at.blocks, h + 2 * at.halo, at.pitch, LANES)
    outer = x.data.reshape(at.batch, at.blocks, h + 2 * x.layout.halo, x.layout.pitch, LANES)
    read = outer[:, :, x.layout.halo : x.layout.halo + h, x.layout.halo : x.layout.halo + w]
    inner[:, :, at.halo : at.halo + h, at.halo : at.halo + w] = np.where(read > 0, np.float32(1), np.float32(-1))


class BinaryLearning:
    """Signs and binary filters of one mini-batch. In training the padding is 0."""

    def __init__(self, weights: Array, x: Tensor, source_delta: Tensor | None, window: Window) -> None:
        self._real, self._x, self._source_delta = weights, x, source_delta
        self.weights = np.empty_like(weights)
        self.signs = Tensor(Layout(x.layout.batch, x.shape, window.halo(x.shape)))
        self.delta = Tensor(source_delta.layout) if source_delta is not None else None  # of the signs

    def forward(self) -> None:
        """Compute the signs of inputs and filters."""
        write_signs(self._x, self.signs)
        self.weights[:] = binary_weights(self._real)
        if self.delta is not None:
            self.delta.data.fill(0)

    def backward(self) -> None:
        """Add `delta` to the source's, where the input is between -1 and 1."""
        if self._source_delta is not None and self.delta is not None:
            between = np.abs(self._x.plain()) < 1
            self._source_delta.add_plain(self.delta.plain() * between)
