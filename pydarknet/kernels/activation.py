"""Activation functions over runs of float32, written so that LLVM vectorises them, and the factors by which they
multiply delta, computed from their output as darknet does, or from their input.

Functions that are a slope below zero (linear, leaky, relu, relie) need no code: convolutions apply them as they
store.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import prange, types

from ..runtime.jit import device, kernel, scalar
from .addressing import cell, row_task, row_tasks
from .simd import INT32, LANES, VECTOR, Term, returning, simd, vfirst, vload, vsplat, vstore

f32 = numba.float32

# Ids of the functions that a slope cannot express; NONE is a slope's.
(NONE, LOGISTIC, MISH, SWISH, LOGGY, RELU6, ELU, SELU, GELU, RAMP, TANH, PLSE, STAIR, HARDTAN, LHTAN,
 HARD_MISH) = range(16)  # fmt: skip

# Those that a convolution applies to each tile while it is in the cache; the others are a pass of their own.
FUSED = frozenset({LOGISTIC, MISH, SWISH})
SMOOTH = LOGGY, ELU, SELU, GELU, TANH


@returning(types.float32)
def _float_from_bits(b, bits):
    return b.bitcast(bits, ir.FloatType())


@scalar
def exp32(x):
    """e^x in float32, to 2 units in the last place: argument reduced by powers of two, then Cephes' minimax
    polynomial for |r| <= ln(2)/2. Saturates at e^88.3 and e^-87.3 instead of overflowing."""
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
    return p * _float_from_bits(numba.int32((n + numba.int32(127)) << numba.int32(23)))


@scalar
def logistic(x):
    """1 / (1 + e^-x)"""
    return f32(1.0) / (f32(1.0) + exp32(-x))


@scalar
def tanh32(x):
    """2 / (1 + e^-2x) - 1"""
    return f32(2.0) / (f32(1.0) + exp32(f32(-2.0) * x)) - f32(1.0)


# --- exponentials over vectors ----------------------------------------------------------------------------------------

# Added to a number of magnitude below 2^22, it leaves the nearest integer in the lowest bits of the sum.
ROUND = 1.5 * 2**23
ROUND_BITS = 0x4B400000

# e^r for |r| <= ln(2)/2: of the polynomials of degree 5 that begin with 1, the one with the smallest largest relative
# error, 9.2e-8 (by least squares, with weights that follow the error until it is the same everywhere).
COEFFICIENTS = 0.0082902721, 0.0418981603, 0.1666763813, 0.4999914784, 0.9999997063, 1.0


def _exp(x: Term, largest: float = 88.3) -> Term:
    """`exp32` over vectors, saturating at e^`largest`."""
    x = x.clipped(-87.3, largest)
    shifted = x * 1.44269504 + ROUND
    n = shifted - ROUND
    r = x - n * 0.693359375 - n * -2.12194440e-4
    first, second, *others = COEFFICIENTS
    p = r * first + second
    for coefficient in others:
        p = p * r + coefficient
    b, whole = x.builder, ir.VectorType(INT32, LANES)
    exponent = b.add(b.bitcast(shifted.value, whole), ir.Constant(whole, [127 - ROUND_BITS] * LANES))
    power = b.bitcast(b.shl(exponent, ir.Constant(whole, [23] * LANES)), VECTOR)
    return p * Term(b, power)


def _logistic(x: Term) -> Term:
    one = Term(x.builder, ir.Constant(VECTOR, [1.0] * LANES))
    return one / (_exp(x * -1.0) + 1.0)


def _swish(x: Term) -> Term:
    return x / (_exp(x * -1.0) + 1.0)


def _mish(x: Term) -> Term:
    """x tanh(ln(1 + e^x)), with tanh(ln(1 + e)) = (e^2 + 2e) / (e^2 + 2e + 2)"""
    e = _exp(x, 20.0)
    q = e * (e + 2.0)
    return x * (q / (q + 2.0))


def _make_fused(formula: Callable[[Term], Term]) -> Any:
    """What applies a formula to a run in place; a number's result does not depend on where in the run it is."""
    function = simd(lambda b, x: formula(Term(b, x)).value)

    @device
    def apply(run):
        whole = run.size - run.size % LANES
        for k in range(0, whole, LANES):
            vstore(run, k, function(vload(run, k)))
        for k in range(whole, run.size):
            run[k] = vfirst(function(vsplat(run[k])))

    return apply


