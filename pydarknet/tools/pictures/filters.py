"""Pictures of filters (darknet's `visualize` and `mkimg`) and of operations (darknet's `imtest`)."""

import math
from collections.abc import Callable, Iterator

import numpy as np

from ...datasets.augment import Colour, Rng, rand_scale, render, rotated_crop
from ...errors import OptionError
from ...images import image as images, operations as ops
from ...images.image import CHW, Picture
from ...layers.convolution.convolutional import Convolutional
from ...network.network import Network

SCATTERED = 100  # filters on one picture of `mkimg`
LARGEST_ZOOMED = 1 << 24  # pixels of an enlarged sheet; sheets of wide layers are large without zoom


def filter_sheets(network: Network, columns: int = 1) -> Iterator[tuple[int, CHW]]:
    """(layer index, picture) of each convolution: its filters in columns."""
    for index, layer in enumerate(network.layers):
        if isinstance(layer, Convolutional):
            filters = [ops.normalised(weights) for weights in layer.weights]
            if layer.weights.shape[1] != 3:
                filters = [ops.stacked([plane[None] for plane in planes], len(planes)) for planes in filters]
            yield index, ops.normalised(ops.stacked(filters, columns))


def zoomed(sheet: CHW, zoom: int) -> tuple[CHW, int]:
    """The sheet enlarged by `zoom`, or less for LARGEST_ZOOMED pixels; and the factor."""
    _, height, width = sheet.shape
    times = max(1, min(zoom, math.isqrt(LARGEST_ZOOMED // (height * width))))
    return ops.enlarged(sheet, times), times


def scattered_filters(network: Network, width: int, height: int, rng: Rng) -> CHW:
    """A (3, height, width) picture of filters of the first layer, rotated and recoloured, on grey."""
    layer = network.layers[0]
    if not isinstance(layer, Convolutional) or layer.weights.shape[1] != 3:
        raise OptionError(f"{network.path}: layer 0 must be a [convolutional] with filters of 3 channels")
    filters, size = [ops.normalised(weights) for weights in layer.weights], layer.window.size
    if min(width, height) < size:
        raise OptionError(f"{width}x{height} pixels: expected at least {size}x{size}, the size of a filter")
    picture = np.full((3, height, width), 0.5, np.float32)
    for _ in range(SCATTERED):
        chosen = ops.rotated_by_quarters(filters[rng.integers(len(filters))], int(rng.integers(4)))
        chosen = ops.distorted(chosen, rng.uniform(-1, 1), rand_scale(rng, 1.5), rand_scale(rng, 1.5))
        ops.over(chosen, picture, int(rng.integers(width - size + 1)), int(rng.integers(height - size + 1)))
    return picture


SIDE = 320  # pixels of resized pictures
# The operations of `imtest`, besides random ones: first darknet's under their names, then the others.
DARKNETS: dict[str, Callable[[CHW], CHW]] = {
    "Original": lambda chw: chw,
    "Gray": ops.grey,
    "C1": lambda chw: ops.distorted(chw, 0.1, 1.5, 1.5),
    "C2": lambda chw: ops.distorted(chw, -0.1, 0.66666, 0.66666),
    "C3": lambda chw: ops.distorted(chw, 0.1, 1.5, 0.66666),
    "C4": lambda chw: ops.distorted(chw, 0.1, 0.66666, 1.5),
}
OTHERS: dict[str, Callable[[CHW], CHW]] = {
    "hue": lambda chw: ops.distorted(chw, 0.3, 1, 1),
    "saturation": lambda chw: ops.distorted(chw, 0, 2, 1),
    "exposure": lambda chw: ops.distorted(chw, 0, 1, 1.5),
    "blur": lambda chw: ops.as_input(ops.blur(ops.as_canvas(chw), 9)),
    "normalised": ops.normalised,
    "mirrored": ops.mirrored,
    "rotated": lambda chw: ops.rotated(chw, 0.3),
    "rotated_by_quarters": lambda chw: ops.rotated_by_quarters(chw, 1),
    "resize": lambda chw: images.resize(chw, SIDE, SIDE),
    "resize_shorter": lambda chw: images.resize_shorter(chw, SIDE),
    "resize_longer": lambda chw: images.resize_longer(chw, SIDE),
    "letterbox": lambda chw: images.letterbox(chw, SIDE, SIDE),
    "centre_crop": lambda chw: images.centre_crop(chw, SIDE, SIDE),
    "crop": lambda chw: images.crop(chw, -chw.shape[2] // 8, -chw.shape[1] // 8, chw.shape[2], chw.shape[1]),
}


def norm(image: Picture) -> float:
    """The L2 norm of all values, scaled to 0..1."""
    return float(np.linalg.norm(image.astype(np.float64) / 255))


def showcase(image: Picture, rng: Rng) -> Iterator[tuple[str, CHW]]:
    """(name, result) of each operation. `aug` and `rand` are random augmentations of training."""
    chw = images.as_chw(image)
    yield from ((name, operation(chw)) for name, operation in DARKNETS.items())
    view = rotated_crop(rng, chw.shape[:0:-1], (SIDE, SIDE), (320, 448), 0.0, 0.75, keeps_inside=False)
    yield "aug", ops.as_input(render(image, view, (SIDE, SIDE)))
    yield "rand", ops.as_input(Colour(hue=0.05, saturation=1.15, exposure=1.15).change(ops.as_canvas(chw), rng))
    yield from ((name, operation(chw)) for name, operation in OTHERS.items())
