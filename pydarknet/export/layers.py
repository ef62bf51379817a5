"""Activations, and the layers besides detection heads, as ONNX operators.

Batch normalisation is folded into the weights, as the engine does it. Aliases (dropout, cost, ...) need no
function; recurrent layers cannot be exported.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..layers.activations import Activation, ActivationLayer
from ..layers.batchnorm import BatchNorm, BatchNormLayer
from ..layers.connected import Connected, Local
from ..layers.convolution.convolutional import Convolutional, Deconvolutional
from ..layers.convolution.geometry import Window
from ..layers.convolution.section import Blur
from ..layers.joins import FlatRoute, Route, Sam, ScaleChannels, Shortcut
from ..layers.losses import Logistic
from ..layers.resample import Avgpool, DepthMaxpool, LocalAvgpool, Maxpool, Reorg, Reorg3d, Upsample
from ..layers.simple import Crop, History, Implicit, Iseg, L2Norm, Normalization
from ..tensor import Shape
from ..utils.arrays import Array
from .graph import Tensor, UnsupportedError, Value, join, writes

Function = Callable[[Tensor], Tensor]

# --- activations ---


def _apply(activation: Activation, x: Tensor) -> Tensor:
    if activation.is_linear:
        return x
    if activation.name not in FUNCTIONS:
        raise UnsupportedError(f"activation={activation.name} has no ONNX form")
    return FUNCTIONS[activation.name](x)


def _node(operator: str, **attributes: Any) -> Function:
    return lambda x: x.node(operator, **attributes)


def _clip(low: float, high: float) -> Function:
    return lambda x: x.node("Clip", low, high)


def _piecewise_linear(low: float, high: float, inner: float, offset: float, outer: float) -> Function:
    """inner x + offset from `low` to `high`, continued on both sides with the slope `outer`."""

    def function(x: Tensor) -> Tensor:
        middle = _clip(low, high)(x)
        beyond = (x - middle) * outer
        return middle * inner + offset + beyond

    return function


def _gelu(x: Tensor) -> Tensor:
    """x / 2 (1 + tanh u) = x logistic(2 u), with u = 0.797885 x + 0.035677 x^3"""
    return x * (x * (x * x * (2 * 0.035677) + 2 * 0.797885)).sigmoid()


def _stair(x: Tensor) -> Tensor:
    """A step at every even number, and a slope of 1 before it: floor(x / 2) + max(x - 2 floor(x / 2) - 1, 0)"""
    half = (x * 0.5).node("Floor")
    return half + (x - half * 2.0 - 1.0).node("Relu")


def _hard_mish(x: Tensor) -> Tensor:
    """x^2 / 2 + x between -2 and 0, nothing below, x above"""
    low = _clip(-2.0, 0.0)(x)
    return low * (low * 0.5 + 1.0) + x.node("Relu")


def _over_channels(operator: str, from_largest: bool = False) -> Function:
    """operator(x) as shares of its sum over the channels. from_largest: of x minus its largest channel."""

    def function(x: Tensor) -> Tensor:
        if from_largest:
            x = x - x.node("ReduceMax", axes=[1], keepdims=1)
        positive = x.node(operator)
        return positive / (positive.node("ReduceSum", [1], keepdims=1) + 1e-4)

    return function


FUNCTIONS: dict[str, Function] = {
    "elu": _node("Elu"),
    "gelu": _gelu,
    "hard_mish": _hard_mish,
    "hardtan": _clip(-1.0, 1.0),
    "leaky": _node("LeakyRelu", alpha=0.1),
    "lhtan": _piecewise_linear(0.0, 1.0, 1.0, 0.0, 0.001),
    "loggy": lambda x: (x * 0.5).node("Tanh"),  # 2 / (1 + e^-x) - 1
    "logistic": Tensor.sigmoid,
    "mish": lambda x: x * x.node("Softplus").node("Tanh"),
    "normalize_channels": _over_channels("Relu"),
    "normalize_channels_softmax": _over_channels("Exp"),
    "normalize_channels_softmax_maxval": _over_channels("Exp", from_largest=True),
    "plse": _piecewise_linear(-4.0, 4.0, 0.125, 0.5, 0.01),
    "ramp": lambda x: x.node("Relu") + x * 0.1,
    "relie": _node("LeakyRelu", alpha=0.01),
    "relu": _node("Relu"),
    "relu6": _clip(0.0, 6.0),
    "revleaky": _node("LeakyRelu", alpha=0.1),
    "selu": _node("Selu", alpha=1.6732, gamma=1.0507),
    "stair": _stair,
    "swish": lambda x: x * x.sigmoid(),
    "tanh": _node("Tanh"),
}

# --- windows and weights ---


def _gain_and_bias(norm: BatchNorm | None, biases: Array) -> tuple[Array, Array]:
    return (np.ones(len(biases), np.float32), biases) if norm is None else norm.fold(biases)


def _rest(size: int, out: int, window: Window, stride: int) -> int:
    """The cells by which the last window exceeds the far edge; darknet's size formula ignores dilation."""
    before = window.padding * window.dilation
    reach = window.dilation * (window.size - 1) + 1
    rest = max(0, (out - 1) * stride + reach - size - before)
    if (size + before + rest - reach) // stride + 1 != out:
        raise UnsupportedError("its padding and dilation give an output size that ONNX cannot")
    return rest


