"""An ONNX graph under construction: nodes, constants and tensors, without the onnx package; who writes which
layer.
"""

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


@dataclass
class Node:
    """One operator. An empty input name stands for an omitted optional input."""

    operator: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]


class Graph:
    """Nodes in order of computation."""

    def __init__(self, batch: int, any_size: bool = False) -> None:
        self.batch = batch  # the number of pictures; 0 for any number (`Tensor.reshape` then keeps the first axis)
        self.any_size = any_size  # whether only nodes of `Tensor.side` may depend on height and width of the input
        self.dtype: type[np.generic] = np.float32  # of new real constants, and of the tensors of the current layer
        self.layer = ""  # the prefix of the names of new nodes and constants
        self.outputs: dict[str, tuple[Side, ...]] = {}  # shapes by name
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self.other_order: dict[str, Tensor] = {}  # of a tensor's name: the same numbers as planes or as a vector
        self._small: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._given: dict[str, str] = {}

    @property
    def batch_side(self) -> Side:
        """The first side of inputs and outputs."""
        return self.batch or "batch"

    @property
    def size(self) -> int:
        """Bytes of all constants."""
        return sum(array.nbytes for array in self.constants.values())

    def _name(self, word: str) -> str:
        return f"{self.layer}/{word}_{len(self.nodes) + len(self.constants)}"

    def add(self, operator: str, *operands: Operand, count: int = 1, **attributes: Any) -> list[Tensor]:
        """Add a node with `count` outputs."""
        inputs = [each if isinstance(each, str) else self.tensor(each).name for each in operands]
        stem = self._name(operator)
        outputs = [stem] if count == 1 else [f"{stem}_{part}" for part in range(count)]
        self.nodes.append(Node(operator, inputs, outputs, attributes))
        return [Tensor(self, name) for name in outputs]

    def tensor(self, values: Tensor | Numbers, dtype: type[np.generic] | None = None) -> Tensor:
        """A tensor itself; numbers become a constant. Lists, such as shapes and positions, and other int64 stay
        that, all else gets `dtype` or the type of the graph. Raises UnsupportedError for a number too large for
        float16."""
        if isinstance(values, Tensor):
            return values
        whole = isinstance(values, list) or getattr(values, "dtype", None) == np.int64
        with np.errstate(over="ignore"):
            kind = np.int64 if whole else dtype or self.dtype
            array = np.ascontiguousarray(values, kind).reshape(np.shape(values))
        if array.dtype == np.float16 and not np.isfinite(array).all() and np.isfinite(values).all():
            raise UnsupportedError(
                f"it has a parameter of {np.abs(values).max():g}; expected at most 65504, as float16 can hold"
            )
        name = self._name("constant")
        if array.size <= SMALL:
            name = self._small.setdefault((array.dtype.str, array.shape, array.tobytes()), name)
        self.constants.setdefault(name, array)
        return Tensor(self, name)

    def set_output(self, tensor: Tensor, output: str, *shape: Side) -> None:
        """Rename a tensor to an output of the graph. One without a node, or an output already, is copied."""
        self.outputs[output] = shape
        if tensor.name not in self._given and any(tensor.name in node.outputs for node in self.nodes):
            self._given[tensor.name] = output
        else:
            self.nodes.append(Node("Identity", [tensor.name], [output], {}))

    def finished_nodes(self) -> list[Node]:
        """All nodes, with the final names of the outputs."""

        def final(names: list[str]) -> list[str]:
            return [self._given.get(name, name) for name in names]

        return [replace(node, inputs=final(node.inputs), outputs=final(node.outputs)) for node in self.nodes]


