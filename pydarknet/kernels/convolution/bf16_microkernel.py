"""The micro-kernel of `microkernel.py` on bfloat16 numbers. One instruction of AVX-512 BF16 multiplies two pairs and
adds both products to a float32: twice as many products as of float32.

    sums[r, c] = bias[r] + sum over taps t, pairs p, i < 2 of  weights[t, p, r, i] * x[pixel(c) + offsets[t] + p, i]

Two neighbouring channels are a pair and lie in the 32 bits of a float32, in whose arrays and units they are kept here.
Nothing is compiled before it is called for, so that the module can be imported anywhere.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from ..simd.intrinsics import Members
from ..simd.vector import INT32, LANES, VECTOR, data_pointer, load_vector, splat
from .microkernel import (
    MR,
    MR_SHORT,
    NR,
    TAP_LANES,
    biases_of,
    constant,
    has_feature,
    loop_over_taps,
    offsets_of_pixels,
    output_pixels,
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


def make_pair_tile(oc_vectors: int, distance: int = 0, y_distance: int = 0, pixels: int = MR):
    """The tile for so many vectors of output channels and up to `pixels` pixels, as a Numba intrinsic, with arguments
    as in `make_tile`; `distance`, `y_distance`: from one pixel to the next in input and output, where it is the same
    for all of them, else 0."""
    count = pixels

    @intrinsic
    def tile(typingctx, x, source, filters, panel, y, target, run, epilogue):
        signature = types.none(x, source, filters, panel, y, target, run, epilogue)

        def codegen(context, b, sig, arguments):
            x_base, y_base = (data_pointer(context, b, sig.args[i], arguments[i]) for i in (0, 4))
            source, filters, panel, target, run, epilogue = (
                Members(context, b, sig.args[i], arguments[i]) for i in (1, 2, 3, 5, 6, 7)
            )
            offsets_of_x = offsets_of_pixels(b, distance, count, source.at, source.step, source.wrap, run)
            pixels_of_x = [b.gep(x_base, [offset]) for offset in offsets_of_x]
            offsets_of_y = offsets_of_pixels(b, y_distance, count, target.at, constant(LANES), target.wrap, run)
            offset_table = b.gep(filters.offsets, [panel.first_tap])
            weights = b.gep(filters.weights, [panel.weights])
            pixels_of_y = output_pixels(b, y_base, target, offsets_of_y, oc_vectors)
            start = start_of_sums(b, epilogue.accumulates, biases_of(b, filters, panel, oc_vectors), pixels_of_y)

            def products(t, sums):
                shift = b.load(b.gep(offset_table, [t]))
                at_tap = b.gep(weights, [b.mul(t, constant(TAP_PAIRS * oc_vectors * LANES))])
                for pair in range(TAP_PAIRS):
                    at_pair = [b.gep(at_tap, [constant((pair * oc_vectors + r) * LANES)]) for r in range(oc_vectors)]
                    w = [load_vector(b, address) for address in at_pair]
                    for c, pixel in enumerate(pixels_of_x):
                        value = splat(b, b.load(b.gep(pixel, [b.add(shift, constant(pair))])))
                        for r in range(oc_vectors):
                            sums[r][c] = multiply_add_pairs(b, sums[r][c], value, w[r])

            store_sums(b, loop_over_taps(b, panel.taps, start, products), pixels_of_y, epilogue.slope)
            return context.get_dummy_value()

        return signature, codegen

    return tile


# Kinds of tiles: those with distances in their instructions, those with the input's, any others, short ones.
STRAIGHT, STRAIGHT_IN, ANY, SHORT = range(4)


def _tiles_of_all_kinds(oc_vectors: int) -> dict[int, Any]:
    return {
        STRAIGHT: make_pair_tile(oc_vectors, CELL, LANES),
        STRAIGHT_IN: make_pair_tile(oc_vectors, CELL),
        ANY: make_pair_tile(oc_vectors),
        **({SHORT: make_pair_tile(oc_vectors, pixels=MR_SHORT)} if MR_SHORT else {}),
    }


PAIR_TILES, SINGLE_TILES = _tiles_of_all_kinds(NR), _tiles_of_all_kinds(1)
