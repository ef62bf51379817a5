"""Pictures of filters and of operations.

Filters: darknet's `visualize`, and `mkimg`, which scatters them over grey. Operations: darknet's `imtest`, which
applies each of them to one picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ...datasets.transforms.augment import Colour, Rng, rand_scale
from ...datasets.transforms.crop import render, rotated_crop
from ...errors import OptionError
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
from ...images.operations import (
    blur,
    distorted,
    enlarged,
    grey,
    mirrored,
    normalised,
    over,
    rotated,
    rotated_by_quarters,
    stacked,
)
from ...layers.convolution.convolutional import Convolutional
from ...network.network import Network

SCATTERED = 100  # filters on one picture of `mkimg`
LARGEST_ZOOMED = 1 << 24  # pixels of an enlarged sheet; sheets of wide layers are large without zoom


def filter_sheets(network: Network, columns: int = 1) -> Iterator[tuple[int, CHW]]:
    """(layer index, picture) of each convolution: its filters in `columns` columns.

    Filters of three channels are in colour; the channels of others are side by side in grey.
    """
    for index, layer in enumerate(network.layers):
        if isinstance(layer, Convolutional):
            filters = [normalised(weights) for weights in layer.weights]
            if layer.weights.shape[1] != 3:
                filters = [stacked([plane[None] for plane in planes], len(planes)) for planes in filters]
            yield index, normalised(stacked(filters, columns))


def zoomed(sheet: CHW, zoom: int) -> tuple[CHW, int]:
    """The enlarged sheet and the factor: `zoom`, or less if the result would exceed LARGEST_ZOOMED pixels."""
    _, height, width = sheet.shape
    times = max(1, min(zoom, math.isqrt(LARGEST_ZOOMED // (height * width))))
    return enlarged(sheet, times), times


def scattered_filters(network: Network, width: int, height: int, rng: Rng) -> CHW:
    """A (3, height, width) picture of filters of the first layer on grey, at random places, rotated and recoloured.

    Raises OptionError if the first layer has no filters of three channels, or the picture is smaller than a filter.
    """
    layer = network.layers[0]
    if not isinstance(layer, Convolutional) or layer.weights.shape[1] != 3:
        raise OptionError(f"{network.path}: layer 0 must be a [convolutional] with filters of 3 channels")
    filters, size = [normalised(weights) for weights in layer.weights], layer.window.size
    if min(width, height) < size:
        raise OptionError(f"{width}x{height} pixels: expected at least {size}x{size}, the size of a filter")
    picture = np.full((3, height, width), 0.5, np.float32)
    for _ in range(SCATTERED):
        chosen = rotated_by_quarters(filters[rng.integers(len(filters))], int(rng.integers(4)))
        chosen = distorted(chosen, rng.uniform(-1, 1), rand_scale(rng, 1.5), rand_scale(rng, 1.5))
        over(chosen, picture, int(rng.integers(width - size + 1)), int(rng.integers(height - size + 1)))
    return picture


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