def _window(window: Window, shape: Shape) -> dict[str, list[int]]:
    pads = [window.padding * window.dilation] * 4
    if window.dilation != 1:
        out = window.out_shape(shape, 1)
        pads[2] = _rest(shape.height, out.height, window, window.stride_y)
        pads[3] = _rest(shape.width, out.width, window, window.stride_x)
    return {"kernel_shape": [window.size] * 2, "strides": [window.stride_y, window.stride_x], "pads": pads}


def _blurred(blur: Blur | None, x: Tensor, channels: int) -> Tensor:
    if blur is None:
        return x
    filters = np.broadcast_to(blur.kernel, (channels, 1, *blur.kernel.shape))
    return x.node("Conv", filters, group=channels, **_window(blur.window, Shape(channels)))


# With dilation, darknet's padding depends on the size.
@writes(Convolutional, any_size=lambda layer, inputs: layer.window.dilation == 1)
def _convolutional(layer: Convolutional, source: Value) -> Tensor:
    x, window = source.planes(), layer.window
    gain, bias = _gain_and_bias(layer.norm, layer.biases)
    place = _window(window, source.shape)
    if layer.xnor:
        x, weights = x.node("Greater", 0.0).node("Where", 1.0, -1.0), _binary_filters(layer, gain)
        if layer.xnor_padding != 0:  # padded pixels have a sign
            pads, place["pads"] = place["pads"], [0] * 4
            x = x.pad([0, 0, *pads[:2]], [0, 0, *pads[2:]], layer.xnor_padding)
    else:
        weights = layer.weights * gain[:, None, None, None]
    x = x.node("Conv", weights, bias, group=layer.groups, dilations=[window.dilation] * 2, **place)
    return _blurred(layer.blur, _apply(layer.applied_activation, x), layer.filters)


def _binary_filters(layer: Convolutional, gain: Array) -> Array:
    before, after = (gain, np.ones_like(gain)) if layer.xnor_folds else (np.ones_like(gain), gain)
    weights = layer.weights * before[:, None, None, None]
    mean = np.abs(weights).mean(axis=(1, 2, 3), keepdims=True)
    return np.where(weights > 0, mean, -mean) * after[:, None, None, None]


@writes(Deconvolutional)
def _deconvolutional(layer: Deconvolutional, source: Value) -> Tensor:
    gain, bias = _gain_and_bias(layer.norm, layer.biases)
    place = {"kernel_shape": [layer.size] * 2, "strides": [layer.stride] * 2, "pads": [layer.padding] * 4}
    x = source.planes().node("ConvTranspose", layer.weights * gain[None, :, None, None], bias, **place)
    return _apply(layer.activation, x)


