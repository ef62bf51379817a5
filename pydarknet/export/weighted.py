"""Layers with a window or weights as ONNX: convolutions, pooling, connected, local and normalising layers.

Batch normalisation is folded into the weights, as the engine does it.
"""

from __future__ import annotations

import numpy as np

from ..layers.batchnorm import BatchNorm, BatchNormLayer
from ..layers.connected import Connected
from ..layers.convolution.blur_pool import Blur
from ..layers.convolution.convolutional import Convolutional
from ..layers.convolution.deconvolutional import Deconvolutional
from ..layers.convolution.geometry import Window
from ..layers.convolution.local import Local
from ..layers.resample import Avgpool, DepthMaxpool, LocalAvgpool, Maxpool
from ..layers.simple import L2Norm, Normalization
from ..tensor import Shape
from ..utils.arrays import Array
from .activations import apply
from .graph import Graph, UnsupportedError, Value


def gain_and_bias(norm: BatchNorm | None, biases: Array) -> tuple[Array, Array]:
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


def convolutional(graph: Graph, layer: Convolutional, inputs: list[Value]) -> Value:
    x, window = graph.planes(inputs[0]), layer.window
    gain, bias = gain_and_bias(layer.norm, layer.biases)
    pads = _pads(window, inputs[0].shape)
    if layer.xnor:
        x, pads = _signs(graph, layer, x, pads)
        weights = _binary_filters(layer, gain)
    else:
        weights = layer.weights * gain[:, None, None, None]
    x = graph.add("Conv", x, graph.constant(weights), graph.constant(bias), group=layer.groups,
                  kernel_shape=[window.size] * 2, strides=[window.stride_y, window.stride_x], pads=pads,
                  dilations=[window.dilation] * 2)  # fmt: skip
    x = apply(graph, layer.applied_activation, x)
    return Value(_blurred(graph, layer.blur, x, layer.filters), layer.shape)


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


def deconvolutional(graph: Graph, layer: Deconvolutional, inputs: list[Value]) -> Value:
    gain, bias = gain_and_bias(layer.norm, layer.biases)
    weights = layer.weights * gain[None, :, None, None]
    x = graph.add("ConvTranspose", graph.planes(inputs[0]), graph.constant(weights), graph.constant(bias),
                  kernel_shape=[layer.size] * 2, strides=[layer.stride] * 2, pads=[layer.padding] * 4)  # fmt: skip
    return Value(apply(graph, layer.activation, x), layer.shape)


def connected(graph: Graph, layer: Connected, inputs: list[Value]) -> Value:
    gain, bias = gain_and_bias(layer.norm, layer.biases)
    weights = layer.weights * gain[:, None]
    x = graph.add("Gemm", graph.vector(inputs[0]), graph.constant(weights), graph.constant(bias), transB=1)
    return Value(apply(graph, layer.activation, x), layer.shape, flat=True)


def local(graph: Graph, layer: Local, inputs: list[Value]) -> Value:
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
    planes = graph.reshape(sums, out.channels, out.height, out.width)
    biased = graph.add("Add", planes, graph.constant(layer.biases.reshape(1, out.channels, out.height, out.width)))
    return Value(apply(graph, layer.activation, biased), out)


def _patches(layer: Local, shape: Shape) -> np.ndarray:
    """(cells, channels x size x size): the flat index of each input under each output's window, `outputs` outside."""
    offsets = np.arange(layer.size) - layer.pad
    rows = np.arange(layer.shape.height)[:, None] * layer.stride + offsets
    columns = np.arange(layer.shape.width)[:, None] * layer.stride + offsets
    row, column = rows[:, None, None, :, None], columns[None, :, None, None, :]
    channel = np.arange(shape.channels)[None, None, :, None, None]
    inside = (row >= 0) & (row < shape.height) & (column >= 0) & (column < shape.width)
    index = np.where(inside, (channel * shape.height + row) * shape.width + column, shape.outputs)
    return index.reshape(layer.shape.cells, -1)


