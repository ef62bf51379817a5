"""The way back to the picture: which change of the input changes a layer's output as wanted."""

from __future__ import annotations

import numpy as np

from ...errors import OptionError
from ...layers import INPUT
from ...layers.convolution.bf16 import FLOAT32
from ...network.fusion import Graph
from ...network.memory_plan import allocate, plan_tensors
from ...network.network import Network
from ...tensor import Array, Layout, Shape, Tensor


class InputGradient:
    """Layers 0 to `last` of a network at one input size, forward with rolling statistics and back to the input.

    As in darknet's `nightmare`, the way back treats these statistics as if they were the picture's own. The network's
    parameters stay; it is set up anew, and for its next pass in another way again.
    """

    def __init__(self, network: Network, last: int, width: int, height: int) -> None:
        """Lay out memory. Raises OptionError, ShapeError."""
        if not 0 <= last < len(network.layers):
            raise OptionError(f"layer {last}: expected a number from 0 to {len(network.layers) - 1}")
        if network.precision != FLOAT32:
            raise OptionError(f"precision {network.precision}: gradients are always in {FLOAT32}")
        self.layers, self._lock = network.layers[: last + 1], network.lock
        self._shape = Shape(network.input.channels, height, width)
        network.invalidate()
        for layer in self.layers:
            layer.training = False  # nothing is left to chance
            inputs = [self._shape if s == INPUT else self.layers[s].shape for s in layer.sources]
            layer.reshape(inputs, 1)
            for part in getattr(layer, "parts", {"": layer}).values():
                if getattr(part, "norm", None) is not None:
                    part.norm.frozen = True
        graph = Graph(self.layers, self._shape, last)
        self._owner = graph.output_owner
        if self._owner == INPUT:
            raise OptionError(f"layer {last} [{self.layers[last].kind}] only gives on the input")
        with self._lock:
            self._prepare(graph)

    def _prepare(self, graph: Graph) -> None:
        tensors = allocate(plan_tensors(graph, 1, {}, keep_all=True, four_lanes=False))
        self._deltas = {index: Tensor(Layout(1, tensor.shape)) for index, tensor in tensors.items()}
        self._input, self._output = tensors[INPUT], tensors.get(self._owner)
        self._steps = [layer for layer in self.layers if not layer.is_alias]
        for index, layer in enumerate(self.layers):
            if layer.is_alias:
                continue
            layer.overwrites = False
            sources = graph.sources(index)
            layer.setup([tensors[source] for source in sources], tensors.get(index))
            layer.setup_training([self._deltas[source] for source in sources], self._deltas.get(index))

    def forward(self, x: Array) -> Array:
        """The output of the last layer, (outputs,), for x (channels, height, width)."""
        with self._lock:
            self._input.fill(np.ascontiguousarray(x, np.float32))
            for layer in self._steps:
                layer.forward_training()
            if self._output is not None:
                return self._output.plain()[0]
            return self.layers[self._owner].values[0].copy()  # type: ignore[attr-defined]

    def backward(self, delta: Array) -> Array:
        """(channels, height, width) of the input's delta, from that of the output, (outputs,)."""
        with self._lock:
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
