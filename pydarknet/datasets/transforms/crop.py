"""Random crops of training pictures, with darknet's distributions.

An `AffineCrop` maps each pixel of the network's input to the source picture, and boxes of the source to the input.
Pictures are (H, W, c) uint8, canvases (h, w, c) float32 in 0..1. Sizes are (width, height) in pixels. All randomness
comes from the generator `rng` that is passed in.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

import numpy as np

from ...images.image import Picture
from ...images.operations import Canvas, Matrix, mean_colour, warp
from ...utils.arrays import Array
from .augment import Rng, rand_int, rand_scale


@dataclass(frozen=True)
class Margins:
    """Pixels to cut off each side of a picture; negative numbers extend it."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True)
class AffineCrop:
    """A map from the input to the source: pixel (x, y) of the input is the source at matrix (2, 3) times (x, y, 1).

    scale, shift: a box coordinate x of the source, in fractions, becomes x scale - shift. rectangle: left, top, width,
    height in pixels of the input; outside it the input is grey; None: it fills the input. outside: the colour beyond
    the edges of the source; None repeats the pixels of the edge.
    """

    matrix: Matrix
    scale: tuple[float, float] = (1.0, 1.0)
    shift: tuple[float, float] = (0.0, 0.0)
    rectangle: tuple[int, int, int, int] | None = None
    outside: tuple[float, ...] | float | None = 0.0


def _straight(step_x: float, step_y: float, x: float, y: float) -> Matrix:
    return np.array([[step_x, 0, x], [0, step_y, y]], np.float64)


def rotated_crop(
    rng: Rng,
    source: tuple[int, int],
    size: tuple[int, int],
    crop: tuple[int, int],
    angle: float,
    aspect: float,
    keeps_inside: bool,
) -> AffineCrop:
    """The random crop of classifiers: a square of the source, which is scaled to a shorter side between the bounds
    `crop`, rotated by up to `angle` degrees, and its aspect ratio changed by a factor up to `aspect`.

    A picture smaller than the square is at a random place in it or, if `keeps_inside`, in its middle. The square is
    stretched to an input that is not square.
    """
    W, H = source
    side = max(size)
    ratio = rand_scale(rng, aspect)
    shorter = rand_int(rng, *crop)
    scale = shorter / max(1, min(H, int(W * ratio)))
    radians = math.radians(rng.uniform(-abs(angle), abs(angle)))
    reach_x, reach_y = (W * scale / ratio - side) / 2, (H * scale - side) / 2
    if keeps_inside:
        reach_x, reach_y = max(0.0, reach_x), max(0.0, reach_y)
    dx, dy = reach_x * rng.uniform(-1, 1), reach_y * rng.uniform(-1, 1)
    step_x, step_y = ((side - 1) / (n - 1) if n > 1 else 0.0 for n in size)
    to_source = np.array(
        [
            [ratio / scale * step_x, 0, ratio / scale * (dx - side / 2)],
            [0, step_y / scale, (dy - side / 2) / scale],
        ]
    )
    cos, sin = math.cos(radians), math.sin(radians)
    matrix = np.array([[cos, -sin], [sin, cos]]) @ to_source
    matrix[:, 2] += W / 2, H / 2
    return AffineCrop(matrix)


def placed(rng: Rng, source: tuple[int, int], size: tuple[int, int], jitter: float) -> AffineCrop:
    """The random placement of pjreddie's detectors: the whole picture, its aspect ratio changed by up to `jitter`,
    scaled to fit a square input, at a random place on grey. It may exceed an input that is not square."""
    (W, H), (w, h) = source, size
    wide = W + rng.uniform(-1, 1) * jitter * W
    high = H + rng.uniform(-1, 1) * jitter * H
    ratio = wide / high
    inner_w, inner_h = (h * ratio, float(h)) if ratio < 1 else (float(w), w / ratio)
    dx, dy = rng.uniform() * (w - inner_w), rng.uniform() * (h - inner_h)
    nw, nh = max(1, int(inner_w)), max(1, int(inner_h))
    return AffineCrop(
        matrix=_straight(W / nw, H / nh, 0, 0),
        scale=(inner_w / w, inner_h / h),
        shift=(-dx / w, -dy / h),
        rectangle=(int(dx), int(dy), nw, nh),
    )


def random_margins(rng: Rng, source: tuple[int, int], jitter: float) -> Margins:
    """Random margins of up to `jitter` (a fraction) of each side, cut off or added."""
    reach = [int(side * jitter) for side in source]
    left, right = (int(reach[0] * rng.uniform(-1, 1)) for _ in range(2))
    top, bottom = (int(reach[1] * rng.uniform(-1, 1)) for _ in range(2))
    return Margins(left, top, right, bottom)


