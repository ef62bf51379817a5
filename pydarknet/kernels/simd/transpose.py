"""Transposition of sixteen vectors of sixteen floats."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .vector import INT32, INT64, LANES, data_pointer, larger, load_vector, splat, store_vector

QUAD = 4  # numbers between which vectors of every size exchange their own fastest


def _load(b: ir.IRBuilder, source, step) -> list[ir.Value]:
    return [load_vector(b, b.gep(source, [b.mul(step, ir.Constant(INT64, i))])) for i in range(LANES)]


def _mixed(b: ir.IRBuilder, first, second, numbers: tuple[int, ...]) -> ir.Value:
    """Four floats of each quad of two vectors; `numbers` 0 to 3 are those of the first, 4 to 7 those of the second."""
    lanes = [quad + n % QUAD + n // QUAD * LANES for quad in range(0, LANES, QUAD) for n in numbers]
    return b.shuffle_vector(first, second, ir.Constant(ir.VectorType(INT32, LANES), lanes))


def _gathered(b: ir.IRBuilder, vectors: list[ir.Value]) -> list[ir.Value]:
    """The first quads of four vectors, their second quads, and so on."""

    def quads(first, second, start):
        lanes = [8 * i + 4 * start + j for i in range(4) for j in range(QUAD)]
        return b.shuffle_vector(first, second, ir.Constant(ir.VectorType(INT32, LANES), lanes))

    even, odd = ([quads(*vectors[:2], start), quads(*vectors[2:], start)] for start in (0, 1))
    return [quads(*even, 0), quads(*odd, 0), quads(*even, 1), quads(*odd, 1)]


def _exchanged(b: ir.IRBuilder, rows: list[ir.Value]) -> list[ir.Value]:
    """The transposed vectors: the first lanes of all rows, the second lanes, and so on."""
    fours: list[list[ir.Value]] = [[] for _ in range(QUAD)]
    for i in range(0, LANES, QUAD):
        for j, numbers in enumerate(((0, 4, 1, 5), (2, 6, 3, 7))):
            pair = [_mixed(b, *rows[k : k + 2], numbers) for k in (i, i + 2)]
            fours[2 * j].append(_mixed(b, *pair, (0, 1, 4, 5)))
            fours[2 * j + 1].append(_mixed(b, *pair, (2, 3, 6, 7)))
    columns = [_gathered(b, vectors) for vectors in fours]
    return [columns[i % QUAD][i // QUAD] for i in range(LANES)]


def _exchanged_pairs(b: ir.IRBuilder, rows: list[ir.Value]) -> list[ir.Value]:
    """The same, where each two neighbouring lanes are first replaced by the larger one."""
    pooled = [
        larger(b, _mixed(b, *rows[i : i + 2], (0, 2, 4, 6)), _mixed(b, *rows[i : i + 2], (1, 3, 5, 7)))
        for i in range(0, LANES, 2)
    ]
    columns = [
        _gathered(b, [_mixed(b, *pooled[i : i + 2], numbers) for i in range(0, LANES // 2, 2)])
        for numbers in ((0, 2, 4, 6), (1, 3, 5, 7))
    ]
    return [columns[i % 2][i // 2] for i in range(LANES // 2)]


@intrinsic
def transpose(typingctx, x, x_at, x_step, y, y_at, y_step, count):
    """Transpose sixteen vectors, `x_step` floats apart from `x_at` on, and write the first `count` of the results to
    places `y_step` floats apart from `y_at` on."""

    def codegen(context, b, signature, arguments):
        x, x_at, x_step, y, y_at, y_step, count = arguments
        source = b.gep(data_pointer(context, b, signature.args[0], x), [x_at])
        target = b.gep(data_pointer(context, b, signature.args[3], y), [y_at])
        for i, row in enumerate(_exchanged(b, _load(b, source, x_step))):
            with b.if_then(b.icmp_signed("<", ir.Constant(INT64, i), count), likely=True):
                store_vector(b, row, b.gep(target, [b.mul(y_step, ir.Constant(INT64, i))]))
        return context.get_dummy_value()

    return types.none(x, x_at, x_step, y, y_at, y_step, count), codegen


def make_cells(pooled: bool):
    """The transposition of sixteen pixels of sixteen planes into the cells of a block, as a Numba intrinsic; `pooled`:
    into half as many cells, each the larger of two neighbouring pixels. What is not above zero is multiplied by
    `slope`."""

    @intrinsic
    def cells(typingctx, x, x_at, x_step, y, y_at, slope):
        def codegen(context, b, signature, arguments):
            x, x_at, x_step, y, y_at, slope = arguments
            source = b.gep(data_pointer(context, b, signature.args[0], x), [x_at])
            target = b.gep(data_pointer(context, b, signature.args[3], y), [y_at])
            slopes, exchange = splat(b, slope), _exchanged_pairs if pooled else _exchanged
            for i, pixel in enumerate(exchange(b, _load(b, source, x_step))):
                value = larger(b, b.fmul(pixel, slopes), pixel)
                store_vector(b, value, b.gep(target, [ir.Constant(INT64, i * LANES)]))
            return context.get_dummy_value()

        return types.none(x, x_at, x_step, y, y_at, slope), codegen

    return cells


cells_of, pooled_cells_of = make_cells(pooled=False), make_cells(pooled=True)
