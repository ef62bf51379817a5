"""Classify pictures: fit, forward pass, rank; and the crops of darknet's commands, whose outputs are summed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from ..boxes import letterbox_size
from ..config.names import WordTree
from ..errors import ImageError, OptionError
from ..images.image import Picture, Size, crop, fit_for_classify, least_size
from ..images.operations import mirrored
from ..network.network import Network
from ..utils.arrays import Array
from ..utils.files import json_text, to_json
from .finite import require_finite, timed_forward

MAX_ASPECT = 16  # the largest aspect ratio of a picture that is not letterboxed
FITS = ("shorter", "crop", "letterbox", "stretch")
SHIFT = 32  # pixels by which the ten crops are shifted


@dataclass(frozen=True)
class Prediction:
    """A class with its probability. parent: its parent in a word tree, "Root" at the top; None without a tree."""

    class_id: int
    name: str
    probability: float
    parent: str | None = None


@dataclass(frozen=True)
class Classification:
    """The best classes of one picture, best first. seconds: the time of the forward pass alone, per picture."""

    predictions: list[Prediction]
    seconds: float
    width: int
    height: int

    def to_json(self, filename: str | None = None, frame: int | None = None) -> str:
        """One JSON object in one line, as `classify --json` prints: file name, seconds, and `classes`, best
        first.

        frame: its number in a video, from 1; None for a picture.
        """
        classes = [
            {"class_id": each.class_id, "name": json_text(each.name), "probability": round(each.probability, 6)}
            | ({} if each.parent is None else {"parent": json_text(each.parent)})
            for each in self.predictions
        ]
        name = None if filename is None else json_text(filename)
        where = {"filename": name} | ({} if frame is None else {"frame": frame})
        return to_json(where | {"seconds": round(self.seconds, 6), "classes": classes}, ensure_ascii=False)


def tree_of_network(network: Network) -> WordTree | None:
    """The word tree of the network's last softmax layer, if it has one."""
    trees = (getattr(layer, "tree", None) for layer in reversed(network.layers) if not layer.is_head)
    return next((tree for tree in trees if tree is not None), None)


def best_fit(network: Network) -> str:
    """The default of `fit`: the whole picture if the network runs at any size, else its middle."""
    return "shorter" if network.resizable else "crop"


def prepare_input(network: Network, image: Picture, fit: str = "auto", size: Size | None = None) -> Array:
    """A (height, width, 3) uint8 RGB picture -> the network's input, (channels, height, width) float32; needs no
    lock.

    fit: auto, or one of FITS; `shorter` becomes `crop` if the network runs at one size only. size: of the file, if
    the picture is a scaled one, see `images.image.picture_of_size`. Raises OptionError.
    """
    if fit != "auto" and fit not in FITS:
        raise OptionError(f"fit {fit!r}: expected auto, {', '.join(FITS)}")
    if fit == "auto" or (fit == "shorter" and not network.resizable):
        fit = best_fit(network)
        if fit == "shorter" and max(image.shape[:2]) > MAX_ASPECT * min(image.shape[:2]):
            fit = "letterbox"  # resized by its shorter side, it would take too much memory
    channels, height, width = network.input_shape
    return fit_for_classify(image, fit, width, height, channels, size)


def classify_inputs(
    network: Network,
    inputs: Sequence[Array],
    names: Sequence[str],
    top: int = 5,
    classes: Sequence[int] | None = None,
) -> list[Classification]:
    """The `top` best classes of prepared pictures. Those of the same size share a forward pass.

    classes: the class numbers to report; None: all.
    Raises OptionError, ShapeError, and DivergedError if the network's output is not finite.
    """
    if top < 1:
        raise OptionError(f"top {top}: expected at least 1")
    tree, outputs = tree_of_network(network), outputs_of(network, inputs)
    return [
        Classification(rank(output, names, top, tree, classes), seconds, pixels.shape[2], pixels.shape[1])
        for pixels, (output, seconds) in zip(inputs, outputs, strict=True)
    ]


@dataclass(frozen=True)
class ClassifierSteps:
    """Classification in two steps: the network's input from a picture, which needs no lock; results from inputs.

    The fields: see `classify_inputs` and `prepare_input`, whose options are checked already.
    """

    network: Network
    names: Sequence[str]
    top: int = 5
    fit: str = "auto"
    classes: Sequence[int] | None = None

    def least_size(self, decode: str) -> Size | None:
        """See `images.image.least_size`."""
        return least_size(decode, self.network.input_shape)

    def prepare(self, picture: Picture, size: Size | None = None) -> Array:
        """See `prepare_input`."""
        return prepare_input(self.network, picture, self.fit, size)

    def compute(self, inputs: Sequence[Array]) -> list[Classification]:
        """See `classify_inputs`. Raises ImageError where the network cannot take a picture's size."""
        try:
            return classify_inputs(self.network, inputs, self.names, self.top, self.classes)
        except OptionError as error:
            raise ImageError(str(error)) from error


