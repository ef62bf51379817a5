"""What training adds to layers: parameters with their accumulated updates, and the steps that many backward passes
share.

"delta" is darknet's word for minus the derivative of the loss: the direction that is added to a parameter.
"""

from __future__ import annotations

import numpy as np

from ..activations import Activation
from ..kernels import elementwise
from ..kernels.activation_gradient import activation_gradient
from ..kernels.gradient import channel_product, channel_total, combine
from ..tensor import Array, Layout, Tensor
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


def channel_products(a: Tensor, a_mean: Array, b: Tensor, b_mean: Array) -> Array:
    """(channels,) float64: the sum of (a - a_mean)(b - b_mean) over batch and pixels."""
    at = a.layout
    out = np.empty((at.batch, at.blocks * 16), np.float32)
    first, second = padded_lanes(a_mean, at.blocks), padded_lanes(b_mean, at.blocks)
    channel_product(*a.source, first, *b.source, second, *a.extent, out.reshape(-1))
    return out.sum(axis=0, dtype=np.float64)[: a.shape.channels]


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

    `raw` holds what is normalised. pjreddie's CPU build divides by sqrt(v) + 1e-6 on the way forward and by
    sqrt(v + 1e-5) on the way back; AlexeyAB's by the latter both times.
    """

    def __init__(self, norm: BatchNorm, scales: Trainable | None, biases: Trainable | None, layout: Layout) -> None:
        self.norm, self.scales, self.biases = norm, scales, biases
        self.raw = Tensor(layout)
        self.count = layout.batch * layout.shape.cells
        self.statistics = self  # whose mean and variance the way back takes: another's in a sequence
        zeros = np.zeros(norm.channels, np.float32)
        self.mean, self.variance, self._root = zeros, zeros.copy(), zeros.copy()

    def coefficients(self, biases: Array) -> tuple[Array, Array]:
        """Take the statistics of `raw`, update the rolling ones; (gain, offset) of the normalised, scaled output."""
        norm = self.norm
        if norm.frozen:
            self.mean, self.variance = norm.rolling_mean.copy(), norm.rolling_variance.copy()
        else:
            self._take_statistics()
        variance = self.variance.astype(np.float64)
        self._root = np.sqrt(variance + EPSILON) if norm.inside_root else np.sqrt(variance) + 1e-6
        gain = norm.scales / self._root
        return gain.astype(np.float32), (biases - gain * self.mean).astype(np.float32)

    def _take_statistics(self) -> None:
        n, norm = max(self.count, 2), self.norm
        self.mean = channel_sums(self.raw) / np.float32(self.count)
        squares = channel_products(self.raw, self.mean, self.raw, self.mean)
        self.variance = (squares / (n - 1)).astype(np.float32)
        norm.rolling_mean[:] = KEPT * norm.rolling_mean + (1 - KEPT) * self.mean
        norm.rolling_variance[:] = KEPT * norm.rolling_variance + (1 - KEPT) * self.variance

    def backward(self, delta: Tensor) -> tuple[Array, Array, Array]:
        """Accumulate scales (and biases); (a, b, c) such that delta of `raw` is a delta + b raw + c."""
        nothing = np.zeros(self.norm.channels, np.float32)
        total = channel_sums(delta).astype(np.float64)
        with_raw = channel_products(delta, nothing, self.raw, self.mean)
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
        return (scales / root).astype(np.float32), b.astype(np.float32), c.astype(np.float32)


def write_scaled(x: Tensor, gain: Array, offset: Array, out: Tensor, slope: np.float32 = _ONE) -> None:
    """out = gain x + offset, channel by channel; below zero times `slope`."""
    lanes = [padded_lanes(values, x.layout.blocks) for values in (gain, offset)]
    elementwise.scale(*x.source, *lanes, slope, *out.target, *out.extent)


def write_combined(
    delta: Tensor, raw: Tensor, a: Array, b: Array, c: Array, out: Tensor, stride_y: int, stride_x: int
) -> None:
    """out = a delta + b raw + c channel by channel, its cells `stride` apart."""
    at, blocks = out.layout, delta.layout.blocks
    combine(
        *delta.source,
        padded_lanes(a, blocks),
        *raw.source,
        padded_lanes(b, blocks),
        padded_lanes(c, blocks),
        out.data,
        at.item,
        at.block,
        at.origin,
        stride_y * at.pitch * 16,
        stride_x * 16,
        *delta.extent,
    )
