"""Exponentials over vectors of sixteen float32, as Numba intrinsics."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba.extending import intrinsic

from .vector import INT32, LANES, VECTOR, Term, float32x16

# Added to a number of magnitude below 2^22, it leaves the nearest integer in the lowest bits of the sum.
ROUND = 1.5 * 2**23
ROUND_BITS = 0x4B400000


# e^r for |r| <= ln(2)/2: of the polynomials of degree 5 that begin with 1, the one with the smallest largest relative
# error, 9.2e-8 (by least squares, with weights that follow the error until it is the same everywhere).
COEFFICIENTS = 0.0082902721, 0.0418981603, 0.1666763813, 0.4999914784, 0.9999997063, 1.0


def _exp(x: Term, largest: float = 88.3) -> Term:
    """e^x to 2 units in the last place: the argument reduced by powers of two, then a polynomial.

    Saturates at e^`largest` and e^-87.3 instead of overflowing.
    """
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


def _one(x: Term) -> Term:
    return Term(x.builder, ir.Constant(VECTOR, [1.0] * LANES))


def _logistic(x: Term) -> Term:
    return _one(x) / (_exp(x * -1.0) + 1.0)


def _swish(x: Term) -> Term:
    return x / (_exp(x * -1.0) + 1.0)


def _mish(x: Term) -> Term:
    """x tanh(ln(1 + e^x)), with tanh(ln(1 + e)) = (e^2 + 2e) / (e^2 + 2e + 2)"""
    e = _exp(x, 20.0)
    q = e * (e + 2.0)
    return x * (q / (q + 2.0))


def _make(formula: Callable[[Term], Term]):
    @intrinsic
    def function(typingctx, x):
        def codegen(context, builder, signature, arguments):
            return formula(Term(builder, arguments[0])).value

        return float32x16(x), codegen

    return function


vlogistic, vswish, vmish = _make(_logistic), _make(_swish), _make(_mish)
