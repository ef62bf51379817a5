"""The transforms of Winograd's method over vectors of 16 channels, as Numba intrinsics.

F(m, 3) interpolates at the first m + 1 of the points 0, 1, -1, 2, -2 and at infinity: row i of B^T holds the
coefficients of the product of (x - p) over the other points p, row k of A^T the k-th powers of the
points, row i of G the powers of point i over the product of its distances from the other points. A filter's
gradient takes the same three, transposed.

With stride 2, three filter cells meet two cells at even places and one at an odd place between them: F(m, 2) of
the even ones, at the first m of the points and at infinity, and m products of the odd ones with the middle of
the filter.

A formula transforms one line of cells; a square is transformed column by column and then row by row.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from llvmlite import ir

from ...runtime.jit import inlined
from ..simd import LANES, ZERO, Emitter, Term, instructions, one_of
from .microkernel import NR

PATCH = 49 * LANES  # floats of the largest input tile

Formula = Callable[..., Sequence[Term]]
Lines = Iterable[list[ir.Value]]  # vectors of a tile's cells, line by line


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


def _delta6(a, b, c, d):
    p, q, r, s = a + c, b + d, a + c * 4, b * 2 + d * 8
    return a, p + q, p - q, r + s, r - s, d


def _gradient6(a, b, c, d, e, f):
    p, q, r, s = (b + c) * (1 / 6), (c - b) * (1 / 6), d + e, d - e
    return a * (1 / 4) - p + r * (1 / 24), q + s * (1 / 12), r * (1 / 6) - p + f


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


@inlined
def code_of(m, stride):
    """The number by which the transforms of a form are chosen."""
    return m + 4 * (stride - 1)


@inlined
def side_of(m, stride):
    """Cells a side of an input tile."""
    return m + 2 if stride == 1 else 2 * m + 1


class Form(NamedTuple):
    """F(m x m, 3 x 3) with one stride: cells a side of an input tile, the formulas of B^T, G and A^T."""

    side: int
    input: Formula
    filter: Formula
    output: Formula


FORMS = {
    code_of.py_func(m, stride): Form(side_of.py_func(m, stride), *formulas)
    for m, stride, formulas in (
        (2, 1, (_input4, _filter4, _output4)),
        (3, 1, (_input5, _filter5, _output5)),
        (4, 1, (_input6, _filter6, _output6)),
        (2, 2, (_input_even2, _filter_even2, _output_even2)),
        (3, 2, (_input_even3, _filter_even3, _output_even3)),
    )
}


def square(b: Emitter, x, row, column, half, side: int, formula: Formula) -> Iterator[Sequence[Term]]:
    """The formula over the columns and then the rows of side x side vectors from x on, `row` and `column` floats
    apart, line by line; the caller stores each before it asks for the next. Half-transformed vectors stay in
    registers where AVX-512 has enough of them, else they go to `half`, which may be where they came from."""

    def transformed(start, step):
        return formula(*(Term(b, vector) for vector in b.load_vectors(start, step, side)))

    columns = []
    for j in range(side):
        line = transformed(b.ahead(x, b.mul(column, j)), row)
        columns.append(line)
        if NR == 1:
            for i, term in enumerate(line):
                b.store_vector(term.value, b.ahead(half, (i * side + j) * LANES))
    b.fence("seq_cst", targetscope="singlethread")  # else LLVM keeps in registers what it has none for
    for i, row_of_columns in enumerate(zip(*columns, strict=True)):
        if NR == 2:
            yield formula(*row_of_columns)
        else:
            yield transformed(b.ahead(half, i * side * LANES), LANES)


def _make_transform(side: int, formula: Formula):
    """The transform of a square, whose cells are written `y_step` floats apart; halfway it is in `work`."""

    @instructions
    def transform(b, x, x_at, x_row, x_column, y, y_at, y_step, work, half):
        lines = square(b, b.ahead(x, x_at), x_row, x_column, b.ahead(work, half), side, formula)
        for i, line in enumerate(lines):
            for j, term in enumerate(line):
                b.store_vector(term.value, b.ahead(y, b.add(y_at, b.mul(y_step, i * len(line) + j))))

    return transform


# G g G^T of 3 x 3 vectors, and B^T d B of a patch, of a form's code and the rest.
transform_filter = one_of({code: _make_transform(3, form.filter) for code, form in FORMS.items()})
transform_patch = one_of({code: _make_transform(form.side, form.input) for code, form in FORMS.items()})

# A dY A^T of the 4 x 4 cells of a delta, and G^T P G of the 6 x 6 points of a filter's gradient, of F(4 x 4, 3 x 3).
transform_delta = one_of({code_of.py_func(4, 1): _make_transform(4, _delta6)})
transform_gradient = _make_transform(6, _gradient6)

# --- A^T M A ----------------------------------------------------------------------------------------------------------


Place = Callable[[int, int], ir.Value]  # of a cell's row and column


def _store(b: Emitter, lines: Lines, cells, place: Place, added: Place | None) -> None:
    """As they are, or plus the residual. cells: the members of Cells."""
    for i, line in enumerate(lines):
        with b.if_then(b.icmp_signed("<", i, cells.rows), likely=True):
            for j, value in enumerate(line):
                with b.if_then(b.icmp_signed("<", j, cells.columns), likely=True):
                    b.store_vector(b.fadd(value, b.load_vector(added(i, j))) if added else value, place(i, j))


def _store_pooled(b: Emitter, lines: Lines, cells, place: Place, added: None) -> None:
    """The largest of each 2 x 2 cells, of those that exist; `rows` and `columns` are counted before pooling."""
    pending = list[ir.Value]()
    for i, line in enumerate(lines):
        pairs = [_largest(b, line[j : j + 2], b.icmp_signed("<", j + 1, cells.columns)) for j in range(0, len(line), 2)]
        if i % 2 == 0:
            pending = pairs
            continue
        with b.if_then(b.icmp_signed("<", i - 1, cells.rows), likely=True):
            for j, pair in enumerate(zip(pending, pairs, strict=True)):
                with b.if_then(b.icmp_signed("<", 2 * j, cells.columns), likely=True):
                    b.store_vector(_largest(b, pair, b.icmp_signed("<", i, cells.rows)), place(i // 2, j))


def _largest(b: Emitter, values: Sequence[ir.Value], both: ir.Value) -> ir.Value:
    """Of two vectors the larger, lane by lane, where there are `both`, else the first."""
    return b.select(both, b.larger(values[0], values[-1]), values[0])


class Points(NamedTuple):
    """A tile's products: the first one, floats from row to row and from column to column, and where in the same
    memory there is room for the tile halfway."""

    at: int
    row_stride: int
    column_stride: int
    half: int


class Cells(NamedTuple):
    """A tile's cells in the output: the first one, floats from row to row, and how many rows and columns are
    stored."""

    at: int
    row_stride: int
    rows: int
    columns: int


def _make_last_transform(side: int, formula: Formula, finish: Callable[..., None], adds: bool = False):
    """A^T M A of the products in `work`: bias added, what is then not above zero multiplied by `slope`, and the
    cells finished, of which residual's are `residual_row` floats from row to row. points: Points; cells: Cells."""

    @instructions
    def transform(b, work, points, bias, bias_at, slope, y, cells, residual, residual_at, residual_row):
        offset, slopes = Term(b, b.load_vector(b.ahead(bias, bias_at))), b.splat(slope)

        def sloped(term: Term) -> ir.Value:
            value = (term + offset).value
            return b.select(b.fcmp_ordered(">", value, ZERO), value, b.fmul(value, slopes))

        source, half = b.ahead(work, points.at), b.ahead(work, points.half)
        lines = square(b, source, points.row_stride, points.column_stride, half, side, formula)
        values = ([sloped(term) for term in line] for line in lines)

        def places(base, at, step) -> Place:
            return lambda i, j: b.ahead(b.ahead(base, at), b.add(b.mul(step, i), j * LANES))

        added = places(residual, residual_at, residual_row) if adds else None
        finish(b, values, cells, places(y, cells.at, cells.row_stride), added)

    return transform


# What becomes of the cells. `transform_products` takes FINISHES times a form's code, plus one of these.
STORED, ADDED, POOLED, FINISHES = range(4)
transform_products = one_of(
    {
        FINISHES * code + number: _make_last_transform(form.side, form.output, *finish)
        for code, form in FORMS.items()
        for number, finish in ((STORED, (_store,)), (ADDED, (_store, True)), (POOLED, (_store_pooled,)))
    }
)
