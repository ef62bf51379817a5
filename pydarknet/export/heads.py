"""`[softmax]` and the detection heads as ONNX: their outputs, and boxes decoded from their inputs."""

from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np

from ..config.names import WordTree
from ..layers.heads.base import Head, grid_indices
from ..layers.heads.detection import DetectionHead
from ..layers.heads.region import Region
from ..layers.heads.yolo import GaussianYolo, Yolo
from ..layers.losses import Softmax
from .graph import Tensor, UnsupportedError, Value, join, writes

Function = Callable[[Tensor], Tensor]

BEFORE_CLASSES = 5  # rows of a decoded tensor: centre x, centre y, width, height, objectness


def _raw(x: Tensor) -> Tensor:
    return x


def _softmax_of(axis: int, tree: WordTree | None = None) -> Function:
    def function(x: Tensor) -> Tensor:
        parts = x.split([end - first for first, end in tree.groups], axis) if tree is not None else [x]
        return join([part.node("Softmax", axis=axis) for part in parts], axis)

    return function


def _by_anchor(value: Value, anchors: int, sizes: Sequence[int]) -> list[Tensor]:
    cells = -1 if value.graph.any_size else value.shape.cells
    return value.planes().reshape(anchors, sum(sizes), cells).split(sizes, axis=2)


def _scaled_centre(x: Tensor, scale: float) -> Tensor:
    return x * scale - 0.5 * (scale - 1)


# --- outputs as those of `Network.forward` ---


