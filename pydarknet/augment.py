"""Every random change to a training picture or its boxes, with darknet's distributions.

A `View` says where on the source picture each pixel of the network's input lies, and the boxes follow it. Pictures are
(H, W, c) uint8, canvases (h, w, c) float32 in 0..1, boxes rows of class, x, y, w, h in fractions: (k, 5) float32.
Sizes are width before height. All chance comes from the generator `rng` that is passed in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .config import Section
from .image import Picture
from .image_colour import Canvas, Matrix, distort, mean_colour, warp
from .image_colour import blur as gaussian
from .tensor import Array

CLASS_ONLY = 999999.0  # x, y, w, h of a box that tells nothing but its class
IGNORE = -1234.0  # in class vectors: an entry that is not to be learned
NOWHERE = np.zeros((0, 5), np.float32)
Rng = np.random.Generator


def rand_scale(rng: Rng, scale: float) -> float:
    """v or 1/v, each with probability 1/2, where v is uniform between 1 and `scale`."""
    value = rng.uniform(1, scale) if scale >= 1 else rng.uniform(scale, 1)
    return value if rng.random() < 0.5 else 1 / value


def rand_int(rng: Rng, low: int, high: int) -> int:
    """An integer from `low` to `high`, both included; they may stand in either order."""
    return int(rng.integers(min(low, high), max(low, high) + 1))


def coin(rng: Rng) -> bool:
    """True with probability 1/2."""
    return bool(rng.random() < 0.5)


# --- colour ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Colour:
    """How far colours may change."""

    hue: float = 0.0
    saturation: float = 1.0
    exposure: float = 1.0

    @classmethod
    def from_section(cls, net: Section) -> Colour:
        """Read the keys of `[net]`; a factor of 0 counts as 1."""
        return cls(net.real("hue", 0), net.real("saturation", 1) or 1.0, net.real("exposure", 1) or 1.0)

    def change(self, canvas: Canvas, rng: Rng) -> Canvas:
        """The canvas with hue, saturation and exposure changed by chance."""
        hue = rng.uniform(-abs(self.hue), abs(self.hue))
        return distort(canvas, hue, rand_scale(rng, self.saturation), rand_scale(rng, self.exposure))


# --- where the input lies on the picture -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Margins:
    """Pixels cut off each side of a picture; negative ones are added to it."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True)
class View:
    """The pixel (x, y) of the input is the source at matrix times (x, y, 1); a box at x goes to x scale - shift.

    rectangle: left, top, width, height in pixels of the input, beyond which it is grey; None where it fills the input.
    outside: the colour beyond the edges of the source, None to repeat the pixels of the edge.
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
) -> View:
    """What classifiers see: the source scaled to a shorter side between the two of `crop`, turned by up to `angle`
    degrees, its proportions changed by up to `aspect`, and a square cut out anywhere.

    A picture smaller than the square may lie anywhere in it, or, `keeps_inside`, stays in its middle. An oblong input
    shows the square stretched.
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
    return View(matrix)


def placed(rng: Rng, source: tuple[int, int], size: tuple[int, int], jitter: float) -> View:
    """pjreddie's detectors: the whole picture, its proportions changed by up to `jitter`, as large as fits a square
    input, anywhere on grey. On an oblong input it may reach out of it."""
    (W, H), (w, h) = source, size
    wide = W + rng.uniform(-1, 1) * jitter * W
    high = H + rng.uniform(-1, 1) * jitter * H
    ratio = wide / high
    inner_w, inner_h = (h * ratio, float(h)) if ratio < 1 else (float(w), w / ratio)
    dx, dy = rng.uniform() * (w - inner_w), rng.uniform() * (h - inner_h)
    nw, nh = max(1, int(inner_w)), max(1, int(inner_h))
    return View(
        matrix=_straight(W / nw, H / nh, 0, 0),
        scale=(inner_w / w, inner_h / h),
        shift=(-dx / w, -dy / h),
        rectangle=(int(dx), int(dy), nw, nh),
    )


def random_margins(rng: Rng, source: tuple[int, int], jitter: float) -> Margins:
    """Up to the part `jitter` of each side, cut off or added."""
    reach = [int(side * jitter) for side in source]
    left, right = (int(reach[0] * rng.uniform(-1, 1)) for _ in range(2))
    top, bottom = (int(reach[1] * rng.uniform(-1, 1)) for _ in range(2))
    return Margins(left, top, right, bottom)


