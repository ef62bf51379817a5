"""darknet's `imtest`: every picture operation, applied to one picture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...datasets.transforms.augment import Colour, Rng
from ...datasets.transforms.crop import render, rotated_crop
from ...images.colour import blur
from ...images.image import (
    CHW,
    Picture,
    as_chw,
    centre_crop,
    crop,
    letterbox,
    resize,
    resize_longer,
    resize_shorter,
)
from ...images.operations import distorted, grey, mirrored, normalised, rotated, rotated_by_quarters

SIDE = 320  # pixels of resized pictures
# darknet's four examples: hue, saturation, exposure.
DISTORTIONS = {
    "C1": (0.1, 1.5, 1.5),
    "C2": (-0.1, 0.66666, 0.66666),
    "C3": (0.1, 1.5, 0.66666),
    "C4": (0.1, 0.66666, 1.5),
}


def norm(image: Picture) -> float:
    """The L2 norm of all values, scaled to 0..1."""
    return float(np.sqrt(np.square(image.astype(np.float64) / 255).sum()))


def showcase(image: Picture, rng: Rng) -> Iterator[tuple[str, CHW]]:
    """(name, result) of each operation: first darknet's under their names, then the others.

    `aug` and `rand` are random augmentations of training.
    """
    chw = as_chw(image)
    _, height, width = chw.shape
    yield "Original", chw
    yield "Gray", grey(chw)
    for name, changes in DISTORTIONS.items():
        yield name, distorted(chw, *changes)
    view = rotated_crop(rng, (width, height), (SIDE, SIDE), (320, 448), 0.0, 0.75, keeps_inside=False)
    yield "aug", _chw(render(image, view, (SIDE, SIDE)))
    colour = Colour(hue=0.05, saturation=1.15, exposure=1.15)
    yield "rand", _chw(colour.change(np.ascontiguousarray(chw.transpose(1, 2, 0)), rng))
    yield "hue", distorted(chw, 0.3, 1, 1)
    yield "saturation", distorted(chw, 0, 2, 1)
    yield "exposure", distorted(chw, 0, 1, 1.5)
    yield "blur", _chw(blur(np.ascontiguousarray(chw.transpose(1, 2, 0)), 9))
    yield "normalised", normalised(chw)
    yield "mirrored", mirrored(chw)
    yield "rotated", rotated(chw, 0.3)
    yield "rotated_by_quarters", rotated_by_quarters(chw, 1)
    yield "resize", resize(chw, SIDE, SIDE)
    yield "resize_shorter", resize_shorter(chw, SIDE)
    yield "resize_longer", resize_longer(chw, SIDE)
    yield "letterbox", letterbox(chw, SIDE, SIDE)
    yield "centre_crop", centre_crop(chw, SIDE, SIDE)
    yield "crop", crop(chw, -width // 8, -height // 8, width, height)


def _chw(canvas: CHW) -> CHW:
    return np.ascontiguousarray(canvas.transpose(2, 0, 1))
