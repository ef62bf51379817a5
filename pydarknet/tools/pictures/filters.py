"""Pictures of filters: darknet's `visualize`, and `mkimg`, which scatters them over grey."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ...datasets.transforms.augment import Rng, rand_scale
from ...errors import OptionError
from ...images.image import CHW
from ...images.operations import distorted, enlarged, normalised, over, rotated_by_quarters, stacked
from ...layers.convolution.convolutional import Convolutional
from ...network.network import Network

SCATTERED = 100  # filters on one picture of `mkimg`
LARGEST_ZOOMED = 1 << 24  # pixels of an enlarged sheet; sheets of wide layers are large without zoom


def filters_of(layer: Convolutional) -> list[CHW]:
    """Each filter as a picture (channels, size, size), scaled to 0..1."""
    return [normalised(weights) for weights in layer.weights]


def filter_sheets(network: Network, columns: int = 1) -> Iterator[tuple[int, CHW]]:
    """(layer index, picture) of each convolution: its filters in `columns` columns.

    Filters of three channels are in colour; the channels of others are side by side in grey.
    """
    for index, layer in enumerate(network.layers):
        if isinstance(layer, Convolutional):
            filters = filters_of(layer)
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
    filters, size = filters_of(layer), layer.window.size
    if min(width, height) < size:
        raise OptionError(f"{width}x{height} pixels: expected at least {size}x{size}, the size of a filter")
    picture = np.full((3, height, width), 0.5, np.float32)
    for _ in range(SCATTERED):
        chosen = rotated_by_quarters(filters[rng.integers(len(filters))], int(rng.integers(4)))
        chosen = distorted(chosen, rng.uniform(-1, 1), rand_scale(rng, 1.5), rand_scale(rng, 1.5))
        over(chosen, picture, int(rng.integers(width - size + 1)), int(rng.integers(height - size + 1)))
    return picture
