"""Layers that rearrange, concatenate or add tensors, as ONNX."""

from __future__ import annotations

import numpy as np

from ..layers.activations import ActivationLayer
from ..layers.joins import FlatRoute, Route, Sam, ScaleChannels, Shortcut
from ..layers.losses import Logistic
from ..layers.resample import Reorg, Reorg3d, Upsample
from ..layers.simple import Crop, History, Implicit, Iseg
from ..tensor import Shape
from .activations import apply
from .graph import Graph, Value


def activation(graph: Graph, layer: ActivationLayer, inputs: list[Value]) -> Value:
    x = graph.channels_first(inputs[0])
    return x.called(apply(graph, layer.activation, x.name))


def route(graph: Graph, layer: Route, inputs: list[Value]) -> Value:
    parts = [_slice_of_channels(graph, value, layer.groups, layer.group_id) for value in inputs]
    return Value(graph.join(parts, axis=1), layer.shape)


def _slice_of_channels(graph: Graph, value: Value, groups: int, group_id: int) -> str:
    x, count = graph.planes(value), value.shape.channels // groups
    return x if groups == 1 else graph.cut(x, {1: slice(count * group_id, count * (group_id + 1))})


def flat_route(graph: Graph, layer: FlatRoute, inputs: list[Value]) -> Value:
    return Value(graph.join([graph.vector(value) for value in inputs], axis=1), layer.shape, flat=True)


def shortcut(graph: Graph, layer: Shortcut, inputs: list[Value]) -> Value:
    """The sum of the sources times the layer's weights or, without weights, times alpha and beta."""
    total = graph.planes(inputs[0])
    factors = None if layer.weights is None else layer.normalised_weights()
    if factors is not None:
        total = graph.add("Mul", total, graph.per_channel(factors[0]))
    for position, other in enumerate(inputs[1:], start=1):
        term = _fitted(graph, other, layer.shape)
        if factors is not None:
            term = graph.add("Mul", term, graph.per_channel(factors[position]))
        else:
            term = graph.times(term, layer.beta)
        total = graph.add("Add", _kept(graph, layer, total, other.shape), term)
    return Value(apply(graph, layer.activation, total), layer.shape)


