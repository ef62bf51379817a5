"""Run a network on black pictures: to time passes and layers, to compile kernels. Measure the machine's peak."""

import statistics
import time
from dataclasses import dataclass

import numpy as np

from ..errors import OptionError
from ..layers import INPUT
from ..layers.convolution.direct import TiledConvolution
from ..layers.convolution.geometry import Window
from ..model import load_model
from ..network.network import Network
from ..runtime.threads import threads
from ..tensor import Layout, Shape, Tensor
from ..training.learner import Learner
from ..utils.files import StrPath

DEFAULT = ("tiny.cfg", "yolov3-tiny.cfg", "yolov4-tiny.cfg", "toys.cfg")  # bundled, small, with all common layers
SAMPLES = 2  # pictures of a training step; the kernels are the same for any number
PEAK_SHAPE = Shape(256, 8, 21)  # 168 cells: full tiles on every machine; fits the cache of a core
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
    """The median time of layer `index`, or of INPUT. operations: of the whole batch."""

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
    timed = []
    for index in found[0]:
        layers = [] if index == INPUT else [network.layers[index], *network.layers[index].fused]
        operations = sum(layer.table_operations() or layer.operations(network.dialect) for layer in layers)
        seconds = statistics.median(times[index] for times in found)
        timed.append(LayerTime(index, seconds, float(network.batch * operations)))
    return timed


def peak() -> float:
    """Operations per second on all threads: the best run of a convolution in the caches."""
    rng, n = np.random.default_rng(0), PEAK_SHAPE.channels
    weights = rng.standard_normal((n, n, 1, 1), np.float32)
    plan = TiledConvolution(weights, np.ones(n, np.float32), np.zeros(n, np.float32), groups=1)
    batch = threads()  # one picture for each thread
    layout = Layout(batch, PEAK_SHAPE)
    x, y = Tensor(layout, rng.standard_normal(layout.size, np.float32)), Tensor(layout)
    convolve = plan.bind(x, y, Window(1, 1, 1, 0), np.float32(1), 0)
    operations = 2.0 * weights.size * PEAK_SHAPE.cells * batch
    convolve()
    best, end = float("inf"), time.perf_counter() + PEAK_SECONDS
    while (start := time.perf_counter()) < end:
        convolve()
        best = min(best, time.perf_counter() - start)
    return operations / best


def warm_up(cfg: StrPath, train: bool = False) -> float:
    """Run one forward pass, and with `train` a training step, so that every kernel of it is in the cache.

    Returns the seconds. Raises DarknetError.
    """
    start = time.perf_counter()
    model = load_model(cfg)
    model.forward(black_input(model))
    if train:
        train_once(cfg, batch=SAMPLES * model.config.net.positive("time_steps", 1))
    return time.perf_counter() - start


def train_once(
    cfg: StrPath, width: int | None = None, height: int | None = None, batch: int = SAMPLES,
    dialect: str = "auto",
) -> None:  # fmt: skip
    """One training step, with its update, on black pictures. Raises OptionError."""
    model = load_model(cfg, width=width, height=height, batch=batch, dialect=dialect)
    if not any(layer.has_loss for layer in model.layers):
        raise OptionError(f"{model.path}: has no layer with a loss; it cannot be trained")
    learner = Learner(model)
    learner.subdivisions = 1  # so that the first step is followed by an update
    truth = np.array([[0, 0.5, 0.5, 0.25, 0.25]], np.float32)  # one object in the middle
    if not model.heads:
        truth = np.eye(1, model.layers[model.output_index].shape.outputs, dtype=np.float32)[0]
    learner.step(black_input(model), [truth] * model.batch)
