"""Activations, and the layers besides detection heads, as ONNX operators.

Batch normalisation is folded into the weights, as the engine does it. Aliases (dropout, cost, ...) need no function;
recurrent layers cannot be exported.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..layers.activations import Activation, ActivationLayer
from ..layers.batchnorm import BatchNorm, BatchNormLayer
from ..layers.connected import Connected
from ..layers.convolution.convolutional import Convolutional, Deconvolutional
from ..layers.convolution.geometry import Window
from ..layers.convolution.local import Local
from ..layers.convolution.section import Blur
from ..layers.joins import FlatRoute, Route, Sam, ScaleChannels, Shortcut
from ..layers.losses import Logistic
from ..layers.resample import Avgpool, DepthMaxpool, LocalAvgpool, Maxpool, Reorg, Reorg3d, Upsample
from ..layers.simple import Crop, History, Implicit, Iseg, L2Norm, Normalization
from ..tensor import Shape
from ..utils.arrays import Array
from .graph import Graph, UnsupportedError, Value, writes

Function = Callable[[Graph, str], str]

# --- activations -----------------------------------------------------------------------------------------------------


def _apply(graph: Graph, activation: Activation, x: str) -> str:
    """activation(x), with the channels on axis 1."""
    if activation.is_linear:
        return x
    if activation.name not in FUNCTIONS:
        raise UnsupportedError(f"activation={activation.name} has no ONNX form")
    return FUNCTIONS[activation.name](graph, x)


def _node(operator: str, **attributes: Any) -> Function:
    return lambda graph, x: graph.add(operator, x, **attributes)


def _clip(low: float, high: float) -> Function:
    return lambda graph, x: graph.add("Clip", x, graph.constant(low), graph.constant(high))


def _piecewise_linear(low: float, high: float, inner: float, offset: float, outer: float) -> Function:
    """inner x + offset from `low` to `high`, continued on both sides with the slope `outer`."""

    def function(graph: Graph, x: str) -> str:
        middle = _clip(low, high)(graph, x)
        beyond = graph.times(graph.add("Sub", x, middle), outer)
        return graph.add("Add", graph.plus(graph.times(middle, inner), offset), beyond)

    return function


def _gelu(graph: Graph, x: str) -> str:
    """x / 2 (1 + tanh u) = x logistic(2 u), with u = 0.797885 x + 0.035677 x^3"""
    factor = graph.plus(graph.times(graph.add("Mul", x, x), 2 * 0.035677), 2 * 0.797885)
    return graph.add("Mul", x, graph.add("Sigmoid", graph.add("Mul", x, factor)))


def _stair(graph: Graph, x: str) -> str:
    """A step at every even number, and a slope of 1 before it: floor(x / 2) + max(x - 2 floor(x / 2) - 1, 0)"""
    half = graph.add("Floor", graph.times(x, 0.5))
    rest = graph.plus(graph.add("Sub", x, graph.times(half, 2.0)), -1.0)
    return graph.add("Add", half, graph.add("Relu", rest))


def _hard_mish(graph: Graph, x: str) -> str:
    """x^2 / 2 + x between -2 and 0, nothing below, x above"""
    low = _clip(-2.0, 0.0)(graph, x)
    curve = graph.add("Mul", low, graph.plus(graph.times(low, 0.5), 1.0))
    return graph.add("Add", curve, graph.add("Relu", x))


def _over_channels(operator: str, from_largest: bool = False) -> Function:
    """operator(x) as shares of its sum over the channels. from_largest: of x minus its largest channel."""

    def function(graph: Graph, x: str) -> str:
        if from_largest:
            x = graph.add("Sub", x, graph.add("ReduceMax", x, axes=[1], keepdims=1))
        positive = graph.add(operator, x)
        total = graph.add("ReduceSum", positive, graph.integers([1]), keepdims=1)
        return graph.add("Div", positive, graph.plus(total, 1e-4))

    return function


FUNCTIONS: dict[str, Function] = {
    "elu": _node("Elu"),
    "gelu": _gelu,
    "hard_mish": _hard_mish,
    "hardtan": _clip(-1.0, 1.0),
    "leaky": _node("LeakyRelu", alpha=0.1),
    "lhtan": _piecewise_linear(0.0, 1.0, 1.0, 0.0, 0.001),
    "loggy": lambda graph, x: graph.add("Tanh", graph.times(x, 0.5)),  # 2 / (1 + e^-x) - 1
    "logistic": _node("Sigmoid"),
    "mish": lambda graph, x: graph.add("Mul", x, graph.add("Tanh", graph.add("Softplus", x))),
    "normalize_channels": _over_channels("Relu"),
    "normalize_channels_softmax": _over_channels("Exp"),
    "normalize_channels_softmax_maxval": _over_channels("Exp", from_largest=True),
    "plse": _piecewise_linear(-4.0, 4.0, 0.125, 0.5, 0.01),
    "ramp": lambda graph, x: graph.add("Add", graph.add("Relu", x), graph.times(x, 0.1)),
    "relie": _node("LeakyRelu", alpha=0.01),
    "relu": _node("Relu"),
    "relu6": _clip(0.0, 6.0),
    "revleaky": _node("LeakyRelu", alpha=0.1),
    "selu": _node("Selu", alpha=1.6732, gamma=1.0507),
    "stair": _stair,
    "swish": lambda graph, x: graph.add("Mul", x, graph.add("Sigmoid", x)),
    "tanh": _node("Tanh"),
}

# --- windows and weights ---------------------------------------------------------------------------------------------


def _gain_and_bias(norm: BatchNorm | None, biases: Array) -> tuple[Array, Array]:
    """The factor and the bias of each filter, with batch normalisation folded in."""
    return (np.ones(len(biases), np.float32), biases) if norm is None else norm.fold(biases)


def _rest(size: int, out: int, window: Window, stride: int) -> int:
    """The cells by which the last window exceeds the far edge; darknet's size formula ignores dilation."""
    before = window.padding * window.dilation
    reach = window.dilation * (window.size - 1) + 1
    rest = max(0, (out - 1) * stride + reach - size - before)
    if (size + before + rest - reach) // stride + 1 != out:
        raise UnsupportedError("its padding and dilation give an output size that ONNX cannot")
    return rest


