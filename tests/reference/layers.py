"""Reference implementations of the layers, slow and obvious: NCHW, float64, one function for each
formula of darknet's."""

import math

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.where(x > 20, x, np.log1p(np.exp(np.minimum(x, 20))))


def stair(x):
    n = np.floor(x)
    return np.where(n % 2 == 0, np.floor(x / 2), (x - n) + np.floor(x / 2))


def plse(x):
    return np.where(x < -4, 0.01 * (x + 4), np.where(x > 4, 0.01 * (x - 4) + 1, 0.125 * x + 0.5))


def lhtan(x):
    return np.where(x < 0, 0.001 * x, np.where(x > 1, 0.001 * (x - 1) + 1, x))


def hard_mish(x):
    return np.where(x > 0, x, np.where(x > -2, x * x / 2 + x, 0))


def exponential_below_zero(x, above, below):
    return np.where(x >= 0, above * x, below * np.expm1(np.minimum(x, 0)))


ACTIVATIONS = {
    "linear": lambda x: x,
    "logistic": sigmoid,
    "loggy": lambda x: 2 * sigmoid(x) - 1,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "elu": lambda x: exponential_below_zero(x, 1, 1),
    "selu": lambda x: exponential_below_zero(x, 1.0507, 1.0507 * 1.6732),
    "gelu": lambda x: 0.5 * x * (1 + np.tanh(0.797885 * x + 0.035677 * x**3)),
    "relie": lambda x: np.where(x > 0, x, 0.01 * x),
    "ramp": lambda x: np.maximum(x, 0) + 0.1 * x,
    "leaky": lambda x: np.where(x > 0, x, 0.1 * x),
    "revleaky": lambda x: np.where(x > 0, x, 0.1 * x),
    "tanh": np.tanh,
    "plse": plse,
    "stair": stair,
    "hardtan": lambda x: np.clip(x, -1, 1),
    "lhtan": lhtan,
    "swish": lambda x: x * sigmoid(x),
    "mish": lambda x: x * np.tanh(softplus(x)),
    "hard_mish": hard_mish,
}


def activation(name, x):
    """An activation of a single number, in float64."""
    return ACTIVATIONS[name](np.asarray(x, np.float64))


def normalise_channels(name, x):
    """AlexeyAB's activations over the channels (axis 1) of each pixel."""
    x = np.asarray(x, np.float64)
    if name == "normalize_channels":
        e = np.maximum(x, 0)
    else:
        e = np.exp(x - (x.max(axis=1, keepdims=True) if name.endswith("maxval") else 0))
    return e / (1e-4 + e.sum(axis=1, keepdims=True))


def out_size(size, kernel, stride, padding):
    """Length of a convolution's output; darknet ignores the dilation."""
    return (size + 2 * padding - kernel) // stride + 1


