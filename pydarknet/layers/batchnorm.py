"""Batch normalisation as a part of layers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..utils.arrays import Array
from .base import Parameter


@dataclass(eq=False)
class BatchNorm:
    """Scale and rolling statistics of n channels. At inference it is a gain and an offset per channel.

    `inside_root` chooses between (x - m) / sqrt(v + 1e-5) and (x - m) / (sqrt(v) + 1e-6). `frozen`: a pass that could
    be a training one takes the rolling statistics as well, and leaves them.
    """

    channels: int
    inside_root: bool
    frozen: bool = field(default=False, init=False, repr=False)
    scales: Array = field(init=False, repr=False)
    rolling_mean: Array = field(init=False, repr=False)
    rolling_variance: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.scales = np.ones(self.channels, np.float32)
        self.rolling_mean = np.zeros(self.channels, np.float32)
        self.rolling_variance = np.zeros(self.channels, np.float32)

    def named_parameters(self) -> list[Parameter]:
        """Scales, mean and variance, in file order."""
        return [
            Parameter("scales", self.scales),
            Parameter("rolling_mean", self.rolling_mean),
            Parameter("rolling_variance", self.rolling_variance),
        ]

    def initialise(self) -> None:
        """darknet's initial values: the variance is 0, not 1."""
        self.scales[:], self.rolling_mean[:], self.rolling_variance[:] = 1, 0, 0

    def fold(self, biases: Array) -> tuple[Array, Array]:
        """(gain, offset) float32 such that gain * x + offset is the normalised, scaled and shifted x."""
        with np.errstate(invalid="ignore", over="ignore"):  # untrained or broken statistics give what they give in C
            variance = self.rolling_variance.astype(np.float64)
            root = np.sqrt(variance + 1e-5) if self.inside_root else np.sqrt(variance) + 1e-6
            gain = self.scales / root
            return gain.astype(np.float32), (biases - gain * self.rolling_mean).astype(np.float32)