@dataclass(frozen=True)
class Tensor:
    """A tensor of a graph. What is computed from it becomes nodes; numbers among the operands become constants."""

    graph: Graph
    name: str

    def node(self, operator: str, *operands: Operand, **attributes: Any) -> Tensor:
        """The output of an operator on this tensor and further operands; "" omits an optional one."""
        return self.graph.add(operator, self, *operands, **attributes)[0]

    def __add__(self, other: Tensor | Numbers) -> Tensor:
        return self if _is_number(other, 0) else self.node("Add", other)

    def __sub__(self, other: Tensor | float) -> Tensor:
        return self.node("Sub", other) if isinstance(other, Tensor) else self + -other

    def __mul__(self, other: Tensor | Numbers) -> Tensor:
        return self if _is_number(other, 1) else self.node("Mul", other)

    def __truediv__(self, other: Tensor | Numbers) -> Tensor:
        return self.node("Div", other)

    def sigmoid(self) -> Tensor:
        """The logistic function."""
        return self.node("Sigmoid")

    def split(self, sizes: Sequence[int], axis: int) -> list[Tensor]:
        """Consecutive slices of the given sizes along an axis; the tensor itself for a single size."""
        return [self] if len(sizes) == 1 else self.graph.add("Split", self, [*sizes], count=len(sizes), axis=axis)

    def reshape(self, *shape: int) -> Tensor:
        """The tensor reshaped to (batch, *shape), where -1 stands for a side that follows from the others."""
        return self.node("Reshape", [self.graph.batch, *shape])

    def shaped(self, shape: Shape) -> Tensor:
        """The tensor reshaped to (batch, c, h, w)."""
        return self.reshape(shape.channels, shape.height, shape.width)

    def turned(self, *axes: int) -> Tensor:
        """The tensor with its axes in this order."""
        return self.node("Transpose", perm=[*axes])

    def pad(self, before: Sequence[int], after: Sequence[int], value: float = 0.0) -> Tensor:
        """Padded with `value` by `before` and `after` cells on each axis; the tensor itself for no padding."""
        if not any(before) and not any(after):
            return self
        filler = [self.graph.tensor(value)] if value else []
        return self.node("Pad", [*before, *after], *filler)

    def cut(self, slices: dict[int, slice]) -> Tensor:
        """The slices along the given axes."""
        parts = list(slices.values())
        steps = [part.step or 1 for part in parts]
        last = [self.graph.tensor(steps)] if max(steps) > 1 else []
        return self.node("Slice", [part.start or 0 for part in parts], [part.stop for part in parts], [*slices], *last)

    def side(self, axis: int) -> Tensor:
        """The size along an axis, a tensor (1,) of int64 that is computed when the graph runs."""
        return self.node("Shape").node("Gather", [axis])

    def cast(self, dtype: type[np.generic]) -> Tensor:
        """The tensor converted to another type."""
        return self.node("Cast", to=ONNX_TYPES[dtype])

    def unsqueezed(self, axis: int) -> Tensor:
        """The tensor with a further axis of size 1."""
        return self.node("Unsqueeze", [axis])


Numbers = float | list[int] | np.ndarray | np.generic
Operand = Tensor | Numbers | str


def _is_number(value: Tensor | Numbers, number: int) -> bool:
    return not isinstance(value, Tensor) and np.ndim(value) == 0 and bool(value == number)


def join(parts: Sequence[Tensor], axis: int) -> Tensor:
    """The concatenation of the parts along an axis; a single part itself."""
    return parts[0] if len(parts) == 1 else parts[0].node("Concat", *parts[1:], axis=axis)


@dataclass(frozen=True)
class Value:
    """A layer's output: a tensor (n, c, h, w), or (n, outputs) if `flat`."""

    tensor: Tensor
    shape: Shape
    flat: bool = False

    @property
    def graph(self) -> Graph:
        return self.tensor.graph

    def like(self, tensor: Tensor) -> Value:
        """Another tensor of the same shape and order."""
        return replace(self, tensor=tensor)

    def planes(self) -> Tensor:
        """The value as (n, c, h, w)."""
        return self._in_order(flat=False)

    def vector(self) -> Tensor:
        """The value as (n, outputs)."""
        return self._in_order(flat=True)

    def channels_first(self) -> Value:
        """The value with its channels on axis 1, reshaped only if needed."""
        return self if self.shape.cells == 1 else Value(self.planes(), self.shape)

    def _in_order(self, flat: bool) -> Tensor:
        x, known = self.tensor, self.graph.other_order
        if self.flat == flat:
            return x
        if x.name not in known:
            known[x.name] = x.reshape(self.shape.outputs) if flat else x.shaped(self.shape)
        return known[x.name]


# --- writers of layers ---

# A function that adds a layer to a graph, of the layer and the values of its sources; a tensor has the layer's shape.
Write = Callable[..., Value | Tensor]
# Whether the operators of a layer fit any size of its inputs, with their shapes at a larger size of the network.
AnySize = bool | Callable[[Any, Sequence[Shape]], bool]
WRITERS: dict[type[Layer], tuple[Write, AnySize]] = {}


def writes(*kinds: type[Layer], any_size: AnySize = True) -> Callable[[Write], Write]:
    """The decorator of the function that writes these classes of layers."""

    def enter(function: Write) -> Write:
        WRITERS.update(dict.fromkeys(kinds, (function, any_size)))
        return function

    return enter
