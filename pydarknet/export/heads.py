"""`[softmax]` and the detection heads as ONNX: their outputs, and boxes decoded from their inputs."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from ..config.names import WordTree
from ..layers.heads.base import Head, grid_indices
from ..layers.heads.detection import DetectionHead
from ..layers.heads.region import Region
from ..layers.heads.yolo import GaussianYolo, Yolo
from ..layers.losses import Softmax
from .graph import Graph, UnsupportedError, Value, writes

Function = Callable[[Graph, str], str]

BEFORE_CLASSES = 5  # rows of a decoded tensor: centre x, centre y, width, height, objectness


def _raw(graph: Graph, x: str) -> str:
    return x


def _sigmoid(graph: Graph, x: str) -> str:
    return graph.add("Sigmoid", x)


def _softmax_of(axis: int, tree: WordTree | None = None) -> Function:
    """A softmax along an axis, over each group of siblings if there is a tree."""

    def function(graph: Graph, x: str) -> str:
        parts = graph.split(x, [end - first for first, end in tree.groups], axis) if tree is not None else [x]
        return graph.join([graph.add("Softmax", part, axis=axis) for part in parts], axis)

    return function


def _by_anchor(graph: Graph, value: Value, anchors: int, entries: int) -> str:
    """The planes that a head reads, as (n, anchors, entries, cells)."""
    return graph.reshape(graph.planes(value), anchors, entries, -1 if graph.any_size else value.shape.cells)


def _scaled_centre(graph: Graph, x: str, scale: float) -> str:
    """Centres of boxes, scaled about the middle of their cell by scale_x_y."""
    return graph.plus(graph.times(x, scale), -0.5 * (scale - 1))


# --- outputs as those of `Network.forward` ---------------------------------------------------------------------------


@writes(Softmax, any_size=lambda layer, inputs: layer.spatial or inputs[0].cells == 1)
def _softmax(graph: Graph, layer: Softmax, inputs: list[Value]) -> Value:
    flat = layer.tree is not None or not layer.spatial
    x = graph.vector(inputs[0]) if flat else graph.planes(inputs[0])
    if layer.tree is None:
        x = graph.times(x, 1 / layer.temperature)
    if layer.tree is not None or layer.spatial or layer.groups == 1:
        return Value(_softmax_of(1, layer.tree)(graph, x), layer.shape, flat)
    outputs = layer.shape.outputs
    grouped = graph.add("Softmax", graph.reshape(x, layer.groups, outputs // layer.groups), axis=2)
    return Value(graph.reshape(grouped, outputs), layer.shape, flat)


def _by_entry(graph: Graph, value: Value, anchors: int, functions: Sequence[Function]) -> str:
    """(n, anchors, entries, cells) with a function applied to each entry. Adjacent entries of one function share a
    node."""
    x = _by_anchor(graph, value, anchors, len(functions))
    runs = [(function, len(list(entries))) for function, entries in groupby(functions)]
    parts = graph.split(x, [count for _, count in runs], axis=2)
    return graph.join([function(graph, part) for (function, _), part in zip(runs, parts, strict=True)], axis=2)


def _as_planes(graph: Graph, entries: str, value: Value) -> Value:
    """(n, anchors, entries, cells) in the shape of the head's input."""
    if graph.any_size:
        return Value(graph.add("Reshape", entries, graph.add("Shape", graph.planes(value))), value.shape)
    return Value(graph.shaped(entries, value.shape), value.shape)


@writes(Yolo, GaussianYolo)
def _yolo(graph: Graph, layer: Yolo, inputs: list[Value]) -> Value:
    """Both kinds of yolo head; they differ in the order of their entries."""
    x_entry, y_entry, *size = layer.means_of
    plain = range(layer.entries) if layer.new_coords else size
    functions: list[Function] = [_raw if entry in plain else _sigmoid for entry in range(layer.entries)]
    if layer.scale_x_y != 1.0:
        inner = functions[0]

        def centre(graph: Graph, x: str) -> str:
            return _scaled_centre(graph, inner(graph, x), layer.scale_x_y)

        functions[x_entry] = functions[y_entry] = centre
    if all(function is _raw for function in functions):
        return inputs[0]
    return _as_planes(graph, _by_entry(graph, inputs[0], len(layer.mask), functions), inputs[0])


