"""An ONNX graph under construction: nodes and constants by name, without the onnx package; who writes which layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..layers.base import Layer
from ..tensor import Shape

OPSET, IR_VERSION = 17, 8  # for ONNX Runtime 1.12 and newer
LARGEST_FILE = (1 << 31) - (1 << 20)  # bytes; the limit of protobuf is 2 GiB
ONNX_TYPES = {np.float32: 1, np.int64: 7, np.float16: 10}  # the numbers of onnx.TensorProto
SMALL = 64  # numbers; equal constants of at most this size are stored once

Side = int | str  # of an input or output: a number, or a name for one that depends on the input


class UnsupportedError(Exception):
    """A layer that cannot be exported, with the reason."""


@dataclass(frozen=True)
class Value:
    """A layer's output: an ONNX tensor (n, c, h, w), or (n, outputs) if `flat`."""

    name: str
    shape: Shape
    flat: bool = False

    def called(self, name: str) -> Value:
        """Another tensor of the same shape and order."""
        return replace(self, name=name)


@dataclass
class Node:
    """One operator. An empty input name stands for an omitted optional input."""

    operator: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]


class Graph:
    """Nodes in order of computation.

    layer        the prefix of the names of new nodes and constants
    batch        the number of pictures; 0 for any number (`reshape` then keeps the first axis)
    any_size     whether the input may have any size; then only nodes of `side` may depend on height and width
    dtype        the type of new real constants, and of the tensors of the current layer
    outputs      the shapes of the outputs by name
    """

    def __init__(self, batch: int, any_size: bool = False) -> None:
        self.batch, self.any_size = batch, any_size
        self.dtype: type[np.generic] = np.float32
        self.layer = ""
        self.outputs: dict[str, tuple[Side, ...]] = {}
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self._small: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._other_order: dict[str, str] = {}
        self._given: dict[str, str] = {}

    @property
    def batch_side(self) -> Side:
        """The first side of inputs and outputs."""
        return self.batch or "batch"

    # --- building ----------------------------------------------------------------------------------------------------

    def _name(self, word: str) -> str:
        return f"{self.layer}/{word}_{len(self.nodes) + len(self.constants)}"

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output. Returns the output's name."""
        output = self._name(operator)
        self.nodes.append(Node(operator, list(inputs), [output], attributes))
        return output

    def add_several(self, operator: str, inputs: Sequence[str], count: int, **attributes: Any) -> list[str]:
        """Add a node with `count` outputs. Returns their names."""
        stem = self._name(operator)
        outputs = [f"{stem}_{part}" for part in range(count)]
        self.nodes.append(Node(operator, list(inputs), outputs, attributes))
        return outputs

    def split(self, x: str, sizes: Sequence[int], axis: int) -> list[str]:
        """Consecutive slices of the given sizes along an axis; x itself for a single size."""
        if len(sizes) == 1:
            return [x]
        return self.add_several("Split", [x, self.integers(sizes)], len(sizes), axis=axis)

    def join(self, parts: Sequence[str], axis: int) -> str:
        """The concatenation of the parts along an axis; a single part itself."""
        return parts[0] if len(parts) == 1 else self.add("Concat", *parts, axis=axis)

    def constant(self, values: Any, dtype: type[np.generic] | None = None) -> str:
        """Add a constant array of real numbers, or of another type. Returns its name. Raises UnsupportedError for a
        number too large for float16."""
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(values, dtype or self.dtype).reshape(np.shape(values))
        if array.dtype == np.float16 and not np.isfinite(array).all() and np.isfinite(values).all():
            raise UnsupportedError(
                f"it has a parameter of {np.abs(values).max():g}; expected at most 65504, as float16 can hold"
            )
        name = self._name("constant")
        if array.size <= SMALL:
            name = self._small.setdefault((array.dtype.str, array.shape, array.tobytes()), name)
        self.constants.setdefault(name, array)
        return name

    def integers(self, values: Sequence[int]) -> str:
        """Add a 1-D int64 constant, as operators take shapes, sizes and positions."""
        return self.constant(list(values), np.int64)

    def times(self, x: str, factor: float) -> str:
        """x * factor; x itself if the factor is 1."""
        return x if factor == 1 else self.add("Mul", x, self.constant(factor))

    def plus(self, x: str, term: float) -> str:
        """x + term; x itself if the term is 0."""
        return x if term == 0 else self.add("Add", x, self.constant(term))

    def reshape(self, x: str, *shape: int) -> str:
        """x reshaped to (batch, *shape), where -1 stands for a side that follows from the others."""
        return self.add("Reshape", x, self.integers([self.batch, *shape]))

    def shaped(self, x: str, shape: Shape) -> str:
        """x reshaped to (batch, c, h, w)."""
        return self.reshape(x, shape.channels, shape.height, shape.width)

    def pad(self, x: str, before: Sequence[int], after: Sequence[int], value: float = 0.0) -> str:
        """x padded with `value` by `before` and `after` cells on each axis; x itself for no padding."""
        if not any(before) and not any(after):
            return x
        filler = [self.constant(value)] if value else []
        return self.add("Pad", x, self.integers([*before, *after]), *filler)

    def cut(self, x: str, slices: dict[int, slice]) -> str:
        """The slices of x along the given axes."""
        parts = list(slices.values())
        steps = [part.step or 1 for part in parts]
        bounds = [part.start or 0 for part in parts], [part.stop for part in parts], list(slices)
        last = [self.integers(steps)] if max(steps) > 1 else []
        return self.add("Slice", x, *map(self.integers, bounds), *last)

    def side(self, x: str, axis: int) -> str:
        """The size of x along an axis, a tensor (1,) of int64 that is computed when the graph runs."""
        return self.add("Gather", self.add("Shape", x), self.integers([axis]))

    def cast(self, x: str, dtype: type[np.generic]) -> str:
        """x converted to another type."""
        return self.add("Cast", x, to=ONNX_TYPES[dtype])

    def planes(self, value: Value) -> str:
        """The value as (n, c, h, w)."""
        return self._in_order(value, flat=False)

    def vector(self, value: Value) -> str:
        """The value as (n, outputs)."""
        return self._in_order(value, flat=True)

    def channels_first(self, value: Value) -> Value:
        """The value with its channels on axis 1, reshaped only if needed."""
        return value if value.shape.cells == 1 else Value(self.planes(value), value.shape)

    def _in_order(self, value: Value, flat: bool) -> str:
        name, shape = value.name, value.shape
        if value.flat == flat:
            return name
        if name not in self._other_order:
            self._other_order[name] = self.reshape(name, shape.outputs) if flat else self.shaped(name, shape)
        return self._other_order[name]

    # --- finishing ---------------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Bytes of all constants."""
        return sum(array.nbytes for array in self.constants.values())

    def set_output(self, tensor: str, output: str, *shape: Side) -> None:
        """Make a tensor an output of the graph by renaming it. A tensor without a node, or one that is an output
        already, is copied."""
        self.outputs[output] = shape
        if tensor not in self._given and any(tensor in node.outputs for node in self.nodes):
            self._given[tensor] = output
        else:
            self.nodes.append(Node("Identity", [tensor], [output], {}))

    def finished_nodes(self) -> list[Node]:
        """All nodes, with the final names of the outputs."""

        def final(names: list[str]) -> list[str]:
            return [self._given.get(name, name) for name in names]

        return [replace(node, inputs=final(node.inputs), outputs=final(node.outputs)) for node in self.nodes]


# --- writers of layers -----------------------------------------------------------------------------------------------

# A function that adds a layer to a graph, from the values of its sources; a name alone has the layer's shape.
Write = Callable[[Graph, Any, list[Value]], Value | str]
# Whether the operators of a layer fit any size of its inputs, with their shapes at a larger size of the network.
AnySize = bool | Callable[[Any, Sequence[Shape]], bool]
WRITERS: dict[type[Layer], tuple[Write, AnySize]] = {}


def writes(*kinds: type[Layer], any_size: AnySize = True) -> Callable[[Write], Write]:
    """The decorator of the function that writes these classes of layers."""

    def enter(function: Write) -> Write:
        WRITERS.update(dict.fromkeys(kinds, (function, any_size)))
        return function

    return enter
