"""Activation functions over runs of float32, written so that LLVM vectorises them.

Functions that are a slope below zero (linear, leaky, relu, relie) need no code: convolutions apply them as they store.
"""

from __future__ import annotations

import numba
import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.extending import intrinsic

from ..runtime.jit import device, kernel, scalar
from .addressing import cell, row_task, row_tasks
from .simd.math import vlogistic, vmish, vswish
from .simd.vector import LANES, vfirst, vload, vsplat, vstore

f32 = numba.float32

# Ids of the functions that a slope cannot express; NONE is a slope's.
(NONE, LOGISTIC, MISH, SWISH, LOGGY, RELU6, ELU, SELU, GELU, RAMP, TANH, PLSE, STAIR, HARDTAN, LHTAN,
 HARD_MISH) = range(16)  # fmt: skip

# Those that a convolution applies to each tile while it is in the cache; the others are a pass of their own.
FUSED = frozenset({LOGISTIC, MISH, SWISH})


@intrinsic
def _float_from_bits(typingctx, bits):
    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), codegen


@scalar
def exp32(x):
    """e^x in float32, to 2 units in the last place: argument reduced by powers of two, then a polynomial.

    Saturates at e^88.3 and e^-87.3 instead of overflowing, which every user here wants. The polynomial is the classic
    minimax one of the Cephes library for |r| <= ln(2)/2.
    """
    x = min(max(x, f32(-87.3)), f32(88.3))
    n = numba.int32(x * f32(1.44269504) + f32(128.5)) - numba.int32(128)
    r = x - f32(n) * f32(0.693359375)
    r = r - f32(n) * f32(-2.12194440e-4)
    p = f32(1.9875691500e-4)
    p = p * r + f32(1.3981999507e-3)
    p = p * r + f32(8.3334519073e-3)
    p = p * r + f32(4.1665795894e-2)
    p = p * r + f32(1.6666665459e-1)
    p = p * r + f32(5.0000001201e-1)
    p = p * (r * r) + r + f32(1.0)
    return p * _float_from_bits((n + numba.int32(127)) << numba.int32(23))


@scalar
def logistic(x):
    """1 / (1 + e^-x)"""
    return f32(1.0) / (f32(1.0) + exp32(-x))


@scalar
def tanh32(x):
    """2 / (1 + e^-2x) - 1"""
    return f32(2.0) / (f32(1.0) + exp32(f32(-2.0) * x)) - f32(1.0)


# Loops run over slices from 0 on: an index that might be negative would keep LLVM from using SIMD.
#
# Every function below names all ids that it knows. For another one it gives NaN: a new id that somebody forgets here
# cannot silently be another function. tests/kernels/test_activation.py looks for each id of the table of layers.


@device
def fill_with_nan(run):
    """What an activation id that no branch knows gives."""
    for k in range(run.size):
        run[k] = f32(np.nan)


@device
def activate_fused(run, activation):
    """Apply one of FUSED in place; a number's result does not depend on where in the run it is."""
    whole = run.size - run.size % LANES
    if activation == LOGISTIC:
        for k in range(0, whole, LANES):
            vstore(run, k, vlogistic(vload(run, k)))
        for k in range(whole, run.size):
            run[k] = vfirst(vlogistic(vsplat(run[k])))
    elif activation == MISH:
        for k in range(0, whole, LANES):
            vstore(run, k, vmish(vload(run, k)))
        for k in range(whole, run.size):
            run[k] = vfirst(vmish(vsplat(run[k])))
    elif activation == SWISH:
        for k in range(0, whole, LANES):
            vstore(run, k, vswish(vload(run, k)))
        for k in range(whole, run.size):
            run[k] = vfirst(vswish(vsplat(run[k])))
    else:
        fill_with_nan(run)


