"""What one pass over a network needs: tensors, the steps that compute, and their calls of kernels."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from ..layers import INPUT, Layer
from ..runtime.program import Call, fuse_calls, pass_under_way
from ..tensor import Shape, Tensor
from ..utils.arrays import Array
from .memory_plan import Graph, allocate, find_steps, plan_tensors


@dataclass(frozen=True, repr=False)
class ExecutionPlan:
    """The memory and the calls of passes at one input size and batch.

    Layers are bound to the tensors of one plan: that of the last `make`. `run` and `read` belong under the network's
    lock. keeps_all: whether every layer's output can be read. tensors: of each layer's output, None where fusion or
    NCHW layers leave it out. steps: the layers that compute, in order. calls: what they do, those of kernels joined
    into programs. stateful: the steps that keep a state from pass to pass.
    """

    graph: Graph
    shape: Shape
    batch: int
    keeps_all: bool
    input: Tensor
    tensors: Sequence[Tensor | None]
    steps: Sequence[Layer]
    calls: Sequence[Call]
    stateful: Sequence[Layer]

    @classmethod
    def make(
        cls, layers: Sequence[Layer], shape: Shape, batch: int, output: int, precision: str, keep_all: bool
    ) -> ExecutionPlan:
        """Lay out memory, and set the layers up for it. output: the layer that gives the network's.

        Raises ShapeError where the machine has too little memory.
        """
        for layer in layers:
            layer.training = False  # dropout passes on what it reads
        graph = Graph(layers, shape, output)
        steps = find_steps(graph, fuse=not keep_all)
        tensors = allocate(plan_tensors(graph, batch, steps, keep_all))
        for index, layer in enumerate(layers):
            sources = [layers[owner] for owner in graph.sources(index) if owner != INPUT]
            layer.set_precision(precision, sources, [layers[i] for i in graph.readers[index]])
        computing = []
        for step in steps:
            layer, *after = (layers[i] for i in step.layers)
            layer.fused = after
            layer.setup([tensors[source] for source in step.sources], tensors.get(step.output))
            computing.append(layer)
        return cls(
            graph, shape, batch, keep_all, tensors[INPUT],
            [tensors.get(graph.owner(index)) for index in range(len(layers))],
            computing, _calls_of(computing), [layer for layer in computing if layer.state_dict()],
        )  # fmt: skip

    def with_new_parameters(self) -> ExecutionPlan:
        """The same plan, for which layers pack what they derive from parameters anew."""
        return replace(self, calls=_calls_of(self.steps))

    def run(self, x: Array) -> None:
        """One pass for contiguous x, float32."""
        with self._pass(x):
            for call in self.calls:
                call()

    def run_timed(self, x: Array) -> list[float]:
        """The seconds of filling `input`, then those of each step."""
        clock = [time.perf_counter()]
        with self._pass(x):
            clock.append(time.perf_counter())
            for layer in self.steps:
                layer.forward()
                clock.append(time.perf_counter())
        return [after - before for before, after in pairwise(clock)]

    @contextlib.contextmanager
    def _pass(self, x: Array) -> Iterator[None]:
        """If it is interrupted, as by Ctrl-C, the layers keep the state from before it."""
        with pass_under_way():
            states = [{name: array.copy() for name, array in layer.state_dict().items()} for layer in self.stateful]
            try:
                self.input.fill(x)
                yield
            except BaseException:
                for layer, state in zip(self.stateful, states, strict=True):
                    layer.load_state_dict(state)
                raise
            finally:
                self.input.release()

    def read(self, index: int) -> Array:
        """A copy of what layer `index` gave: (n, c, h, w), or (n, outputs) where the layer's order is not channel by
        channel or has one cell a channel."""
        layer, tensor, owner = self.graph.layers[index], self.tensors[index], self.graph.owner(index)
        kept: Any = None if owner == INPUT else self.graph.layers[owner]
        if kept is not None and kept.keeps_nchw_output:
            values = kept.values.copy()
        else:
            assert tensor is not None
            values = tensor.plain()
        if layer.order_is_nchw and layer.shape.cells > 1:
            return values.reshape(self.batch, layer.shape.channels, layer.shape.height, layer.shape.width)
        return values


def _calls_of(steps: Sequence[Layer]) -> list[Call]:
    return fuse_calls([call for layer in steps for call in layer.calls()])
