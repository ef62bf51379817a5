"""The micro-kernel of convolutions of each channel with its own filter: as in `tile.py`, with products of whole vectors
and no sum over lanes."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..simd.vector import HALF, LANES, VECTOR, data_pointer, load_vector, multiply_add
from .microkernel import MANY_PIXELS, PIXELS, ROWS, constant, loop_over_taps, offsets_of_pixels, store_sums


def make_depthwise_tile(straight: int = 0, vector: ir.VectorType = VECTOR, pixels: int = PIXELS):
    """The tile for up to `pixels` pixels of a block, as a Numba intrinsic; `straight`, `vector`: as in `make_tile`.

    weights: (taps, 16).
    """
    count = pixels * LANES // vector.count

    @intrinsic
    def tile(
        typingctx, x, x_at, x_step, x_wrap, taps, tap_count, weights, weights_at, bias, bias_at, y, y_at, y_wrap,
        column, width, pixels, slope,
    ):  # fmt: skip
        signature = types.none(
            x, x_at, x_step, x_wrap, taps, tap_count, weights, weights_at, bias, bias_at, y, y_at, y_wrap,
            column, width, pixels, slope,
        )  # fmt: skip

        def codegen(context, b, sig, arguments):
            (x, x_at, x_step, x_wrap, taps, tap_count, weights, weights_at, bias, bias_at, y, y_at, y_wrap,
             column, width, pixels, slope) = arguments  # fmt: skip

            def pointer(array, position, offset):
                return b.gep(data_pointer(context, b, sig.args[position], array), [offset])

            x_base, y_base = pointer(x, 0, constant(0)), pointer(y, 10, constant(0))
            offsets_of_x = offsets_of_pixels(b, straight, count, x_at, x_step, x_wrap, column, width, pixels)
            offsets = offsets_of_pixels(b, straight, count, y_at, constant(LANES), y_wrap, column, width, pixels)
            sources = [b.gep(x_base, [o]) for o in offsets_of_x]
            offset_table, filters = pointer(taps, 4, constant(0)), pointer(weights, 6, weights_at)
            start = [[load_vector(b, pointer(bias, 8, bias_at), vector)] * count]

            def products(t, now):
                shift = b.load(b.gep(offset_table, [t]))
                w = load_vector(b, b.gep(filters, [b.mul(t, constant(LANES))]), vector)
                for c, source in enumerate(sources):
                    cell = load_vector(b, b.gep(source, [shift]), vector)
                    now[0][c] = b.call(multiply_add(b, vector), [cell, w, now[0][c]])

            sums = loop_over_taps(b, tap_count, start, products)
            store_sums(b, sums, [[b.gep(y_base, [o]) for o in offsets]], slope)
            return context.get_dummy_value()

        return signature, codegen

    return tile


tile_depthwise, straight_depthwise = make_depthwise_tile(), make_depthwise_tile(LANES)
if ROWS == 1:
    many_depthwise, many_straight_depthwise = make_depthwise_tile(vector=HALF), make_depthwise_tile(LANES, HALF)
else:
    many_depthwise, many_straight_depthwise = tile_depthwise, make_depthwise_tile(LANES, pixels=MANY_PIXELS)
