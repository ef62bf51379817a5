"""The register tile of the weight gradient, which sums over pixels."""

from __future__ import annotations

from numba import types
from numba.extending import intrinsic

from ..convolution.microkernel import NR, constant, loop_over_taps
from ..simd.vector import LANES, data_pointer, load_vector, multiply_add, splat, store_vector

# Input channels of a tile, which is GRADIENT_LANES x NR vectors of output channels.
GRADIENT_LANES = 8 if NR == 2 else 4


@intrinsic
def tile_gradient(
    typingctx, x, x_at, x_row, x_step, delta, delta_at, delta_row, delta_step, delta_block, rows, width,
    out, out_at, out_block,
):  # fmt: skip
    """out[r][c] += sum over the pixels p of `rows` lines of `width` pixels of  delta[r][p] * x[p + c]

    for NR vectors r of output channels, `delta_block` and `out_block` floats apart, and GRADIENT_LANES input
    channels c. x advances by `x_step` floats a pixel and `x_row` a line, delta likewise.
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
                   for c in range(GRADIENT_LANES)] for r in range(NR)]  # fmt: skip

        def line_of_products(line, now):
            x_line, delta_line = b.gep(x_base, [b.mul(line, x_row)]), b.gep(delta_base, [b.mul(line, delta_row)])

            def products(t, sums):
                at_x, at_delta = b.gep(x_line, [b.mul(t, x_step)]), b.gep(delta_line, [b.mul(t, delta_step)])
                d = [load_vector(b, b.gep(at_delta, [b.mul(delta_block, constant(r))])) for r in range(NR)]
                for c in range(GRADIENT_LANES):
                    channel = splat(b, b.load(b.gep(at_x, [constant(c)])))
                    for r in range(NR):
                        sums[r][c] = b.call(multiply_add(b), [channel, d[r], sums[r][c]])

            now[:] = loop_over_taps(b, width, now, products)

        start = [[load_vector(b, place) for place in row] for row in places]
        for row, targets in zip(loop_over_taps(b, rows, start, line_of_products), places):
            for value, place in zip(row, targets):
                store_vector(b, value, place)
        return context.get_dummy_value()

    return signature, codegen
