"""The low-pass filter of `antialiasing`: a layer computes at stride 1, then a blur takes the stride."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...kernels.activation import NONE
from ...runtime.program import Call
from ...tensor import Layout, Shape, Tensor
from ...utils.arrays import Array
from .backward import ConvolutionGradient, write_dilated
from .direct import DepthwiseConvolution
from .geometry import Window, not_bound

_KERNELS: dict[int, Array] = {
    1: (np.outer([1, 2, 1], [1, 2, 1]) / 16).astype(np.float32),
    2: np.full((2, 2), 1 / 4, np.float32),
}


@dataclass(eq=False)
class Blur:
    """`antialiasing=1` is a 3x3 binomial filter with padding 1, any other value the mean of 2x2 cells."""

    mode: int
    stride_y: int
    stride_x: int
    sharp: Tensor | None = field(default=None, repr=False)
    _call: Call = field(default=not_bound, repr=False)

    @property
    def window(self) -> Window:
        kernel = self.kernel
        return Window(len(kernel), self.stride_y, self.stride_x, len(kernel) // 2 if len(kernel) == 3 else 0)

    @property
    def kernel(self) -> Array:
        return _KERNELS[2 if self.mode == 2 else 1]

    def _weights(self, channels: int) -> Array:
        return np.broadcast_to(self.kernel, (channels, 1, *self.kernel.shape)).copy()

    def out_shape(self, sharp: Shape) -> Shape:
        """The blurred size of a plane."""
        return self.window.out_shape(sharp, sharp.channels)

    def setup(self, sharp: Shape, output: Tensor) -> Tensor:
        """The tensor that the layer shall write; `run` blurs it into `output`."""
        self.sharp = Tensor(Layout(output.layout.batch, sharp, self.window.halo(sharp)))
        n = sharp.channels
        packed = DepthwiseConvolution(self._weights(n), np.ones(n, np.float32), np.zeros(n, np.float32))
        self._call = packed.bind(self.sharp, output, self.window, np.float32(1), NONE)
        return self.sharp

    def setup_training(self, delta: Tensor) -> Tensor:
        """The delta that the layer reads; `backward` fills it from `delta`, that of the blurred output."""
        assert self.sharp is not None
        n = self.sharp.shape.channels
        self._gradient = ConvolutionGradient(self.sharp, delta.shape, self.window, self._weights(n), n)
        self._delta = delta
        self.sharp_delta = Tensor(Layout(delta.layout.batch, self.sharp.shape))
        return self.sharp_delta

    def backward(self) -> None:
        """Spread the blurred output's delta back over what was blurred."""
        write_dilated(self._delta, self._gradient.spread, self.window.stride_y, self.window.stride_x)
        self.sharp_delta.data.fill(0)
        self._gradient.add_input_gradient(self.sharp_delta)

    def run(self) -> None:
        """Blur what the layer wrote."""
        self._call()
