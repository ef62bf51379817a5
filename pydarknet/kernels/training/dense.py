"""Gradients of matrix-vector products over flat arrays in plain order."""

from __future__ import annotations

from numba import prange

from ...runtime.jit import kernel
from ..halo import clear

CHUNK = 1024  # inputs of one task


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
