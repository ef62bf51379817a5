"""The update rules: one pass over a parameter and what is kept of it, all flat and of equal length.

`updates` holds what backward passes have accumulated: minus the gradient of the loss, summed over pictures.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import prange

from ..runtime.jit import kernel

f32 = numba.float32

CHUNK = 4096  # numbers of one task


@kernel
def sgd_step(weights, updates, lr, decay, momentum):
    """updates -= decay * weights; weights += lr * updates; updates *= momentum."""
    chunks = (weights.size + CHUNK - 1) // CHUNK
    for chunk in prange(chunks):
        first, end = chunk * CHUNK, (chunk + 1) * CHUNK
        w, u = weights[first:end], updates[first:end]
        for k in range(w.size):
            change = u[k] - decay * w[k]
            w[k] += lr * change
            u[k] = momentum * change


@kernel
def adam_step(
    weights, updates, means, squares, lr, decay, beta1, beta2, bias_correction1, bias_correction2, epsilon
):  # fmt: skip
    """Adam (Kingma and Ba, 2015): the rolling means of change = updates - decay * weights and of its square, divided by
    `bias_correction1` and `bias_correction2` (1 - beta^step), move the weights by lr * mean / (sqrt(square) + epsilon);
    updates = 0."""
    one = f32(1.0)
    chunks = (weights.size + CHUNK - 1) // CHUNK
    for chunk in prange(chunks):
        first, end = chunk * CHUNK, (chunk + 1) * CHUNK
        w, u, m, v = weights[first:end], updates[first:end], means[first:end], squares[first:end]
        for k in range(w.size):
            change = u[k] - decay * w[k]
            m[k] = beta1 * m[k] + (one - beta1) * change
            v[k] = beta2 * v[k] + (one - beta2) * change * change
            w[k] += lr * (m[k] / bias_correction1) / (np.sqrt(v[k] / bias_correction2) + epsilon)
            u[k] = f32(0.0)
