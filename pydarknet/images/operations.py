"""darknet's operations on CHW pictures, (channels, height, width) float32 in 0..1, beyond those of `image`.

All but `over` return new arrays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from . import colour
from .image import CHW, Picture

GREY_WEIGHTS = (0.299, 0.587, 0.114)
FLAT = 1e-9  # a picture with a smaller range of values is not scaled


def as_picture(chw: CHW) -> Picture:
    """(3, h, w) or (1, h, w) -> (h, w, 3) uint8: clipped to 0..1 and rounded down, as darknet writes files."""
    levels = (255 * np.clip(np.nan_to_num(chw), 0, 1)).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(levels, (3, *chw.shape[1:])).transpose(1, 2, 0))


def grey(chw: CHW) -> CHW:
    """(3, h, w) -> (1, h, w) luminance."""
    return np.tensordot(np.array(GREY_WEIGHTS, np.float32), chw, 1)[None]


def distorted(chw: CHW, hue: float, saturation: float, exposure: float) -> CHW:
    """(3, h, w) with distorted colours, see `colour.distort`."""
    canvas = np.ascontiguousarray(chw.transpose(1, 2, 0))
    return np.ascontiguousarray(colour.distort(canvas, hue, saturation, exposure).transpose(2, 0, 1))


def mirrored(chw: CHW) -> CHW:
    """The picture mirrored horizontally."""
    return np.ascontiguousarray(chw[:, :, ::-1])


def rotated_by_quarters(chw: CHW, times: int) -> CHW:
    """The picture rotated anticlockwise by `times` quarters, as by darknet's `rotate_image_cw`."""
    return np.ascontiguousarray(np.rot90(chw, times, axes=(1, 2)))


def rotated(chw: CHW, radians: float) -> CHW:
    """The picture rotated about its centre, bilinear, black outside the source."""
    _, height, width = chw.shape
    y, x = np.mgrid[:height, :width].astype(np.float64)
    x, y = x - width / 2, y - height / 2
    cos, sin = math.cos(radians), math.sin(radians)
    at_x, at_y = cos * x - sin * y + width / 2, sin * x + cos * y + height / 2
    left, top = np.floor(at_x).astype(np.intp), np.floor(at_y).astype(np.intp)
    right_share, lower_share = (at_x - left).astype(np.float32), (at_y - top).astype(np.float32)
    result = np.zeros_like(chw)
    for dy, vertical in ((0, 1 - lower_share), (1, lower_share)):
        for dx, horizontal in ((0, 1 - right_share), (1, right_share)):
            column, row = left + dx, top + dy
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            share = np.where(inside, vertical * horizontal, np.float32(0))
            result += share * chw[:, row.clip(0, height - 1), column.clip(0, width - 1)]
    return result


def normalised(chw: CHW) -> CHW:
    """The values scaled so that the smallest is 0 and the largest 1; a flat picture is copied."""
    low, high = chw.min(), chw.max()
    return chw.copy() if high - low < FLAT else (chw - low) / (high - low)


def over(source: CHW, target: CHW, dx: int, dy: int) -> None:
    """Blend `source` over `target` at column dx, row dy, in place: opaque in its centre, transparent from the inscribed
    circle on."""
    _, height, width = source.shape
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(x - width / 2 + 0.5, y - height / 2 + 0.5)
    radius = abs(width / 2 - 0.5)
    opacity = np.maximum(0, 1 - distance / radius) if radius else np.where(distance > 0, 0.0, 1.0)
    part = target[:, dy : dy + height, dx : dx + width]
    part += opacity.astype(np.float32) * (source - part)


def stacked(pictures: Sequence[CHW], columns: int = 1) -> CHW:
    """A sheet of pictures of one shape, in `columns` columns, separated by one black pixel."""
    channels, height, width = pictures[0].shape
    rows = -(-len(pictures) // columns)
    sheet = np.zeros((channels, rows * (height + 1) - 1, columns * (width + 1) - 1), np.float32)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        top, left = row * (height + 1), column * (width + 1)
        sheet[:, top : top + height, left : left + width] = picture
    return sheet


def enlarged(chw: CHW, times: int) -> CHW:
    """Every pixel repeated `times` x `times`."""
    return chw.repeat(times, axis=1).repeat(times, axis=2)


def standardised(values: CHW) -> CHW:
    """The values shifted and scaled to mean 0 and variance 1; a flat picture becomes 0."""
    centred = values - values.mean(dtype=np.float64).astype(np.float32)
    deviation = np.sqrt(np.square(centred, dtype=np.float64).mean())
    return (centred / deviation).astype(np.float32) if deviation else centred
