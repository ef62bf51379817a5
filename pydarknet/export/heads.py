"""`[softmax]` and the detection heads as ONNX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from ..config.names import WordTree
from ..layers.heads.detection import DetectionHead
from ..layers.heads.region import Region
from ..layers.heads.yolo import Yolo
from ..layers.softmax import Softmax
from .graph import Graph, Value

Function = Callable[[Graph, str], str]


def _tree_softmax(graph: Graph, x: str, tree: WordTree, axis: int) -> str:
    """A softmax over each group of siblings."""
    parts = graph.split(x, [end - first for first, end in tree.groups], axis)
    return graph.join([graph.add("Softmax", part, axis=axis) for part in parts], axis)


def softmax(graph: Graph, layer: Softmax, inputs: list[Value]) -> Value:
    if layer.tree is not None:
        return Value(_tree_softmax(graph, graph.vector(inputs[0]), layer.tree, axis=1), layer.shape, flat=True)
    if layer.spatial:
        x = graph.times(graph.planes(inputs[0]), 1 / layer.temperature)
        return Value(graph.add("Softmax", x, axis=1), layer.shape)
    x = graph.times(graph.vector(inputs[0]), 1 / layer.temperature)
    if layer.groups == 1:
        return Value(graph.add("Softmax", x, axis=1), layer.shape, flat=True)
    outputs = layer.shape.outputs
    grouped = graph.add("Softmax", graph.reshape(x, layer.groups, outputs // layer.groups), axis=2)
    return Value(graph.reshape(grouped, outputs), layer.shape, flat=True)


def _raw(graph: Graph, x: str) -> str:
    return x


def _sigmoid(graph: Graph, x: str) -> str:
    return graph.add("Sigmoid", x)


def by_anchor(graph: Graph, value: Value, anchors: int, entries: int) -> str:
    """The planes that a head reads, as (n, anchors, entries, cells)."""
    return graph.reshape(graph.planes(value), anchors, entries, -1 if graph.any_size else value.shape.cells)


def _by_entry(graph: Graph, value: Value, anchors: int, functions: Sequence[Function]) -> str:
    """(n, anchors, entries, cells) with a function applied to each entry. Adjacent entries of one function share a
    node."""
    x = by_anchor(graph, value, anchors, len(functions))
    runs = [(function, len(list(entries))) for function, entries in groupby(functions)]
    parts = graph.split(x, [count for _, count in runs], axis=2)
    return graph.join([function(graph, part) for (function, _), part in zip(runs, parts, strict=True)], axis=2)


def _as_planes(graph: Graph, entries: str, value: Value) -> Value:
    """(n, anchors, entries, cells) in the shape of the head's input."""
    if graph.any_size:
        return Value(graph.add("Reshape", entries, graph.add("Shape", graph.planes(value))), value.shape)
    shape = value.shape
    return Value(graph.reshape(entries, shape.channels, shape.height, shape.width), shape)


def scaled_centre(graph: Graph, x: str, scale: float) -> str:
    """Centres of boxes, scaled about the middle of their cell by scale_x_y."""
    return graph.plus(graph.times(x, scale), -0.5 * (scale - 1))


def yolo(graph: Graph, layer: Yolo, inputs: list[Value]) -> Value:
    """Both kinds of yolo head; they differ in the order of their entries."""
    functions = [_raw] * layer.entries
    for first, count in layer.logistic_entries() if not layer.new_coords else ():
        functions[first : first + count] = [_sigmoid] * count
    if layer.scale_x_y != 1.0:
        inner = functions[0]

        def centre(graph: Graph, x: str) -> str:
            return scaled_centre(graph, inner(graph, x), layer.scale_x_y)

        for entry in layer.centre_entries():
            functions[entry] = centre
    if all(function is _raw for function in functions):
        return inputs[0]
    return _as_planes(graph, _by_entry(graph, inputs[0], len(layer.mask), functions), inputs[0])


def region(graph: Graph, layer: Region, inputs: list[Value]) -> Value:
    shape, objectness = layer.shape, layer.coords
    functions = [_raw] * layer.entries
    if not layer.by_cell:
        functions[:2] = [_sigmoid] * 2
    if not layer.background:
        functions[objectness] = _sigmoid
    tree = layer.tree
    first = objectness if layer.background and tree is None and layer.softmax else objectness + 1

    def over_classes(graph: Graph, x: str) -> str:
        return graph.add("Softmax", x, axis=2) if tree is None else _tree_softmax(graph, x, tree, axis=2)

    if tree is not None or layer.softmax:
        functions[first:] = [over_classes] * (layer.entries - first)
    elif not layer.by_cell:
        functions[first:] = [_sigmoid] * (layer.entries - first)
    entries = _by_entry(graph, inputs[0], len(layer.anchors), functions)
    if not layer.by_cell:
        return _as_planes(graph, entries, inputs[0])
    by_cell = graph.add("Transpose", entries, perm=[0, 3, 1, 2])
    return Value(graph.reshape(by_cell, -1 if graph.any_size else shape.outputs), shape, flat=True)


def detection(graph: Graph, layer: DetectionHead, inputs: list[Value]) -> Value:
    if not layer.softmax:
        return inputs[0]
    cells, outputs = layer.side**2, layer.shape.outputs
    count = cells * layer.classes
    classes, rest = graph.split(graph.vector(inputs[0]), [count, outputs - count], axis=1)
    classes = graph.add("Softmax", graph.reshape(classes, cells, layer.classes), axis=2)
    return Value(graph.join([graph.reshape(classes, count), rest], axis=1), layer.shape, flat=True)
