"""Augmentation of training pictures and their boxes, with darknet's distributions.

Pictures are (H, W, c) uint8, canvases (h, w, c) float32 in 0..1. Boxes are (k, 5) float32 rows of class, x, y,
w, h in fractions. All randomness comes from the generator `rng`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..config.sections import Section
from ..images.image import Picture
from ..images.operations import Canvas, Matrix, blur, distort, mean_colour, warp
from ..utils.arrays import Array
from .labels import IGNORE

CLASS_ONLY = 999999.0  # x, y, w, h of a label that has a class but no box
NOWHERE = np.zeros((0, 5), np.float32)
Rng = np.random.Generator
Size = tuple[int, int]  # (width, height) in pixels
Rectangle = tuple[int, int, int, int]  # left, top, width, height in pixels


def rand_scale(rng: Rng, scale: float) -> float:
    """v or 1/v, each with probability 1/2; v is uniform between 1 and `scale`."""
    value = rng.uniform(1, scale) if scale >= 1 else rng.uniform(scale, 1)
    return value if rng.random() < 0.5 else 1 / value


def rand_int(rng: Rng, low: int, high: int) -> int:
    """A uniform integer between `low` and `high`, both included, in either order."""
    return int(rng.integers(min(low, high), max(low, high) + 1))


def coin(rng: Rng) -> bool:
    """True with probability 1/2."""
    return bool(rng.random() < 0.5)


@dataclass(frozen=True)
class Colour:
    """The ranges of random changes of colour: `hue` is added, the others are factors."""

    hue: float = 0.0
    saturation: float = 1.0
    exposure: float = 1.0

    @classmethod
    def from_section(cls, net: Section) -> "Colour":
        """Read the keys of `[net]`; a factor of 0 counts as 1."""
        return cls(net.real("hue", 0), net.real("saturation", 1) or 1.0, net.real("exposure", 1) or 1.0)

    def change(self, canvas: Canvas, rng: Rng) -> Canvas:
        """The canvas with random changes of hue, saturation and exposure."""
        hue = rng.uniform(-abs(self.hue), abs(self.hue))
        return distort(canvas, hue, rand_scale(rng, self.saturation), rand_scale(rng, self.exposure))


class Margins(NamedTuple):
    """Pixels to cut off each side of a picture; negative numbers extend it."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True)
class AffineCrop:
    """A map from the input to the source. Pixel (x, y) is the source at matrix times (x, y, 1)."""

    matrix: Matrix  # (2, 3)
    scale: tuple[float, float] = (1.0, 1.0)
    shift: tuple[float, float] = (0.0, 0.0)  # a coordinate x of a box becomes x scale - shift
    rectangle: Rectangle | None = None  # the part of the input that is not grey; None for all
    outside: tuple[float, ...] | float | None = 0.0  # beyond the source; None repeats its edge


def _straight(step_x: float, step_y: float, x: float, y: float) -> Matrix:
    return np.array([[step_x, 0, x], [0, step_y, y]], np.float64)


def rotated_crop(
    rng: Rng,
    source: Size,
    size: Size,
    crop: tuple[int, int],
    angle: float,
    aspect: float,
    keeps_inside: bool,
) -> AffineCrop:
    """The random crop of classifiers: a square of the source, stretched to the input.

    The source is scaled to a shorter side between the bounds `crop`, rotated by up to `angle` degrees; its
    aspect changes by up to `aspect`. A smaller one is anywhere, or in the middle with `keeps_inside`.
    """
    W, H = source
    side = max(size)
    ratio = rand_scale(rng, aspect)
    scale = rand_int(rng, *crop) / max(1, min(H, int(W * ratio)))
    radians = math.radians(rng.uniform(-abs(angle), abs(angle)))
    reach_x, reach_y = (W * scale / ratio - side) / 2, (H * scale - side) / 2
    if keeps_inside:
        reach_x, reach_y = max(0.0, reach_x), max(0.0, reach_y)
    dx, dy = reach_x * rng.uniform(-1, 1), reach_y * rng.uniform(-1, 1)
    step_x, step_y = ((side - 1) / (n - 1) if n > 1 else 0.0 for n in size)
    to_source = _straight(
        ratio / scale * step_x, step_y / scale, ratio / scale * (dx - side / 2), (dy - side / 2) / scale
    )
    cos, sin = math.cos(radians), math.sin(radians)
    matrix = np.array([[cos, -sin], [sin, cos]]) @ to_source
    matrix[:, 2] += W / 2, H / 2
    return AffineCrop(matrix)


