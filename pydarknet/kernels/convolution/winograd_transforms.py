"""The transforms of Winograd's method over vectors of 16 channels, as Numba intrinsics.

F(m, 3) interpolates at the first m + 1 of the points 0, 1, -1, 2, -2 and at infinity: row i of B^T holds the
coefficients of the product of (x - p) over the other points p, row k of A^T the k-th powers of the
points, row i of G the powers of point i over the product of its distances from the other points.

With stride 2, three filter cells meet two cells at even places and one at an odd place between them: F(m, 2) of the
even ones, at the first m of the points and at infinity, and m products of the odd ones with the middle of the filter.

A formula transforms one line of cells; a square is transformed column by column and then row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ...runtime.jit import inlined
from ..simd.intrinsics import one_of
from ..simd.vector import INT64, LANES, Term, data_pointer, load_vector, store_vector
from .microkernel import NR

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


def _load_line(b: ir.IRBuilder, start, step, count: int) -> list[Term]:
    """Vectors `step` floats apart."""
    return [Term(b, load_vector(b, b.gep(start, [b.mul(step, ir.Constant(INT64, i))]))) for i in range(count)]


def square(b: ir.IRBuilder, x, row, column, half, side: int, formula: Formula) -> Iterator[Sequence[Term]]:
    """The formula over the columns and then the rows of side x side vectors from x on, `row` and `column` floats apart,
    line by line. The caller stores each line before it asks for the next one.

    Half-transformed vectors stay in registers where AVX-512 has enough of them; else they go to memory from `half` on,
    which may be where the vectors came from.
    """
    cell = ir.Constant(INT64, LANES)
    columns = []
    for j in range(side):
        line = formula(*_load_line(b, b.gep(x, [b.mul(column, ir.Constant(INT64, j))]), row, side))
        columns.append(line)
        if NR == 1:
            for i, term in enumerate(line):
                store_vector(b, term.value, b.gep(half, [ir.Constant(INT64, (i * side + j) * LANES)]))
    b.fence("seq_cst", targetscope="singlethread")  # else LLVM keeps in registers what it has none for
    for i, row_of_columns in enumerate(zip(*columns, strict=True)):
        if NR == 2:
            yield formula(*row_of_columns)
        else:
            yield formula(*_load_line(b, b.gep(half, [ir.Constant(INT64, i * side * LANES)]), cell, side))


def _make_transform(side: int, formula: Formula):
    """The transform of a square, whose cells are written `y_step` floats apart. In `work` there is room for the square
    halfway, from `half` on."""

    @intrinsic
    def transform(typingctx, x, x_at, x_row, x_column, y, y_at, y_step, work, half):
        def codegen(context, b, signature, arguments):
            _, x_at, x_row, x_column, _, y_at, y_step, _, half = arguments
            source, target, room = (data_pointer(context, b, signature.args[i], arguments[i]) for i in (0, 4, 7))
            lines = square(b, b.gep(source, [x_at]), x_row, x_column, b.gep(room, [half]), side, formula)
            for i, line in enumerate(lines):
                for j, term in enumerate(line):
                    place = b.add(y_at, b.mul(y_step, ir.Constant(INT64, i * len(line) + j)))
                    store_vector(b, term.value, b.gep(target, [place]))
            return context.get_dummy_value()

        return types.none(x, x_at, x_row, x_column, y, y_at, y_step, work, half), codegen

    return transform


class Form(NamedTuple):
    """F(m x m, 3 x 3) with one stride: the formulas of B^T, G and A^T."""

    m: int
    stride: int
    input: Formula
    filter: Formula
    output: Formula

    @property
    def side(self) -> int:
        """Cells a side of a patch."""
        return self.m + 2 if self.stride == 1 else 2 * self.m + 1


FORMS = (
    Form(2, 1, _input4, _filter4, _output4),
    Form(3, 1, _input5, _filter5, _output5),
    Form(4, 1, _input6, _filter6, _output6),
    Form(2, 2, _input_even2, _filter_even2, _output_even2),
    Form(3, 2, _input_even3, _filter_even3, _output_even3),
)


@inlined
def code_of(m, stride):
    """The number by which the transforms of a form are chosen."""
    return m + 4 * (stride - 1)


def by_form(make: Callable[[Form], Any]) -> Any:
    """One intrinsic of a form's code and the rest, of the one that `make` gives for each form."""
    return one_of({code_of.py_func(form.m, form.stride): make(form) for form in FORMS})


# G g G^T of 3 x 3 vectors, and B^T d B of a patch.
transform_filter = by_form(lambda form: _make_transform(3, form.filter))
transform_patch = by_form(lambda form: _make_transform(form.side, form.input))
