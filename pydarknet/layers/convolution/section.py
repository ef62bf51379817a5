"""What a section says of a convolution's window."""

from __future__ import annotations

from typing import TypeVar

from ...config.sections import Section
from ..base import BuildContext, Layer
from .blur_pool import Blur
from .geometry import Window

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
