"""The factors by which activations multiply delta, computed from their output as darknet does, or from their input."""

from __future__ import annotations

import numba
from numba import prange

from ...runtime.jit import device, kernel, scalar
from ..activation import (
    ELU,
    GELU,
    HARD_MISH,
    HARDTAN,
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

f32 = numba.float32


@scalar
def _smooth(y, code):
    if code == LOGISTIC:
        return y * (f32(1.0) - y)
    if code == LOGGY:
        z = (y + f32(1.0)) * f32(0.5)
        return f32(2.0) * z * (f32(1.0) - z)
    if code == TANH:
        return f32(1.0) - y * y
    if code == ELU:
        return f32(1.0) if y >= f32(0.0) else y + f32(1.0)
    if code == SELU:
        return f32(1.0507) if y >= f32(0.0) else y + f32(1.0507 * 1.6732)
    # GELU, at the output as darknet has it
    q = f32(0.0356774) * y * y * y + f32(0.797885) * y
    sech = f32(2.0) / (exp32(q) + exp32(-q))
    return f32(0.5) * tanh32(q) + (f32(0.0535161) * y * y * y + f32(0.398942) * y) * sech * sech + f32(0.5)


@scalar
def _pieces(y, code):
    if code == RELU6:
        return f32(1.0) if f32(0.0) < y < f32(6.0) else f32(0.0)
    if code == RAMP:
        return f32(1.1) if y > f32(0.0) else f32(0.1)
    if code == PLSE:
        return f32(0.01) if y < f32(0.0) or y > f32(1.0) else f32(0.125)
    if code == STAIR:
        return f32(0.0) if f32(numba.int64(y)) == y else f32(1.0)
    if code == HARDTAN:
        return f32(1.0) if f32(-1.0) < y < f32(1.0) else f32(0.0)
    return f32(1.0) if f32(0.0) < y < f32(1.0) else f32(0.001)  # LHTAN


@scalar
def _of_input(x, code):
    if code == SWISH:
        s = logistic(x)
        return x * s + s * (f32(1.0) - x * s)
    if code == MISH:
        e = exp32(min(x, f32(20.0)))
        q = e * (e + f32(2.0))
        t = q / (q + f32(2.0))
        return x * (f32(1.0) - t * t) * (e / (f32(1.0) + e)) + t
    # HARD_MISH
    return f32(1.0) if x > f32(0.0) else (x + f32(1.0) if x > f32(-2.0) else f32(0.0))


@device
def multiply_by_gradient(delta, y, x, slope, code):
    """delta *= f', for runs of equal length; x: the input of f, y its output."""
    if code == NONE:
        for k in range(delta.size):
            delta[k] = delta[k] if y[k] > f32(0.0) else slope * delta[k]
    elif code == SWISH or code == MISH or code == HARD_MISH:
        for k in range(delta.size):
            delta[k] *= _of_input(x[k], code)
    elif code == LOGISTIC or code == LOGGY or code == TANH or code == ELU or code == SELU or code == GELU:
        for k in range(delta.size):
            delta[k] *= _smooth(y[k], code)
    else:
        for k in range(delta.size):
            delta[k] *= _pieces(y[k], code)


@kernel
def activation_gradient(delta, d_item, d_block, d_pitch, d_origin, y, y_item, y_block, y_pitch, y_origin,
                        x, x_item, x_block, x_pitch, x_origin, slope, code, batch, blocks, height, width):  # fmt: skip
    """delta *= f' in place, for blocked arrays; x may be y where only the output matters."""
    for task in prange(batch * blocks * height):
        item = task // (blocks * height)
        block = task // height - item * blocks
        row = task - (item * blocks + block) * height
        d_at = item * d_item + block * d_block + d_origin + row * d_pitch * 16
        y_at = item * y_item + block * y_block + y_origin + row * y_pitch * 16
        x_at = item * x_item + block * x_block + x_origin + row * x_pitch * 16
        multiply_by_gradient(delta[d_at : d_at + width * 16], y[y_at : y_at + width * 16], x[x_at : x_at + width * 16],
                             slope, code)  # fmt: skip
