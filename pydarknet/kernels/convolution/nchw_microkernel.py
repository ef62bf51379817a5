"""The micro-kernel of NCHW convolutions: as in `microkernel.py`, but the lanes of a vector are pixels of one row.

    y[out][pixel] = bias[out] + sum over taps t of  weights[t, out] * x[taps[t] + stride * pixel]

Layers with few channels leave most lanes of a block of 16 channels empty, in products as in memory. Where their rows
are long, their tensors are NCHW instead, as pictures are.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..simd.intrinsics import one_of
from ..simd.vector import INT32, LANES, data_pointer, load_vector, multiply_add, splat, store_vector
from .microkernel import NR, constant, loop_over_taps, store_sums

OUTS = 4  # planes of the output in one tile
VECTORS = 5 if NR == 2 else 1  # of their row, as many as registers hold sums for
FEWEST = (VECTORS + 1) // 2  # so that with tiles of these sizes any longer row can be divided
PLANE_VECTORS = 5  # where there is only one plane
SPAN, LEAST, PLANE_SPAN = VECTORS * LANES, FEWEST * LANES, PLANE_VECTORS * LANES  # pixels


def _load_pixels(b: ir.IRBuilder, cell, vector: int, stride: int) -> ir.Value:
    """Sixteen floats of a row, `stride` apart; with stride 2 one more is read."""
    values = [load_vector(b, b.gep(cell, [constant((vector * stride + k) * LANES)])) for k in range(stride)]
    if stride == 1:
        return values[0]
    even = ir.Constant(ir.VectorType(INT32, LANES), [2 * lane for lane in range(LANES)])
    return b.shuffle_vector(*values, even)


def make_planar_tile(outs: int, vectors: int, stride: int):
    """The tile for `outs` planes of the output and `vectors` vectors of their row, as a Numba intrinsic."""

    @intrinsic
    def tile(typingctx, x, x_at, taps, first_tap, tap_count, weights, weights_at, bias, bias_at, y, y_at, y_plane,
             slope):  # fmt: skip
        signature = types.none(
            x, x_at, taps, first_tap, tap_count, weights, weights_at, bias, bias_at, y, y_at, y_plane, slope
        )

        def codegen(context, b, sig, arguments):
            (x, x_at, taps, first_tap, tap_count, weights, weights_at, bias, bias_at, y, y_at, y_plane,
             slope) = arguments  # fmt: skip

            def pointer(array, position, offset):
                return b.gep(data_pointer(context, b, sig.args[position], array), [offset])

            x_base, table = pointer(x, 0, x_at), pointer(taps, 2, first_tap)
            filters, biases, target = pointer(weights, 5, weights_at), pointer(bias, 7, bias_at), pointer(y, 9, y_at)
            rows = [b.gep(target, [b.mul(y_plane, constant(o))]) for o in range(outs)]
            start = [[splat(b, b.load(b.gep(biases, [constant(o)])))] * vectors for o in range(outs)]

            def products(t, now):
                cell = b.gep(x_base, [b.load(b.gep(table, [t]))])
                at_tap = b.gep(filters, [b.mul(t, constant(outs))])
                pixels = [_load_pixels(b, cell, v, stride) for v in range(vectors)]
                for o in range(outs):
                    w = splat(b, b.load(b.gep(at_tap, [constant(o)])))
                    for v, pixel in enumerate(pixels):
                        now[o][v] = b.call(multiply_add(b), [pixel, w, now[o][v]])

            places = [[b.gep(row, [constant(v * LANES)]) for v in range(vectors)] for row in rows]
            store_sums(b, loop_over_taps(b, tap_count, start, products), places, slope)
            return context.get_dummy_value()

        return signature, codegen

    return tile


@intrinsic
def split_pairs(typingctx, x, x_at, y, even_at, odd_at):
    """Write the even ones of 32 floats to y from `even_at` on, the odd ones from `odd_at` on."""

    def codegen(context, b, signature, arguments):
        x, x_at, y, even_at, odd_at = arguments
        source = b.gep(data_pointer(context, b, signature.args[0], x), [x_at])
        target = data_pointer(context, b, signature.args[2], y)
        pair = [load_vector(b, b.gep(source, [constant(k * LANES)])) for k in range(2)]
        for first, at in enumerate((even_at, odd_at)):
            lanes = ir.Constant(ir.VectorType(INT32, LANES), list(range(first, 2 * LANES, 2)))
            store_vector(b, b.shuffle_vector(*pair, lanes), b.gep(target, [at]))
        return context.get_dummy_value()

    return types.none(x, x_at, y, even_at, odd_at), codegen


def make_plane3_tile(stride: int):
    """The tile for one plane and one 3 x 3 filter, as a Numba intrinsic: the outer columns of the filter take their
    pixels from the vectors that the middle column loads. `above`, `here`, `below`: where the middle column reads in
    three rows; a vector before and a vector behind each row may be read too."""

    @intrinsic
    def tile(typingctx, x, above, here, below, weights, weights_at, bias, bias_at, y, y_at, slope):
        signature = types.none(x, above, here, below, weights, weights_at, bias, bias_at, y, y_at, slope)

        def codegen(context, b, sig, arguments):
            x, above, here, below, weights, weights_at, bias, bias_at, y, y_at, slope = arguments
            base = data_pointer(context, b, sig.args[0], x)
            filters = b.gep(data_pointer(context, b, sig.args[4], weights), [weights_at])
            offset = splat(b, b.load(b.gep(data_pointer(context, b, sig.args[6], bias), [bias_at])))
            target = b.gep(data_pointer(context, b, sig.args[8], y), [y_at])
            sums = [offset] * PLANE_VECTORS
            for row, at in enumerate((above, here, below)):
                for column, pixels in enumerate(_neighbours(b, b.gep(base, [at]), stride)):
                    w = splat(b, b.load(b.gep(filters, [constant(3 * row + column)])))
                    sums = [b.call(multiply_add(b), [pixel, w, value]) for pixel, value in zip(pixels, sums)]
            store_sums(b, [sums], [[b.gep(target, [constant(v * LANES)]) for v in range(PLANE_VECTORS)]], slope)
            return context.get_dummy_value()

        return signature, codegen

    return tile


def _neighbours(b: ir.IRBuilder, cell, stride: int) -> tuple[list[ir.Value], list[ir.Value], list[ir.Value]]:
    """The left neighbours of the pixels from `cell` on, `stride` apart; those pixels; their right neighbours."""

    def lanes(first, second, numbers):
        return b.shuffle_vector(first, second, ir.Constant(ir.VectorType(INT32, LANES), list(numbers)))

    count = stride * PLANE_VECTORS
    if stride == 1 and NR == 1:  # loads that lie across two lines are rarer here, and cheaper than two exchanges
        before, here, behind = (
            [load_vector(b, b.gep(cell, [constant(v * LANES + k)])) for v in range(count)] for k in (-1, 0, 1)
        )
        return before, here, behind
    loaded = [load_vector(b, b.gep(cell, [constant(v * LANES)])) for v in range(-1, count + 2 - stride)]
    if stride == 1:
        here = loaded[1:-1]
        behind = [lanes(*pair, range(1, LANES + 1)) for pair in zip(here, loaded[2:], strict=True)]
    else:
        pairs = list(zip(loaded[1::2], loaded[2::2], strict=True))
        here, behind = ([lanes(*pair, range(k, 2 * LANES, 2)) for pair in pairs] for k in range(2))
    last = here if stride == 1 else behind  # what lies before the next vector's first pixel is its last
    before = [lanes(*pair, range(LANES - 1, 2 * LANES - 1)) for pair in zip([loaded[0], *last[:-1]], last, strict=True)]
    return before, here, behind


tiles_of_planes = {vectors: make_planar_tile(OUTS, vectors, 1) for vectors in range(FEWEST, VECTORS + 1)}
tile_plane = one_of({stride: make_planar_tile(1, PLANE_VECTORS, stride) for stride in (1, 2)})
tile_plane3 = one_of({stride: make_plane3_tile(stride) for stride in (1, 2)})
