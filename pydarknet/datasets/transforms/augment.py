"""Augmentation of colours, sharpness and boxes, with darknet's distributions.

Pictures are (H, W, c) uint8, canvases (h, w, c) float32 in 0..1. Boxes are (k, 5) float32 rows of class, x, y, w, h in
fractions. All randomness comes from the generator `rng` that is passed in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...config.sections import Section
from ...images.operations import Canvas, distort
from ...images.operations import blur as gaussian
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
    """Boxes moved by (dx, dy), fractions of the input, and clipped to `bounds`: left, top, right, bottom."""
    moved = rows.copy()
    for axis, by in enumerate((dx, dy)):
        centre, half = rows[:, 1 + axis] + np.float32(by), rows[:, 3 + axis] / 2
        low = np.clip(centre - half, bounds[axis], bounds[axis + 2])
        high = np.clip(centre + half, bounds[axis], bounds[axis + 2])
        moved[:, 1 + axis], moved[:, 3 + axis] = (low + high) / 2, high - low
    return moved


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


def odd(value: int) -> int:
    """`value`, or one more if it is even: the size of a blur kernel."""
    return value // 2 * 2 + 1


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
        return gaussian(canvas, odd(value))
    blurred = gaussian(canvas, 17)
    for _, x, y, w, h in rows.tolist():
        left, right = (int(min(max(edge, 0), 1) * width) for edge in (x - w / 2, x + w / 2))
        top, bottom = (int(min(max(edge, 0), 1) * height) for edge in (y - h / 2, y + h / 2))
        blurred[top:bottom, left:right] = canvas[top:bottom, left:right]
    return blurred


def blur_whole(canvas: Canvas, value: int, rng: Rng) -> Canvas:
    """The option `blur` of classifiers: with probability 1/4, a blur with a kernel of `value` pixels (1 means 15)."""
    if rng.random() >= 0.25:
        return canvas
    return gaussian(canvas, 15 if value == 1 else odd(value))


def add_noise(canvas: Canvas, sigma: float, rng: Rng) -> Canvas:
    """With probability 1/2, add normal noise with a standard deviation of `sigma` (at most 127) on a scale of 255."""
    if not coin(rng):
        return canvas
    noise = rng.standard_normal(canvas.shape, np.float32) * np.float32(min(sigma, 127) / 255)
    return np.clip(canvas + noise, 0, 1)
