"""Columns of AlexeyAB's layer table that several layers print."""

from ..tensor import Shape
from .base import sizes
from .convolution.geometry import Window
from .convolution.section import Blur


def convolution_row(filters: int, groups: int, window: Window, x: Shape, operations: float) -> str:
    """The columns of a convolution in AlexeyAB's table, after the word `conv`."""
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
    """The second line of a layer with `antialiasing`, whose blur is a depthwise convolution in darknet; else empty."""
    if blur is None:
        return ""
    n, window = sharp.channels, blur.window
    operations = 2.0 * n * window.size**2 * window.out_shape(sharp, n).cells
    return "\nconv  " + convolution_row(n, n, window, sharp, operations)
