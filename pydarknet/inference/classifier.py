"""Classify pictures: fit, forward pass, rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..config.names import WordTree
from ..errors import OptionError
from ..images.image import Picture, fit_for_classify
from ..network.network import Network
from ..runtime.compile_time import clock
from ..utils.arrays import Array
from ..utils.files import json_text, to_json
from .finite import require_finite

MAX_ASPECT = 16  # the largest aspect ratio of a picture that is not letterboxed
FITS = ("shorter", "crop", "letterbox", "stretch")


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
        """One JSON object in one line, as `classify --json` prints: file name, seconds, and `classes`, best first.

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


def prepare_input(network: Network, image: Picture, fit: str = "auto") -> Array:
    """A (height, width, 3) uint8 RGB picture -> the network's input, (channels, height, width) float32; needs no lock.

    fit: auto, or one of FITS; `shorter` becomes `crop` if the network runs at one size only. Raises OptionError.
    """
    if fit != "auto" and fit not in FITS:
        raise OptionError(f"fit {fit!r}: expected auto, {', '.join(FITS)}")
    if fit == "auto" or (fit == "shorter" and not network.resizable):
        fit = best_fit(network)
        if fit == "shorter" and max(image.shape[:2]) > MAX_ASPECT * min(image.shape[:2]):
            fit = "letterbox"  # resized by its shorter side, it would take too much memory
    channels, height, width = network.input_shape
    return fit_for_classify(image, fit, width, height, channels)


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
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for index, pixels in enumerate(inputs):
        by_shape.setdefault(pixels.shape, []).append(index)
    results: dict[int, Classification] = {}
    for (_, height, width), members in by_shape.items():
        x = inputs[members[0]][None] if len(members) == 1 else np.stack([inputs[index] for index in members])
        with network.lock:  # only for the measured time: `forward` returns copies
            network.prepare(x.shape)
            start = clock()
            outputs = network.forward(x)
            seconds = (clock() - start) / len(x)
        require_finite(network, x, outputs)
        for index, output in zip(members, outputs[0], strict=True):
            best = rank(output, names, top, tree_of_network(network), classes)
            results[index] = Classification(best, seconds, width, height)
    return [results[index] for index in range(len(inputs))]


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
    """The `top` best classes of one output (classes,) or (classes, 1, 1); of equal values the lower class is first.

    tree: probabilities are multiplied by those of all ancestors. classes: the class numbers to report; None: all.
    """
    probabilities = output.reshape(-1)
    if tree is not None:
        probabilities = tree.absolute(probabilities)
    order = np.argsort(-probabilities, kind="stable")
    if classes is not None:
        order = order[np.isin(order, classes)]

    def name(number: int) -> str:
        return names[number] if number < len(names) else str(number)

    def parent(number: int) -> str | None:
        if tree is None:
            return None
        above = int(tree.parent[number])
        return name(above) if above >= 0 else "Root"

    return [Prediction(int(i), name(int(i)), float(probabilities[i]), parent(int(i))) for i in order[:top]]
