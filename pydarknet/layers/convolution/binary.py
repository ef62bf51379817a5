"""Convolutions of signs (`xnor`): what is made of inputs and filters, and how both learn all the same.

As in XNOR-Net (Rastegari et al., 2016) the way back takes the signs for what they are signs of: filters learn the
gradient of their binary form, inputs where they lie between -1 and 1.
"""

from __future__ import annotations

import numpy as np

from ...tensor import Layout, Tensor
from ...utils.arrays import LANES, Array
from .geometry import Window


def binary_weights(weights: Array) -> Array:
    """Filters (n, c, k, k) of which each has but one value, with both signs: the mean of the absolute ones."""
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
    """Signs and binary filters of one mini-batch; pixels beyond the edges count as 0, in training."""

    def __init__(self, weights: Array, x: Tensor, source_delta: Tensor | None, window: Window) -> None:
        self._real, self._x, self._source_delta = weights, x, source_delta
        self.weights = np.empty_like(weights)
        self.signs = Tensor(Layout(x.layout.batch, x.shape, window.halo(x.shape)))
        self.delta = Tensor(source_delta.layout) if source_delta is not None else None  # of the signs

    def forward(self) -> None:
        """Take the signs of inputs and filters as they are now."""
        write_signs(self._x, self.signs)
        self.weights[:] = binary_weights(self._real)
        if self.delta is not None:
            self.delta.data.fill(0)

    def backward(self) -> None:
        """Give what is in `delta` to the source."""
        if self._source_delta is not None and self.delta is not None:
            between = np.abs(self._x.plain()) < 1
            self._source_delta.add_plain(self.delta.plain() * between)