@writes(Region)
def _region(graph: Graph, layer: Region, inputs: list[Value]) -> Value:
    shape, objectness, tree = layer.shape, layer.coords, layer.tree
    functions: list[Function] = [_raw] * layer.entries
    if not layer.by_cell:
        functions[:2] = [_sigmoid] * 2
    if not layer.background:
        functions[objectness] = _sigmoid
    first = objectness if layer.background and tree is None and layer.softmax else objectness + 1

    if tree is not None or layer.softmax:
        functions[first:] = [_softmax_of(2, tree)] * (layer.entries - first)
    elif not layer.by_cell:
        functions[first:] = [_sigmoid] * (layer.entries - first)
    entries = _by_entry(graph, inputs[0], len(layer.anchors), functions)
    if not layer.by_cell:
        return _as_planes(graph, entries, inputs[0])
    by_cell = graph.add("Transpose", entries, perm=[0, 3, 1, 2])
    return Value(graph.reshape(by_cell, -1 if graph.any_size else shape.outputs), shape, flat=True)


@writes(DetectionHead, any_size=False)
def _detection(graph: Graph, layer: DetectionHead, inputs: list[Value]) -> Value:
    if not layer.softmax:
        return inputs[0]
    cells, outputs = layer.side**2, layer.shape.outputs
    count = cells * layer.classes
    classes, rest = graph.split(graph.vector(inputs[0]), [count, outputs - count], axis=1)
    classes = graph.add("Softmax", graph.reshape(classes, cells, layer.classes), axis=2)
    return Value(graph.join([graph.reshape(classes, count), rest], axis=1), layer.shape, flat=True)


# --- decoded boxes, the numbers and order of `Head.detections` before any threshold ----------------------------------


def _offsets(graph: Graph, planes: str, value: Value) -> str:
    """(2, cells) float32: column and row of each cell."""
    if not graph.any_size:
        column, row, _ = grid_indices(value.shape.width, value.shape.height, 1)
        return graph.constant(np.stack([column, row]))
    width = graph.side(planes, 3)
    cells = graph.add("Mul", graph.side(planes, 2), width)
    zero, one = (graph.constant(number, np.int64) for number in (0, 1))
    numbers = graph.add("Range", zero, graph.add("Squeeze", cells), one)
    sides = [graph.add("Unsqueeze", graph.add(operator, numbers, width), graph.integers([0]))
             for operator in ("Mod", "Div")]  # fmt: skip
    return graph.cast(graph.join(sides, axis=0), np.float32)


def pixels(graph: Graph, x: str, width: int, height: int) -> str:
    """(2, 1) float32: width and height of planes x."""
    if not graph.any_size:
        return graph.constant([[width], [height]])
    sides = graph.join([graph.side(x, 3), graph.side(x, 2)], axis=0)
    return graph.add("Unsqueeze", graph.cast(sides, np.float32), graph.integers([1]))


def _stride(graph: Graph, planes: str, value: Value, image: Value) -> str:
    """(2, 1) float32: width and height of a cell in pixels."""
    inner, outer = value.shape, image.shape
    if not graph.any_size:
        return graph.constant([[outer.width / inner.width], [outer.height / inner.height]])
    size = pixels(graph, image.name, outer.width, outer.height)
    return graph.add("Div", size, pixels(graph, planes, inner.width, inner.height))


def _in_pixels(graph: Graph, head: Yolo, centre: str, value: Value, image: Value) -> str:
    """Centres in their cells as centres in the input."""
    planes = graph.planes(value)
    centre = graph.add("Add", _scaled_centre(graph, centre, head.scale_x_y), _offsets(graph, planes, value))
    return graph.add("Mul", centre, _stride(graph, planes, value, image))


def _listed(graph: Graph, parts: list[str], by_cell: bool = True) -> str:
    """(n, entries, boxes) of parts (n, anchors, some entries, cells): cell by cell, or anchor by anchor."""
    joined = graph.join(parts, axis=2)
    turned = graph.add("Transpose", joined, perm=[0, 2, 3, 1] if by_cell else [0, 2, 1, 3])
    return graph.add("Reshape", turned, graph.integers([0, 0, -1]))


def _decode_yolo(graph: Graph, head: Yolo, value: Value, image: Value) -> str:
    x = _by_anchor(graph, value, len(head.mask), head.entries)
    centre, size, rest = graph.split(x, [2, 2, 1 + head.classes], axis=2)
    if head.new_coords:
        factor = graph.times(graph.add("Mul", size, size), 4.0)
    else:
        centre, rest, factor = _sigmoid(graph, centre), _sigmoid(graph, rest), graph.add("Exp", size)
    centre = _in_pixels(graph, head, centre, value, image)
    size = graph.add("Mul", factor, graph.constant(head.anchors[head.mask][:, :, None]))
    return _listed(graph, [centre, size, rest])