def zoomed(rng: Rng, margins: Margins, source: tuple[int, int], zoom: float) -> Margins:
    """AlexeyAB's `resize`: the picture up to `zoom` times larger or smaller, below 1 only smaller."""
    if zoom <= 0 or zoom == 1:
        return margins
    down, up = min(zoom, 1 / zoom), max(zoom, 1 / zoom)
    q1, q2 = rng.random(2)

    def extra(side: int, q: float) -> int:
        low = int(side * (1 - 1 / down) / 2)
        high = 0 if zoom < 1 else int(side * (1 - 1 / up) / 2)
        return int(low + (high - low) * q)

    W, H = source
    return Margins(
        margins.left + extra(W, q1), margins.top + extra(H, q1),
        margins.right + extra(W, q2), margins.bottom + extra(H, q2),
    )  # fmt: skip


def letterboxed(margins: Margins, source: tuple[int, int], size: tuple[int, int]) -> Margins:
    """Enlarged on both sides to the proportions of the input."""
    (W, H), (w, h) = source, size
    if W * h > H * w:
        extra = (W * h / w - H) / 2
        return Margins(margins.left, int(margins.top - extra), margins.right, int(margins.bottom - extra))
    extra = (H * w / h - W) / 2
    return Margins(int(margins.left - extra), margins.top, int(margins.right - extra), margins.bottom)


def checked(margins: Margins, source: tuple[int, int]) -> Margins:
    """The margins, or none at all where they leave nothing of the picture."""
    if source[0] - margins.left - margins.right < 1 or source[1] - margins.top - margins.bottom < 1:
        return Margins(0, 0, 0, 0)
    return margins


def cropped(image: Picture, margins: Margins, size: tuple[int, int]) -> View:
    """AlexeyAB's detectors: what the margins leave, stretched over the input; beyond the picture its mean colour."""
    H, W, _ = image.shape
    cut_w, cut_h = W - margins.left - margins.right, H - margins.top - margins.bottom
    step_x, step_y = cut_w / size[0], cut_h / size[1]  # pixels are squares, as for OpenCV's resize
    reaches_out = min(margins.left, margins.top, margins.right, margins.bottom) < 0
    return View(
        matrix=_straight(step_x, step_y, margins.left + step_x / 2 - 0.5, margins.top + step_y / 2 - 0.5),
        scale=(W / cut_w, H / cut_h),
        shift=(margins.left / cut_w, margins.top / cut_h),
        outside=mean_colour(image) if reaches_out else None,
    )


def cropped_at_corners(source: tuple[int, int], margins: Margins, size: tuple[int, int]) -> View:
    """YOLOv1: what the margins leave, corner pixel on corner pixel; beyond the picture the pixels of its edge."""
    (W, H), (w, h) = source, size
    cut_w, cut_h = W - margins.left - margins.right, H - margins.top - margins.bottom
    step_x, step_y = (cut_w - 1) / max(1, w - 1), (cut_h - 1) / max(1, h - 1)
    return View(
        matrix=_straight(step_x, step_y, margins.left, margins.top),
        scale=(W / cut_w, H / cut_h),
        shift=(margins.left / cut_w, margins.top / cut_h),
        outside=None,
    )


def render(image: Picture, view: View, size: tuple[int, int]) -> Canvas:
    """(h, w, c): the picture as the view shows it on an input of that size."""
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


def render_tile(image: Picture, view: View, tile: tuple[int, int, int, int]) -> Canvas:
    """(height, width, c): the part left, top, width, height of what the view shows, counted from its own corner."""
    left, top, width, height = tile
    matrix = view.matrix.copy()
    matrix[:, 2] += matrix[:, :2] @ (left, top)
    return warp(image, matrix, width, height, view.outside)


def mirrored(canvas: Canvas) -> Canvas:
    """Left and right exchanged; a view."""
    return canvas[:, ::-1]


def as_input(canvas: Canvas) -> Array:
    """(h, w, c) -> (c, h, w), contiguous."""
    return np.ascontiguousarray(canvas.transpose(2, 0, 1))


# --- boxes -----------------------------------------------------------------------------------------------------------


