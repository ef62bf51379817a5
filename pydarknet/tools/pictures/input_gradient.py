"""The way back to the picture: which change of the input changes a layer's output as wanted."""

from __future__ import annotations

import numpy as np

from ...errors import OptionError
from ...layers import INPUT
from ...layers.convolution.bf16 import FLOAT32
from ...network.memory_plan import lay_out, owner_of
from ...network.network import ONE_AT_A_TIME, Network
from ...tensor import Layout, Shape, Tensor
from ...utils.arrays import Array


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
        self.layers = network.layers[: last + 1]
        self._shape = Shape(network.input.channels, height, width)
        for layer in self.layers:
            layer.training = False  # nothing is left to chance
            inputs = [self._shape if s == INPUT else self.layers[s].shape for s in layer.sources]
            layer.reshape(inputs, 1)
            for part in getattr(layer, "parts", {"": layer}).values():
                if getattr(part, "norm", None) is not None:
                    part.norm.frozen = True
        self._owner = owner_of(self.layers, last)
        if self._owner == INPUT:
            raise OptionError(f"layer {last} [{self.layers[last].kind}] only gives on the input")
        with ONE_AT_A_TIME:
            self._prepare(last)

    def _prepare(self, last: int) -> None:
        tensors = lay_out(self.layers, self._shape, 1, last, keep_all=True, thin=False)
        self._deltas = {index: Tensor(Layout(1, tensor.shape)) for index, tensor in tensors.items()}
        self._input, self._output = tensors[INPUT], tensors.get(self._owner)
        self._steps = [layer for layer in self.layers if not layer.is_alias]
        for index, layer in enumerate(self.layers):
            if layer.is_alias:
                continue
            layer.overwrites = False
            sources = [owner_of(self.layers, source) for source in layer.sources]
            layer.setup([tensors[source] for source in sources], tensors.get(index))
            layer.setup_training([self._deltas[source] for source in sources], self._deltas.get(index))

    def forward(self, x: Array) -> Array:
        """The output of the last layer, (outputs,), for x (channels, height, width)."""
        with ONE_AT_A_TIME:
            self._input.fill(np.ascontiguousarray(x, np.float32))
            for layer in self._steps:
                layer.forward_training()
            if self._output is not None:
                return self._output.plain()[0]
            return self.layers[self._owner].values[0].copy()  # type: ignore[attr-defined]

    def backward(self, delta: Array) -> Array:
        """(channels, height, width) of the input's delta, from that of the output, (outputs,)."""
        with ONE_AT_A_TIME:
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
