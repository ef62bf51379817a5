"""The window of a convolution in its section and in AlexeyAB's layer table, and the blur of `antialiasing`."""

import numpy as np

from ...config.sections import Section
from ...kernels.activation import NONE
from ...tensor import Layout, Shape, Tensor
from ...utils.arrays import Array
from ..base import sizes
from .backward import ConvolutionGradient, write_dilated
from .direct import DepthwiseConvolution
from .geometry import Window, neutral

LARGEST_STRIDE = 1 << 12

# Keys that mean nothing to the numbers, or are answered elsewhere.
UNUSED = (
    "binary", "dot", "flipped", "assisted_excitation", "sway", "rotate", "stretch", "stretch_sway", "angle", "reverse",
    "coordconv", "stream", "wait_stream",
)  # fmt: skip


class Blur:
    """`antialiasing=2` is the mean of 2x2 cells, any other value a 3x3 binomial filter with padding 1."""

    def __init__(self, mode: int, stride_y: int, stride_x: int) -> None:
        line = np.array([1, 1] if mode == 2 else [1, 2, 1], np.float32)
        self.kernel = np.outer(line, line) / line.sum() ** 2
        self.window = Window(len(line), stride_y, stride_x, len(line) // 3)

    def _weights(self, channels: int) -> Array:
        return np.broadcast_to(self.kernel, (channels, 1, *self.kernel.shape)).copy()

    def out_shape(self, sharp: Shape) -> Shape:
        return self.window.out_shape(sharp, sharp.channels)

    def setup(self, sharp: Shape, output: Tensor) -> Tensor:
        """The tensor that the layer shall write; `run` blurs it."""
        self._sharp, n = Tensor(Layout(output.layout.batch, sharp, self.window.halo(sharp))), sharp.channels
        packed = DepthwiseConvolution(self._weights(n), *neutral(n))
        self.run = packed.bind(self._sharp, output, self.window, np.float32(1), NONE)
        return self._sharp

    def setup_training(self, delta: Tensor) -> Tensor:
        """The delta that the layer reads; `backward` fills it from `delta`."""
        shape, self._delta = self._sharp.shape, delta
        weights = self._weights(shape.channels)
        self._gradient = ConvolutionGradient(self._sharp, delta.shape, self.window, weights, shape.channels)
        self._sharp_delta = Tensor(Layout(delta.layout.batch, shape))
        return self._sharp_delta

    def backward(self) -> None:
        write_dilated(self._delta, self._gradient.spread, self.window.stride_y, self.window.stride_x)
        self._sharp_delta.data.fill(0)
        self._gradient.add_input_gradient(self._sharp_delta)


def read_window(section: Section, default: int, stride_y: int, stride_x: int) -> Window:
    """The window of these strides; default: its size."""
    size, dilation = section.positive("size", default, 1 << 12), section.positive("dilation", 1, 1 << 12)
    return Window(size, stride_y, stride_x, read_padding(section, size), 1 if size == 1 else dilation)


def read_padding(section: Section, size: int) -> int:
    """`padding`, or with `pad` half the size."""
    padding = section.natural("padding", 0, 1 << 16)
    return size // 2 if section.flag("pad") else padding


def read_groups(section: Section, channels: int, filters: int, xnor: bool) -> int:
    """The number of groups, which divides both; 1 for binary filters. Raises ShapeError."""
    groups = section.positive("groups", 1)
    if xnor:
        groups = 1
    if channels % groups or filters % groups:
        raise section.shape_error(
            f"groups={groups} must divide the {channels} input channels and the {filters} filters", "groups"
        )
    return groups


def read_strides(section: Section) -> tuple[int, int, Blur | None]:
    """Vertical and horizontal stride, and the blur that takes over both. Raises ConfigError."""
    both = section.positive("stride", 1, LARGEST_STRIDE)
    stride_y, stride_x = (_own_stride(section, key) or both for key in ("stride_y", "stride_x"))
    mode = section.integer("antialiasing", 0)
    return (1, 1, Blur(mode, stride_y, stride_x)) if mode else (stride_y, stride_x, None)


def _own_stride(section: Section, key: str) -> int:
    stride = section.integer(key, -1)
    if stride > LARGEST_STRIDE:
        raise section.error(f"{key}={stride}: expected a number from 1 to {LARGEST_STRIDE}", key)
    return max(stride, 0)


def convolution_row(filters: int, groups: int, window: Window, x: Shape, operations: float) -> str:
    """The columns of a convolution in AlexeyAB's table."""
    k = window.size
    many = f"{filters:5d}/{groups:4d} " if groups > 1 else f"{filters:5d}      "
    if window.stride_x != window.stride_y:
        step = f"{k:2d}x{k:2d}/{window.stride_x:2d}x{window.stride_y:2d} "
    elif window.dilation > 1:
        step = f"{k:2d} x{k:2d}/{window.stride_x:2d}({window.dilation:1d})"
    else:
        step = f"{k:2d} x{k:2d}/{window.stride_x:2d}   "
    return f"{many}{step}{sizes(x)} -> {sizes(window.out_shape(x, filters))} {operations / 1e9:5.3f} BF"


def blur_row(blur: Blur | None, sharp: Shape) -> str:
    """The second line of a layer with `antialiasing`."""
    if blur is None:
        return ""
    n, window = sharp.channels, blur.window
    operations = 2.0 * n * window.size**2 * window.out_shape(sharp, n).cells
    return "\nconv  " + convolution_row(n, n, window, sharp, operations)
