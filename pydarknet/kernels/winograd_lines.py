"""The one-dimensional transforms of Winograd's method over vectors of 16 channels, as Numba intrinsics.

F(m, 3) interpolates at the first m + 1 of the points 0, 1, -1, 2, -2 and at infinity: row i of B^T holds the
coefficients of the product of (x - p) over the other points p, row k of A^T the k-th powers of the
points, row i of G the powers of point i over the product of its distances from the other points.

With stride 2, three filter cells meet two cells at even places and one at an odd place between them: F(m, 2) of the
even ones, at the first m of the points and at infinity, and m products of the odd ones with the middle of the filter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .jit import device
from .simd import INT64, LANES, VECTOR, Term, data_pointer, load_vector, splat, store_vector

Formula = Callable[..., Sequence[Term]]


def _input4(a, b, c, d):
    return c - a, b + c, c - b, d - b


def _input5(a, b, c, d, e):
    p = d - c
    return a * 2 - b + (d - c * 2), p - b * 2, p + (b - c) * 2, d - b, (b - d) * 2 + (e - c)


def _input6(a, b, c, d, e, f):
    p, q, r, s = e - c * 4, d - b * 4, e - c, (d - b) * 2
    return a * 4 - c * 5 + e, p + q, p - q, r + s, r - s, b * 4 - d * 5 + f


def _filter4(a, b, c):
    p = a + c
    return a * -1.0, (p + b) * (1 / 2), (p - b) * (1 / 2), c


def _filter5(a, b, c):
    p = a + c
    return a * (1 / 2), (p + b) * (-1 / 2), (p - b) * (-1 / 6), (a + b * 2 + c * 4) * (1 / 6), c


def _filter6(a, b, c):
    p, q = a + c, a + c * 4
    return a * (1 / 4), (p + b) * (-1 / 6), (p - b) * (-1 / 6), (q + b * 2) * (1 / 24), (q - b * 2) * (1 / 24), c


def _output4(a, b, c, d):
    return a + (b + c), b - c + d


def _output5(a, b, c, d, e):
    p = b + c
    return a + p + d, b - c + d * 2, p + d * 4 + e


def _output6(a, b, c, d, e, f):
    p, q, r, s = b + c, b - c, d + e, d - e
    return a + p + r, q + s * 2, p + r * 4, q + s * 8 + f


def _input_even2(a, b, c, d, e):
    return a - c, c, e - c, b, d


def _input_even3(a, b, c, d, e, f, g):
    return *_input4(a, c, e, g), b, d, f


def _filter_even2(a, b, c):
    return a, a + c, c, b


def _filter_even3(a, b, c):
    return a * -1.0, (a + c) * (1 / 2), (a - c) * (1 / 2), c, b


def _output_even2(a, b, c, d, e):
    return a + b + d, b + c + e


def _output_even3(a, b, c, d, e, f, g):
    return a + (b + c) + e, b - c + f, (b + c) + d + g


def _terms(context, b, array_type, array, at, step, count) -> list[Term]:
    base = b.gep(data_pointer(context, b, array_type, array), [at])
    return [Term(b, load_vector(b, b.gep(base, [b.mul(step, ir.Constant(INT64, i))]))) for i in range(count)]


def _make_line(count: int, formula: Formula):
    """y[i] = formula(x)[i]: `count` vectors, `x_step` floats apart, to as many as the formula gives, `y_step` apart."""

    @intrinsic
    def line(typingctx, x, x_at, x_step, y, y_at, y_step):
        def codegen(context, b, signature, arguments):
            x, x_at, x_step, y, y_at, y_step = arguments
            base = b.gep(data_pointer(context, b, signature.args[3], y), [y_at])
            terms = _terms(context, b, signature.args[0], x, x_at, x_step, count)
            for i, term in enumerate(formula(*terms)):
                store_vector(b, term.value, b.gep(base, [b.mul(y_step, ir.Constant(INT64, i))]))
            return context.get_dummy_value()

        return types.none(x, x_at, x_step, y, y_at, y_step), codegen

    return line


def _make_last_line(count: int, formula: Formula):
    """The same with the bias added, and what is then not above zero multiplied by `slope`; to cells that follow one
    another."""

    @intrinsic
    def line(typingctx, x, x_at, bias, bias_at, slope, y, y_at):
        def codegen(context, b, signature, arguments):
            x, x_at, bias, bias_at, slope, y, y_at = arguments
            base = b.gep(data_pointer(context, b, signature.args[5], y), [y_at])
            step = ir.Constant(INT64, LANES)
            (offset,) = _terms(context, b, signature.args[2], bias, bias_at, step, 1)
            slopes, zero = splat(b, slope), ir.Constant(VECTOR, [0.0] * LANES)
            for i, term in enumerate(formula(*_terms(context, b, signature.args[0], x, x_at, step, count))):
                value = (term + offset).value
                positive = b.fcmp_ordered(">", value, zero)
                value = b.select(positive, value, b.fmul(value, slopes))
                store_vector(b, value, b.gep(base, [ir.Constant(INT64, i * LANES)]))
            return context.get_dummy_value()

        return types.none(x, x_at, bias, bias_at, slope, y, y_at), codegen

    return line


def _by_size(line4, line5, line6, even2, even3):
    """One function of m, the stride and the rest for the lines of all sizes."""

    @device
    def line(m, stride, x, x_at, x_step, y, y_at, y_step):
        if stride == 2 and m == 3:
            even3(x, x_at, x_step, y, y_at, y_step)
        elif stride == 2:
            even2(x, x_at, x_step, y, y_at, y_step)
        elif m == 4:
            line6(x, x_at, x_step, y, y_at, y_step)
        elif m == 3:
            line5(x, x_at, x_step, y, y_at, y_step)
        else:
            line4(x, x_at, x_step, y, y_at, y_step)

    return line


def _lines(counts: Sequence[int], *formulas: Formula):
    return _by_size(*(_make_line(count, formula) for count, formula in zip(counts, formulas, strict=True)))


_sides = (4, 5, 6, 5, 7)

# G of 3 vectors to m + 2, B^T of a patch's side to as many, A^T of as many to m: `x_step` floats apart, to `y_step`
# floats apart.
filter_line = _lines((3,) * 5, _filter4, _filter5, _filter6, _filter_even2, _filter_even3)
input_line = _lines(_sides, _input4, _input5, _input6, _input_even2, _input_even3)
output_line = _lines(_sides, _output4, _output5, _output6, _output_even2, _output_even3)

_last_line4, _last_line5 = _make_last_line(4, _output4), _make_last_line(5, _output5)
_last_line6 = _make_last_line(6, _output6)
_last_even2, _last_even3 = _make_last_line(5, _output_even2), _make_last_line(7, _output_even3)


@device
def last_line(m, stride, x, x_at, bias, bias_at, slope, y, y_at):
    """A^T of cells that follow one another to m, with the bias, and the slope below zero."""
    if stride == 2 and m == 3:
        _last_even3(x, x_at, bias, bias_at, slope, y, y_at)
    elif stride == 2:
        _last_even2(x, x_at, bias, bias_at, slope, y, y_at)
    elif m == 4:
        _last_line6(x, x_at, bias, bias_at, slope, y, y_at)
    elif m == 3:
        _last_line5(x, x_at, bias, bias_at, slope, y, y_at)
    else:
        _last_line4(x, x_at, bias, bias_at, slope, y, y_at)
