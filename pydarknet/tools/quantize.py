"""Ranges of activations for 8-bit convolutions, measured on pictures, and what 8 bits change there."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..boxes import iou
from ..errors import OptionError
from ..images.image import Picture, fit_for_detect
from ..inference.classifier import prepare_input
from ..inference.detector import letterboxes
from ..layers.convolution.direct import FLOAT32, INT8, checked_precision
from ..model import Model
from ..network.memory_plan import Graph, tied
from ..network.network import Network
from ..network.weights import Quantization, Range, digest_of, quantizable
from ..utils.arrays import Array

COMPARED = 4  # pictures on which layers are compared one by one
SHARE = 4.0  # a layer stays float32 where its squared error is more than so many times the mean of all
AGAIN = 0.5  # IoU from which on an object is found again


class Measured(NamedTuple):
    """The ranges, the number of layers in 8 bits, and the error: a root of the mean square relative to float32."""

    quantization: Quantization
    layers: int
    error: float


def quantize(model: Model, pictures: Sequence[Picture], step: Callable[[], object] = lambda: None) -> Measured:
    """Measure the ranges on pictures, (h, w, 3) uint8 RGB, and give them to the model, in int8 then.

    A layer whose error stands out stays float32. step: called for each picture and layer. Raises OptionError.
    """
    if not pictures:
        raise OptionError("quantize: expected at least one picture")
    checked_precision(INT8)
    model.precision = FLOAT32
    inputs = [prepared(model, picture) for picture in pictures]
    convolutions, digest = quantizable(model.layers), digest_of(model.layers)
    ranges = measured_ranges(model, inputs, step)
    if not ranges:
        raise OptionError(f"{model.path}: has no convolution that 8 bits could compute")
    compared = inputs[:COMPARED]
    expected = [model.forward(x) for x in compared]
    errors = {}
    for index, span in ranges.items():
        errors[index] = _error_with(model, Quantization({index: span}, digest), compared, expected)
        step()
    quantization = Quantization({index: ranges[index] for index in _insensitive(errors)}, digest)
    error = _error_with(model, quantization, compared, expected)
    return Measured(quantization, sum(layer.precision == INT8 for layer in convolutions.values()), error)


def measured_ranges(
    network: Network, inputs: Sequence[Array], step: Callable[[], object] = lambda: None
) -> dict[int, Range]:
    """The means over inputs of the smallest and the largest number of each convolution. Those whose inputs come to
    each other by layers without products have one range, so that these layers can pass 8-bit numbers on."""
    convolutions, graph = quantizable(network.layers), Graph(network.layers, network.layers[0].inputs[0], 0)
    groups = tied(graph, range(len(network.layers)))
    spans: dict[int, list[Range]] = {index: [] for index in convolutions}
    for x in inputs:
        outputs = network.layer_outputs(x)
        for index, layer in convolutions.items():
            read = x if layer.sources[0] < 0 else outputs[layer.sources[0]]
            if read is not None and np.isfinite(read).all():
                spans[index].append((min(float(read.min()), 0.0), max(float(read.max()), 0.0)))
        step()
    of_group: dict[int, Range] = {}
    group_of = {index: min(groups[graph.sources(index)[0]]) for index, each in spans.items() if each}
    for index, group in group_of.items():
        low, high = np.mean(spans[index], axis=0).tolist()
        lowest, highest = of_group.get(group, (low, high))
        of_group[group] = min(low, lowest), max(high, highest)
    return {index: of_group[group] for index, group in group_of.items()}


def prepared(model: Network, picture: Picture) -> Array:
    """The picture as `detect` or `classify` give it to the network, (1, c, h, w)."""
    if not model.heads:
        return prepare_input(model, picture)[None]
    channels, height, width = model.input_shape
    return fit_for_detect(picture, width, height, letterboxes(model), channels)[None]


def _error_with(
    model: Network, quantization: Quantization, inputs: Sequence[Array], expected: Sequence[Sequence[Array]]
) -> float:
    model.quantize(quantization)
    model.precision = INT8
    worst = 0.0
    for x, references in zip(inputs, expected, strict=True):
        for output, reference in zip(model.forward(x), references, strict=True):
            scale = float(np.square(reference, dtype=np.float64).mean()) or 1.0
            worst = max(worst, math.sqrt(float(np.square(output - reference, dtype=np.float64).mean()) / scale))
    return worst


def _insensitive(errors: dict[int, float]) -> list[int]:
    kept, before = dict(errors), -1
    while len(kept) not in (0, before):
        before, most = len(kept), SHARE * sum(error**2 for error in kept.values()) / len(kept)
        kept = {index: error for index, error in kept.items() if error**2 <= most}
    return list(kept)


def agreement(model: Model, pictures: Sequence[Picture]) -> tuple[int, int]:
    """(found, of): the objects or best classes of float32, and how many 8 bits find again."""
    answers = []
    for precision in (FLOAT32, INT8):
        model.precision = precision
        answers.append([_answer(model, picture) for picture in pictures])
    again = [
        any(name == class_id and iou(box, other) >= AGAIN for name, other in after)
        for before, after in zip(*answers, strict=True)
        for class_id, box in before
    ]
    return sum(again), len(again)


def _answer(model: Model, picture: Picture) -> list[tuple[int, Array]]:
    if model.heads:
        objects = model.detect(picture)
        return list(zip(objects.class_id.tolist(), objects.xywh, strict=True))
    best = model.classification(picture, 1).predictions[0].class_id
    return [(best, np.array([0.5, 0.5, 1, 1], np.float32))]
