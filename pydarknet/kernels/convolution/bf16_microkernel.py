"""The micro-kernel of `tile.py` on bfloat16 numbers: AVX-512 BF16 multiplies two of them and adds both products to a
float32 in one instruction, twice as many as it does of float32.

    out[row][column] = bias[row] + sum over taps t, pairs p, i < 2 of  weights[t, p, row, i] * x[pixel(column) + taps[t]
                                                                                                 + p, i]

Two neighbouring channels are a pair and lie in the 32 bits of a float32, in whose arrays and units they are kept here.
Nothing is compiled before it is called for, so that the module can be imported anywhere.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from ..simd.vector import INT32, LANES, VECTOR, data_pointer, load_vector, splat
from .microkernel import (
    FEW_PIXELS,
    PIXELS,
    ROWS,
    TAP_LANES,
    constant,
    has_feature,
    loop_over_taps,
    offsets_of_pixels,
    start_of_sums,
    store_sums,
)

NEEDED = ("avx512f", "avx512bf16")  # as LLVM names them
MISSING = tuple(name for name in NEEDED if not has_feature(name))
PROCESSOR = config.CPU_NAME or binding.get_host_cpu_name()

CELL = LANES // 2  # pairs of one pixel's block of channels
TAP_PAIRS = TAP_LANES // 2

INT16 = ir.IntType(16)
PAIRS, ROUNDED = ir.VectorType(INT32, LANES), ir.VectorType(INT16, LANES)


def multiply_add_pairs(b: ir.IRBuilder, sums: ir.Value, x: ir.Value, y: ir.Value) -> ir.Value:
    """sums + x[0] * y[0] + x[1] * y[1] in each of the 16 lanes. LLVM's older form of the intrinsic, which newer
    versions of it still know, takes the pairs as integers; llvmlite has no type for them."""
    signature = ir.FunctionType(VECTOR, [VECTOR, PAIRS, PAIRS])
    function = cgutils.get_or_insert_function(b.module, signature, "llvm.x86.avx512bf16.dpbf16ps.512")
    return b.call(function, [sums, b.bitcast(x, PAIRS), b.bitcast(y, PAIRS)])


def rounded(b: ir.IRBuilder, values: ir.Value) -> ir.Value:
    """Sixteen float32 as bfloat16, to the nearest, of two equally near ones to the even one."""
    signature = ir.FunctionType(ROUNDED, [VECTOR])
    function = cgutils.get_or_insert_function(b.module, signature, "llvm.x86.avx512bf16.cvtneps2bf16.512")
    return b.call(function, [values])


def _store(b: ir.IRBuilder, value: ir.Value, address: ir.Value) -> None:
    b.store(value, b.bitcast(address, value.type.as_pointer())).align = 4


@intrinsic
def round_cell(typingctx, x, x_at, y, y_at):
    """Write the sixteen floats of x from `x_at` on as eight pairs to y."""

    def codegen(context, b, signature, arguments):
        x, x_at, y, y_at = arguments
        values = load_vector(b, b.gep(data_pointer(context, b, signature.args[0], x), [x_at]))
        _store(b, rounded(b, values), b.gep(data_pointer(context, b, signature.args[2], y), [y_at]))
        return context.get_dummy_value()

    return types.none(x, x_at, y, y_at), codegen


@intrinsic
def round_pairs(typingctx, x, first_at, second_at, y, y_at):
    """Write sixteen pairs to y, of one number from `first_at` and one from `second_at` on."""

    def codegen(context, b, signature, arguments):
        x, first_at, second_at, y, y_at = arguments
        base = data_pointer(context, b, signature.args[0], x)
        first, second = (rounded(b, load_vector(b, b.gep(base, [at]))) for at in (first_at, second_at))
        order = [lane // 2 + lane % 2 * LANES for lane in range(2 * LANES)]
        pairs = b.shuffle_vector(first, second, ir.Constant(ir.VectorType(INT32, 2 * LANES), order))
        _store(b, pairs, b.gep(data_pointer(context, b, signature.args[3], y), [y_at]))
        return context.get_dummy_value()

    return types.none(x, first_at, second_at, y, y_at), codegen


def make_pair_tile(rows: int, distance: int = 0, y_distance: int = 0, pixels: int = PIXELS):
    """The tile for `rows` vectors of output channels and up to `pixels` pixels, as a Numba intrinsic; `distance`,
    `y_distance`: from one pixel to the next in input and output, where it is the same for all of them, else 0."""
    count = pixels

    @intrinsic
    def tile(
        typingctx, x, x_at, x_step, x_wrap, taps, first_tap, tap_count, weights, weights_at, bias, bias_at,
        y, y_at, y_block, y_wrap, column, width, pixels, slope, accumulate,
    ):  # fmt: skip
        signature = types.none(
            x, x_at, x_step, x_wrap, taps, first_tap, tap_count, weights, weights_at, bias, bias_at,
            y, y_at, y_block, y_wrap, column, width, pixels, slope, accumulate,
        )  # fmt: skip

        def codegen(context, b, sig, arguments):
            (x, x_at, x_step, x_wrap, taps, first_tap, tap_count, weights, weights_at, bias, bias_at,
             y, y_at, y_block, y_wrap, column, width, pixels, slope, accumulate) = arguments  # fmt: skip

            def pointer(array, position, offset):
                return b.gep(data_pointer(context, b, sig.args[position], array), [offset])

            x_base, y_base = pointer(x, 0, constant(0)), pointer(y, 11, constant(0))
            row = column, width, pixels
            sources = [b.gep(x_base, [o]) for o in offsets_of_pixels(b, distance, count, x_at, x_step, x_wrap, *row)]
            offsets = offsets_of_pixels(b, y_distance, count, y_at, constant(LANES), y_wrap, *row)
            offset_table, filters = pointer(taps, 4, first_tap), pointer(weights, 7, weights_at)
            places = [[b.gep(y_base, [b.add(o, b.mul(y_block, constant(r)))]) for o in offsets] for r in range(rows)]
            biases = [load_vector(b, pointer(bias, 9, b.add(bias_at, constant(r * LANES)))) for r in range(rows)]
            start = start_of_sums(b, accumulate, biases, places)

            def products(t, now):
                shift = b.load(b.gep(offset_table, [t]))
                at_tap = b.gep(filters, [b.mul(t, constant(TAP_PAIRS * rows * LANES))])
                for pair in range(TAP_PAIRS):
                    w = [load_vector(b, b.gep(at_tap, [constant((pair * rows + r) * LANES)])) for r in range(rows)]
                    for c, source in enumerate(sources):
                        pixel = splat(b, b.load(b.gep(source, [b.add(shift, constant(pair))])))
                        for r in range(rows):
                            now[r][c] = multiply_add_pairs(b, now[r][c], pixel, w[r])

            store_sums(b, loop_over_taps(b, tap_count, start, products), places, slope)
            return context.get_dummy_value()

        return signature, codegen

    return tile


# Kinds of tiles: those with distances in their instructions, those with the input's, any others, short ones.
STRAIGHT, STRAIGHT_IN, ANY, FEW = range(4)


def _tiles_of_all_kinds(rows: int) -> dict[int, Any]:
    return {
        STRAIGHT: make_pair_tile(rows, CELL, LANES),
        STRAIGHT_IN: make_pair_tile(rows, CELL),
        ANY: make_pair_tile(rows),
        **({FEW: make_pair_tile(rows, pixels=FEW_PIXELS)} if FEW_PIXELS else {}),
    }


PAIR_TILES, SINGLE_TILES = _tiles_of_all_kinds(ROWS), _tiles_of_all_kinds(1)
