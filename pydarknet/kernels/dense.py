"""What works on flat arrays in plain order: matrix-vector products with their gradients, and update rules, for
which `updates` holds what backward passes have accumulated: minus the gradient of the loss, summed over
pictures."""

import numba
import numpy as np
from numba import prange

from ..runtime.jit import kernel, reducing_kernel
from .addressing import clear

f32 = numba.float32

CHUNK = 1024  # inputs of one task


@reducing_kernel
def dense(x, x_item, weights, gain, bias, y, batch, inputs, outputs):
    """y[n, o] = gain[o] * (weights[o] . x[n]) + bias[o]; all arrays flat, items of x `x_item` floats apart."""
    for o in prange(outputs):
        row = weights[o * inputs : o * inputs + inputs]
        for n in range(batch):
            values = x[n * x_item : n * x_item + inputs]
            total = f32(0.0)
            for i in range(inputs):
                total += row[i] * values[i]
            y[n * outputs + o] = gain[o] * total + bias[o]


@kernel
def dense_weight_gradient(x, delta, batch, inputs, outputs, gradient):
    """gradient[o, i] += sum over items of delta[n, o] x[n, i]; all flat."""
    for o in prange(outputs):
        row = gradient[o * inputs : o * inputs + inputs]
        for n in range(batch):
            values, change = x[n * inputs : n * inputs + inputs], delta[n * outputs + o]
            for i in range(inputs):
                row[i] += change * values[i]


@kernel
def dense_input_gradient(delta, weights, batch, inputs, outputs, out):
    """out[n, i] = sum over o of delta[n, o] weights[o, i]; all flat."""
    chunks = (inputs + CHUNK - 1) // CHUNK
    for task in prange(batch * chunks):
        n = task // chunks
        first = (task - n * chunks) * CHUNK
        count = min(CHUNK, inputs - first)
        result = out[n * inputs + first : n * inputs + first + count]
        clear(result)
        for o in range(outputs):
            row, change = weights[o * inputs + first : o * inputs + first + count], delta[n * outputs + o]
            for i in range(count):
                result[i] += change * row[i]


@reducing_kernel
def locally_connected(x, x_at, window, weights, bias, y, y_at):
    """A convolution whose every output location has filters of its own.

    x, y: flat, in plain order (x_at, y_at: `Nchw`); window: `SlidingWindow`; weights: (location, filter,
    channel, row, column), flat; bias: (filter, row, column), flat.
    """
    size, locations = window.size, y_at.height * y_at.width
    for task in prange(y_at.pictures * locations):
        picture = task // locations
        location = task - picture * locations
        top = location // y_at.width * window.stride_y - window.padding
        left = location % y_at.width * window.stride_x - window.padding
        for f in range(y_at.channels):
            filter_at = (location * y_at.channels + f) * x_at.channels * size * size
            total = f32(0.0)
            for c in range(x_at.channels):
                for u in range(max(0, -top), min(size, x_at.height - top)):
                    first, last = max(0, -left), min(size, x_at.width - left)
                    row = ((picture * x_at.channels + c) * x_at.height + top + u) * x_at.width + left
                    weight = filter_at + (c * size + u) * size
                    cells, factors = x[row + first : row + last], weights[weight + first : weight + last]
                    for v in range(last - first):
                        total += factors[v] * cells[v]
            y[(picture * y_at.channels + f) * locations + location] = total + bias[f * locations + location]


# --- update rules -----------------------------------------------------------------------------------------------------

PIECE = 4096  # numbers of one task


@kernel
def sgd_step(weights, updates, lr, decay, momentum):
    """updates -= decay * weights; weights += lr * updates; updates *= momentum."""
    for piece in prange((weights.size + PIECE - 1) // PIECE):
        first, end = piece * PIECE, (piece + 1) * PIECE
        w, u = weights[first:end], updates[first:end]
        for k in range(w.size):
            change = u[k] - decay * w[k]
            w[k] += lr * change
            u[k] = momentum * change


@kernel
def adam_step(
    weights, updates, means, squares, lr, decay, beta1, beta2, bias_correction1, bias_correction2, epsilon
):  # fmt: skip
    """Adam (Kingma and Ba, 2015): the rolling means of change = updates - decay * weights and of its square,
    divided by `bias_correction1` and `bias_correction2` (1 - beta^step), move the weights by lr * mean /
    (sqrt(square) + epsilon); updates = 0."""
    for piece in prange((weights.size + PIECE - 1) // PIECE):
        first, end = piece * PIECE, (piece + 1) * PIECE
        w, u, m, v = weights[first:end], updates[first:end], means[first:end], squares[first:end]
        for k in range(w.size):
            change = u[k] - decay * w[k]
            m[k] = beta1 * m[k] + (f32(1.0) - beta1) * change
            v[k] = beta2 * v[k] + (f32(1.0) - beta2) * change * change
            w[k] += lr * (m[k] / bias_correction1) / (np.sqrt(v[k] / bias_correction2) + epsilon)
            u[k] = f32(0.0)
