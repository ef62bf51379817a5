"""Decoding of detection heads in the graph: boxes in pixels, objectness and class probabilities, as ONNX operators.

The numbers and their order are those of `Head.detections` before any threshold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..layers.heads.base import Head, grid_indices
from ..layers.heads.detection import DetectionHead
from ..layers.heads.region import Region
from ..layers.heads.yolo import GaussianYolo, Yolo
from .graph import Graph, UnsupportedError, Value
from .heads import by_anchor, scaled_centre

BEFORE_CLASSES = 5  # rows of a decoded tensor: centre x, centre y, width, height, objectness


def decoded(graph: Graph, head: Head, value: Value, image: Value) -> str:
    """(n, 5 + classes, boxes): centre x, y, width, height in pixels of the input `image`, objectness and the
    conditional probability of each class. value: the input of the head. Raises UnsupportedError."""
    return DECODERS[type(head)](graph, head, value, image)


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


def _listed(graph: Graph, parts: list[str], by_cell: bool) -> str:
    """(n, entries, boxes) of parts (n, anchors, some entries, cells): cell by cell, or anchor by anchor."""
    joined = graph.join(parts, axis=2)
    turned = graph.add("Transpose", joined, perm=[0, 2, 3, 1] if by_cell else [0, 2, 1, 3])
    return graph.add("Reshape", turned, graph.integers([0, 0, -1]))


def _sigmoid(graph: Graph, x: str) -> str:
    return graph.add("Sigmoid", x)


def _yolo(graph: Graph, head: Yolo, value: Value, image: Value) -> str:
    planes = graph.planes(value)
    x = by_anchor(graph, value, len(head.mask), head.entries)
    centre, size, rest = graph.split(x, [2, 2, 1 + head.classes], axis=2)
    if head.new_coords:
        factor = graph.times(graph.add("Mul", size, size), 4.0)
    else:
        centre, rest, factor = _sigmoid(graph, centre), _sigmoid(graph, rest), graph.add("Exp", size)
    centre = graph.add("Add", scaled_centre(graph, centre, head.scale_x_y), _offsets(graph, planes, value))
    centre = graph.add("Mul", centre, _stride(graph, planes, value, image))
    size = graph.add("Mul", factor, graph.constant(head.anchors[head.mask][:, :, None]))
    return _listed(graph, [centre, size, rest], by_cell=True)


def _gaussian(graph: Graph, head: GaussianYolo, value: Value, image: Value) -> str:
    """Class probabilities are multiplied by 1 - the mean sigma."""
    planes = graph.planes(value)
    x = by_anchor(graph, value, len(head.mask), head.entries)
    parts = graph.split(x, [1] * 9 + [head.classes], axis=2)
    centre = _sigmoid(graph, graph.join([parts[0], parts[2]], axis=2))
    size = graph.add("Exp", graph.join([parts[4], parts[6]], axis=2))
    sigmas = _sigmoid(graph, graph.join(parts[1:8:2], axis=2))
    certainty = graph.plus(graph.times(graph.add("ReduceMean", sigmas, axes=[2], keepdims=1), -1.0), 1.0)
    size = graph.add("Mul", size, graph.constant(head.anchors[head.mask][:, :, None]))
    centre = graph.add("Add", scaled_centre(graph, centre, head.scale_x_y), _offsets(graph, planes, value))
    centre = graph.add("Mul", centre, _stride(graph, planes, value, image))
    if head.point != "center":
        centre = graph.add("Add", centre, graph.times(size, 0.5 if head.point == "left_top" else -0.5))
    classes = graph.add("Mul", _sigmoid(graph, parts[9]), certainty)
    return _listed(graph, [centre, size, _sigmoid(graph, parts[8]), classes], by_cell=True)


def _region(graph: Graph, head: Region, value: Value, image: Value) -> str:
    if head.tree is not None:
        raise UnsupportedError("its classes are a word tree, which cannot be a list of scores; use --format raw")
    if head.coords < 4:
        raise UnsupportedError(f"coords={head.coords}; expected at least 4")
    planes = graph.planes(value)
    x = by_anchor(graph, value, len(head.anchors), head.entries)
    further = [head.coords - 4] if head.coords > 4 else []
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


def _detection(graph: Graph, head: DetectionHead, value: Value, image: Value) -> str:
    if head.coords < 4:
        raise UnsupportedError(f"coords={head.coords}; expected at least 4")
    cells, boxes = head.side**2, head.side**2 * head.num
    scores, objectness, places = graph.split(
        graph.vector(value), [cells * head.classes, boxes, boxes * head.coords], axis=1
    )
    scores = graph.reshape(scores, cells, 1, head.classes)
    if head.softmax:
        scores = graph.add("Softmax", scores, axis=3)
    scores = graph.reshape(graph.add("Tile", scores, graph.integers([1, 1, head.num, 1])), boxes, head.classes)
    further = [head.coords - 4] if head.coords > 4 else []
    centre, size, *_ = graph.split(graph.reshape(places, boxes, head.coords), [2, 2, *further], axis=2)
    column, row, _ = grid_indices(head.side, head.side, head.num)
    centre = graph.times(graph.add("Add", centre, graph.constant(np.stack([column, row], axis=1))), 1 / head.side)
    if head.square_root:
        size = graph.add("Mul", size, size)
    sides = graph.constant([image.shape.width, image.shape.height])
    place = [graph.add("Mul", part, sides) for part in (centre, size)]
    rows = graph.join([*place, graph.reshape(objectness, boxes, 1), scores], axis=2)
    return graph.add("Transpose", rows, perm=[0, 2, 1])


DECODERS: dict[type[Head], Callable[[Graph, Any, Value, Value], str]] = {
    DetectionHead: _detection,
    GaussianYolo: _gaussian,
    Region: _region,
    Yolo: _yolo,
}
