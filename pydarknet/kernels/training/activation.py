"""The factors by which activations multiply delta, computed from their output as darknet does, or from their input.

As in `kernels/activation.py`, an id that no branch knows gives NaN.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import prange

from ...runtime.jit import device, kernel, scalar
from ..activation import (
    ELU,
    GELU,
    HARD_MISH,
    HARDTAN,
    LHTAN,
    LOGGY,
    LOGISTIC,
    MISH,
    NONE,
    PLSE,
    RAMP,
    RELU6,
    SELU,
    STAIR,
    SWISH,
    TANH,
    exp32,
    logistic,
    tanh32,
)  # fmt: skip
from ..addressing import cell, row_task, row_tasks
from ..simd.vector import LANES

f32 = numba.float32


@scalar
def _smooth(y, activation):
    if activation == LOGISTIC:
        return y * (f32(1.0) - y)
    if activation == LOGGY:
        z = (y + f32(1.0)) * f32(0.5)
        return f32(2.0) * z * (f32(1.0) - z)
    if activation == TANH:
        return f32(1.0) - y * y
    if activation == ELU:
        return f32(1.0) if y >= f32(0.0) else y + f32(1.0)
    if activation == SELU:
        return f32(1.0507) if y >= f32(0.0) else y + f32(1.0507 * 1.6732)
    if activation == GELU:  # at the output, as darknet has it
        q = f32(0.0356774) * y * y * y + f32(0.797885) * y
        sech = f32(2.0) / (exp32(q) + exp32(-q))
        return f32(0.5) * tanh32(q) + (f32(0.0535161) * y * y * y + f32(0.398942) * y) * sech * sech + f32(0.5)
    return f32(np.nan)


@scalar
def _pieces(y, activation):
    if activation == RELU6:
        return f32(1.0) if f32(0.0) < y < f32(6.0) else f32(0.0)
    if activation == RAMP:
        return f32(1.1) if y > f32(0.0) else f32(0.1)
    if activation == PLSE:
        return f32(0.01) if y < f32(0.0) or y > f32(1.0) else f32(0.125)
    if activation == STAIR:
        return f32(0.0) if f32(numba.int64(y)) == y else f32(1.0)
    if activation == HARDTAN:
        return f32(1.0) if f32(-1.0) < y < f32(1.0) else f32(0.0)
    if activation == LHTAN:
        return f32(1.0) if f32(0.0) < y < f32(1.0) else f32(0.001)
    return f32(np.nan)


@scalar
def _of_input(x, activation):
    if activation == SWISH:
        s = logistic(x)
        return x * s + s * (f32(1.0) - x * s)
    if activation == MISH:
        e = exp32(min(x, f32(20.0)))
        q = e * (e + f32(2.0))
        t = q / (q + f32(2.0))
        return x * (f32(1.0) - t * t) * (e / (f32(1.0) + e)) + t
    if activation == HARD_MISH:
        return f32(1.0) if x > f32(0.0) else (x + f32(1.0) if x > f32(-2.0) else f32(0.0))
    return f32(np.nan)


@device
def multiply_by_gradient(delta, y, x, slope, activation):
    """delta *= f', for runs of equal length; x: the input of f, y its output."""
    if activation == NONE:
        for k in range(delta.size):
            delta[k] = delta[k] if y[k] > f32(0.0) else slope * delta[k]
    elif activation == SWISH or activation == MISH or activation == HARD_MISH:
        for k in range(delta.size):
            delta[k] *= _of_input(x[k], activation)
    elif (activation == LOGISTIC or activation == LOGGY or activation == TANH or activation == ELU or
          activation == SELU or activation == GELU):  # fmt: skip
        for k in range(delta.size):
            delta[k] *= _smooth(y[k], activation)
    else:
        for k in range(delta.size):
            delta[k] *= _pieces(y[k], activation)


@kernel
def activation_gradient(delta, delta_at, y, y_at, x, x_at, slope, activation):
    """delta *= f' in place, for blocked arrays (`Planes`); x may be y where only the output matters."""
    for task in prange(row_tasks(delta_at)):
        picture, block, row = row_task(task, delta_at)
        floats, delta_row = delta_at.width * LANES, cell(delta_at, picture, block, row, 0)
        y_row, x_row = cell(y_at, picture, block, row, 0), cell(x_at, picture, block, row, 0)
        changes, outputs = delta[delta_row : delta_row + floats], y[y_row : y_row + floats]
        multiply_by_gradient(changes, outputs, x[x_row : x_row + floats], slope, activation)
