"""What a section says of a convolution's window, and the low-pass filter of `antialiasing`: a layer computes at stride
1, then a blur takes the stride."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from ...config.sections import Section
from ...kernels.activation import NONE
from ...runtime.program import Call
from ...tensor import Layout, Shape, Tensor
from ...utils.arrays import Array
from ..base import BuildContext, Layer
from .backward import ConvolutionGradient, write_dilated
from .direct import DepthwiseConvolution
from .geometry import Window, neutral, not_bound

L = TypeVar("L", bound=Layer)

LARGEST_STRIDE = 1 << 12

# Keys that mean nothing to the numbers, or are answered elsewhere.
UNUSED = (
    "binary", "dot", "flipped", "assisted_excitation", "sway", "rotate", "stretch", "stretch_sway", "angle", "reverse",
    "coordconv", "stream", "wait_stream",
)  # fmt: skip


def read_window(section: Section) -> tuple[Window, Blur | None]:
    """The window, and the blur that takes over its strides where there is `antialiasing`."""
    size = section.positive("size", 1, 1 << 12)
    stride_y, stride_x = read_strides(section)
    dilation = section.positive("dilation", 1, 1 << 12)
    padding = section.natural("padding", 0, 1 << 16)
    if section.flag("pad"):
        padding = size // 2
    mode = section.integer("antialiasing", 0)
    blur = Blur(mode, stride_y, stride_x) if mode else None
    if blur:
        stride_y = stride_x = 1
    return Window(size, stride_y, stride_x, padding, 1 if size == 1 else dilation), blur


def read_groups(section: Section, channels: int, filters: int, xnor: bool) -> int:
    """The number of groups, which has to divide both; binary filters have none. Raises ShapeError."""
    groups = section.positive("groups", 1)
    if xnor:
        groups = 1
    if channels % groups or filters % groups:
        raise section.shape_error(
            f"groups={groups} must divide the {channels} input channels and the {filters} filters", "groups"
        )
    return groups


def read_strides(section: Section, default: int = 1) -> tuple[int, int]:
    """(vertical, horizontal) stride: `stride_y` and `stride_x` where given, else `stride`."""
    both = section.positive("stride", default, LARGEST_STRIDE)
    vertical, horizontal = (_own_stride(section, key) for key in ("stride_y", "stride_x"))
    return vertical or both, horizontal or both


def _own_stride(section: Section, key: str) -> int:
    """The stride of one direction; 0 where the section gives none, or a number below 1. Raises ConfigError."""
    stride = section.integer(key, -1)
    if stride > LARGEST_STRIDE:
        raise section.error(f"{key}={stride}: expected a number from 1 to {LARGEST_STRIDE}", key)
    return max(stride, 0)


def shared_layer(section: Section, context: BuildContext, kind: type[L]) -> L | None:
    """The layer whose parameters `share_index` asks for. Raises ConfigError where it is of another kind."""
    if not section.has("share_index"):
        return None
    index = context.resolve(section, "share_index", section.integer("share_index", 0))
    layer = context.layers[index]
    if not isinstance(layer, kind):
        raise section.error(f"share_index: layer {index} is [{layer.kind}]; expected [convolutional]", "share_index")
    return layer


# --- antialiasing ----------------------------------------------------------------------------------------------------

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
        packed = DepthwiseConvolution(self._weights(n), *neutral(n))
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
