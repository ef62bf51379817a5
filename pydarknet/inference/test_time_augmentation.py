"""Crops of a picture for darknet's classifier commands: one, or several whose outputs are summed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..boxes import letterbox_size
from ..images.image import Picture, crop, fit_for_classify
from ..images.operations import mirrored
from ..network.network import Network
from ..utils.arrays import Array

SHIFT = 32  # pixels by which the ten crops are shifted


class Crop(NamedTuple):
    """An input (channels, height, width), and whether a word tree is applied to its output."""

    pixels: Array
    with_tree: bool = True


Views = Callable[[Picture, Network], list[Crop]]


def middle(image: Picture, network: Network) -> list[Crop]:
    """`valid`: for pjreddie's darknet the largest square in the middle; for AlexeyAB's the middle of the picture with
    its shorter side at the network's width."""
    if network.dialect.validates_on_square:
        rows, columns, _ = image.shape
        side = min(rows, columns)
        top, left = (rows - side) // 2, (columns - side) // 2
        return _fitted(image[top : top + side, left : left + side], network, "stretch")
    return _fitted(image, network, "crop")


def cropped(image: Picture, network: Network) -> list[Crop]:
    """`label`, `fout`: the middle of the picture with its shorter side at the network's width."""
    return _fitted(image, network, "crop")


def stretched(image: Picture, network: Network) -> list[Crop]:
    """`validcrop`, `test`: the picture stretched to the network's size."""
    return _fitted(image, network, "stretch")


def letterboxed(image: Picture, network: Network) -> list[Crop]:
    """`csv`: the whole picture with grey borders."""
    return _fitted(image, network, "letterbox")


def whole(image: Picture, network: Network) -> list[Crop]:
    """`validfull`: the whole picture with its shorter side at the network's width."""
    return _fitted(image, network, "shorter")


def _fitted(image: Picture, network: Network, mode: str) -> list[Crop]:
    channels, height, width = network.input_shape
    return [Crop(fit_for_classify(image, mode, width, height, channels))]


def several_sizes(image: Picture, network: Network) -> list[Crop]:
    """`validmulti`: the whole picture at several sizes, each unchanged and mirrored.

    pjreddie's darknet scales the longer side, and does not apply the tree to mirrored pictures.
    """
    dialect, channels = network.dialect, network.input_shape[0]
    rows, columns, _ = image.shape
    views = []
    for size in dialect.validation_sizes:
        if dialect.validates_longer_side:
            pixels = fit_for_classify(image, "stretch", *letterbox_size(columns, rows, size, size), channels)
        else:
            pixels = fit_for_classify(image, "shorter", size, size, channels)
        views += [Crop(pixels), Crop(mirrored(pixels), not dialect.validates_longer_side)]
    return views


def ten_crops(image: Picture, network: Network) -> list[Crop]:
    """`valid10`: five crops of the picture, stretched to 32 pixels more than the network's size, and five of its mirror
    image. Beyond the edges, the pixels of the edge are repeated."""
    channels, height, width = network.input_shape
    large = fit_for_classify(image, "stretch", width + SHIFT, height + SHIFT, channels)
    corners = ((-SHIFT, -SHIFT), (SHIFT, -SHIFT), (0, 0), (-SHIFT, SHIFT), (SHIFT, SHIFT))
    return [Crop(crop(pixels, *corner, width, height)) for pixels in (large, mirrored(large)) for corner in corners]
