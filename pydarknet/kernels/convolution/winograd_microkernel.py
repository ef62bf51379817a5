"""Two more products kept in registers as `tile.py` keeps them: Winograd's, and that of a filter's gradient."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..simd.vector import LANES, VECTOR, data_pointer, load_vector, multiply_add, prefetch, splat, store_vector
from .int24 import KEPT, QUAD, SCALES, compact_vectors, plain_vectors
from .microkernel import ROWS, constant, loop_over_taps

# Input channels that one step of the product takes. With AVX-512 all registers hold sums, and of a longer step LLVM
# loads everything first, for which there is no room: the sums went to memory and back, and took twice as long.
STEP = 4 if ROWS == 2 else LANES


def make_products(columns: int, compact: bool = False):
    """The matrix product of Winograd's method, as a Numba intrinsic, for `columns` tiles of the picture.

    y[column][row] = sum over t < tap_count, lanes i of  weights[t, i, row] * x[column + t * x_tap + i]

    weights: (tap_count, 16, ROWS, 16), with `compact` a panel of `compact.py`; y: (columns, ROWS, 16); columns of x are
    16 floats apart. Meanwhile some of the weights that come next, those from `next_at` on, are fetched from memory.
    """
    vectors, head = (compact_vectors, SCALES) if compact else (plain_vectors, 0)
    steps = LANES // STEP
    stored = STEP * ROWS * KEPT // QUAD if compact else STEP * ROWS  # vectors in memory that a step reads
    lines = -(-columns * stored // LANES)  # to be fetched meanwhile

    @intrinsic
    def products_of(typingctx, x, x_at, x_tap, tap_count, weights, weights_at, next_at, y, y_at):
        signature = types.none(x, x_at, x_tap, tap_count, weights, weights_at, next_at, y, y_at)

        def codegen(context, b, sig, arguments):
            x, x_at, x_tap, tap_count, weights, weights_at, next_at, y, y_at = arguments
            x_base = b.gep(data_pointer(context, b, sig.args[0], x), [x_at])
            filters = b.gep(data_pointer(context, b, sig.args[4], weights), [weights_at])
            following = b.gep(data_pointer(context, b, sig.args[4], weights), [next_at])
            y_base = b.gep(data_pointer(context, b, sig.args[7], y), [y_at])
            scales = [load_vector(b, b.gep(filters, [constant(r * LANES)])) for r in range(ROWS)] if compact else None
            filters, following = (b.gep(panel, [constant(head)]) for panel in (filters, following))

            def products(t, now):
                tap, part = b.udiv(t, constant(steps)), b.urem(t, constant(steps))
                pixels = b.gep(x_base, [b.add(b.mul(tap, x_tap), b.mul(part, constant(STEP)))])
                w_of_lanes = vectors(b, b.gep(filters, [b.mul(t, constant(stored * LANES))]))
                next_tap = b.gep(following, [b.mul(tap, constant(steps * stored * LANES))])
                next_lines = b.gep(next_tap, [b.mul(part, constant(lines * LANES))])
                for line in range(lines):
                    prefetch(b, b.gep(next_lines, [constant(line * LANES)]))
                for lane in range(STEP):
                    w = [next(w_of_lanes) for _ in range(ROWS)]
                    for c in range(columns):
                        pixel = splat(b, b.load(b.gep(pixels, [constant(c * LANES + lane)])))
                        for r in range(ROWS):
                            now[r][c] = b.call(multiply_add(b), [pixel, w[r], now[r][c]])

            start = [[ir.Constant(VECTOR, [0.0] * LANES)] * columns for _ in range(ROWS)]
            for r, row in enumerate(loop_over_taps(b, b.mul(tap_count, constant(steps)), start, products)):
                for c, value in enumerate(row):
                    product = b.fmul(value, scales[r]) if scales else value
                    store_vector(b, product, b.gep(y_base, [constant((c * ROWS + r) * LANES)]))
            return context.get_dummy_value()

        return signature, codegen

    return products_of


# The weight gradient's tile: input channels x vectors of output channels.
GRADIENT_LANES = 8 if ROWS == 2 else 4


@intrinsic
def tile_gradient(
    typingctx, x, x_at, x_row, x_step, delta, delta_at, delta_row, delta_step, delta_block, rows, width,
    out, out_at, out_block,
):  # fmt: skip
    """out[row][lane] += sum over the pixels p of `rows` lines of `width` of  delta[row][p] * x[p + lane]

    The same reduction over pixels: x advances by `x_step` a pixel and `x_row` a line, delta likewise; GRADIENT_LANES
    input channels by ROWS vectors of output channels, `delta_block` and `out_block` floats apart.
    """
    signature = types.none(
        x, x_at, x_row, x_step, delta, delta_at, delta_row, delta_step, delta_block, rows, width,
        out, out_at, out_block,
    )  # fmt: skip

    def codegen(context, b, sig, arguments):
        (x, x_at, x_row, x_step, delta, delta_at, delta_row, delta_step, delta_block, rows, width,
         out, out_at, out_block) = arguments  # fmt: skip
        x_base = b.gep(data_pointer(context, b, sig.args[0], x), [x_at])
        delta_base = b.gep(data_pointer(context, b, sig.args[4], delta), [delta_at])
        out_base = b.gep(data_pointer(context, b, sig.args[11], out), [out_at])
        places = [[b.gep(out_base, [b.add(b.mul(out_block, constant(r)), constant(c * LANES))])
                   for c in range(GRADIENT_LANES)] for r in range(ROWS)]  # fmt: skip

        def line_of_products(line, now):
            x_line, delta_line = b.gep(x_base, [b.mul(line, x_row)]), b.gep(delta_base, [b.mul(line, delta_row)])

            def products(t, sums):
                at_x, at_delta = b.gep(x_line, [b.mul(t, x_step)]), b.gep(delta_line, [b.mul(t, delta_step)])
                d = [load_vector(b, b.gep(at_delta, [b.mul(delta_block, constant(r))])) for r in range(ROWS)]
                for c in range(GRADIENT_LANES):
                    channel = splat(b, b.load(b.gep(at_x, [constant(c)])))
                    for r in range(ROWS):
                        sums[r][c] = b.call(multiply_add(b), [channel, d[r], sums[r][c]])

            now[:] = loop_over_taps(b, width, now, products)

        start = [[load_vector(b, place) for place in row] for row in places]
        for row, targets in zip(loop_over_taps(b, rows, start, line_of_products), places):
            for value, place in zip(row, targets):
                store_vector(b, value, place)
        return context.get_dummy_value()

    return signature, codegen