_apply_logistic, _apply_mish, _apply_swish = map(_make_fused, (_logistic, _mish, _swish))


# --- functions --------------------------------------------------------------------------------------------------------

# Loops run over slices from 0 on: an index that might be negative would keep LLVM from using SIMD.
#
# Every function below names all ids that it knows. For another one it gives NaN: a new id that somebody forgets here
# cannot silently be another function. tests/kernels/test_activation.py looks for each id of the table of layers.


@device
def activate_fused(run, activation):
    """Apply one of FUSED in place."""
    if activation == LOGISTIC:
        _apply_logistic(run)
    elif activation == MISH:
        _apply_mish(run)
    elif activation == SWISH:
        _apply_swish(run)
    else:
        run[:] = f32(np.nan)


@scalar
def _smooth(x, activation):
    if activation == LOGGY:
        return f32(2.0) * logistic(x) - f32(1.0)
    if activation == ELU:
        return x if x >= f32(0.0) else exp32(x) - f32(1.0)
    if activation == SELU:
        return f32(1.0507) * x if x >= f32(0.0) else f32(1.0507 * 1.6732) * (exp32(x) - f32(1.0))
    if activation == GELU:
        return f32(0.5) * x * (f32(1.0) + tanh32(f32(0.797885) * x + f32(0.035677) * x * x * x))
    if activation == TANH:
        return tanh32(x)
    return f32(np.nan)


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
def activate_run(run, slope, activation):
    """Apply any function of this module, by its id, in place; NONE is x above zero and slope * x below."""
    if activation == NONE:
        for k in range(run.size):
            run[k] = run[k] if run[k] > f32(0.0) else slope * run[k]
    elif activation in (LOGISTIC, MISH, SWISH):
        activate_fused(run, activation)
    elif activation in SMOOTH:
        for k in range(run.size):
            run[k] = _smooth(run[k], activation)
    else:
        _activate_pieces(run, activation)


@device
def clear_lanes(run, used):
    """Zero the lanes past the last channel (`used` of LANES are channels) of all cells."""
    for first in range(0, run.size, LANES):
        for lane in range(used, LANES):
            run[first + lane] = 0.0


@kernel
def activate(y, y_at, channels, slope, activation):
    """Apply an activation in place to blocked `y` (flat), keeping halo and unused lanes zero. y_at: `Planes`."""
    for task in prange(row_tasks(y_at)):
        picture, block, row = row_task(task, y_at)
        first = cell(y_at, picture, block, row, 0)
        run = y[first : first + y_at.width * LANES]
        activate_run(run, slope, activation)
        if activation != NONE and channels - block * LANES < LANES:
            clear_lanes(run, channels - block * LANES)


@kernel
def activate_segments(y, segments, slope, activation):
    """Apply an activation in place to runs of a flat array; segments: (m, 2) int64 of first float and count."""
    for s in prange(segments.shape[0]):
        activate_run(y[segments[s, 0] : segments[s, 0] + segments[s, 1]], slope, activation)


# --- gradients --------------------------------------------------------------------------------------------------------


@scalar
def _smooth_gradient(y, activation):
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
def _pieces_gradient(y, activation):
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
def _gradient_at_input(x, activation):
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
    elif activation in (SWISH, MISH, HARD_MISH):
        for k in range(delta.size):
            delta[k] *= _gradient_at_input(x[k], activation)
    elif activation == LOGISTIC or activation in SMOOTH:
        for k in range(delta.size):
            delta[k] *= _smooth_gradient(y[k], activation)
    else:
        for k in range(delta.size):
            delta[k] *= _pieces_gradient(y[k], activation)


@kernel
def activation_gradient(delta, delta_at, y, y_at, x, x_at, slope, activation):
    """delta *= f' in place, for blocked arrays (`Planes`); x may be y where only the output matters."""
    for task in prange(row_tasks(delta_at)):
        picture, block, row = row_task(task, delta_at)
        floats, delta_row = delta_at.width * LANES, cell(delta_at, picture, block, row, 0)
        y_row, x_row = cell(y_at, picture, block, row, 0), cell(x_at, picture, block, row, 0)
        changes, outputs = delta[delta_row : delta_row + floats], y[y_row : y_row + floats]
        multiply_by_gradient(changes, outputs, x[x_row : x_row + floats], slope, activation)