def _pads(window: Window, shape: Shape) -> list[int]:
    """Cells of padding at the top, left, bottom and right."""
    if window.dilation == 1:
        return [window.padding] * 4
    out, before = window.out_shape(shape, 1), window.padding * window.dilation
    return [before, before, _rest(shape.height, out.height, window, window.stride_y),
            _rest(shape.width, out.width, window, window.stride_x)]  # fmt: skip


def _blurred(graph: Graph, blur: Blur | None, x: str, channels: int) -> str:
    """The low-pass filter of `antialiasing`, one channel at a time."""
    if blur is None:
        return x
    window = blur.window
    filters = np.broadcast_to(blur.kernel, (channels, 1, *blur.kernel.shape))
    return graph.add("Conv", x, graph.constant(filters), group=channels, kernel_shape=[window.size] * 2,
                     strides=[window.stride_y, window.stride_x], pads=_pads(window, Shape(channels)))  # fmt: skip


# With dilation, darknet's padding depends on the size.
@writes(Convolutional, any_size=lambda layer, inputs: layer.window.dilation == 1)
def _convolutional(graph: Graph, layer: Convolutional, inputs: list[Value]) -> str:
    x, window = graph.planes(inputs[0]), layer.window
    gain, bias = _gain_and_bias(layer.norm, layer.biases)
    pads = _pads(window, inputs[0].shape)
    if layer.xnor:
        x, pads = _signs(graph, layer, x, pads)
        weights = _binary_filters(layer, gain)
    else:
        weights = layer.weights * gain[:, None, None, None]
    x = graph.add("Conv", x, graph.constant(weights), graph.constant(bias), group=layer.groups,
                  kernel_shape=[window.size] * 2, strides=[window.stride_y, window.stride_x], pads=pads,
                  dilations=[window.dilation] * 2)  # fmt: skip
    return _blurred(graph, layer.blur, _apply(graph, layer.applied_activation, x), layer.filters)


