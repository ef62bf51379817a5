"""Measure a network: whole passes, each layer, and the machine's peak."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy as np

from ..layers import INPUT
from ..layers.convolution.direct import TiledConvolution
from ..layers.convolution.geometry import Window
from ..network.network import Network
from ..runtime.threads import threads
from ..tensor import Layout, Shape, Tensor

PEAK_CHANNELS, PEAK_FILTERS = 256, 256
PEAK_SHAPE = Shape(PEAK_CHANNELS, 8, 21)  # 168 cells: full tiles on every machine; fits the cache of a core
PEAK_SECONDS = 0.3  # of measuring


def black_input(network: Network) -> np.ndarray:
    """darknet's input for measurements: zeros, (batch, channels, height, width) float32."""
    return np.zeros((network.batch, *network.input_shape), np.float32)


def time_passes(network: Network, passes: int) -> float:
    """The seconds of `passes` forward passes, after one that allocates memory."""
    x = black_input(network)
    network.forward(x)
    start = time.perf_counter()
    for _ in range(passes):
        network.forward(x)
    return time.perf_counter() - start


@dataclass(frozen=True)
class LayerTime:
    """The median time of a layer. index: the layer's, or INPUT for converting the picture to the engine's layout.

    operations: floating-point operations of the direct algorithm for the whole batch.
    """

    index: int
    seconds: float
    operations: float

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds if self.seconds > 0 else 0.0


def time_layers(network: Network, passes: int) -> list[LayerTime]:
    """The time of each layer, median of `passes` forward passes, in the order of the network."""
    x = black_input(network)
    network.forward(x)
    found = [network.layer_seconds(x) for _ in range(passes)]
    medians = {index: statistics.median(times[index] for times in found) for index in found[0]}
    timed = []
    for index, seconds in medians.items():
        layers = [] if index == INPUT else [network.layers[index], *network.layers[index].fused]
        operations = sum(layer.table_operations() or layer.operations(network.dialect) for layer in layers)
        timed.append(LayerTime(index, seconds, float(network.batch * operations)))
    return timed


def peak() -> float:
    """Floating-point operations per second of the direct micro-kernel on all threads: the best of many runs of a 1x1
    convolution whose data fit into the caches of the cores."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((PEAK_FILTERS, PEAK_CHANNELS, 1, 1), np.float32)
    ones, zeros = np.ones(PEAK_FILTERS, np.float32), np.zeros(PEAK_FILTERS, np.float32)
    plan = TiledConvolution(weights, ones, zeros, groups=1, lanes=16)
    batch = threads()  # one picture for each thread
    x = Tensor(Layout(batch, PEAK_SHAPE), rng.standard_normal(Layout(batch, PEAK_SHAPE).size, np.float32))
    y = Tensor(Layout(batch, Shape(PEAK_FILTERS, PEAK_SHAPE.height, PEAK_SHAPE.width)))
    convolve = plan.bind(x, y, Window(1, 1, 1, 0), np.float32(1), 0)
    operations = 2.0 * weights.size * PEAK_SHAPE.cells * batch
    convolve()
    best, end = float("inf"), time.perf_counter() + PEAK_SECONDS
    while (start := time.perf_counter()) < end:
        convolve()
        best = min(best, time.perf_counter() - start)
    return operations / best
