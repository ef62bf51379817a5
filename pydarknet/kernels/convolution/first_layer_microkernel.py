"""The micro-kernel of 3 x 3 convolutions of pictures: Winograd's F(2, 3) along the columns; lanes are pixels of a row.

    y[r] = sum over a picture's planes, the three columns of a filter and the points k of  A[r, k] g[k] * t[k]

with t = B^T d of the four rows d that two rows of the output read, and g = G w of the three rows w of a filter: four
products where a direct convolution takes six. A picture has few planes, so their transformed rows, which all filters
share, cost next to nothing.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..simd.intrinsics import one_of
from ..simd.vector import LANES, VECTOR, data_pointer, larger, load_vector, multiply_add, splat, store_vector
from .microkernel import NR, constant, loop_over_taps

POINTS = 4
OUTS = 4 if NR == 2 else 2  # planes of the output in one tile
WIDE, NARROW = (3, 2) if NR == 2 else (1, 1)  # vectors of their rows: the most that registers hold, and for the rest


def make_column_tile(vectors: int, pooled: int):
    """The tile for two rows of OUTS output planes, `vectors` vectors of each, as a Numba intrinsic; `pooled`: for one
    row, the larger of the two.

    taps: (count,) int64, offsets in t of what the columns of a filter read, plane by plane; the points of t are
    `t_point` floats apart. weights: (2, count, 2, OUTS), of the two middle points and of the two outer ones.
    """

    @intrinsic
    def tile(typingctx, t, t_at, t_point, taps, count, weights, weights_at, bias, bias_at, y, y_at, y_plane, y_row):
        def codegen(context, b, signature, arguments):
            t, t_at, t_point, taps, count, weights, weights_at, bias, bias_at, y, y_at, y_plane, y_row = arguments

            def pointer(array, position, offset):
                return b.gep(data_pointer(context, b, signature.args[position], array), [offset])

            source, table = pointer(t, 0, t_at), pointer(taps, 3, constant(0))
            filters, biases, target = pointer(weights, 5, weights_at), pointer(bias, 7, bias_at), pointer(y, 9, y_at)

            def products_of(points, first):
                """Emits what a tap adds to the two sums of each plane; the filters of `points` begin at tap `first`."""

                def products(tap, now):
                    cell = b.gep(source, [b.load(b.gep(table, [tap]))])
                    at_tap = b.gep(filters, [b.mul(b.add(tap, first), constant(2 * OUTS))])
                    for i, point in enumerate(points):
                        row = b.gep(cell, [b.mul(t_point, constant(point))])
                        pixels = [load_vector(b, b.gep(row, [constant(v * LANES)])) for v in range(vectors)]
                        for o in range(OUTS):
                            w = splat(b, b.load(b.gep(at_tap, [constant(i * OUTS + o)])))
                            sums = now[i * OUTS + o]
                            for v, pixel in enumerate(pixels):
                                sums[v] = b.call(multiply_add(b), [pixel, w, sums[v]])

                return products

            zero = ir.Constant(VECTOR, [0.0] * LANES)
            start = [[splat(b, b.load(b.gep(biases, [constant(o)])))] * vectors for o in range(OUTS)]
            middle = loop_over_taps(b, count, start + [[zero] * vectors] * OUTS, products_of((1, 2), constant(0)))
            pairs = list(zip(middle[:OUTS], middle[OUTS:], strict=True))
            start = [[getattr(b, sign)(*pair) for pair in zip(*rows)] for sign in ("fadd", "fsub") for rows in pairs]
            rows = loop_over_taps(b, count, start, products_of((0, 3), count))
            for o in range(OUTS):
                place = b.gep(target, [b.mul(y_plane, constant(o))])
                for v, (above, below) in enumerate(zip(rows[o], rows[OUTS + o], strict=True)):
                    cell = b.gep(place, [constant(v * LANES)])
                    store_vector(b, larger(b, above, below) if pooled else above, cell)
                    if not pooled:
                        store_vector(b, below, b.gep(cell, [y_row]))
            return context.get_dummy_value()

        signature = types.none(
            t, t_at, t_point, taps, count, weights, weights_at, bias, bias_at, y, y_at, y_plane, y_row
        )
        return signature, codegen

    return tile


tile = one_of(
    {2 * vectors + pooled: make_column_tile(vectors, pooled) for vectors in (WIDE, NARROW) for pooled in (0, 1)}
)