def move_boxes(
    rows: Array, scale: tuple[float, float], shift: tuple[float, float], mirror: bool, drops_outside: bool = False
) -> Array:
    """Boxes where a view puts them, cut at the edges of the input.

    Boxes at 0, 0 tell their class only. Boxes wholly outside end without a size or, `drops_outside`, go.
    """
    rows = np.asarray(rows, np.float32).reshape(-1, 5)
    moved = rows.copy()
    only_class = (rows[:, 1] == 0) & (rows[:, 2] == 0)
    outside = np.zeros(len(rows), bool)
    for axis in range(2):
        centre, half = rows[:, 1 + axis], rows[:, 3 + axis] / 2
        low, high = (edge * scale[axis] - shift[axis] for edge in (centre - half, centre + half))
        if mirror and axis == 0:
            low, high = 1 - high, 1 - low
        outside |= (high < 0) | (low > 1)
        low, high = np.clip(low, 0, 1), np.clip(high, 0, 1)
        moved[:, 1 + axis], moved[:, 3 + axis] = (low + high) / 2, high - low
    moved[only_class, 1:] = CLASS_ONLY
    return moved[~outside | only_class] if drops_outside else moved


def shift_boxes(rows: Array, dx: float, dy: float, bounds: tuple[float, float, float, float]) -> Array:
    """Boxes moved by fractions of the input, cut at the bounds left, top, right, bottom."""
    moved = rows.copy()
    for axis, by in enumerate((dx, dy)):
        centre, half = rows[:, 1 + axis] + np.float32(by), rows[:, 3 + axis] / 2
        low = np.clip(centre - half, bounds[axis], bounds[axis + 2])
        high = np.clip(centre + half, bounds[axis], bounds[axis + 2])
        moved[:, 1 + axis], moved[:, 3 + axis] = (low + high) / 2, high - low
    return moved


def larger_than(rows: Array, width: float, height: float) -> Array:
    """The boxes that are at least so large."""
    return rows[(rows[:, 3] >= width) & (rows[:, 4] >= height)]


def known_boxes(rows: Array, classes: int) -> Array:
    """AlexeyAB's choice: boxes of a known class with a centre inside the picture; their sizes are at most 1."""
    x, y = rows[:, 1], rows[:, 2]
    kept = rows[(rows[:, 0] >= 0) & (rows[:, 0] < classes) & (x > 0) & (x <= 1) & (y > 0) & (y <= 1)]
    kept[:, 3:] = np.minimum(kept[:, 3:], 1)
    return kept


# --- blur and noise --------------------------------------------------------------------------------------------------


def odd(value: int) -> int:
    """A kernel's size: `value`, or one more where it is even."""
    return value // 2 * 2 + 1


def blur_some(canvas: Canvas, rows: Array, value: int, rng: Rng) -> Canvas:
    """A detector's `blur`: with equal chances nothing, the background, or what `value` says (1: the background).

    The kernel is at most an eighth of the smallest box's shorter side.
    """
    value = (0, 1, value)[rand_int(rng, 0, 2)]
    height, width, _ = canvas.shape
    if value > 1 and len(rows):
        value = min(value, int(np.min(rows[:, 3:] * (width, height)) / 8))
    if value < 1:
        return canvas
    if value > 1:
        return gaussian(canvas, odd(value))
    blurred = gaussian(canvas, 17)
    for _, x, y, w, h in rows.tolist():
        left, right = (int(min(max(edge, 0), 1) * width) for edge in (x - w / 2, x + w / 2))
        top, bottom = (int(min(max(edge, 0), 1) * height) for edge in (y - h / 2, y + h / 2))
        blurred[top:bottom, left:right] = canvas[top:bottom, left:right]
    return blurred


def blur_whole(canvas: Canvas, value: int, rng: Rng) -> Canvas:
    """A classifier's `blur`: with probability 1/4, a kernel of that size; 1 stands for 15."""
    if rng.random() >= 0.25:
        return canvas
    return gaussian(canvas, 15 if value == 1 else odd(value))


def add_noise(canvas: Canvas, sigma: float, rng: Rng) -> Canvas:
    """With probability 1/2, normal noise of that deviation (at most 127) on a scale of 255."""
    if not coin(rng):
        return canvas
    noise = rng.standard_normal(canvas.shape, np.float32) * np.float32(min(sigma, 127) / 255)
    return np.clip(canvas + noise, 0, 1)


# --- several pictures in one -----------------------------------------------------------------------------------------