def placed(rng: Rng, source: Size, size: Size, jitter: float) -> AffineCrop:
    """The random placement of pjreddie's detectors, on grey; the aspect changes by up to `jitter`."""
    (W, H), (w, h) = source, size
    wide = W + rng.uniform(-1, 1) * jitter * W
    ratio = wide / (H + rng.uniform(-1, 1) * jitter * H)
    inner_w, inner_h = (h * ratio, float(h)) if ratio < 1 else (float(w), w / ratio)
    dx, dy = rng.uniform() * (w - inner_w), rng.uniform() * (h - inner_h)
    nw, nh = max(1, int(inner_w)), max(1, int(inner_h))
    scale, shift = (inner_w / w, inner_h / h), (-dx / w, -dy / h)
    return AffineCrop(_straight(W / nw, H / nh, 0, 0), scale, shift, (int(dx), int(dy), nw, nh))


def random_margins(rng: Rng, source: Size, jitter: float) -> Margins:
    """Random margins of up to `jitter` (a fraction) of each side, cut off or added."""
    reach = [int(side * jitter) for side in source]
    left, right = (int(reach[0] * rng.uniform(-1, 1)) for _ in range(2))
    top, bottom = (int(reach[1] * rng.uniform(-1, 1)) for _ in range(2))
    return Margins(left, top, right, bottom)


def zoomed(rng: Rng, margins: Margins, source: Size, zoom: float) -> Margins:
    """Margins by the option `resize`: up to `zoom` times larger or smaller; below 1 only smaller."""
    if zoom <= 0 or zoom == 1:
        return margins
    down, up = min(zoom, 1 / zoom), max(zoom, 1 / zoom)
    extra = []
    for q in rng.random(2):
        for side in source:
            low = int(side * (1 - 1 / down) / 2)
            high = 0 if zoom < 1 else int(side * (1 - 1 / up) / 2)
            extra.append(int(low + (high - low) * q))
    return Margins(*(margin + more for margin, more in zip(margins, extra, strict=True)))


def letterboxed(margins: Margins, source: Size, size: Size) -> Margins:
    """The margins extended on two sides to the aspect ratio of the input."""
    (W, H), (w, h) = source, size
    x, y = max(0.0, (H * w / h - W) / 2), max(0.0, (W * h / w - H) / 2)
    left, top, right, bottom = margins
    return Margins(int(left - x), int(top - y), int(right - x), int(bottom - y))


def checked(margins: Margins, source: Size) -> Margins:
    """The margins, or zeros if they leave nothing of the picture."""
    left, top, right, bottom = margins
    return Margins(0, 0, 0, 0) if source[0] - left - right < 1 or source[1] - top - bottom < 1 else margins


def cropped(image: Picture, margins: Margins, size: Size, at_corners: bool = False) -> AffineCrop:
    """The crop of AlexeyAB's detectors: the picture within the margins, stretched to the input.

    at_corners: YOLOv1's: corner pixels on those of the input; outside, the pixels of the edge.
    """
    H, W, _ = image.shape
    cut_w, cut_h = W - margins.left - margins.right, H - margins.top - margins.bottom
    outside = mean_colour(image) if min(margins) < 0 and not at_corners else None
    if at_corners:
        matrix = _straight((cut_w - 1) / max(1, size[0] - 1), (cut_h - 1) / max(1, size[1] - 1), *margins[:2])
    else:
        step_x, step_y = cut_w / size[0], cut_h / size[1]  # aligned as in OpenCV's resize: pixels have an area
        matrix = _straight(step_x, step_y, margins.left + step_x / 2 - 0.5, margins.top + step_y / 2 - 0.5)
    return AffineCrop(matrix, (W / cut_w, H / cut_h), (margins.left / cut_w, margins.top / cut_h), outside=outside)


def render(image: Picture, view: AffineCrop, size: Size) -> Canvas:
    """The input (h, w, c) of size (w, h) that a crop makes of a picture."""
    if view.rectangle is None:
        return warp(image, view.matrix, *size, view.outside)
    left, top, width, height = view.rectangle
    x, y = max(0, left), max(0, top)
    width, height = min(size[0], left + width) - x, min(size[1], top + height) - y
    canvas = np.full((size[1], size[0], image.shape[2]), 0.5, np.float32)
    if width > 0 and height > 0:
        canvas[y : y + height, x : x + width] = render_tile(image, view, (x - left, y - top, width, height))
    return canvas