@writes(Connected, any_size=False)
def _connected(layer: Connected, source: Value) -> Value:
    gain, bias = _gain_and_bias(layer.norm, layer.biases)
    x = source.vector().node("Gemm", layer.weights * gain[:, None], bias, transB=1)
    return Value(_apply(layer.activation, x), layer.shape, flat=True)


@writes(Local, any_size=False)
def _local(layer: Local, source: Value) -> Tensor:
    out, index = layer.shape, _patches(layer, source.shape)
    x = source.vector()
    if index.max() == source.shape.outputs:
        x = x.pad([0, 0], [0, 1])
    filters = layer.weights.reshape(out.cells, layer.filters, -1).transpose(0, 2, 1)
    sums = x.node("Gather", index, axis=1).turned(1, 0, 2).node("MatMul", filters).turned(1, 2, 0)
    biases = layer.biases.reshape(1, out.channels, out.height, out.width)
    return _apply(layer.activation, sums.shaped(out) + biases)


def _patches(layer: Local, shape: Shape) -> np.ndarray:
    """(cells, channels x size x size): the flat index of each input under each output's window, `outputs` outside."""
    inside = np.arange(shape.outputs, dtype=np.int64).reshape(shape.channels, shape.height, shape.width)
    padded = np.pad(inside, ((0, 0), *[(layer.pad, layer.size)] * 2), constant_values=shape.outputs)
    windows = sliding_window_view(padded, (layer.size, layer.size), axis=(1, 2))[:, :: layer.stride, :: layer.stride]
    index = windows[:, : layer.shape.height, : layer.shape.width].transpose(1, 2, 0, 3, 4)
    return index.reshape(layer.shape.cells, -1)


@writes(Maxpool, LocalAvgpool)
def _window_pool(layer: Maxpool | LocalAvgpool, source: Value) -> Tensor:
    """Padding is a total, its smaller half at the top and left. Like darknet, ONNX ignores padded cells."""
    before, after = layer.padding // 2, layer.padding - layer.padding // 2
    if after >= layer.size:
        raise UnsupportedError(f"padding={layer.padding} leaves windows outside the picture")
    operator = "MaxPool" if isinstance(layer, Maxpool) else "AveragePool"
    place = {"kernel_shape": [layer.size] * 2, "strides": [layer.stride_y, layer.stride_x]}
    x = source.planes().node(operator, **place, pads=[before, before, after, after])
    return _blurred(layer.blur, x, layer.shape.channels)


@writes(Avgpool)
def _avgpool(layer: Avgpool, source: Value) -> Tensor:
    return source.planes().node("GlobalAveragePool")


