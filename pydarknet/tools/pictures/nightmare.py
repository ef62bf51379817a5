"""darknet's `nightmare`: gradient ascent on a picture, which amplifies the output of a layer."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...datasets.augment import Rng, coin
from ...errors import OptionError
from ...images.image import CHW, crop, resize
from ...images.operations import mirrored, rotated, standardised
from ...layers import INPUT
from ...layers.convolution.direct import FLOAT32
from ...network.memory_plan import Graph, allocate, find_steps, plan_tensors
from ...network.network import Network
from ...tensor import Layout, Shape, Tensor
from ...utils.arrays import Array

OCTAVE = 1.33333333  # ratio of the sizes of two octaves
JITTER = 8  # pixels by which the picture is shifted, at most
TO_GREY = np.float32(0.1)  # the fraction of the distance from grey that each step removes


class InputGradient:
    """Forward and backward pass of layers 0 to `last` at one input size, to the gradient of the input.

    The forward pass uses the rolling statistics of batch normalisation; as in darknet's `nightmare`, the
    backward pass treats them as those of the picture. The network's parameters do not change. Raises
    OptionError, ShapeError.
    """

    def __init__(self, network: Network, last: int, width: int, height: int) -> None:
        if not 0 <= last < len(network.layers):
            raise OptionError(f"layer {last}: expected a number from 0 to {len(network.layers) - 1}")
        if network.precision != FLOAT32:
            raise OptionError(f"precision {network.precision}: gradients are always in {FLOAT32}")
        self.layers, self._network = network.layers[: last + 1], network
        self._shape = Shape(network.input.channels, height, width)
        network.invalidate()
        for layer in self.layers:
            layer.training = False  # no dropout and no random crops
            layer.reshape([self._shape if s == INPUT else self.layers[s].shape for s in layer.sources], 1)
            for part in getattr(layer, "parts", {"": layer}).values():
                if getattr(part, "norm", None) is not None:
                    part.norm.frozen = True
        graph = Graph(self.layers, self._shape, last)
        self._owner = graph.output_owner
        if self._owner == INPUT:
            where = f"layer {last} [{self.layers[last].kind}]"
            raise OptionError(f"{where} passes the input on unchanged; expected a layer that computes")
        self._steps = [layer for layer in self.layers if not layer.is_alias]
        with network.held():
            steps = find_steps(graph, fuse=False)
            tensors = allocate(plan_tensors(graph, 1, steps, keep_all=True, four_lanes=False))
            self._deltas = {index: Tensor(Layout(1, tensor.shape)) for index, tensor in tensors.items()}
            self._input, self._output = tensors[INPUT], tensors.get(self._owner)
            for index, layer in enumerate(self.layers):
                if not layer.is_alias:
                    layer.overwrites, sources = False, graph.sources(index)
                    layer.setup([tensors[source] for source in sources], tensors.get(index))
                    layer.setup_training([self._deltas[source] for source in sources], self._deltas.get(index))

    def forward(self, x: Array) -> Array:
        """The output of the last layer, (outputs,) float32, for x (channels, height, width)."""
        with self._network.held():
            self._input.fill(np.ascontiguousarray(x, np.float32))
            for layer in self._steps:
                layer.forward_training()
            if self._output is not None:
                return self._output.plain()[0]
            return self.layers[self._owner].values[0].copy()  # type: ignore[attr-defined]

    def backward(self, delta: Array) -> Array:
        """The delta of the input, (channels, height, width), from the delta of the output, (outputs,)."""
        with self._network.held():
            for tensor in self._deltas.values():
                tensor.data.fill(0)
            wanted = np.ascontiguousarray(delta, np.float32).reshape(1, -1)
            if self._owner in self._deltas:
                self._deltas[self._owner].fill(wanted)
            else:
                self.layers[self._owner].value_deltas[:] = wanted  # type: ignore[attr-defined]
            for layer in reversed(self._steps):
                layer.backward()
            return self._deltas[INPUT].plain().reshape(self._shape.channels, self._shape.height, self._shape.width)


@dataclass(frozen=True)
class Dream:
    """The options of `nightmare`, under darknet's names."""

    layer: int  # whose output is amplified
    range: int = 1  # layers around it, of which each step chooses one at random
    iters: int = 10  # steps of a round
    octaves: int = 4  # sizes, of which each step chooses one at random
    rate: float = 0.04  # step size
    thresh: float = 1.0  # outputs below mean + thresh * standard deviation are ignored
    norm: bool = True  # standardise the change
    zoom: float = 1.0  # the middle of the picture that is the next round's
    rotate: float = 0.0  # angle in radians by which the picture is rotated after a round

    def check(self, network: Network) -> None:
        """Raise OptionError for layers that do not exist."""
        first = self.layer - self.range // 2
        if first < 0 or first + self.range > len(network.layers):
            wanted = f"layers {first} to {first + self.range - 1}"
            raise OptionError(f"{wanted}: {network.path} has layers 0 to {len(network.layers) - 1}")

    def round(self, network: Network, picture: CHW, rng: Rng) -> Iterator[CHW]:
        """The picture, (channels, height, width) in 0..1, after each of `iters` steps."""
        self.check(network)
        for _ in range(self.iters):
            layer = self.layer + int(rng.integers(self.range)) - self.range // 2
            scale = 1 / OCTAVE ** int(rng.integers(self.octaves))
            dx, dy = (int(rng.integers(2 * JITTER)) - JITTER for _ in range(2))
            picture = self.step(network, picture, layer, scale, dx, dy, coin(rng))
            yield picture

    def step(self, network: Network, picture: CHW, layer: int, scale: float, dx: int, dy: int, mirror: bool) -> CHW:
        """One step: the gradient is taken at another size, shifted by (dx, dy) and perhaps mirrored."""
        _, height, width = picture.shape
        small = np.float32(scale)
        shown = resize(crop(picture, dx, dy, width, height), int(width * small), int(height * small))
        gradient = InputGradient(network, layer, shown.shape[2], shown.shape[1])
        change = gradient.backward(self.output_delta(gradient.forward(mirrored(shown) if mirror else shown)))
        change = resize(mirrored(change) if mirror else change, width, height)
        change = crop(change, -dx, -dy, width, height) + TO_GREY * (np.float32(0.5) - picture)
        if self.norm:
            change = standardised(change)
        return np.clip(picture + np.float32(self.rate) * change, 0, 1)

    def output_delta(self, output: Array) -> Array:
        """The delta of an output: the output itself where it is above the threshold, else 0."""
        wide = output.astype(np.float64)
        return np.where(output > wide.mean() + self.thresh * wide.std(), output, np.float32(0))

    def next_start(self, picture: CHW) -> CHW:
        """The start of the next round: the picture rotated and zoomed."""
        _, height, width = picture.shape
        if self.rotate:
            picture = rotated(picture, self.rotate)
        left, top = (int(side * (1 - self.zoom) / 2) for side in (width, height))
        inner = max(1, int(width * self.zoom)), max(1, int(height * self.zoom))
        return resize(crop(picture, left, top, *inner), width, height)