@device
def _activate_smooth(run, activation):
    if activation == LOGGY:
        for k in range(run.size):
            run[k] = f32(2.0) * logistic(run[k]) - f32(1.0)
    elif activation == ELU:
        for k in range(run.size):
            run[k] = run[k] if run[k] >= f32(0.0) else exp32(run[k]) - f32(1.0)
    elif activation == SELU:
        for k in range(run.size):
            x = run[k]
            run[k] = f32(1.0507) * x if x >= f32(0.0) else f32(1.0507 * 1.6732) * (exp32(x) - f32(1.0))
    elif activation == GELU:
        for k in range(run.size):
            x = run[k]
            run[k] = f32(0.5) * x * (f32(1.0) + tanh32(f32(0.797885) * x + f32(0.035677) * x * x * x))
    elif activation == TANH:
        for k in range(run.size):
            run[k] = tanh32(run[k])
    else:
        fill_with_nan(run)


@scalar
def _stair(x):
    n = f32(numba.int64(x))
    if n > x:
        n -= f32(1.0)
    half = f32(numba.int64(n * f32(0.5)))
    if half > n * f32(0.5):
        half -= f32(1.0)
    return half if half * f32(2.0) == n else (x - n) + half


@device
def _activate_pieces(run, activation):
    for k in range(run.size):
        x = run[k]
        if activation == RELU6:
            x = min(max(x, f32(0.0)), f32(6.0))
        elif activation == RAMP:
            x = max(x, f32(0.0)) + f32(0.1) * x
        elif activation == PLSE:
            if x < f32(-4.0):
                x = f32(0.01) * (x + f32(4.0))
            elif x > f32(4.0):
                x = f32(0.01) * (x - f32(4.0)) + f32(1.0)
            else:
                x = f32(0.125) * x + f32(0.5)
        elif activation == STAIR:
            x = _stair(x)
        elif activation == HARDTAN:
            x = min(max(x, f32(-1.0)), f32(1.0))
        elif activation == LHTAN:
            if x < f32(0.0):
                x = f32(0.001) * x
            elif x > f32(1.0):
                x = f32(0.001) * (x - f32(1.0)) + f32(1.0)
        elif activation == HARD_MISH:
            if x <= f32(0.0):
                x = x * x * f32(0.5) + x if x > f32(-2.0) else f32(0.0)
        else:
            x = f32(np.nan)
        run[k] = x


@device
def activate_run(run, activation):
    """Apply any function of this module, by its id, in place."""
    if activation == LOGISTIC or activation == MISH or activation == SWISH:
        activate_fused(run, activation)
    elif activation == LOGGY or activation == ELU or activation == SELU or activation == GELU or activation == TANH:
        _activate_smooth(run, activation)
    else:
        _activate_pieces(run, activation)


@device
def apply_slope(run, slope):
    """Multiply what is not above zero by `slope`, in place."""
    for k in range(run.size):
        run[k] = run[k] if run[k] > f32(0.0) else slope * run[k]


@device
def clear_lanes(run, used):
    """Zero the lanes past the last channel (`used` of LANES are channels) of all cells."""
    for first in range(0, run.size, LANES):
        for lane in range(used, LANES):
            run[first + lane] = 0.0


@kernel
def activate(y, y_at, channels, slope, activation):
    """Apply an activation in place to blocked `y` (flat), keeping halo and unused lanes zero. y_at: `Planes`.

    With activation NONE the function is x above zero and slope * x below.
    """
    for task in prange(row_tasks(y_at)):
        picture, block, row = row_task(task, y_at)
        first = cell(y_at, picture, block, row, 0)
        run = y[first : first + y_at.width * LANES]
        if activation != NONE:
            activate_run(run, activation)
            if channels - block * LANES < LANES:
                clear_lanes(run, channels - block * LANES)
        else:
            apply_slope(run, slope)


@kernel
def activate_segments(y, segments, slope, activation):
    """Apply an activation in place to runs of a flat array; segments: (m, 2) int64 of first float and count."""
    for s in prange(segments.shape[0]):
        run = y[segments[s, 0] : segments[s, 0] + segments[s, 1]]
        if activation != NONE:
            activate_run(run, activation)
        else:
            apply_slope(run, slope)
