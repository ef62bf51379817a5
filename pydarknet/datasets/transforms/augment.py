"""Augmentation of colours, sharpness and boxes, with darknet's distributions; mixtures of classifiers' pictures.

Pictures are (H, W, c) uint8, canvases (h, w, c) float32 in 0..1. Boxes are (k, 5) float32 rows of class, x, y, w, h in
fractions. All randomness comes from the generator `rng` that is passed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...config.sections import Section
from ...images.operations import Canvas, blur, distort
from ...utils.arrays import Array

CLASS_ONLY = 999999.0  # x, y, w, h of a label that has a class but no box
IGNORE = -1234.0  # in class vectors: an entry without a loss
NOWHERE = np.zeros((0, 5), np.float32)
Rng = np.random.Generator


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


# --- colour ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Colour:
    """The ranges of random changes of colour: `hue` (fraction of the circle) is added, the others are factors."""

    hue: float = 0.0
    saturation: float = 1.0
    exposure: float = 1.0

    @classmethod
    def from_section(cls, net: Section) -> Colour:
        """Read the keys of `[net]`; a factor of 0 counts as 1."""
        return cls(net.real("hue", 0), net.real("saturation", 1) or 1.0, net.real("exposure", 1) or 1.0)

    def change(self, canvas: Canvas, rng: Rng) -> Canvas:
        """The canvas with random changes of hue, saturation and exposure."""
        hue = rng.uniform(-abs(self.hue), abs(self.hue))
        return distort(canvas, hue, rand_scale(rng, self.saturation), rand_scale(rng, self.exposure))


# --- boxes -----------------------------------------------------------------------------------------------------------


def move_boxes(
    rows: Array, scale: tuple[float, float], shift: tuple[float, float], mirror: bool, drops_outside: bool = False
) -> Array:
    """Boxes transformed by a crop (`AffineCrop.scale`, `.shift`) and clipped to the input.

    Labels at 0, 0 have a class but no box. Boxes entirely outside get size 0 or, if `drops_outside`, are removed.
    """
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
    """Boxes moved by (dx, dy), fractions of the input, and clipped to `bounds`: left, top, right, bottom."""
    moved = rows + np.array([0, dx, dy, 0, 0], np.float32)
    return _between(moved, *_edges(moved), bounds)


def _edges(rows: Array) -> tuple[Array, Array]:
    """(left, top) and (right, bottom) of boxes, each (k, 2)."""
    half = rows[:, 3:] / np.float32(2)
    return rows[:, 1:3] - half, rows[:, 1:3] + half


def _between(rows: Array, low: Array, high: Array, bounds: Sequence[float]) -> Array:
    """The rows with these edges, clipped to `bounds`."""
    limits = np.array(bounds, np.float32)
    low, high = (np.clip(edge, limits[:2], limits[2:]) for edge in (low, high))
    return np.concatenate([rows[:, :1], (low + high) / 2, high - low], axis=1)


def larger_than(rows: Array, width: float, height: float) -> Array:
    """The boxes of at least this width and height."""
    return rows[(rows[:, 3] >= width) & (rows[:, 4] >= height)]


def known_boxes(rows: Array, classes: int) -> Array:
    """AlexeyAB's filter: boxes of a known class with their centre in the picture, sizes limited to 1."""
    x, y = rows[:, 1], rows[:, 2]
    kept = rows[(rows[:, 0] >= 0) & (rows[:, 0] < classes) & (x > 0) & (x <= 1) & (y > 0) & (y <= 1)]
    kept[:, 3:] = np.minimum(kept[:, 3:], 1)
    return kept


# --- blur and noise --------------------------------------------------------------------------------------------------


def blur_some(canvas: Canvas, rows: Array, value: int, rng: Rng) -> Canvas:
    """The option `blur` of detectors: with equal probability no blur, a blurred background, or a blur with a kernel of
    `value` pixels (1: the background), which is at most an eighth of the shortest side of a box."""
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
    """The option `blur` of classifiers: with probability 1/4, a blur with a kernel of `value` pixels (1 means 15)."""
    if rng.random() >= 0.25:
        return canvas
    return blur(canvas, 15 if value == 1 else value)


def add_noise(canvas: Canvas, sigma: float, rng: Rng) -> Canvas:
    """With probability 1/2, add normal noise with a standard deviation of `sigma` (at most 127) on a scale of 255."""
    if not coin(rng):
        return canvas
    noise = rng.standard_normal(canvas.shape, np.float32) * np.float32(min(sigma, 127) / 255)
    return np.clip(canvas + noise, 0, 1)


# --- mixtures --------------------------------------------------------------------------------------------------------


def cut_point(rng: Rng, size: tuple[int, int]) -> tuple[int, int]:
    """A random point (x, y) where four pictures meet, between 20 and 80 % of both sides."""
    x, y = (rand_int(rng, int(side * 0.2), max(int(side * 0.2), int(side * 0.8))) for side in size)
    return max(1, min(x, size[0] - 1)), max(1, min(y, size[1] - 1))


def blend(canvases: Sequence[Canvas]) -> Canvas:
    """mixup: the mean of two canvases."""
    return (canvases[0] + canvases[1]) * np.float32(0.5)


def mix_truth(vectors: Sequence[Array], shares: Sequence[float]) -> Array:
    """The sum of class vectors weighted by their shares; entries that one of them ignores are ignored."""
    stacked = np.stack(vectors)
    mixed = np.tensordot(np.asarray(shares, np.float32), stacked, 1).astype(np.float32)
    mixed[(stacked == IGNORE).any(0)] = IGNORE
    return mixed


def cutmix(canvases: Sequence[Canvas], rng: Rng) -> tuple[Canvas, list[float]]:
    """The first canvas with a random rectangle of the second, 0.3 to 0.8 of each side; and both shares of the area."""
    height, width, _ = canvases[0].shape
    inner_w, inner_h = (max(1, int(side * rng.uniform(0.3, 0.8))) for side in (width, height))
    left, top = rand_int(rng, 0, width - inner_w), rand_int(rng, 0, height - inner_h)
    mixed = canvases[0].copy()
    part = np.s_[top : top + inner_h, left : left + inner_w]
    mixed[part] = canvases[1][part]
    share = inner_w * inner_h / (width * height)
    return mixed, [1 - share, share]


def quarters(canvases: Sequence[Canvas], rng: Rng) -> tuple[Canvas, list[float]]:
    """A classifier's mosaic: one quadrant of each of four canvases; and their shares of the area."""
    height, width, _ = canvases[0].shape
    x, y = cut_point(rng, (width, height))
    mixed, shares = np.empty_like(canvases[0]), []
    for quadrant, canvas in enumerate(canvases):
        part = (slice(0, y), slice(y, height))[quadrant // 2], (slice(0, x), slice(x, width))[quadrant % 2]
        mixed[part] = canvas[part]
        shares.append(mixed[part].size / mixed.size)
    return mixed, shares
