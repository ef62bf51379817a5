"""The micro-kernel of depthwise convolutions: as in `microkernel.py`, with products of whole vectors and no sum over
lanes."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..simd.intrinsics import Members, one_of
from ..simd.vector import HALF, LANES, VECTOR, data_pointer, load_vector, multiply_add
from .microkernel import MR, MR_WIDE, NR, constant, loop_over_taps, offsets_of_pixels, store_sums


def make_depthwise_tile(straight: int = 0, vector: ir.VectorType = VECTOR, pixels: int = MR):
    """The tile for up to `pixels` pixels of a block, as a Numba intrinsic; `straight`, `vector`: as in `make_tile`.

    tile(x, source, filters, block, y, target, run, slope): `filters` has the members offsets, weights and bias of
    DepthwiseFilters, taps: the number of its offsets; source, target and run as in `make_tile`.
    """
    count = pixels * LANES // vector.count

    @intrinsic
    def tile(typingctx, x, source, filters, taps, block, y, target, run, slope):
        signature = types.none(x, source, filters, taps, block, y, target, run, slope)

        def codegen(context, b, sig, arguments):
            taps, block, slope = arguments[3], arguments[4], arguments[8]
            x_base, y_base = (data_pointer(context, b, sig.args[i], arguments[i]) for i in (0, 5))
            source, filters, target, run = (Members(context, b, sig.args[i], arguments[i]) for i in (1, 2, 6, 7))
            offsets_of_x = offsets_of_pixels(b, straight, count, source.at, source.step, source.wrap, run)
            offsets_of_y = offsets_of_pixels(b, straight, count, target.at, constant(LANES), target.wrap, run)
            pixels_of_x = [b.gep(x_base, [offset]) for offset in offsets_of_x]
            weights = b.gep(filters.weights, [b.mul(b.mul(block, taps), constant(LANES))])
            bias = load_vector(b, b.gep(filters.bias, [b.mul(block, constant(LANES))]), vector)

            def products(t, sums):
                shift = b.load(b.gep(filters.offsets, [t]))
                w = load_vector(b, b.gep(weights, [b.mul(t, constant(LANES))]), vector)
                for c, pixel in enumerate(pixels_of_x):
                    cell = load_vector(b, b.gep(pixel, [shift]), vector)
                    sums[0][c] = b.call(multiply_add(b, vector), [cell, w, sums[0][c]])

            sums = loop_over_taps(b, taps, [[bias] * count], products)
            store_sums(b, sums, [[b.gep(y_base, [offset]) for offset in offsets_of_y]], slope)
            return context.get_dummy_value()

        return signature, codegen

    return tile


# Kinds of tiles: any pixels, straight ones, and both for MR_WIDE pixels.
ANY, STRAIGHT, WIDE_ANY, WIDE_STRAIGHT = range(4)

any_tile, straight_tile = make_depthwise_tile(), make_depthwise_tile(LANES)
if NR == 1:
    wide_straight_tile = make_depthwise_tile(LANES, HALF)
    _tiles = {
        ANY: any_tile,
        STRAIGHT: straight_tile,
        WIDE_ANY: make_depthwise_tile(vector=HALF),
        WIDE_STRAIGHT: wide_straight_tile,
    }
else:
    wide_straight_tile = make_depthwise_tile(LANES, pixels=MR_WIDE)
    _tiles = {ANY: any_tile, STRAIGHT: straight_tile, WIDE_STRAIGHT: wide_straight_tile}
depthwise_tile = one_of(_tiles)