def outputs_of(network: Network, inputs: Sequence[Array], check: bool = True) -> list[tuple[Array, float]]:
    """The output for each prepared picture, and the seconds of its part of a pass.

    Those of the same size share a pass. check: raise DivergedError if the output is not finite.
    """
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for index, pixels in enumerate(inputs):
        by_shape.setdefault(pixels.shape, []).append(index)
    found: dict[int, tuple[Array, float]] = {}
    for members in by_shape.values():
        x = inputs[members[0]][None] if len(members) == 1 else np.stack([inputs[index] for index in members])
        with network.lock:  # only for the measured time: `forward` returns copies
            outputs, seconds = timed_forward(network, x)
        if check:
            require_finite(network, x, outputs)
        for index, output in zip(members, outputs[0], strict=True):
            found[index] = output, seconds / len(x)
    return [found[index] for index in range(len(inputs))]


def classify(network: Network, image: Picture, names: Sequence[str], top: int = 5, fit: str = "auto") -> Classification:
    """The `top` best classes of a (height, width, 3) uint8 RGB picture; see `prepare_input` for `fit`.

    Raises OptionError, and DivergedError if the network's output is not finite.
    """
    return classify_inputs(network, [prepare_input(network, image, fit)], names, top)[0]


def rank(
    output: Array,
    names: Sequence[str],
    top: int,
    tree: WordTree | None = None,
    classes: Sequence[int] | None = None,
) -> list[Prediction]:
    """The `top` best classes of one output (classes,) or (classes, 1, 1); of equal values the lower class is
    first.

    tree: probabilities are multiplied by those of all ancestors. classes: the class numbers to report; None:
    all.
    """
    probabilities = output.reshape(-1) if tree is None else tree.absolute(output.reshape(-1))
    order = np.argsort(-probabilities, kind="stable")
    order = order if classes is None else order[np.isin(order, classes)]

    def name(number: int) -> str:
        return "Root" if number < 0 else names[number] if number < len(names) else str(number)

    return [
        Prediction(i, name(i), float(probabilities[i]), None if tree is None else name(int(tree.parent[i])))
        for i in order[:top].tolist()
    ]


# --- views: the crops of a picture for darknet's commands on lists ---


class Crop(NamedTuple):
    """An input (channels, height, width), and whether a word tree is applied to its output."""

    pixels: Array
    with_tree: bool = True


Views = Callable[[Picture, Network], list[Crop]]


def _fitted(fit: str, image: Picture, network: Network) -> list[Crop]:
    channels, height, width = network.input_shape
    return [Crop(fit_for_classify(image, fit, width, height, channels))]


cropped = partial(_fitted, "crop")  # `label`, `fout`: the middle of the picture
stretched = partial(_fitted, "stretch")  # `validcrop`, `test`: the picture stretched
letterboxed = partial(_fitted, "letterbox")  # `csv`: the whole picture with grey borders
whole = partial(_fitted, "shorter")  # `validfull`: the whole picture with its shorter side at the network's width


def middle(image: Picture, network: Network) -> list[Crop]:
    """`valid`: for pjreddie's darknet the largest square in the middle, for AlexeyAB's as `cropped`."""
    if not network.dialect.validates_on_square:
        return cropped(image, network)
    rows, columns, _ = image.shape
    side = min(rows, columns)
    top, left = (rows - side) // 2, (columns - side) // 2
    return stretched(image[top : top + side, left : left + side], network)


def several_sizes(image: Picture, network: Network) -> list[Crop]:
    """`validmulti`: the whole picture at several sizes, each unchanged and mirrored.

    pjreddie's darknet scales the longer side, and does not apply the tree to mirrored pictures.
    """
    channels, by_longer = network.input_shape[0], network.dialect.validates_longer_side
    rows, columns, _ = image.shape
    views = []
    for size in network.dialect.validation_sizes:
        sides = letterbox_size(columns, rows, size, size) if by_longer else (size, size)
        pixels = fit_for_classify(image, "stretch" if by_longer else "shorter", *sides, channels)
        views += [Crop(pixels), Crop(mirrored(pixels), not by_longer)]
    return views


def ten_crops(image: Picture, network: Network) -> list[Crop]:
    """`valid10`: five crops of the picture, stretched to SHIFT pixels more than needed, and of its mirror image."""
    channels, height, width = network.input_shape
    large = fit_for_classify(image, "stretch", width + SHIFT, height + SHIFT, channels)
    corners = ((-SHIFT, -SHIFT), (SHIFT, -SHIFT), (0, 0), (-SHIFT, SHIFT), (SHIFT, SHIFT))
    return [Crop(crop(pixels, *corner, width, height)) for pixels in (large, mirrored(large)) for corner in corners]