def render_tile(image: Picture, view: AffineCrop, tile: Rectangle) -> Canvas:
    """(height, width, c): the part `tile` of the input: left, top, width, height."""
    left, top, width, height = tile
    matrix = view.matrix.copy()
    matrix[:, 2] += matrix[:, :2] @ (left, top)
    return warp(image, matrix, width, height, view.outside)


def towards_corner(margins: Margins, quadrant: int, mirror: bool) -> Margins:
    """The crop moved to the corner of the picture that is outermost in the mosaic."""
    x, y = margins.left + margins.right, margins.top + margins.bottom
    left, right = (0, x) if (quadrant % 2 == 0) != mirror else (x, 0)
    top, bottom = (0, y) if quadrant < 2 else (y, 0)
    return Margins(left, top, right, bottom)


@dataclass(frozen=True)
class Tile:
    """A quadrant of a mosaic. source: its corner in its own picture's input. dx, dy: of boxes."""

    target: tuple[int, int, int, int]  # left, top, width, height
    source: Size  # left, top
    dx: float
    dy: float


def mosaic_tile(quadrant: int, cut: tuple[int, int], size: Size, source: Size, margins: Margins, mirror: bool) -> Tile:
    """The tile of quadrant 0 (top left) to 3 (bottom right), without bands at the cut."""
    left, right = (margins.right, margins.left) if mirror else (margins.left, margins.right)
    x, length_x, from_x = _tile_axis(quadrant % 2 == 0, cut[0], size[0], source[0], left, right)
    y, length_y, from_y = _tile_axis(quadrant < 2, cut[1], size[1], source[1], margins.top, margins.bottom)
    dx, dy = (x - from_x) / size[0], (y - from_y) / size[1]
    return Tile((x, y, length_x, length_y), (from_x, from_y), dx, dy)


def _tile_axis(first: bool, cut: int, size: int, source: int, low: int, high: int) -> tuple[int, int, int]:
    """(start, length, start in the picture's own input) of a tile along one axis, in pixels."""
    if first:
        band = min(size - cut, max(0, int(-high * size / source)))
        return 0, cut, size - cut - band
    band = min(cut, max(0, int(-low * size / source)))
    return cut, size - cut, band


def move_boxes(
    rows: Array, scale: tuple[float, float], shift: tuple[float, float], mirror: bool, drops_outside: bool = False
) -> Array:
    """Boxes transformed by a crop and clipped; those outside have size 0, or are dropped."""
    rows = np.asarray(rows, np.float32).reshape(-1, 5)
    only_class = (rows[:, 1] == 0) & (rows[:, 2] == 0)
    low, high = (edge * np.array(scale, np.float32) - np.array(shift, np.float32) for edge in _edges(rows))
    if mirror:
        low[:, 0], high[:, 0] = 1 - high[:, 0], 1 - low[:, 0]
    moved = _between(rows, low, high, (0, 0, 1, 1))
    moved[only_class, 1:] = CLASS_ONLY
    is_outside = ((high < 0) | (low > 1)).any(axis=1)
    return moved[~is_outside | only_class] if drops_outside else moved


def shift_boxes(rows: Array, dx: float, dy: float, bounds: Sequence[float]) -> Array:
    """Boxes moved by (dx, dy) and clipped to `bounds`: left, top, right, bottom."""
    moved = rows + np.array([0, dx, dy, 0, 0], np.float32)
    return _between(moved, *_edges(moved), bounds)


def _edges(rows: Array) -> tuple[Array, Array]:
    half = rows[:, 3:] / np.float32(2)
    return rows[:, 1:3] - half, rows[:, 1:3] + half


def _between(rows: Array, low: Array, high: Array, bounds: Sequence[float]) -> Array:
    limits = np.array(bounds, np.float32)
    low, high = (np.clip(edge, limits[:2], limits[2:]) for edge in (low, high))
    return np.concatenate([rows[:, :1], (low + high) / 2, high - low], axis=1)


def larger_than(rows: Array, width: float, height: float) -> Array:
    """The boxes of at least this width and height."""
    return rows[(rows[:, 3] >= width) & (rows[:, 4] >= height)]