def cut_point(rng: Rng, size: tuple[int, int]) -> tuple[int, int]:
    """Where four pictures meet: anywhere between 20 and 80 % of both sides."""
    x, y = (rand_int(rng, int(side * 0.2), max(int(side * 0.2), int(side * 0.8))) for side in size)
    return max(1, min(x, size[0] - 1)), max(1, min(y, size[1] - 1))


def towards_corner(margins: Margins, quadrant: int, mirror: bool) -> Margins:
    """The same crop moved so that it begins at the picture's edges which are outermost in the mosaic."""
    left, right = quadrant % 2 == 0, margins.left + margins.right
    if mirror:
        left = not left
    both = margins.top + margins.bottom
    x = (0, right) if left else (right, 0)
    y = (0, both) if quadrant < 2 else (both, 0)
    return Margins(x[0], y[0], x[1], y[1])


@dataclass(frozen=True)
class Tile:
    """A quadrant of a mosaic: where it lies on the input, which part of its picture's input it shows, and how far
    that moves boxes, as fractions."""

    target: tuple[int, int, int, int]  # left, top, width, height
    source: tuple[int, int]  # left, top
    dx: float
    dy: float


def mosaic_tile(
    quadrant: int, cut: tuple[int, int], size: tuple[int, int], source: tuple[int, int], margins: Margins, mirror: bool
) -> Tile:
    """Quadrants: 0 top left, 1 top right, 2 bottom left, 3 bottom right. Bands beyond the picture's own edges that
    would lie along the cut are left out."""
    left, right = (margins.right, margins.left) if mirror else (margins.left, margins.right)
    x, length_x, from_x = _tile_axis(quadrant % 2 == 0, cut[0], size[0], source[0], left, right)
    y, length_y, from_y = _tile_axis(quadrant < 2, cut[1], size[1], source[1], margins.top, margins.bottom)
    dx, dy = (x - from_x) / size[0], (y - from_y) / size[1]
    return Tile((x, y, length_x, length_y), (from_x, from_y), dx, dy)


def _tile_axis(first: bool, cut: int, size: int, source: int, low: int, high: int) -> tuple[int, int, int]:
    """(start, length, start in the picture's own input) of a tile along one axis."""
    if first:
        band = min(size - cut, max(0, int(-high * size / source)))
        return 0, cut, size - cut - band
    band = min(cut, max(0, int(-low * size / source)))
    return cut, size - cut, band


def blend(canvases: Sequence[Canvas]) -> Canvas:
    """The mean of two canvases."""
    return (canvases[0] + canvases[1]) * np.float32(0.5)


def mix_truth(vectors: Sequence[Array], shares: Sequence[float]) -> Array:
    """Class vectors weighted by their shares; what one of them ignores stays ignored."""
    stacked = np.stack(vectors)
    mixed = np.tensordot(np.asarray(shares, np.float32), stacked, 1).astype(np.float32)
    mixed[(stacked == IGNORE).any(0)] = IGNORE
    return mixed


def cutmix(canvases: Sequence[Canvas], rng: Rng) -> tuple[Canvas, list[float]]:
    """A rectangle of the second canvas, 0.3 to 0.8 of each side, on the first; and both shares of the area."""
    height, width, _ = canvases[0].shape
    inner_w, inner_h = (max(1, int(side * rng.uniform(0.3, 0.8))) for side in (width, height))
    left, top = rand_int(rng, 0, width - inner_w), rand_int(rng, 0, height - inner_h)
    mixed = canvases[0].copy()
    part = np.s_[top : top + inner_h, left : left + inner_w]
    mixed[part] = canvases[1][part]
    share = inner_w * inner_h / (width * height)
    return mixed, [1 - share, share]


def quarters(canvases: Sequence[Canvas], rng: Rng) -> tuple[Canvas, list[float]]:
    """Of each of four canvases its own quadrant; and their shares of the area."""
    height, width, _ = canvases[0].shape
    x, y = cut_point(rng, (width, height))
    mixed, shares = np.empty_like(canvases[0]), []
    for quadrant, canvas in enumerate(canvases):
        rows = slice(0, y) if quadrant < 2 else slice(y, height)
        columns = slice(0, x) if quadrant % 2 == 0 else slice(x, width)
        part = rows, columns
        mixed[part] = canvas[part]
        shares.append(mixed[part].size / mixed.size)
    return mixed, shares
