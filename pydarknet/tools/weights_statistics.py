"""Parameters to print: the rows of filters, and darknet's statistics of layers with batch normalisation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..errors import OptionError
from ..layers.connected import Connected
from ..layers.convolution.convolutional import Convolutional
from ..layers.recurrent.rnn import Gru, Lstm
from ..network.network import Network
from ..utils.arrays import Array


def filter_rows(network: Network, index: int) -> Array:
    """The weights of layer `index` before folding, (filters, channels * size * size) float32. Raises OptionError."""
    if not 0 <= index < len(network.layers):
        raise OptionError(f"layer {index}: expected a number from 0 to {len(network.layers) - 1}")
    layer = network.layers[index]
    if not isinstance(layer, Convolutional):
        raise OptionError(f"layer {index} is [{layer.kind}]; expected [convolutional]")
    return layer.weights.reshape(layer.filters, -1)


# (name, root of the mean of squares, mean, variance) of one array
Moments = tuple[str, float, float, float]
GATE_TITLES = {"uz": "Input Z", "ur": "Input R", "uh": "Input H", "wz": "State Z", "wr": "State R", "wh": "State H"}
LSTM_GATES = ("wf", "wi", "wg", "wo", "uf", "ui", "ug", "uo")


def statistics(network: Network) -> Iterator[list[tuple[str, list[Moments]]]]:
    """For each layer, titles with the moments of scales, biases and weights.

    Only `[connected]`, `[gru]` and, in AlexeyAB's darknet, `[lstm]` with batch normalisation have any.
    """
    of_lstm = network.dialect.tools_know_lstm
    for index, layer in enumerate(network.layers):
        found: list[tuple[str, list[Moments]]] = []
        if isinstance(layer, Connected) and layer.norm:
            found = [(f"Connected Layer {index}", part_moments(layer))]
        elif isinstance(layer, Gru) and layer.section.flag("batch_normalize"):
            found = [(f"GRU Layer {index}", [])]
            found += [(title, part_moments(layer.parts[gate])) for gate, title in GATE_TITLES.items()]
        elif isinstance(layer, Lstm) and layer.section.flag("batch_normalize") and of_lstm:
            found = [(f"LSTM Layer {index}", []), *((gate, part_moments(layer.parts[gate])) for gate in LSTM_GATES)]
        yield found


def part_moments(part: Connected) -> list[Moments]:
    """The moments of the scales, of the biases and, as in darknet, of the first weights, one per output."""
    assert part.norm is not None
    arrays = {
        "Scales": part.norm.scales,
        "Biases": part.biases,
        "Weights": part.weights.reshape(-1)[: part.biases.size],
    }
    return [(name, *moments(array)) for name, array in arrays.items()]


def moments(values: Array) -> tuple[float, float, float]:
    """Root mean square, mean and variance of the values."""
    wide = values.astype(np.float64)
    return float(np.sqrt((wide**2).mean())), float(wide.mean()), float(wide.var())
