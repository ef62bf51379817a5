"""What training adds to layers: parameters with their accumulated updates, and the steps that many backward passes
share.

"delta" is darknet's word for minus the derivative of the loss: the direction that is added to a parameter.
"""

from __future__ import annotations

import numpy as np

from ..kernels import elementwise
from ..kernels.training.activation import activation_gradient
from ..kernels.training.batchnorm import channel_moments, sloped_combine, sloped_sums
from ..kernels.training.gradients import channel_total, spread_cells
from ..tensor import Layout, Tensor
from ..utils.arrays import Array
from .activations import Activation
from .base import Trainable, padded_lanes
from .batchnorm import BatchNorm

EPSILON = 1e-5  # of batch normalisation's backward pass, in both dialects
KEPT = np.float32(0.99)  # of the rolling statistics, at each mini-batch

_ONE = np.float32(1)


def channel_sums(tensor: Tensor) -> Array:
    """(channels,) float32: the sum over batch and pixels, item by item and then over items in order."""
    at = tensor.layout
    out = np.empty((at.batch, at.blocks * 16), np.float32)
    channel_total(*tensor.source, *tensor.extent, out.reshape(-1))
    return out.sum(axis=0, dtype=np.float64)[: tensor.shape.channels].astype(np.float32)


def activation_backward(activation: Activation, delta: Tensor, y: Tensor, x: Tensor) -> None:
    """delta *= f' in place; y is the output of f, x its input."""
    if activation.is_linear:
        return
    if activation.over_channels:
        delta.fill(_normalised_backward(activation.name, delta, y))
        return
    activation_gradient(
        *delta.source, *y.source, *x.source, np.float32(activation.slope), activation.code, *delta.extent
    )


def needs_input(activation: Activation) -> bool:
    """Whether the derivative is taken at the input, which must then be kept."""
    return activation.name in ("swish", "mish", "hard_mish")


def _normalised_backward(name: str, delta: Tensor, y: Tensor) -> Array:
    """delta times the sum over channels of y delta, as darknet has it; where y is 0, normalize_channels leaves
    delta."""
    shape = delta.shape
    values = y.plain().reshape(-1, shape.channels, shape.cells)
    change = delta.plain().reshape(values.shape)
    scaled = change * (values * change).sum(axis=1, keepdims=True)
    if name == "normalize_channels":
        scaled = np.where(values > 0, scaled, change)
    return np.ascontiguousarray(scaled).reshape(len(values), -1)