def _decode_gaussian(graph: Graph, head: GaussianYolo, value: Value, image: Value) -> str:
    """Class probabilities are multiplied by 1 - the mean sigma."""
    x = _by_anchor(graph, value, len(head.mask), head.entries)
    parts = graph.split(x, [1] * 9 + [head.classes], axis=2)
    centre = _sigmoid(graph, graph.join([parts[0], parts[2]], axis=2))
    size = graph.add("Exp", graph.join([parts[4], parts[6]], axis=2))
    sigmas = _sigmoid(graph, graph.join(parts[1:8:2], axis=2))
    certainty = graph.plus(graph.times(graph.add("ReduceMean", sigmas, axes=[2], keepdims=1), -1.0), 1.0)
    size = graph.add("Mul", size, graph.constant(head.anchors[head.mask][:, :, None]))
    centre = _in_pixels(graph, head, centre, value, image)
    if head.point != "center":
        centre = graph.add("Add", centre, graph.times(size, 0.5 if head.point == "left_top" else -0.5))
    classes = graph.add("Mul", _sigmoid(graph, parts[9]), certainty)
    return _listed(graph, [centre, size, _sigmoid(graph, parts[8]), classes])


def _further_coords(head: Region | DetectionHead) -> list[int]:
    """The size of the part behind the four coordinates of a box, if there is one."""
    if head.coords < 4:
        raise UnsupportedError(f"coords={head.coords}; expected at least 4")
    return [head.coords - 4] if head.coords > 4 else []


def _decode_region(graph: Graph, head: Region, value: Value, image: Value) -> str:
    if head.tree is not None:
        raise UnsupportedError("its classes are a word tree, which cannot be a list of scores; use --format raw")
    further, planes = _further_coords(head), graph.planes(value)
    x = _by_anchor(graph, value, len(head.anchors), head.entries)
    centre, size, *_, rest = graph.split(x, [2, 2, *further, 1 + head.classes], axis=2)
    stride = _stride(graph, planes, value, image)
    centre = graph.add("Mul", graph.add("Add", _sigmoid(graph, centre), _offsets(graph, planes, value)), stride)
    size = graph.add("Mul", graph.add("Exp", size), graph.constant(head.anchors[:, :, None]))
    objectness, classes = _region_scores(graph, head, rest)
    return _listed(graph, [centre, graph.add("Mul", size, stride), objectness, classes], by_cell=head.by_cell)


def _region_scores(graph: Graph, head: Region, rest: str) -> tuple[str, str]:
    """Objectness (n, anchors, 1, cells), and class probabilities."""
    together = head.background and head.softmax
    objectness, classes = graph.split(graph.add("Softmax", rest, axis=2) if together else rest, [1, head.classes], 2)
    if head.softmax and not together:
        classes = graph.add("Softmax", classes, axis=2)
    elif not head.softmax and not head.by_cell:
        classes = _sigmoid(graph, classes)
    if head.background:  # always an object; x - x keeps the shape
        return graph.plus(graph.add("Sub", objectness, objectness), 1.0), classes
    objectness = _sigmoid(graph, objectness)
    if head.class_fix == -1 and head.by_cell:
        likely = graph.add("GreaterOrEqual", objectness, graph.constant(0.5))
        objectness = graph.add("Mul", objectness, graph.cast(likely, np.float32))
    return objectness, classes


def _decode_detection(graph: Graph, head: DetectionHead, value: Value, image: Value) -> str:
    further, cells, boxes = _further_coords(head), head.side**2, head.side**2 * head.num
    lengths = [cells * head.classes, boxes, boxes * head.coords]
    scores, objectness, places = graph.split(graph.vector(value), lengths, axis=1)
    scores = graph.reshape(scores, cells, 1, head.classes)
    if head.softmax:
        scores = graph.add("Softmax", scores, axis=3)
    scores = graph.reshape(graph.add("Tile", scores, graph.integers([1, 1, head.num, 1])), boxes, head.classes)
    centre, size, *_ = graph.split(graph.reshape(places, boxes, head.coords), [2, 2, *further], axis=2)
    column, row, _ = grid_indices(head.side, head.side, head.num)
    centre = graph.times(graph.add("Add", centre, graph.constant(np.stack([column, row], axis=1))), 1 / head.side)
    if head.square_root:
        size = graph.add("Mul", size, size)
    sides = graph.constant([image.shape.width, image.shape.height])
    place = [graph.add("Mul", part, sides) for part in (centre, size)]
    rows = graph.join([*place, graph.reshape(objectness, boxes, 1), scores], axis=2)
    return graph.add("Transpose", rows, perm=[0, 2, 1])


# Each adds (n, 5 + classes, boxes): centre x, y, width, height in pixels of the input (the last argument), objectness
# and the conditional probability of each class, from the input of the head. They raise UnsupportedError.
DECODERS: dict[type[Head], Callable[[Graph, Any, Value, Value], str]] = {
    DetectionHead: _decode_detection,
    GaussianYolo: _decode_gaussian,
    Region: _decode_region,
    Yolo: _decode_yolo,
}
