"""Batch normalisation, as a part of other layers and as `[batchnorm]`.

    y = scale (x - mean) / sqrt(variance + epsilon) + bias        for each channel

Mean and variance are running averages at inference, and those of the mini-batch in training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..config.sections import Section
from ..kernels import elementwise
from ..kernels.elementwise import channel_moments, sloped_combine, sloped_sums
from ..runtime.program import Call, KernelCall
from ..tensor import Layout, Tensor
from ..utils.arrays import LANES, Array
from .base import BuildContext, Layer, Parameter, Trainable, padded_lanes

EPSILON = 1e-5  # added to the variance inside the root, in the backward pass in both dialects
OUTER_EPSILON = 1e-6  # added to the root by pjreddie's forward pass
MOMENTUM = np.float32(0.99)  # part of the running statistics that a mini-batch leaves

_ONE = np.float32(1)


@dataclass(eq=False)
class BatchNorm:
    """Scales and running statistics of `channels` channels, (channels,) float32 each.

    inside_root: the forward pass divides by sqrt(v + inside_root) (AlexeyAB), or if it is 0 by sqrt(v) + 1e-6
    (pjreddie's CPU build).
    """

    channels: int
    inside_root: float
    frozen: bool = field(default=False, init=False, repr=False)  # training uses the running statistics

    def __post_init__(self) -> None:
        self.scales = np.ones(self.channels, np.float32)
        self.rolling_mean = np.zeros(self.channels, np.float32)
        self.rolling_variance = np.zeros(self.channels, np.float32)

    def named_parameters(self) -> list[Parameter]:
        """In file order."""
        return [Parameter(name, getattr(self, name)) for name in ("scales", "rolling_mean", "rolling_variance")]

    def initialise(self) -> None:
        """The variance is 0, not 1."""
        self.scales[:], self.rolling_mean[:], self.rolling_variance[:] = 1, 0, 0

    def deviation(self, variance: Array) -> NDArray[np.float64]:
        """What the forward pass divides by, float64."""
        wide = variance.astype(np.float64)
        return np.sqrt(wide + self.inside_root) if self.inside_root else np.sqrt(wide) + OUTER_EPSILON

    def fold(self, biases: Array) -> tuple[Array, Array]:
        """(gain, offset) of x as the running statistics normalise it."""
        with np.errstate(invalid="ignore", over="ignore"):  # as in C
            gain = self.scales / self.deviation(self.rolling_variance)
            return gain.astype(np.float32), (biases - gain * self.rolling_mean).astype(np.float32)


class BatchNormTraining:
    """Batch normalisation over one mini-batch. `pre_norm` holds x, the tensor to be normalised.

    learned: biases and scales, where there are any. slope: of an activation in the pass.

    **The backward pass.** For one channel, let the mini-batch have N elements x_i with mean m and variance v, let
    r = 1 / sqrt(v + 1e-5), y_i = s r (x_i - m) + bias, and d_i the delta of y_i. With sums over i:

        delta of bias   D = sum d_i
        delta of s      r P, where P = sum d_i (x_i - m)
        delta of m      dm = -s r D
        delta of v      dv = -s r^3 P / 2                               since dr/dv = -r^3 / 2
        delta of x_i    s r d_i + dm / N + dv 2 (x_i - m) / N           since dm/dx_i = 1/N, dv/dx_i = 2 (x_i - m) / N

    One kernel computes the last line as a d_i + b x_i + c:

        a = s r        b = 2 dv / N        c = dm / N - b m

    As in darknet, dv/dx_i has N where v itself was divided by N - 1.
    """

    def __init__(
        self, norm: BatchNorm, learned: Mapping[str, Trainable], layout: Layout, slope: np.float32 = _ONE
    ) -> None:
        self.norm, self.learned, self.slope = norm, learned, slope
        self.pre_norm = Tensor(layout)
        self.count = layout.batch * layout.shape.cells
        self._last_step: BatchNormTraining | None = None

    def use_statistics_of(self, last: "BatchNormTraining") -> None:
        """Take the statistics of the last time step in the backward pass."""
        self._last_step = None if last is self else last

    def forward(self, biases: Array, out: Tensor) -> None:
        """From `pre_norm`, update the running statistics, and write y to `out`."""
        norm = self.norm
        if norm.frozen:
            self.mean, self.variance = norm.rolling_mean.copy(), norm.rolling_variance.copy()
        else:
            self._take_statistics()
        self._deviation = norm.deviation(self.variance)
        gain = norm.scales / self._deviation
        self._line = self._lanes(gain), self._lanes(biases - gain * self.mean)  # of y over x: gain and offset
        x = self.pre_norm
        elementwise.scale(x.data, x.planes, *self._line, self.slope, out.data, out.planes)

    def backward(self, delta: Tensor, out: Tensor, stride_y: int = 1, stride_x: int = 1) -> None:
        """Accumulate scales and biases; write the delta of x, its pixels `stride` apart."""
        sloped_combine(
            delta.data, delta.planes, self.pre_norm.data, self.pre_norm.planes, *self._line, self.slope,
            *map(self._lanes, self._factors(delta)), out.data, out.layout.strides(stride_y, stride_x),
        )  # fmt: skip

    def _lanes(self, values: Array | NDArray[np.float64]) -> Array:
        return padded_lanes(values, self.pre_norm.layout.blocks)

    def _per_sample(self) -> Array:
        return np.empty((2, self.pre_norm.layout.batch, self.pre_norm.layout.blocks * LANES), np.float32)

    def _take_statistics(self) -> None:
        norm, cells = self.norm, self.pre_norm.shape.cells
        means, squares = moments = self._per_sample()
        channel_moments(self.pre_norm.data, self.pre_norm.planes, *moments.reshape(2, -1))
        mean = means.mean(axis=0, dtype=np.float64)
        square = squares.sum(axis=0, dtype=np.float64) + cells * np.square(means - mean).sum(axis=0)
        self.mean = mean[: norm.channels].astype(np.float32)
        self.variance = (square[: norm.channels] / (max(self.count, 2) - 1)).astype(np.float32)
        norm.rolling_mean[:] = MOMENTUM * norm.rolling_mean + (1 - MOMENTUM) * self.mean
        norm.rolling_variance[:] = MOMENTUM * norm.rolling_variance + (1 - MOMENTUM) * self.variance

    def _factors(self, delta: Tensor) -> tuple[Array, Array, Array]:
        """a, b and c of the class's docstring; D and P are `total` and `product`."""
        x, sums = self.pre_norm, self._per_sample()
        sloped_sums(
            delta.data, delta.planes, x.data, x.planes, *self._line, self.slope, self._lanes(self.mean),
            *sums.reshape(2, -1),
        )  # fmt: skip
        total, product = sums.sum(axis=1, dtype=np.float64)[:, : self.norm.channels]
        for name, update in ("biases", total), ("scales", product / self._deviation):
            if name in self.learned:
                self.learned[name].update += update.astype(np.float32)
        counts = self._last_step or self
        mean, variance = counts.mean, counts.variance.astype(np.float64)
        product += (self.mean - mean) * total
        scales, deviation = self.norm.scales.astype(np.float64), np.sqrt(variance + EPSILON)
        mean_delta = -total * scales / deviation
        variance_delta = -0.5 * deviation**-3 * product * scales
        b = 2 * variance_delta / self.count
        return scales / deviation, b, mean_delta / self.count - b * mean


@dataclass(kw_only=True, eq=False, repr=False)
class BatchNormLayer(Layer):
    """`[batchnorm]`. pjreddie's darknet neither stores nor trains its biases."""

    row = "Batch Normalization Layer: {x.width} x {x.height} x {x.channels} image"
    norm: BatchNorm
    biases: Array
    has_biases: bool

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> "BatchNormLayer":
        channels, dialect = context.before.channels, context.dialect
        norm, biases = BatchNorm(channels, dialect.epsilon_inside_root), np.zeros(channels, np.float32)
        return cls.build(section, context, norm=norm, biases=biases, has_biases=dialect.batchnorm_layer_has_bias)

    def named_parameters(self) -> list[Parameter]:
        return [Parameter("biases", self.biases)] * self.has_biases + self.norm.named_parameters()

    def initialise(self, rng: np.random.Generator, dialect: object) -> None:
        self.norm.initialise()
        self.biases[:] = 0

    def bind(self) -> Sequence[Call]:
        (x,) = self.source_tensors
        gain, offset = (padded_lanes(values, x.layout.blocks) for values in self.norm.fold(self.biases))
        y = self.output
        return [KernelCall(elementwise.scale, x.data, x.planes, gain, offset, _ONE, y.data, y.planes)]

    def setup_training(self, source_deltas: list[Tensor | None], delta: Tensor | None) -> None:
        super().setup_training(source_deltas, delta)
        if not self.has_biases:
            self.learned = {}
        self._training = BatchNormTraining(self.norm, self.learned, Layout(self.batch, self.shape))

    def forward_training(self) -> None:
        (x,), kept = self.source_tensors, self._training.pre_norm
        elementwise.spread_cells(x.data, x.planes, kept.data, kept.layout.strides())
        self._training.forward(self.biases, self.output)

    def backward(self) -> None:
        (target,), change = self.source_deltas, Tensor(self.delta.layout)
        self._training.backward(self.delta, change)
        if target is not None:
            target.data += change.data