class NormTraining:
    """Batch normalisation over one mini-batch: statistics of the batch, rolling averages, and the way back.

    `raw` holds what is normalised. An activation with a slope below zero may be part of it: the way back asks `raw` on
    which side of zero its input was. pjreddie's CPU build divides by sqrt(v) + 1e-6 on the way forward and by
    sqrt(v + 1e-5) on the way back; AlexeyAB's by the latter both times.
    """

    def __init__(
        self,
        norm: BatchNorm,
        scales: Trainable | None,
        biases: Trainable | None,
        layout: Layout,
        slope: np.float32 = _ONE,
    ) -> None:
        self.norm, self.scales, self.biases, self.slope = norm, scales, biases, slope
        self.raw = Tensor(layout)
        self.count = layout.batch * layout.shape.cells
        self.statistics = self  # whose mean and variance the way back takes: another's in a sequence
        zeros = np.zeros(norm.channels, np.float32)
        self.mean, self.variance, self._root = zeros, zeros.copy(), zeros.copy()
        self._line = self._lanes(zeros), self._lanes(zeros)  # gain and offset

    def forward(self, biases: Array, out: Tensor) -> None:
        """Take the statistics of `raw`, update the rolling ones, and write what it gives, with the slope."""
        norm = self.norm
        if norm.frozen:
            self.mean, self.variance = norm.rolling_mean.copy(), norm.rolling_variance.copy()
        else:
            self._take_statistics()
        variance = self.variance.astype(np.float64)
        self._root = np.sqrt(variance + EPSILON) if norm.inside_root else np.sqrt(variance) + 1e-6
        gain = norm.scales / self._root
        self._line = self._lanes(gain), self._lanes(biases - gain * self.mean)
        elementwise.scale(*self.raw.source, *self._line, self.slope, *out.target, *out.extent)

    def backward(self, delta: Tensor, out: Tensor, stride_y: int = 1, stride_x: int = 1) -> None:
        """Accumulate scales (and biases), and write the delta of `raw`, its cells `stride` apart."""
        factors = [self._lanes(values) for values in self._back(delta)]
        sloped_combine(
            *delta.source, *self.raw.source, *self._line, self.slope, *factors, *_spread(out, stride_y, stride_x),
            *delta.extent,
        )  # fmt: skip

    def _lanes(self, values: Array) -> Array:
        return padded_lanes(values, self.raw.layout.blocks)

    def _take_statistics(self) -> None:
        norm, cells = self.norm, self.raw.shape.cells
        means, squares = (np.empty((self.raw.layout.batch, self.raw.layout.blocks * 16), np.float32) for _ in range(2))
        channel_moments(*self.raw.source, *self.raw.extent, means.reshape(-1), squares.reshape(-1))
        mean = means.mean(axis=0, dtype=np.float64)
        square = squares.sum(axis=0, dtype=np.float64) + cells * np.square(means - mean).sum(axis=0)
        self.mean = mean[: norm.channels].astype(np.float32)
        self.variance = (square[: norm.channels] / (max(self.count, 2) - 1)).astype(np.float32)
        norm.rolling_mean[:] = KEPT * norm.rolling_mean + (1 - KEPT) * self.mean
        norm.rolling_variance[:] = KEPT * norm.rolling_variance + (1 - KEPT) * self.variance

    def _sums(self, delta: Tensor) -> tuple[Array, Array]:
        """(channels,) float64: the sums of delta, below zero times the slope, and of that times raw - mean."""
        at, mean = delta.layout, self._lanes(self.mean)
        totals, products = (np.empty((at.batch, at.blocks * 16), np.float32) for _ in range(2))
        sloped_sums(
            *delta.source, *self.raw.source, *self._line, self.slope, mean, *delta.extent,
            totals.reshape(-1), products.reshape(-1),
        )  # fmt: skip
        total, product = (sums.sum(axis=0, dtype=np.float64)[: self.norm.channels] for sums in (totals, products))
        return total, product

    def _back(self, delta: Tensor) -> tuple[Array, Array, Array]:
        """Accumulate; (a, b, c) such that delta of `raw` is a delta + b raw + c."""
        total, with_raw = self._sums(delta)
        if self.biases is not None:
            self.biases.update += total.astype(np.float32)
        if self.scales is not None:
            self.scales.update += (with_raw / self._root).astype(np.float32)
        mean, variance = self.statistics.mean, self.statistics.variance.astype(np.float64)
        with_raw += (self.mean - mean) * total
        scales, root = self.norm.scales.astype(np.float64), np.sqrt(variance + EPSILON)
        mean_part = -total * scales / root
        variance_part = -0.5 * root**-3 * with_raw * scales
        b = 2 * variance_part / self.count
        c = mean_part / self.count - b * mean
        return scales / root, b, c


def write_spread(delta: Tensor, out: Tensor, stride_y: int = 1, stride_x: int = 1) -> None:
    """Copy delta to out, its cells `stride` apart."""
    spread_cells(*delta.source, *_spread(out, stride_y, stride_x), *delta.extent)


def _spread(out: Tensor, stride_y: int, stride_x: int) -> tuple[Array, int, int, int, int, int]:
    """As kernels take what they write with cells a stride apart."""
    at = out.layout
    return out.data, at.item, at.block, at.origin, stride_y * at.pitch * 16, stride_x * 16