def _signs(graph: Graph, layer: Convolutional, x: str, pads: list[int]) -> tuple[str, list[int]]:
    """1 or -1 for every input (-1 for 0), padded here if padded pixels have a sign."""
    positive = graph.add("Greater", x, graph.constant(0.0))
    x = graph.add("Where", positive, graph.constant(1.0), graph.constant(-1.0))
    if layer.xnor_padding == 0:
        return x, pads
    return graph.pad(x, [0, 0, *pads[:2]], [0, 0, *pads[2:]], layer.xnor_padding), [0] * 4


def _binary_filters(layer: Convolutional, gain: Array) -> Array:
    """Each filter as the signs of its weights times their mean size; batch normalisation comes before or after."""
    before, after = (gain, np.ones_like(gain)) if layer.xnor_folds else (np.ones_like(gain), gain)
    weights = layer.weights * before[:, None, None, None]
    mean = np.abs(weights).mean(axis=(1, 2, 3), keepdims=True)
    return np.where(weights > 0, mean, -mean) * after[:, None, None, None]


@writes(Deconvolutional)
def _deconvolutional(graph: Graph, layer: Deconvolutional, inputs: list[Value]) -> str:
    gain, bias = _gain_and_bias(layer.norm, layer.biases)
    weights = layer.weights * gain[None, :, None, None]
    x = graph.add("ConvTranspose", graph.planes(inputs[0]), graph.constant(weights), graph.constant(bias),
                  kernel_shape=[layer.size] * 2, strides=[layer.stride] * 2, pads=[layer.padding] * 4)  # fmt: skip
    return _apply(graph, layer.activation, x)


@writes(Connected, any_size=False)
def _connected(graph: Graph, layer: Connected, inputs: list[Value]) -> Value:
    gain, bias = _gain_and_bias(layer.norm, layer.biases)
    weights = layer.weights * gain[:, None]
    x = graph.add("Gemm", graph.vector(inputs[0]), graph.constant(weights), graph.constant(bias), transB=1)
    return Value(_apply(graph, layer.activation, x), layer.shape, flat=True)


@writes(Local, any_size=False)
def _local(graph: Graph, layer: Local, inputs: list[Value]) -> str:
    """Gather the patch of each location and multiply it by the location's own filters."""
    shape, out = inputs[0].shape, layer.shape
    index = _patches(layer, shape)
    x = graph.vector(inputs[0])
    if index.max() == shape.outputs:
        x = graph.pad(x, [0, 0], [0, 1])
    patches = graph.add("Gather", x, graph.constant(index, np.int64), axis=1)
    by_cell = graph.add("Transpose", patches, perm=[1, 0, 2])
    filters = layer.weights.reshape(out.cells, layer.filters, -1).transpose(0, 2, 1)
    sums = graph.add("Transpose", graph.add("MatMul", by_cell, graph.constant(filters)), perm=[1, 2, 0])
    biases = layer.biases.reshape(1, out.channels, out.height, out.width)
    return _apply(graph, layer.activation, graph.add("Add", graph.shaped(sums, out), graph.constant(biases)))


def _patches(layer: Local, shape: Shape) -> np.ndarray:
    """(cells, channels x size x size): the flat index of each input under each output's window, `outputs` outside."""
    inside = np.arange(shape.outputs).reshape(shape.channels, shape.height, shape.width)
    around = ((0, 0), *[(layer.pad, layer.size)] * 2)
    padded = np.pad(inside, around, constant_values=shape.outputs)
    windows = sliding_window_view(padded, (layer.size, layer.size), axis=(1, 2))[:, :: layer.stride, :: layer.stride]
    index = windows[:, : layer.shape.height, : layer.shape.width].transpose(1, 2, 0, 3, 4)
    return index.reshape(layer.shape.cells, -1)