def _steps(mine: Shape, theirs: Shape) -> tuple[int, int]:
    """(stride between cells that are read, stride between cells that are written)."""
    return max(1, theirs.width // mine.width), max(1, mine.width // theirs.width)


def _fitted(graph: Graph, other: Value, shape: Shape) -> str:
    """`other` in the cells where a shortcut of `shape` adds it, zero elsewhere."""
    x, theirs = graph.planes(other), other.shape
    down, up = _steps(shape, theirs)
    channels = min(shape.channels, theirs.channels)
    height, width = min(shape.height, theirs.height), min(shape.width, theirs.width)
    cuts = {} if channels == theirs.channels else {1: slice(channels)}
    if (height, width, down) != (theirs.height, theirs.width, 1):
        cuts |= {2: slice(0, height * down, down), 3: slice(0, width * down, down)}
    if cuts:
        x = graph.cut(x, cuts)
    if up > 1:
        spread = graph.reshape(x, channels, height, 1, width, 1)
        spread = graph.pad(spread, [0] * 6, [0, 0, 0, up - 1, 0, up - 1])
        height, width = height * up, width * up
        x = graph.reshape(spread, channels, height, width)
    return graph.pad(x, [0] * 4, [0, shape.channels - channels, shape.height - height, shape.width - width])


def _kept(graph: Graph, layer: Shortcut, total: str, theirs: Shape) -> str:
    """The sum so far, multiplied by alpha in the cells where something is added."""
    mine = layer.shape
    if layer.alpha == 1:
        return total
    _, up = _steps(mine, theirs)
    channels = min(mine.channels, theirs.channels)
    height, width = min(mine.height, theirs.height), min(mine.width, theirs.width)
    factors = np.ones((1, mine.channels, mine.height, mine.width), np.float32)
    factors[:, :channels, : height * up : up, : width * up : up] = layer.alpha
    if (factors == layer.alpha).all():
        return graph.times(total, layer.alpha)
    return graph.add("Mul", total, graph.constant(factors))


def scale_channels(graph: Graph, layer: ScaleChannels, inputs: list[Value]) -> Value:
    factor, x = graph.planes(inputs[0]), graph.planes(inputs[1])
    return Value(apply(graph, layer.activation, graph.add("Mul", x, factor)), layer.shape)


def sam(graph: Graph, layer: Sam, inputs: list[Value]) -> Value:
    product = graph.add("Mul", graph.planes(inputs[0]), graph.planes(inputs[1]))
    return Value(apply(graph, layer.activation, product), layer.shape)


def upsample(graph: Graph, layer: Upsample, inputs: list[Value]) -> Value:
    x, s = graph.planes(inputs[0]), layer.stride
    if layer.reverse:  # the sum of each square
        means = graph.add("AveragePool", x, kernel_shape=[s, s], strides=[s, s])
        return Value(graph.times(means, layer.scale * s * s), layer.shape)
    scales = graph.constant([1.0, 1.0, s, s], np.float32)
    repeated = graph.add("Resize", x, "", scales, mode="nearest", nearest_mode="floor",
                         coordinate_transformation_mode="asymmetric")  # fmt: skip
    return Value(graph.times(repeated, layer.scale), layer.shape)


def reorg(graph: Graph, layer: Reorg, inputs: list[Value]) -> Value:
    """Not reversed, YOLOv2's order is space to depth of the input read as c / s^2 channels of s h x s w."""
    shape, out, s = inputs[0].shape, layer.shape, layer.stride
    if layer.extra:
        return Value(graph.pad(graph.vector(inputs[0]), [0, 0], [0, layer.extra]), out, flat=True)
    if layer.flatten:
        sides = (shape.cells, shape.channels) if layer.reverse else (shape.channels, shape.cells)
        turned = graph.add("Transpose", graph.reshape(inputs[0].name, *sides), perm=[0, 2, 1])
        return Value(graph.reshape(turned, out.channels, out.height, out.width), out)
    if layer.reverse:
        return Value(graph.add("DepthToSpace", graph.planes(inputs[0]), blocksize=s), out)
    if graph.any_size:
        return Value(_reorg_any_size(graph, graph.planes(inputs[0]), shape.channels, s), out)
    wide = graph.reshape(inputs[0].name, shape.channels // (s * s), shape.height * s, shape.width * s)
    deep = graph.add("SpaceToDepth", wide, blocksize=s)
    return Value(graph.reshape(deep, out.channels, out.height, out.width), out)


def _reorg_any_size(graph: Graph, x: str, channels: int, stride: int) -> str:
    """`reorg` for any size: the sides are computed from those of x."""
    sides = [graph.side(x, axis) for axis in (2, 3)]
    factor = graph.integers([stride])
    first = graph.integers([graph.batch, channels // (stride * stride)])
    wide = graph.add("Reshape", x, graph.join([first, *(graph.add("Mul", side, factor) for side in sides)], axis=0))
    deep = graph.add("SpaceToDepth", wide, blocksize=stride)
    last = graph.integers([graph.batch, channels * stride * stride])
    return graph.add("Reshape", deep, graph.join([last, *(graph.add("Div", side, factor) for side in sides)], axis=0))


def reorg3d(graph: Graph, layer: Reorg3d, inputs: list[Value]) -> Value:
    if layer.extra or layer.flatten:
        return reorg(graph, layer, inputs)
    operator = "DepthToSpace" if layer.reverse else "SpaceToDepth"
    return Value(graph.add(operator, graph.planes(inputs[0]), blocksize=layer.stride), layer.shape)


def crop(graph: Graph, layer: Crop, inputs: list[Value]) -> Value:
    x, shape, out = graph.planes(inputs[0]), inputs[0].shape, layer.shape
    if shape != out:
        top, left = (shape.height - out.height) // 2, (shape.width - out.width) // 2
        x = graph.cut(x, {2: slice(top, top + out.height), 3: slice(left, left + out.width)})
    return Value(x if layer.noadjust else graph.plus(graph.times(x, 2.0), -1.0), out)


def logistic(graph: Graph, layer: Logistic, inputs: list[Value]) -> Value:
    return inputs[0].called(graph.add("Sigmoid", inputs[0].name))


def iseg(graph: Graph, layer: Iseg, inputs: list[Value]) -> Value:
    if not layer.ids:
        return Value(graph.add("Sigmoid", graph.planes(inputs[0])), layer.shape)
    classes, ids = graph.split(graph.planes(inputs[0]), [layer.classes, layer.ids], axis=1)
    return Value(graph.join([graph.add("Sigmoid", classes), ids], axis=1), layer.shape)


def implicit(graph: Graph, layer: Implicit, inputs: list[Value]) -> Value:
    weights = layer.weights.reshape(1, layer.filters, layer.atoms, 1)
    if not graph.batch:
        shape = graph.join([graph.side(inputs[0].name, 0), graph.integers([1, 1, 1])], axis=0)
        return Value(graph.add("Expand", graph.constant(weights), shape), layer.shape)
    return Value(graph.constant(np.repeat(weights, graph.batch, axis=0)), layer.shape)


def history(graph: Graph, layer: History, inputs: list[Value]) -> Value:
    missing = layer.shape.channels - inputs[0].shape.channels
    return Value(graph.pad(graph.planes(inputs[0]), [0] * 4, [0, missing, 0, 0]), layer.shape)
