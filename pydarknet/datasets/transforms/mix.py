"""Mixtures of training pictures (mosaic, mixup, cutmix) and their ground truth.

Canvases are (h, w, c) float32 in 0..1. Sizes are (width, height) in pixels. All randomness comes from the generator
`rng` that is passed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...images.operations import Canvas
from ...utils.arrays import Array
from .augment import IGNORE, Rng, rand_int
from .crop import Margins


def cut_point(rng: Rng, size: tuple[int, int]) -> tuple[int, int]:
    """A random point (x, y) where four pictures meet, between 20 and 80 % of both sides."""
    x, y = (rand_int(rng, int(side * 0.2), max(int(side * 0.2), int(side * 0.8))) for side in size)
    return max(1, min(x, size[0] - 1)), max(1, min(y, size[1] - 1))


def towards_corner(margins: Margins, quadrant: int, mirror: bool) -> Margins:
    """The crop moved to the corner of the picture that is outermost in the mosaic."""
    left, right = quadrant % 2 == 0, margins.left + margins.right
    if mirror:
        left = not left
    both = margins.top + margins.bottom
    x = (0, right) if left else (right, 0)
    y = (0, both) if quadrant < 2 else (both, 0)
    return Margins(x[0], y[0], x[1], y[1])


@dataclass(frozen=True)
class Tile:
    """A quadrant of a mosaic. target: its place on the input. source: the corner of the part shown of its own picture's
    input. dx, dy: the shift of boxes, in fractions of the input."""

    target: tuple[int, int, int, int]  # left, top, width, height
    source: tuple[int, int]  # left, top
    dx: float
    dy: float


def mosaic_tile(
    quadrant: int, cut: tuple[int, int], size: tuple[int, int], source: tuple[int, int], margins: Margins, mirror: bool
) -> Tile:
    """The tile of a quadrant: 0 top left, 1 top right, 2 bottom left, 3 bottom right. Bands outside the picture that
    would border the cut are skipped."""
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
        rows = slice(0, y) if quadrant < 2 else slice(y, height)
        columns = slice(0, x) if quadrant % 2 == 0 else slice(x, width)
        part = rows, columns
        mixed[part] = canvas[part]
        shares.append(mixed[part].size / mixed.size)
    return mixed, shares