@writes(Maxpool, LocalAvgpool)
def _window_pool(graph: Graph, layer: Maxpool | LocalAvgpool, inputs: list[Value]) -> str:
    """darknet's padding is a total: the smaller half is at the top and left. Like darknet, ONNX ignores padded
    cells."""
    before, after = layer.padding // 2, layer.padding - layer.padding // 2
    if after >= layer.size:
        raise UnsupportedError(f"padding={layer.padding} leaves windows outside the picture")
    operator = "MaxPool" if isinstance(layer, Maxpool) else "AveragePool"
    x = graph.add(operator, graph.planes(inputs[0]), kernel_shape=[layer.size] * 2,
                  strides=[layer.stride_y, layer.stride_x], pads=[before, before, after, after])  # fmt: skip
    return _blurred(graph, layer.blur, x, layer.shape.channels)


@writes(Avgpool)
def _avgpool(graph: Graph, layer: Avgpool, inputs: list[Value]) -> str:
    return graph.add("GlobalAveragePool", graph.planes(inputs[0]))


@writes(DepthMaxpool, any_size=False)
def _depth_maxpool(graph: Graph, layer: DepthMaxpool, inputs: list[Value]) -> str:
    """Arrange the channels in rows of `out_channels`, pad the last row, and take the maximum of each column."""
    shape, out = inputs[0].shape, layer.shape
    rows = -(-shape.channels // out.channels)
    lowest = float(np.finfo(np.float16 if graph.dtype is np.float16 else np.float32).min)
    x = graph.pad(graph.planes(inputs[0]), [0] * 4, [0, rows * out.channels - shape.channels, 0, 0], lowest)
    x = graph.reshape(x, rows, out.channels, out.height, out.width)
    return graph.add("ReduceMax", x, axes=[1], keepdims=0)


@writes(BatchNormLayer)
def _batchnorm(graph: Graph, layer: BatchNormLayer, inputs: list[Value]) -> Value:
    """Gain and bias as BatchNormalization, which runtimes fold into their convolutions."""
    gain, offset = layer.norm.fold(layer.biases)
    arrays = [graph.constant(values) for values in (gain, offset, np.zeros_like(gain), np.ones_like(gain))]
    x = graph.channels_first(inputs[0])
    return x.called(graph.add("BatchNormalization", x.name, *arrays, epsilon=0.0))


@writes(Normalization)
def _normalization(graph: Graph, layer: Normalization, inputs: list[Value]) -> str:
    """x (kappa + alpha sum of squares)^-beta; darknet's recurrence over channels as a 1x1 convolution of squares."""
    channels, half = layer.shape.channels, layer.size // 2
    entering, leaving = (np.eye(channels, k=k, dtype=np.float32) for k in (half, -((layer.size - 1) // 2) - 1))
    changes = entering - leaving
    changes[0] = np.arange(channels) < half
    x = graph.planes(inputs[0])
    filters = np.float32(layer.alpha) * np.cumsum(changes, axis=0)[:, :, None, None]
    norms = graph.add("Conv", graph.add("Mul", x, x), graph.constant(filters),
                      graph.constant(np.full(channels, layer.kappa)), kernel_shape=[1, 1])  # fmt: skip
    return graph.add("Mul", x, graph.add("Pow", norms, graph.constant(-layer.beta)))


@writes(L2Norm)
def _l2norm(graph: Graph, layer: L2Norm, inputs: list[Value]) -> str:
    x = graph.planes(inputs[0])
    return graph.add("Div", x, graph.add("ReduceL2", x, axes=[1], keepdims=1))


# --- layers that rearrange, concatenate or add tensors ---------------------------------------------------------------


@writes(ActivationLayer)
def _activation(graph: Graph, layer: ActivationLayer, inputs: list[Value]) -> Value:
    x = graph.channels_first(inputs[0])
    return x.called(_apply(graph, layer.activation, x.name))


@writes(Logistic)
def _logistic(graph: Graph, layer: Logistic, inputs: list[Value]) -> Value:
    return inputs[0].called(graph.add("Sigmoid", inputs[0].name))


@writes(Route)
def _route(graph: Graph, layer: Route, inputs: list[Value]) -> str:
    parts = []
    for value in inputs:
        x, count = graph.planes(value), value.shape.channels // layer.groups
        mine = {1: slice(count * layer.group_id, count * (layer.group_id + 1))}
        parts.append(x if layer.groups == 1 else graph.cut(x, mine))
    return graph.join(parts, axis=1)


@writes(FlatRoute, any_size=False)
def _flat_route(graph: Graph, layer: FlatRoute, inputs: list[Value]) -> Value:
    return Value(graph.join([graph.vector(value) for value in inputs], axis=1), layer.shape, flat=True)


def _fits_any_size(layer: Shortcut, inputs: Sequence[Shape]) -> bool:
    """A shortcut to a part of a plane fits one size only. The first input has the layer's own shape."""
    mine = inputs[0]
    same_planes = all((shape.height, shape.width) == (mine.height, mine.width) for shape in inputs)
    whole = layer.alpha == 1 or all(shape.channels >= mine.channels for shape in inputs)
    return same_planes and whole


@writes(Shortcut, any_size=_fits_any_size)
def _shortcut(graph: Graph, layer: Shortcut, inputs: list[Value]) -> str:
    """The sum of the sources times the layer's weights or, without weights, times alpha and beta."""
    total = graph.planes(inputs[0])
    factors = None if layer.weights is None else [row.reshape(1, -1, 1, 1) for row in layer.normalised_weights()]
    if factors is not None:
        total = graph.add("Mul", total, graph.constant(factors[0]))
    for position, other in enumerate(inputs[1:], start=1):
        term = _fitted(graph, other, layer.shape)
        if factors is not None:
            term = graph.add("Mul", term, graph.constant(factors[position]))
        else:
            term = graph.times(term, layer.beta)
        total = graph.add("Add", _kept(graph, layer, total, other.shape), term)
    return _apply(graph, layer.activation, total)


def _overlap(mine: Shape, theirs: Shape) -> tuple[Shape, int, int]:
    """What a shortcut adds: its shape, the stride between cells that are read, and that between cells written."""
    both = Shape(*(min(getattr(mine, side), getattr(theirs, side)) for side in ("channels", "height", "width")))
    return both, max(1, theirs.width // mine.width), max(1, mine.width // theirs.width)


def _fitted(graph: Graph, other: Value, shape: Shape) -> str:
    """`other` in the cells where a shortcut of `shape` adds it, zero elsewhere."""
    x, theirs = graph.planes(other), other.shape
    both, down, up = _overlap(shape, theirs)
    channels, height, width = both.channels, both.height, both.width
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
    both, _, up = _overlap(mine, theirs)
    factors = np.ones((1, mine.channels, mine.height, mine.width), np.float32)
    factors[:, : both.channels, : both.height * up : up, : both.width * up : up] = layer.alpha
    if (factors == layer.alpha).all():
        return graph.times(total, layer.alpha)
    return graph.add("Mul", total, graph.constant(factors))


@writes(Sam, ScaleChannels)
def _product(graph: Graph, layer: Sam | ScaleChannels, inputs: list[Value]) -> str:
    factors = [graph.planes(value) for value in inputs]
    if isinstance(layer, ScaleChannels):  # its first source is the vector
        factors.reverse()
    return _apply(graph, layer.activation, graph.add("Mul", *factors))


@writes(Upsample)
def _upsample(graph: Graph, layer: Upsample, inputs: list[Value]) -> str:
    x, s = graph.planes(inputs[0]), layer.stride
    if layer.reverse:  # the sum of each square
        means = graph.add("AveragePool", x, kernel_shape=[s, s], strides=[s, s])
        return graph.times(means, layer.scale * s * s)
    scales = graph.constant([1.0, 1.0, s, s], np.float32)
    repeated = graph.add("Resize", x, "", scales, mode="nearest", nearest_mode="floor",
                         coordinate_transformation_mode="asymmetric")  # fmt: skip
    return graph.times(repeated, layer.scale)


@writes(Reorg, Reorg3d, any_size=lambda layer, inputs: not layer.extra and not layer.flatten)
def _reorg(graph: Graph, layer: Reorg, inputs: list[Value]) -> Value | str:
    """Not reversed, YOLOv2's order is space to depth of the input read as c / s^2 channels of s h x s w; that of
    Reorg3d is plain space to depth."""
    shape, out, s = inputs[0].shape, layer.shape, layer.stride
    if layer.extra:
        return Value(graph.pad(graph.vector(inputs[0]), [0, 0], [0, layer.extra]), out, flat=True)
    if layer.flatten:
        sides = (shape.cells, shape.channels) if layer.reverse else (shape.channels, shape.cells)
        turned = graph.add("Transpose", graph.reshape(inputs[0].name, *sides), perm=[0, 2, 1])
        return graph.shaped(turned, out)
    if layer.reverse or isinstance(layer, Reorg3d):
        return graph.add("DepthToSpace" if layer.reverse else "SpaceToDepth", graph.planes(inputs[0]), blocksize=s)
    if graph.any_size:
        return _reorg_any_size(graph, graph.planes(inputs[0]), shape.channels, s)
    wide = graph.reshape(inputs[0].name, shape.channels // (s * s), shape.height * s, shape.width * s)
    return graph.shaped(graph.add("SpaceToDepth", wide, blocksize=s), out)


def _reorg_any_size(graph: Graph, x: str, channels: int, stride: int) -> str:
    """`_reorg` for any size: the sides are computed from those of x."""
    sides = [graph.side(x, axis) for axis in (2, 3)]
    factor = graph.integers([stride])
    first = graph.integers([graph.batch, channels // (stride * stride)])
    wide = graph.add("Reshape", x, graph.join([first, *(graph.add("Mul", side, factor) for side in sides)], axis=0))
    deep = graph.add("SpaceToDepth", wide, blocksize=stride)
    last = graph.integers([graph.batch, channels * stride * stride])
    return graph.add("Reshape", deep, graph.join([last, *(graph.add("Div", side, factor) for side in sides)], axis=0))


@writes(Crop, any_size=False)
def _crop(graph: Graph, layer: Crop, inputs: list[Value]) -> str:
    x, shape, out = graph.planes(inputs[0]), inputs[0].shape, layer.shape
    if shape != out:
        top, left = (shape.height - out.height) // 2, (shape.width - out.width) // 2
        x = graph.cut(x, {2: slice(top, top + out.height), 3: slice(left, left + out.width)})
    return x if layer.noadjust else graph.plus(graph.times(x, 2.0), -1.0)


@writes(Iseg)
def _iseg(graph: Graph, layer: Iseg, inputs: list[Value]) -> str:
    x = graph.planes(inputs[0])
    classes, *ids = graph.split(x, [layer.classes, layer.ids] if layer.ids else [layer.classes], axis=1)
    return graph.join([graph.add("Sigmoid", classes), *ids], axis=1)


@writes(Implicit)
def _implicit(graph: Graph, layer: Implicit, inputs: list[Value]) -> str:
    weights = layer.weights.reshape(1, layer.filters, layer.atoms, 1)
    if graph.batch:
        return graph.constant(np.repeat(weights, graph.batch, axis=0))
    shape = graph.join([graph.side(inputs[0].name, 0), graph.integers([1, 1, 1])], axis=0)
    return graph.add("Expand", graph.constant(weights), shape)


@writes(History)
def _history(graph: Graph, layer: History, inputs: list[Value]) -> str:
    missing = layer.shape.channels - inputs[0].shape.channels
    return graph.pad(graph.planes(inputs[0]), [0] * 4, [0, missing, 0, 0])
