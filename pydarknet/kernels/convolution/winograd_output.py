"""The output transform of Winograd's method, A^T M A, as Numba intrinsics: with the bias, the slope below zero, and
pooling or the residual, while the cells are in registers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..simd.intrinsics import Members
from ..simd.vector import LANES, VECTOR, Term, data_pointer, larger, load_vector, splat, store_vector
from .microkernel import constant
from .winograd_transforms import Formula, by_form, square

Lines = Iterable[list[ir.Value]]  # vectors of a tile's cells, line by line


@dataclass
class _Cells:
    """The first `rows` x `columns` cells of a tile in memory, whose lines are `step` floats apart."""

    b: ir.IRBuilder
    start: ir.Value
    step: ir.Value
    rows: ir.Value
    columns: ir.Value

    def place(self, i: int, j: int) -> ir.Value:
        return self.b.gep(self.start, [self.b.add(self.b.mul(self.step, constant(i)), constant(j * LANES))])

    def has_row(self, i: int) -> ir.Value:
        return self.b.icmp_signed("<", constant(i), self.rows)

    def has_column(self, j: int) -> ir.Value:
        return self.b.icmp_signed("<", constant(j), self.columns)


Finish = Callable[[ir.IRBuilder, Lines, _Cells, _Cells], None]


def _as_they_are(b: ir.IRBuilder, lines: Lines, cells: _Cells, added: _Cells) -> None:
    for i, line in enumerate(lines):
        with b.if_then(cells.has_row(i), likely=True):
            for j, value in enumerate(line):
                with b.if_then(cells.has_column(j), likely=True):
                    store_vector(b, value, cells.place(i, j))


def _added_to(b: ir.IRBuilder, lines: Lines, cells: _Cells, added: _Cells) -> None:
    """Plus the residual."""
    for i, line in enumerate(lines):
        with b.if_then(cells.has_row(i), likely=True):
            for j, value in enumerate(line):
                with b.if_then(cells.has_column(j), likely=True):
                    other = load_vector(b, added.place(i, j))
                    store_vector(b, b.fadd(value, other), cells.place(i, j))


def _pooled(b: ir.IRBuilder, lines: Lines, cells: _Cells, added: _Cells) -> None:
    """The largest of each 2 x 2 cells, of those that exist; `rows` and `columns` are counted before pooling."""
    pending = list[ir.Value]()
    for i, line in enumerate(lines):
        pairs = [_largest(b, line[j : j + 2], cells.has_column(j + 1)) for j in range(0, len(line), 2)]
        if i % 2 == 0:
            pending = pairs
            continue
        with b.if_then(cells.has_row(i - 1), likely=True):
            for j, pair in enumerate(zip(pending, pairs, strict=True)):
                with b.if_then(cells.has_column(2 * j), likely=True):
                    store_vector(b, _largest(b, pair, cells.has_row(i)), cells.place(i // 2, j))


def _largest(b: ir.IRBuilder, values: Sequence[ir.Value], both: ir.Value) -> ir.Value:
    """Of two vectors the larger, lane by lane, where there are `both`, else the first."""
    first, last = values[0], values[-1]
    return b.select(both, larger(b, first, last), first)


class Points(NamedTuple):
    """A tile's products: the first one, floats from row to row and from column to column, and where in the same memory
    there is room for the tile halfway."""

    at: int
    row_stride: int
    column_stride: int
    half: int


class Cells(NamedTuple):
    """A tile's cells in the output: the first one, floats from row to row, and how many rows and columns are stored."""

    at: int
    row_stride: int
    rows: int
    columns: int


def _make_last_transform(side: int, formula: Formula, finish: Finish):
    """A^T M A of the products in `work`: bias added, what is then not above zero multiplied by `slope`, and the cells
    finished, of which residual's are `residual_row` floats from row to row. points: Points; cells: Cells."""

    @intrinsic
    def transform(
        typingctx, work, points, bias, bias_at, slope, y, cells, residual, residual_at, residual_row
    ):  # fmt: skip
        def codegen(context, b, signature, arguments):
            _, points, _, bias_at, slope, _, cells, _, residual_at, residual_row = arguments
            room, biases, target, other = (
                data_pointer(context, b, signature.args[i], arguments[i]) for i in (0, 2, 5, 7)
            )
            points, cells = (Members(context, b, signature.args[i], arguments[i]) for i in (1, 6))
            offset = Term(b, load_vector(b, b.gep(biases, [bias_at])))
            slopes, zero = splat(b, slope), ir.Constant(VECTOR, [0.0] * LANES)

            def sloped(term: Term) -> ir.Value:
                value = (term + offset).value
                return b.select(b.fcmp_ordered(">", value, zero), value, b.fmul(value, slopes))

            source, half = b.gep(room, [points.at]), b.gep(room, [points.half])
            lines = square(b, source, points.row_stride, points.column_stride, half, side, formula)
            stored = _Cells(b, b.gep(target, [cells.at]), cells.row_stride, cells.rows, cells.columns)
            others = _Cells(b, b.gep(other, [residual_at]), residual_row, cells.rows, cells.columns)
            finish(b, ([sloped(term) for term in line] for line in lines), stored, others)
            return context.get_dummy_value()

        signature = types.none(
            work, points, bias, bias_at, slope, y, cells, residual, residual_at, residual_row
        )  # fmt: skip
        return signature, codegen

    return transform


def _of_all_forms(finish: Finish):
    return by_form(lambda form: _make_last_transform(form.side, form.output, finish))


store_products, pool_products, add_products = map(_of_all_forms, (_as_they_are, _pooled, _added_to))