@writes(DepthMaxpool, any_size=False)
def _depth_maxpool(layer: DepthMaxpool, source: Value) -> Tensor:
    """Arrange the channels in rows of `out_channels`, pad the last row, and take the maximum of each column."""
    x, channels, out = source.planes(), source.shape.channels, layer.shape
    rows = -(-channels // out.channels)
    lowest = float(np.finfo(np.float16 if source.graph.dtype is np.float16 else np.float32).min)
    x = x.pad([0] * 4, [0, rows * out.channels - channels, 0, 0], lowest)
    return x.reshape(rows, out.channels, out.height, out.width).node("ReduceMax", axes=[1], keepdims=0)


@writes(BatchNormLayer)
def _batchnorm(layer: BatchNormLayer, source: Value) -> Value:
    """Gain and bias as BatchNormalization, which runtimes fold into their convolutions."""
    gain, offset = layer.norm.fold(layer.biases)
    constants = [source.graph.tensor(each) for each in (gain, offset, np.zeros_like(gain), np.ones_like(gain))]
    x = source.channels_first()
    return x.like(x.tensor.node("BatchNormalization", *constants, epsilon=0.0))


@writes(Normalization)
def _normalization(layer: Normalization, source: Value) -> Tensor:
    """x (kappa + alpha sum of squares)^-beta; darknet's recurrence over channels as a 1x1 convolution of squares."""
    channels, half = layer.shape.channels, layer.size // 2
    entering, leaving = (np.eye(channels, k=k, dtype=np.float32) for k in (half, -((layer.size - 1) // 2) - 1))
    changes = entering - leaving
    changes[0] = np.arange(channels) < half
    x = source.planes()
    filters = np.float32(layer.alpha) * np.cumsum(changes, axis=0)[:, :, None, None]
    norms = (x * x).node("Conv", filters, np.full(channels, layer.kappa, np.float32), kernel_shape=[1, 1])
    return x * norms.node("Pow", -layer.beta)


@writes(L2Norm)
def _l2norm(layer: L2Norm, source: Value) -> Tensor:
    x = source.planes()
    return x / x.node("ReduceL2", axes=[1], keepdims=1)


# --- layers that rearrange, concatenate or add tensors ---


@writes(ActivationLayer)
def _activation(layer: ActivationLayer, source: Value) -> Value:
    x = source.channels_first()
    return x.like(_apply(layer.activation, x.tensor))


@writes(Logistic)
def _logistic(layer: Logistic, source: Value) -> Value:
    return source.like(source.tensor.sigmoid())


@writes(Route)
def _route(layer: Route, *sources: Value) -> Tensor:
    parts = []
    for source in sources:
        x, count = source.planes(), source.shape.channels // layer.groups
        mine = {1: slice(count * layer.group_id, count * (layer.group_id + 1))}
        parts.append(x if layer.groups == 1 else x.cut(mine))
    return join(parts, axis=1)


@writes(FlatRoute, any_size=False)
def _flat_route(layer: FlatRoute, *sources: Value) -> Value:
    return Value(join([each.vector() for each in sources], axis=1), layer.shape, flat=True)


def _fits_any_size(layer: Shortcut, inputs: Sequence[Shape]) -> bool:
    """A shortcut to a part of a plane fits one size only. The first input has the layer's own shape."""
    mine = inputs[0]
    same_planes = all((shape.height, shape.width) == (mine.height, mine.width) for shape in inputs)
    return same_planes and (layer.alpha == 1 or all(shape.channels >= mine.channels for shape in inputs))


@writes(Shortcut, any_size=_fits_any_size)
def _shortcut(layer: Shortcut, first: Value, *others: Value) -> Tensor:
    """The sum of the sources times the layer's weights or, without weights, times alpha and beta."""
    total = first.planes()
    factors: list[Any] = [1.0, *[layer.beta] * len(others)]
    if layer.weights is not None:
        factors = [row.reshape(1, -1, 1, 1) for row in layer.normalised_weights()]
    total = total * factors[0]
    for other, factor in zip(others, factors[1:], strict=True):
        term = _fitted(other, layer.shape) * factor
        total = _kept(layer, total, other.shape) + term
    return _apply(layer.activation, total)


def _overlap(mine: Shape, theirs: Shape) -> tuple[Shape, int, int]:
    """What a shortcut adds: its shape, the stride between cells that are read, and that between cells written."""
    both = Shape(*(min(getattr(mine, side), getattr(theirs, side)) for side in ("channels", "height", "width")))
    return both, max(1, theirs.width // mine.width), max(1, mine.width // theirs.width)


def _fitted(other: Value, shape: Shape) -> Tensor:
    x, theirs = other.planes(), other.shape
    both, down, up = _overlap(shape, theirs)
    channels, height, width = both.channels, both.height, both.width
    cuts = {} if channels == theirs.channels else {1: slice(channels)}
    if (height, width, down) != (theirs.height, theirs.width, 1):
        cuts |= {2: slice(0, height * down, down), 3: slice(0, width * down, down)}
    if cuts:
        x = x.cut(cuts)
    if up > 1:
        spread = x.reshape(channels, height, 1, width, 1).pad([0] * 6, [0, 0, 0, up - 1, 0, up - 1])
        height, width = height * up, width * up
        x = spread.reshape(channels, height, width)
    return x.pad([0] * 4, [0, shape.channels - channels, shape.height - height, shape.width - width])


def _kept(layer: Shortcut, total: Tensor, theirs: Shape) -> Tensor:
    mine = layer.shape
    both, _, up = _overlap(mine, theirs)
    factors = np.ones((1, mine.channels, mine.height, mine.width), np.float32)
    factors[:, : both.channels, : both.height * up : up, : both.width * up : up] = layer.alpha
    return total * (layer.alpha if layer.alpha == 1 or (factors == layer.alpha).all() else factors)


@writes(Sam, ScaleChannels)
def _product(layer: Sam | ScaleChannels, *sources: Value) -> Tensor:
    first, second = (each.planes() for each in sources)
    # The first source of ScaleChannels is the vector.
    return _apply(layer.activation, second * first if isinstance(layer, ScaleChannels) else first * second)


@writes(Upsample)
def _upsample(layer: Upsample, source: Value) -> Tensor:
    x, s = source.planes(), layer.stride
    if layer.reverse:  # the sum of each square
        return x.node("AveragePool", kernel_shape=[s, s], strides=[s, s]) * (layer.scale * s * s)
    scales = x.graph.tensor(np.array([1.0, 1.0, s, s]), np.float32)
    how = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    return x.node("Resize", "", scales, **how) * layer.scale


@writes(Reorg, Reorg3d, any_size=lambda layer, inputs: not layer.extra and not layer.flatten)
def _reorg(layer: Reorg, source: Value) -> Value | Tensor:
    """Not reversed, YOLOv2's order is space to depth of the input read as c / s^2 channels of s h x s w."""
    shape, out, s = source.shape, layer.shape, layer.stride
    if layer.extra:
        return Value(source.vector().pad([0, 0], [0, layer.extra]), out, flat=True)
    if layer.flatten:
        sides = (shape.cells, shape.channels) if layer.reverse else (shape.channels, shape.cells)
        return source.tensor.reshape(*sides).turned(0, 2, 1).shaped(out)
    if layer.reverse or isinstance(layer, Reorg3d):
        return source.planes().node("DepthToSpace" if layer.reverse else "SpaceToDepth", blocksize=s)
    if source.graph.any_size:
        return _reorg_any_size(source.planes(), shape.channels, s)
    wide = source.tensor.reshape(shape.channels // (s * s), shape.height * s, shape.width * s)
    return wide.node("SpaceToDepth", blocksize=s).shaped(out)


def _reorg_any_size(x: Tensor, channels: int, stride: int) -> Tensor:
    graph, sides = x.graph, [x.side(axis) for axis in (2, 3)]
    factor = graph.tensor([stride])
    first = graph.tensor([graph.batch, channels // (stride * stride)])
    wide = x.node("Reshape", join([first, *(side * factor for side in sides)], axis=0))
    deep = wide.node("SpaceToDepth", blocksize=stride)
    last = graph.tensor([graph.batch, channels * stride * stride])
    return deep.node("Reshape", join([last, *(side / factor for side in sides)], axis=0))


@writes(Crop, any_size=False)
def _crop(layer: Crop, source: Value) -> Tensor:
    x, shape, out = source.planes(), source.shape, layer.shape
    if shape != out:
        top, left = (shape.height - out.height) // 2, (shape.width - out.width) // 2
        x = x.cut({2: slice(top, top + out.height), 3: slice(left, left + out.width)})
    return x if layer.noadjust else x * 2.0 - 1.0


@writes(Iseg)
def _iseg(layer: Iseg, source: Value) -> Tensor:
    sizes = [layer.classes, layer.ids] if layer.ids else [layer.classes]
    classes, *ids = source.planes().split(sizes, axis=1)
    return join([classes.sigmoid(), *ids], axis=1)


@writes(Implicit)
def _implicit(layer: Implicit, source: Value) -> Tensor:
    graph, weights = source.graph, layer.weights.reshape(1, layer.filters, layer.atoms, 1)
    if graph.batch:
        return graph.tensor(np.repeat(weights, graph.batch, axis=0))
    shape = join([source.tensor.side(0), graph.tensor([1, 1, 1])], axis=0)
    return graph.tensor(weights).node("Expand", shape)


@writes(History)
def _history(layer: History, source: Value) -> Tensor:
    return source.planes().pad([0] * 4, [0, layer.shape.channels - source.shape.channels, 0, 0])