def zoomed(rng: Rng, margins: Margins, source: tuple[int, int], zoom: float) -> Margins:
    """The option `resize` of AlexeyAB's darknet: margins for a picture up to `zoom` times larger or smaller; a `zoom`
    below 1 only makes it smaller."""
    if zoom <= 0 or zoom == 1:
        return margins
    down, up = min(zoom, 1 / zoom), max(zoom, 1 / zoom)
    extra = []
    for q in rng.random(2):
        for side in source:
            low = int(side * (1 - 1 / down) / 2)
            high = 0 if zoom < 1 else int(side * (1 - 1 / up) / 2)
            extra.append(int(low + (high - low) * q))
    return Margins(*(margin + more for margin, more in zip(astuple(margins), extra, strict=True)))


def letterboxed(margins: Margins, source: tuple[int, int], size: tuple[int, int]) -> Margins:
    """The margins extended on two sides to the aspect ratio of the input."""
    (W, H), (w, h) = source, size
    if W * h > H * w:
        extra = (W * h / w - H) / 2
        return Margins(margins.left, int(margins.top - extra), margins.right, int(margins.bottom - extra))
    extra = (H * w / h - W) / 2
    return Margins(int(margins.left - extra), margins.top, int(margins.right - extra), margins.bottom)


def checked(margins: Margins, source: tuple[int, int]) -> Margins:
    """The margins, or zeros if they leave nothing of the picture."""
    if source[0] - margins.left - margins.right < 1 or source[1] - margins.top - margins.bottom < 1:
        return Margins(0, 0, 0, 0)
    return margins


def cropped(image: Picture, margins: Margins, size: tuple[int, int]) -> AffineCrop:
    """The crop of AlexeyAB's detectors: the picture within the margins, stretched to the input; its mean colour
    outside."""
    H, W, _ = image.shape
    cut_w, cut_h = W - margins.left - margins.right, H - margins.top - margins.bottom
    step_x, step_y = cut_w / size[0], cut_h / size[1]  # aligned as in OpenCV's resize: pixels have an area
    reaches_out = min(margins.left, margins.top, margins.right, margins.bottom) < 0
    return AffineCrop(
        matrix=_straight(step_x, step_y, margins.left + step_x / 2 - 0.5, margins.top + step_y / 2 - 0.5),
        scale=(W / cut_w, H / cut_h),
        shift=(margins.left / cut_w, margins.top / cut_h),
        outside=mean_colour(image) if reaches_out else None,
    )


def cropped_at_corners(source: tuple[int, int], margins: Margins, size: tuple[int, int]) -> AffineCrop:
    """The crop of YOLOv1: the picture within the margins, its corner pixels on those of the input; outside, the
    pixels of the edge are repeated."""
    (W, H), (w, h) = source, size
    cut_w, cut_h = W - margins.left - margins.right, H - margins.top - margins.bottom
    step_x, step_y = (cut_w - 1) / max(1, w - 1), (cut_h - 1) / max(1, h - 1)
    return AffineCrop(
        matrix=_straight(step_x, step_y, margins.left, margins.top),
        scale=(W / cut_w, H / cut_h),
        shift=(margins.left / cut_w, margins.top / cut_h),
        outside=None,
    )


def render(image: Picture, view: AffineCrop, size: tuple[int, int]) -> Canvas:
    """The input (h, w, c) of size (w, h) that a crop makes of a picture."""
    if view.rectangle is None:
        return warp(image, view.matrix, *size, view.outside)
    left, top, width, height = view.rectangle
    x, y = max(0, left), max(0, top)
    width, height = min(size[0], left + width) - x, min(size[1], top + height) - y
    canvas = np.full((size[1], size[0], image.shape[2]), 0.5, np.float32)
    if width > 0 and height > 0:
        tile = x - left, y - top, width, height
        canvas[y : y + height, x : x + width] = render_tile(image, view, tile)
    return canvas


def render_tile(image: Picture, view: AffineCrop, tile: tuple[int, int, int, int]) -> Canvas:
    """(height, width, c): a part of the input, `tile` being left, top, width, height relative to the rectangle's
    corner."""
    left, top, width, height = tile
    matrix = view.matrix.copy()
    matrix[:, 2] += matrix[:, :2] @ (left, top)
    return warp(image, matrix, width, height, view.outside)


def mirrored(canvas: Canvas) -> Canvas:
    """The canvas mirrored horizontally; no copy."""
    return canvas[:, ::-1]


def as_input(canvas: Canvas) -> Array:
    """(h, w, c) -> (c, h, w), C-contiguous."""
    return np.ascontiguousarray(canvas.transpose(2, 0, 1))
