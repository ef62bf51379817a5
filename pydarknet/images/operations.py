"""darknet's operations on planar pictures, (channels, height, width) float32 in 0..1, beyond those of `image`.

All give new arrays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from . import colour
from .image import Picture, Planar

GREY_WEIGHTS = (0.299, 0.587, 0.114)
FLAT = 1e-9  # a picture of a smaller range is not spread


def as_picture(planar: Planar) -> Picture:
    """(3, h, w) or (1, h, w) -> (h, w, 3) uint8, cut to 0..1 and rounded down as darknet's files are."""
    levels = (255 * np.clip(np.nan_to_num(planar), 0, 1)).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(levels, (3, *planar.shape[1:])).transpose(1, 2, 0))


def grey(planar: Planar) -> Planar:
    """(3, h, w) -> (1, h, w) by the eye's weights."""
    return np.tensordot(np.array(GREY_WEIGHTS, np.float32), planar, 1)[None]


def distorted(planar: Planar, hue: float, saturation: float, exposure: float) -> Planar:
    """(3, h, w) with the hue (0 to 1 round the circle) moved, saturation and value multiplied, cut to 0..1."""
    canvas = np.ascontiguousarray(planar.transpose(1, 2, 0))
    return np.ascontiguousarray(colour.distort(canvas, hue, saturation, exposure).transpose(2, 0, 1))


def mirrored(planar: Planar) -> Planar:
    """Left and right exchanged."""
    return np.ascontiguousarray(planar[:, :, ::-1])


def quarter_turned(planar: Planar, times: int) -> Planar:
    """Turned by `times` quarters, anticlockwise as darknet's `rotate_image_cw` does."""
    return np.ascontiguousarray(np.rot90(planar, times, axes=(1, 2)))


def turned(planar: Planar, radians: float) -> Planar:
    """Turned round the middle, bilinear, black where the source has nothing."""
    _, height, width = planar.shape
    y, x = np.mgrid[:height, :width].astype(np.float64)
    x, y = x - width / 2, y - height / 2
    cos, sin = math.cos(radians), math.sin(radians)
    at_x, at_y = cos * x - sin * y + width / 2, sin * x + cos * y + height / 2
    left, top = np.floor(at_x).astype(np.intp), np.floor(at_y).astype(np.intp)
    right_share, lower_share = (at_x - left).astype(np.float32), (at_y - top).astype(np.float32)
    result = np.zeros_like(planar)
    for dy, vertical in ((0, 1 - lower_share), (1, lower_share)):
        for dx, horizontal in ((0, 1 - right_share), (1, right_share)):
            column, row = left + dx, top + dy
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            share = np.where(inside, vertical * horizontal, np.float32(0))
            result += share * planar[:, row.clip(0, height - 1), column.clip(0, width - 1)]
    return result


def spread(planar: Planar) -> Planar:
    """The smallest value becomes 0 and the largest 1; what is flat stays as it is."""
    low, high = planar.min(), planar.max()
    return planar.copy() if high - low < FLAT else (planar - low) / (high - low)


def over(source: Planar, target: Planar, dx: int, dy: int) -> None:
    """Lay `source` over `target` at column dx, row dy, in place: opaque in its middle, fading out to a circle."""
    _, height, width = source.shape
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(x - width / 2 + 0.5, y - height / 2 + 0.5)
    radius = abs(width / 2 - 0.5)
    opacity = np.maximum(0, 1 - distance / radius) if radius else np.where(distance > 0, 0.0, 1.0)
    part = target[:, dy : dy + height, dx : dx + width]
    part += opacity.astype(np.float32) * (source - part)


def stacked(pictures: Sequence[Planar], columns: int = 1) -> Planar:
    """Pictures of one size, row by row in `columns`, a pixel of 0 between; all of three channels, or of one."""
    channels, height, width = pictures[0].shape
    rows = -(-len(pictures) // columns)
    sheet = np.zeros((channels, rows * (height + 1) - 1, columns * (width + 1) - 1), np.float32)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        top, left = row * (height + 1), column * (width + 1)
        sheet[:, top : top + height, left : left + width] = picture
    return sheet


def enlarged(planar: Planar, times: int) -> Planar:
    """Every pixel `times` by `times` as large."""
    return planar.repeat(times, axis=1).repeat(times, axis=2)


def standardised(values: Planar) -> Planar:
    """Mean 0 and variance 1; what is flat becomes 0."""
    centred = values - values.mean(dtype=np.float64).astype(np.float32)
    deviation = np.sqrt(np.square(centred, dtype=np.float64).mean())
    return (centred / deviation).astype(np.float32) if deviation else centred
