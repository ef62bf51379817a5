"""darknet's `imtest`: every picture operation, applied to one picture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...datasets.transforms.augment import Colour, Rng
from ...datasets.transforms.crop import render, rotated_crop
from ...images.colour import blur
from ...images.image import (
    Picture,
    Planar,
    as_planar,
    centre_crop,
    crop,
    letterbox,
    resize,
    resize_longer,
    resize_shorter,
)
from ...images.operations import distorted, grey, mirrored, quarter_turned, spread, turned

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


def showcase(image: Picture, rng: Rng) -> Iterator[tuple[str, Planar]]:
    """(name, result) of each operation: darknet's under its names, then the others.

    `aug` and `rand` are random augmentations of training.
    """
    planar = as_planar(image)
    _, height, width = planar.shape
    yield "Original", planar
    yield "Gray", grey(planar)
    for name, changes in DISTORTIONS.items():
        yield name, distorted(planar, *changes)
    view = rotated_crop(rng, (width, height), (SIDE, SIDE), (320, 448), 0.0, 0.75, keeps_inside=False)
    yield "aug", _planar(render(image, view, (SIDE, SIDE)))
    colour = Colour(hue=0.05, saturation=1.15, exposure=1.15)
    yield "rand", _planar(colour.change(np.ascontiguousarray(planar.transpose(1, 2, 0)), rng))
    yield "hue", distorted(planar, 0.3, 1, 1)
    yield "saturation", distorted(planar, 0, 2, 1)
    yield "exposure", distorted(planar, 0, 1, 1.5)
    yield "blur", _planar(blur(np.ascontiguousarray(planar.transpose(1, 2, 0)), 9))
    yield "spread", spread(planar)
    yield "mirrored", mirrored(planar)
    yield "turned", turned(planar, 0.3)
    yield "quarter_turned", quarter_turned(planar, 1)
    yield "resize", resize(planar, SIDE, SIDE)
    yield "resize_shorter", resize_shorter(planar, SIDE)
    yield "resize_longer", resize_longer(planar, SIDE)
    yield "letterbox", letterbox(planar, SIDE, SIDE)
    yield "centre_crop", centre_crop(planar, SIDE, SIDE)
    yield "crop", crop(planar, -width // 8, -height // 8, width, height)


def _planar(canvas: Planar) -> Planar:
    return np.ascontiguousarray(canvas.transpose(2, 0, 1))