def known_boxes(rows: Array, classes: int) -> Array:
    """Boxes of a known class with their centre in the picture, sizes limited to 1."""
    x, y = rows[:, 1], rows[:, 2]
    kept = rows[(rows[:, 0] >= 0) & (rows[:, 0] < classes) & (x > 0) & (x <= 1) & (y > 0) & (y <= 1)]
    kept[:, 3:] = np.minimum(kept[:, 3:], 1)
    return kept


def blur_some(canvas: Canvas, rows: Array, value: int, rng: Rng) -> Canvas:
    """At random no blur, a blurred background, or a kernel of `value` pixels (1: the background)."""
    value = (0, 1, value)[rand_int(rng, 0, 2)]
    height, width, _ = canvas.shape
    if value > 1 and len(rows):
        value = min(value, int(np.min(rows[:, 3:] * (width, height)) / 8))
    if value < 1:
        return canvas
    if value > 1:
        return blur(canvas, value)
    blurred = blur(canvas, 17)
    for _, x, y, w, h in rows.tolist():
        left, right = (int(min(max(edge, 0), 1) * width) for edge in (x - w / 2, x + w / 2))
        top, bottom = (int(min(max(edge, 0), 1) * height) for edge in (y - h / 2, y + h / 2))
        blurred[top:bottom, left:right] = canvas[top:bottom, left:right]
    return blurred


def blur_whole(canvas: Canvas, value: int, rng: Rng) -> Canvas:
    """With probability 1/4, blur with a kernel of `value` pixels (1 means 15)."""
    return canvas if rng.random() >= 0.25 else blur(canvas, 15 if value == 1 else value)


def add_noise(canvas: Canvas, sigma: float, rng: Rng) -> Canvas:
    """With probability 1/2, add normal noise of deviation `sigma`, at most 127 of 255."""
    if not coin(rng):
        return canvas
    noise = rng.standard_normal(canvas.shape, np.float32) * np.float32(min(sigma, 127) / 255)
    return np.clip(canvas + noise, 0, 1)


def cut_point(rng: Rng, size: Size) -> tuple[int, int]:
    """A random point (x, y) where four pictures meet, between 20 and 80 % of both sides."""
    x, y = (rand_int(rng, int(side * 0.2), max(int(side * 0.2), int(side * 0.8))) for side in size)
    return max(1, min(x, size[0] - 1)), max(1, min(y, size[1] - 1))


def blend(canvases: Sequence[Canvas]) -> Canvas:
    """mixup: the mean of two canvases."""
    return (canvases[0] + canvases[1]) * np.float32(0.5)


def mix_truth(vectors: Sequence[Array], shares: Sequence[float]) -> Array:
    """The weighted sum of class vectors; entries that one of them ignores are ignored."""
    stacked = np.stack(vectors)
    mixed = np.tensordot(np.asarray(shares, np.float32), stacked, 1).astype(np.float32)
    mixed[(stacked == IGNORE).any(0)] = IGNORE
    return mixed


def cutmix(canvases: Sequence[Canvas], rng: Rng) -> tuple[Canvas, list[float]]:
    """The first canvas with a rectangle of the second; and both shares of the area."""
    height, width, _ = canvases[0].shape
    inner_w, inner_h = (max(1, int(side * rng.uniform(0.3, 0.8))) for side in (width, height))
    left, top = rand_int(rng, 0, width - inner_w), rand_int(rng, 0, height - inner_h)
    mixed, part = canvases[0].copy(), np.s_[top : top + inner_h, left : left + inner_w]
    mixed[part] = canvases[1][part]
    share = inner_w * inner_h / (width * height)
    return mixed, [1 - share, share]


def quarters(canvases: Sequence[Canvas], rng: Rng) -> tuple[Canvas, list[float]]:
    """One quadrant of each of four canvases; and their shares of the area."""
    height, width, _ = canvases[0].shape
    x, y = cut_point(rng, (width, height))
    mixed, shares = np.empty_like(canvases[0]), []
    for quadrant, canvas in enumerate(canvases):
        part = (slice(0, y), slice(y, height))[quadrant // 2], (slice(0, x), slice(x, width))[quadrant % 2]
        mixed[part] = canvas[part]
        shares.append(mixed[part].size / mixed.size)
    return mixed, shares