def convolution(x, weights, bias, stride=(1, 1), padding=0, dilation=1, groups=1, outside=0.0):
    """y[f, i, j] = bias[f] + sum of w[f, c, u, v] x[c, i s - p d + u d, j s - p d + v d]; `outside` the plane."""
    n, c, h, w = x.shape
    f, per_group, k, _ = weights.shape
    (sy, sx), reach = stride, padding * dilation
    out_h, out_w = out_size(h, k, sy, padding), out_size(w, k, sx, padding)
    far = reach + k * dilation  # dilated filters may look further than the padding on the right
    room = np.full((n, c, h + 2 * far, w + 2 * far), outside)
    room[:, :, far : far + h, far : far + w] = x
    y = np.zeros((n, f, out_h, out_w))
    for q in range(groups):
        filters, channels = slice(q * f // groups, (q + 1) * f // groups), slice(q * per_group, (q + 1) * per_group)
        for u in range(k):
            for v in range(k):
                top, left = far - reach + u * dilation, far - reach + v * dilation
                seen = room[:, channels, top : top + out_h * sy : sy, left : left + out_w * sx : sx]
                y[:, filters] += np.einsum("nchw,fc->nfhw", seen, weights[filters, :, u, v].astype(np.float64))
    return y + np.asarray(bias, np.float64)[:, None, None]


def bfloat16(x):
    """float32 rounded to bfloat16 (8 binary digits), to nearest even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    return (bits + 0x7FFF + (bits >> 16 & 1) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def deconvolution(x, weights, bias, stride, padding):
    """y[f, i s - p + u, j s - p + v] += w[c, f, u, v] x[c, i, j]"""
    n, _, h, w = x.shape
    _, f, k, _ = weights.shape
    whole = np.zeros((n, f, (h - 1) * stride + k, (w - 1) * stride + k))
    for i in range(h):
        for j in range(w):
            patch = np.einsum("nc,cfuv->nfuv", x[:, :, i, j].astype(np.float64), weights)
            whole[:, :, i * stride : i * stride + k, j * stride : j * stride + k] += patch
    cut = whole[:, :, padding : whole.shape[2] - padding, padding : whole.shape[3] - padding]
    return cut + np.asarray(bias, np.float64)[:, None, None]


def batch_norm(x, scales, mean, variance, bias, inside_root):
    """Channels on axis 1; pjreddie's CPU build adds its epsilon to the root, AlexeyAB's below it."""
    shape = (1, -1) + (1,) * (x.ndim - 2)
    scales, mean, variance, bias = (np.asarray(a, np.float64).reshape(shape) for a in (scales, mean, variance, bias))
    root = np.sqrt(variance + 1e-5) if inside_root else np.sqrt(variance) + 1e-6
    return (x - mean) / root * scales + bias


def finished(sums, layer, inside_root):
    """Batch normalisation of a layer's sums (channels on axis 1) with its statistics, or else its biases added."""
    norm = layer.norm
    if norm is None:
        return sums + layer.biases.reshape(1, -1, *(1,) * (sums.ndim - 2))
    return batch_norm(sums, norm.scales, norm.rolling_mean, norm.rolling_variance, layer.biases, inside_root)


def windows(x, size, stride, padding):
    """(row, column, the part of x under the window) of every window; `padding` is the total of both sides."""
    h, w = x.shape[2:]
    (sy, sx), before = stride, padding // 2
    for i in range((h + padding - size) // sy + 1):
        for j in range((w + padding - size) // sx + 1):
            top, left = i * sy - before, j * sx - before
            yield i, j, x[:, :, max(0, top) : max(0, top + size), max(0, left) : max(0, left + size)]


def pooled(x, size, stride, padding, reduce):
    """`reduce` (np.max, np.mean) over the cells of each window that lie in the plane."""
    h, w = x.shape[2:]
    y = np.zeros((*x.shape[:2], (h + padding - size) // stride[0] + 1, (w + padding - size) // stride[1] + 1))
    for i, j, part in windows(x.astype(np.float64), size, stride, padding):
        y[:, :, i, j] = reduce(part, axis=(2, 3))
    return y


def locally_connected(x, weights, bias, stride, padding):
    """weights (places, f, c, k, k): filters of its own for every output place; bias (f * places)."""
    n, c, h, w = x.shape
    _, f, _, k, _ = weights.shape
    less = 1 if padding else k
    out_h, out_w = (h - less) // stride + 1, (w - less) // stride + 1
    room = np.zeros((n, c, h + 2 * padding + k, w + 2 * padding + k))
    room[:, :, padding : padding + h, padding : padding + w] = x
    y = np.zeros((n, f, out_h, out_w))
    for i in range(out_h):
        for j in range(out_w):
            seen = room[:, :, i * stride : i * stride + k, j * stride : j * stride + k]
            y[:, :, i, j] = np.einsum("ncuv,fcuv->nf", seen, weights[i * out_w + j].astype(np.float64))
    return y + bias.reshape(f, out_h, out_w)


def blur(x, mode, stride):
    """The low-pass filter of `antialiasing`: 1 is a binomial 3x3 with padding, 2 the mean of 2x2 cells."""
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16 if mode == 1 else np.full((2, 2), 0.25)
    weights = np.broadcast_to(kernel, (x.shape[1], 1, *kernel.shape))
    padding = 1 if mode == 1 else 0
    return convolution(x, weights, np.zeros(x.shape[1]), stride, padding, groups=x.shape[1])


def reorg(x, stride, reverse=False):
    """YOLOv2's historical order, element by element as in C; returns (n, outputs)."""
    n, c, h, w = x.shape
    y = np.zeros((n, c * h * w))
    deep = c // (stride * stride)
    for k in range(c):
        offset = k // deep
        for j in range(h):
            for i in range(w):
                small = i + w * (j + h * k)
                wide = i * stride + offset % stride
                wide += w * stride * (j * stride + offset // stride + h * stride * (k % deep))
                source, target = (small, wide) if reverse else (wide, small)
                y[:, target] = x.reshape(n, -1)[:, source]
    return y


def reorg3d(x, stride):
    """Space to depth: out[k, j, i] = x[k mod c, j s + (k / c) / s, i s + (k / c) mod s]."""
    n, c, h, w = x.shape
    y = np.zeros((n, c * stride * stride, h // stride, w // stride))
    for k in range(c * stride * stride):
        offset = k // c
        y[:, k] = x[:, k % c, offset // stride :: stride, offset % stride :: stride]
    return y


def response_normalisation(x, alpha, beta, kappa, size):
    """darknet's recurrence over channels, pixel by pixel."""
    x = x.astype(np.float64)
    c = x.shape[1]
    norms = np.zeros_like(x)
    norms[:, 0] = kappa + alpha * sum(x[:, k] ** 2 for k in range(min(size // 2, c)))
    for k in range(1, c):
        norms[:, k] = norms[:, k - 1]
        if k - (size - 1) // 2 - 1 >= 0:
            norms[:, k] -= alpha * x[:, k - (size - 1) // 2 - 1] ** 2
        if k + size // 2 < c:
            norms[:, k] += alpha * x[:, k + size // 2] ** 2
    return x * norms**-beta


def softmax(x, temperature=1.0):
    """Softmax over the last axis."""
    e = np.exp((x - x.max(axis=-1, keepdims=True)) / temperature)
    return e / e.sum(axis=-1, keepdims=True)


def pjreddie_shortcut(x, other, alpha, beta):
    """x plus the other: every `down`-th cell to every `up`-th, on the channels that both have."""
    (c, h, w), (c2, h2, w2) = x.shape[1:], other.shape[1:]
    down, up = max(1, w2 // w), max(1, w // w2)
    y = x.astype(np.float64)
    for k in range(min(c, c2)):
        for j in range(min(h, h2)):
            for i in range(min(w, w2)):
                y[:, k, j * up, i * up] = alpha * y[:, k, j * up, i * up] + beta * other[:, k, j * down, i * down]
    return y


def yolo_output(x, anchors, classes, scale_x_y=1.0):
    """The output of [yolo]: all but w and h logistic, x and y scaled about 0.5."""
    y = x.reshape(len(x), anchors, 5 + classes, -1).astype(np.float64)
    for entry in (0, 1, *range(4, 5 + classes)):
        y[:, :, entry] = sigmoid(y[:, :, entry])
    y[:, :, :2] = y[:, :, :2] * scale_x_y - 0.5 * (scale_x_y - 1)
    return y.reshape(x.shape)


def yolo_boxes(output, anchors, classes, width, height, thresh):
    """[(x, y, w, h, objectness, probabilities)] of one picture's [yolo] output (c, h, w), loop by loop."""
    h, w = output.shape[1:]
    entries = output.reshape(len(anchors), 5 + classes, h, w)
    boxes = []
    for row in range(h):
        for column in range(w):
            for (anchor_w, anchor_h), entry in zip(anchors, entries[:, :, row, column], strict=True):
                if entry[4] > thresh:
                    x, y = (column + entry[0]) / w, (row + entry[1]) / h
                    size = math.exp(entry[2]) * anchor_w / width, math.exp(entry[3]) * anchor_h / height
                    boxes.append((x, y, *size, entry[4], entry[4] * entry[5:]))
    return boxes