@writes(Softmax, any_size=lambda layer, inputs: layer.spatial or inputs[0].cells == 1)
def _softmax(layer: Softmax, source: Value) -> Value:
    tree, outputs, groups = layer.tree, layer.shape.outputs, layer.groups
    flat = tree is not None or not layer.spatial
    x = source.vector() if flat else source.planes()
    if tree is None:
        x = x * (1 / layer.temperature)
    if tree is not None or layer.spatial or groups == 1:
        return Value(_softmax_of(1, tree)(x), layer.shape, flat)
    grouped = x.reshape(groups, outputs // groups).node("Softmax", axis=2)
    return Value(grouped.reshape(outputs), layer.shape, flat)


def _by_entry(value: Value, anchors: int, functions: Sequence[Function]) -> Tensor:
    """(n, anchors, entries, cells) with a function applied to each entry; neighbours with the same share a node."""
    runs = [(function, len(list(entries))) for function, entries in groupby(functions)]
    parts = _by_anchor(value, anchors, [count for _, count in runs])
    return join([function(part) for (function, _), part in zip(runs, parts, strict=True)], axis=2)


def _as_planes(entries: Tensor, value: Value) -> Value:
    if value.graph.any_size:
        return Value(entries.node("Reshape", value.planes().node("Shape")), value.shape)
    return Value(entries.shaped(value.shape), value.shape)


@writes(Yolo, GaussianYolo)
def _yolo(layer: Yolo, source: Value) -> Value:
    x_entry, y_entry, *size = layer.means_of
    plain = range(layer.entries) if layer.new_coords else size
    functions: list[Function] = [_raw if entry in plain else Tensor.sigmoid for entry in range(layer.entries)]
    if layer.scale_x_y != 1.0:
        inner = functions[0]

        def centre(x: Tensor) -> Tensor:
            return _scaled_centre(inner(x), layer.scale_x_y)

        functions[x_entry] = functions[y_entry] = centre
    if all(function is _raw for function in functions):
        return source
    return _as_planes(_by_entry(source, len(layer.mask), functions), source)


@writes(Region)
def _region(layer: Region, source: Value) -> Value:
    objectness, tree, by_cell = layer.coords, layer.tree, layer.by_cell
    functions: list[Function] = [_raw] * layer.entries
    if not by_cell:
        functions[:2] = [Tensor.sigmoid] * 2
    if not layer.background:
        functions[objectness] = Tensor.sigmoid
    first = objectness if layer.background and tree is None and layer.softmax else objectness + 1
    if tree is not None or layer.softmax:
        functions[first:] = [_softmax_of(2, tree)] * (layer.entries - first)
    elif not by_cell:
        functions[first:] = [Tensor.sigmoid] * (layer.entries - first)
    entries = _by_entry(source, len(layer.anchors), functions)
    if not by_cell:
        return _as_planes(entries, source)
    outputs = -1 if source.graph.any_size else layer.shape.outputs
    return Value(entries.turned(0, 3, 1, 2).reshape(outputs), layer.shape, flat=True)


@writes(DetectionHead, any_size=False)
def _detection(layer: DetectionHead, source: Value) -> Value:
    if not layer.softmax:
        return source
    cells, outputs = layer.side**2, layer.shape.outputs
    count = cells * layer.classes
    classes, rest = source.vector().split([count, outputs - count], axis=1)
    classes = classes.reshape(cells, layer.classes).node("Softmax", axis=2)
    return Value(join([classes.reshape(count), rest], axis=1), layer.shape, flat=True)


# --- decoded boxes, the numbers and order of `Head.detections` before any threshold ---


def _offsets(planes: Tensor, value: Value) -> Tensor:
    """(2, cells) float32: column and row of each cell."""
    graph = planes.graph
    if not graph.any_size:
        column, row, _ = grid_indices(value.shape.width, value.shape.height, 1)
        return graph.tensor(np.stack([column, row]).astype(np.float32))
    width = planes.side(3)
    cells = planes.side(2) * width
    zero, one = (graph.tensor(np.int64(number)) for number in (0, 1))
    numbers = zero.node("Range", cells.node("Squeeze"), one)
    sides = [numbers.node(operator, width).unsqueezed(0) for operator in ("Mod", "Div")]
    return join(sides, axis=0).cast(np.float32)


def pixels(x: Tensor, width: int, height: int) -> Tensor:
    """(2, 1) float32: width and height of planes x."""
    if not x.graph.any_size:
        return x.graph.tensor(np.array([[width], [height]], np.float32))
    return join([x.side(3), x.side(2)], axis=0).cast(np.float32).unsqueezed(1)


def _stride(planes: Tensor, value: Value, image: Value) -> Tensor:
    """(2, 1) float32: width and height of a cell in pixels."""
    inner, outer = value.shape, image.shape
    if not planes.graph.any_size:
        return planes.graph.tensor(np.array([[outer.width / inner.width], [outer.height / inner.height]]))
    return pixels(image.tensor, outer.width, outer.height) / pixels(planes, inner.width, inner.height)


def _in_pixels(head: Yolo, centre: Tensor, value: Value, image: Value) -> Tensor:
    planes = value.planes()
    return (_scaled_centre(centre, head.scale_x_y) + _offsets(planes, value)) * _stride(planes, value, image)


def _listed(parts: list[Tensor], by_cell: bool = True) -> Tensor:
    """(n, entries, boxes) of parts (n, anchors, some entries, cells): cell by cell, or anchor by anchor."""
    axes = (0, 2, 3, 1) if by_cell else (0, 2, 1, 3)
    return join(parts, axis=2).turned(*axes).node("Reshape", [0, 0, -1])


def _decode_yolo(head: Yolo, value: Value, image: Value) -> Tensor:
    centre, size, rest = _by_anchor(value, len(head.mask), [2, 2, 1 + head.classes])
    if head.new_coords:
        factor = size * size * 4.0
    else:
        centre, rest, factor = centre.sigmoid(), rest.sigmoid(), size.node("Exp")
    centre = _in_pixels(head, centre, value, image)
    return _listed([centre, factor * head.anchors[head.mask][:, :, None], rest])


def _decode_gaussian(head: GaussianYolo, value: Value, image: Value) -> Tensor:
    """Class probabilities are multiplied by 1 - the mean sigma."""
    parts = _by_anchor(value, len(head.mask), [1] * 9 + [head.classes])
    centre = join([parts[0], parts[2]], axis=2).sigmoid()
    size = join([parts[4], parts[6]], axis=2).node("Exp")
    sigmas = join(parts[1:8:2], axis=2).sigmoid()
    certainty = sigmas.node("ReduceMean", axes=[2], keepdims=1) * -1.0 + 1.0
    size = size * head.anchors[head.mask][:, :, None]
    centre = _in_pixels(head, centre, value, image)
    if head.point != "center":
        centre = centre + size * (0.5 if head.point == "left_top" else -0.5)
    classes = parts[9].sigmoid() * certainty
    return _listed([centre, size, parts[8].sigmoid(), classes])


def _further_coords(head: Region | DetectionHead) -> list[int]:
    if head.coords < 4:
        raise UnsupportedError(f"coords={head.coords}; expected at least 4")
    return [head.coords - 4] if head.coords > 4 else []


def _decode_region(head: Region, value: Value, image: Value) -> Tensor:
    if head.tree is not None:
        raise UnsupportedError("its classes are a word tree, which cannot be a list of scores; use --format raw")
    further, planes = _further_coords(head), value.planes()
    centre, size, *_, rest = _by_anchor(value, len(head.anchors), [2, 2, *further, 1 + head.classes])
    stride = _stride(planes, value, image)
    centre = (centre.sigmoid() + _offsets(planes, value)) * stride
    size = size.node("Exp") * head.anchors[:, :, None]
    objectness, classes = _region_scores(head, rest)
    return _listed([centre, size * stride, objectness, classes], by_cell=head.by_cell)


def _region_scores(head: Region, rest: Tensor) -> tuple[Tensor, Tensor]:
    """Objectness (n, anchors, 1, cells), and class probabilities."""
    together = head.background and head.softmax
    rest = rest.node("Softmax", axis=2) if together else rest
    objectness, classes = rest.split([1, head.classes], axis=2)
    if head.softmax and not together:
        classes = classes.node("Softmax", axis=2)
    elif not head.softmax and not head.by_cell:
        classes = classes.sigmoid()
    if head.background:  # always an object; x - x keeps the shape
        return objectness - objectness + 1.0, classes
    objectness = objectness.sigmoid()
    if head.class_fix == -1 and head.by_cell:
        objectness = objectness * objectness.node("GreaterOrEqual", 0.5).cast(np.float32)
    return objectness, classes


def _decode_detection(head: DetectionHead, value: Value, image: Value) -> Tensor:
    further, cells, boxes = _further_coords(head), head.side**2, head.side**2 * head.num
    lengths = [cells * head.classes, boxes, boxes * head.coords]
    scores, objectness, places = value.vector().split(lengths, axis=1)
    scores = scores.reshape(cells, 1, head.classes)
    if head.softmax:
        scores = scores.node("Softmax", axis=3)
    scores = scores.node("Tile", [1, 1, head.num, 1]).reshape(boxes, head.classes)
    centre, size, *_ = places.reshape(boxes, head.coords).split([2, 2, *further], axis=2)
    column, row, _ = grid_indices(head.side, head.side, head.num)
    centre = (centre + np.stack([column, row], axis=1).astype(np.float32)) * (1 / head.side)
    if head.square_root:
        size = size * size
    sides = value.graph.tensor(np.array([image.shape.width, image.shape.height], np.float32))
    parts = [centre * sides, size * sides, objectness.reshape(boxes, 1), scores]
    return join(parts, axis=2).turned(0, 2, 1)


# Each gives (n, 5 + classes, boxes): centre x, y, width, height in pixels of the input (the last argument), objectness
# and the conditional probability of each class, from the input of the head. They raise UnsupportedError.
DECODERS: dict[type[Head], Callable[..., Tensor]] = {
    DetectionHead: _decode_detection,
    GaussianYolo: _decode_gaussian,
    Region: _decode_region,
    Yolo: _decode_yolo,
}
