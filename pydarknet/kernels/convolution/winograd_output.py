"""The last step of Winograd's method, A^T M A, as Numba intrinsics: with the bias, the slope below zero, and what is
done with the cells while they are in registers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

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
    """Plus what stands in another tensor."""
    for i, line in enumerate(lines):
        with b.if_then(cells.has_row(i), likely=True):
            for j, value in enumerate(line):
                with b.if_then(cells.has_column(j), likely=True):
                    other = load_vector(b, added.place(i, j))
                    store_vector(b, b.fadd(value, other), cells.place(i, j))


def _pooled(b: ir.IRBuilder, lines: Lines, cells: _Cells, added: _Cells) -> None:
    """The largest of each 2 x 2 cells, of those that there are; `rows` and `columns` are those before pooling."""
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


def _make_last_transform(side: int, formula: Formula, finish: Finish):
    """A^T M A of vectors of products from x on, `x_row` and `x_column` floats apart: bias added, what is then not above
    zero multiplied by `slope`; the first rows x columns cells finished, to lines `y_row` floats apart."""

    @intrinsic
    def transform(
        typingctx, x, x_at, x_row, x_column, bias, bias_at, slope, y, y_at, y_row, rows, columns, added, added_at,
        added_row, work, half,
    ):  # fmt: skip
        def codegen(context, b, signature, arguments):
            (_, x_at, x_row, x_column, _, bias_at, slope, _, y_at, y_row, rows, columns, _, added_at, added_row, _,
             half) = arguments  # fmt: skip
            source, biases, target, other, room = (
                data_pointer(context, b, signature.args[i], arguments[i]) for i in (0, 4, 7, 12, 15)
            )
            offset = Term(b, load_vector(b, b.gep(biases, [bias_at])))
            slopes, zero = splat(b, slope), ir.Constant(VECTOR, [0.0] * LANES)

            def sloped(term: Term) -> ir.Value:
                value = (term + offset).value
                return b.select(b.fcmp_ordered(">", value, zero), value, b.fmul(value, slopes))

            lines = square(b, b.gep(source, [x_at]), x_row, x_column, b.gep(room, [half]), side, formula)
            cells = _Cells(b, b.gep(target, [y_at]), y_row, rows, columns)
            others = _Cells(b, b.gep(other, [added_at]), added_row, rows, columns)
            finish(b, ([sloped(term) for term in line] for line in lines), cells, others)
            return context.get_dummy_value()

        signature = types.none(
            x, x_at, x_row, x_column, bias, bias_at, slope, y, y_at, y_row, rows, columns, added, added_at, added_row,
            work, half,
        )  # fmt: skip
        return signature, codegen

    return transform


store_products, pool_products, add_products = (
    by_form(lambda form, finish=finish: _make_last_transform(form.side, form.output, finish))
    for finish in (_as_they_are, _pooled, _added_to)
)