def _pool(graph: Graph, operator: str, layer: Maxpool | LocalAvgpool, inputs: list[Value]) -> Value:
    """darknet's padding is a total: the smaller half is at the top and left. Like darknet, ONNX ignores padded
    cells."""
    before, after = layer.padding // 2, layer.padding - layer.padding // 2
    if after >= layer.size:
        raise UnsupportedError(f"padding={layer.padding} leaves windows outside the picture")
    x = graph.add(operator, graph.planes(inputs[0]), kernel_shape=[layer.size] * 2,
                  strides=[layer.stride_y, layer.stride_x], pads=[before, before, after, after])  # fmt: skip
    return Value(_blurred(graph, layer.blur, x, layer.shape.channels), layer.shape)


def maxpool(graph: Graph, layer: Maxpool, inputs: list[Value]) -> Value:
    return _pool(graph, "MaxPool", layer, inputs)


def local_avgpool(graph: Graph, layer: LocalAvgpool, inputs: list[Value]) -> Value:
    return _pool(graph, "AveragePool", layer, inputs)


def avgpool(graph: Graph, layer: Avgpool, inputs: list[Value]) -> Value:
    return Value(graph.add("GlobalAveragePool", graph.planes(inputs[0])), layer.shape)


def depth_maxpool(graph: Graph, layer: DepthMaxpool, inputs: list[Value]) -> Value:
    """Arrange the channels in rows of `out_channels`, pad the last row, and take the maximum of each column."""
    shape, out = inputs[0].shape, layer.shape
    rows = -(-shape.channels // out.channels)
    lowest = float(np.finfo(np.float16 if graph.dtype is np.float16 else np.float32).min)
    x = graph.pad(graph.planes(inputs[0]), [0] * 4, [0, rows * out.channels - shape.channels, 0, 0], lowest)
    x = graph.reshape(x, rows, out.channels, out.height, out.width)
    return Value(graph.add("ReduceMax", x, axes=[1], keepdims=0), out)


def batchnorm(graph: Graph, layer: BatchNormLayer, inputs: list[Value]) -> Value:
    """Gain and bias as BatchNormalization, which runtimes fold into their convolutions."""
    gain, offset = layer.norm.fold(layer.biases)
    zeros, ones = np.zeros_like(gain), np.ones_like(gain)
    arrays = [graph.constant(values) for values in (gain, offset, zeros, ones)]
    x = graph.channels_first(inputs[0])
    return x.called(graph.add("BatchNormalization", x.name, *arrays, epsilon=0.0))


def normalization(graph: Graph, layer: Normalization, inputs: list[Value]) -> Value:
    """x (kappa + alpha sum of squares)^-beta; darknet's recurrence over channels as a 1x1 convolution of squares."""
    channels, half = layer.shape.channels, layer.size // 2
    sums = np.zeros((channels, channels), np.float32)
    sums[0, :half] = 1
    for k in range(1, channels):
        sums[k] = sums[k - 1]
        leaving, entering = k - (layer.size - 1) // 2 - 1, k + half
        if leaving >= 0:
            sums[k, leaving] -= 1
        if entering < channels:
            sums[k, entering] += 1
    x = graph.planes(inputs[0])
    filters = np.float32(layer.alpha) * sums[:, :, None, None]
    norms = graph.add("Conv", graph.add("Mul", x, x), graph.constant(filters),
                      graph.constant(np.full(channels, layer.kappa)), kernel_shape=[1, 1])  # fmt: skip
    return Value(graph.add("Mul", x, graph.add("Pow", norms, graph.constant(-layer.beta))), layer.shape)


def l2norm(graph: Graph, layer: L2Norm, inputs: list[Value]) -> Value:
    x = graph.planes(inputs[0])
    return Value(graph.add("Div", x, graph.add("ReduceL2", x, axes=[1], keepdims=1)), layer.shape)
