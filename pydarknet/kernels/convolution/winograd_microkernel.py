"""The matrix product of Winograd's method, with sums in registers as in `microkernel.py`."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..simd.vector import LANES, VECTOR, data_pointer, load_vector, multiply_add, prefetch, splat, store_vector
from .int24 import KEPT, QUAD, SCALES, float_vectors, int24_vectors
from .microkernel import NR, constant, loop_over_taps

# Input channels that one step of the product takes. With AVX-512 all registers hold sums, and of a longer step LLVM
# loads everything first, for which there is no room: the sums went to memory and back, and took twice as long.
STEP = 4 if NR == 2 else LANES


def make_products(columns: int, int24: bool = False):
    """The matrix product of Winograd's method for `columns` tiles, as a Numba intrinsic.

    y[column][row] = sum over t < tap_count, lanes i of  weights[t, i, row] * x[column + t * x_tap + i]

    weights: (tap_count, 16, NR, 16), with `int24` a panel of `int24.py`; y: (columns, NR, 16); columns of x are
    16 floats apart. Meanwhile some of the next weights, from `next_at` on, are prefetched.
    """
    vectors, head = (int24_vectors, SCALES) if int24 else (float_vectors, 0)
    steps = LANES // STEP
    stored = STEP * NR * KEPT // QUAD if int24 else STEP * NR  # vectors in memory that a step reads
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
            scales = [load_vector(b, b.gep(filters, [constant(r * LANES)])) for r in range(NR)] if int24 else None
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
                    w = [next(w_of_lanes) for _ in range(NR)]
                    for c in range(columns):
                        pixel = splat(b, b.load(b.gep(pixels, [constant(c * LANES + lane)])))
                        for r in range(NR):
                            now[r][c] = b.call(multiply_add(b), [pixel, w[r], now[r][c]])

            start = [[ir.Constant(VECTOR, [0.0] * LANES)] * columns for _ in range(NR)]
            for r, row in enumerate(loop_over_taps(b, b.mul(tap_count, constant(steps)), start, products)):
                for c, value in enumerate(row):
                    product = b.fmul(value, scales[r]) if scales else value
                    store_vector(b, product, b.gep(y_base, [constant((c * NR + r) * LANES)]))
            return context.get_dummy_value()

        return signature, codegen

    return products_of
