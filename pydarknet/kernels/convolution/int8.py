"""Convolution whose products are of 8-bit integers and whose sums are of 32 bits: one instruction of AVX-512
VNNI multiplies four unsigned inputs with four signed filters and adds the products to an integer. Inputs are
`scale` times their value plus `zero`; each filter has a scale of its own. The module can be imported anywhere."""

from collections.abc import Callable

from llvmlite import ir

from ..simd import INT32, LANES, VECTOR, Emitter
from .direct import make_convolve, make_convolve_pixels, make_pack
from .microkernel import Product, missing_features
from .nchw import make_convolve_picture, make_convolve_rows

MISSING = missing_features("avx512f", "avx512vnni")
LARGEST_INPUT, LARGEST_FILTER = 255, 127

FUSED = ("contract",)  # a product and a sum may become one instruction
SUMS, BYTES = ir.VectorType(INT32, LANES), ir.VectorType(ir.IntType(8), LANES)


class Int8(Product):
    """Four neighbouring channels lie in a word: of inputs unsigned numbers, of filters signed ones."""

    factors = 4
    tap_lanes = LANES  # fewer words would be multiplied faster than their addresses can be found
    vector = SUMS

    def convert(self, b: Emitter, values: ir.Value, scale: ir.Value, zero: ir.Value) -> ir.Value:
        """To the nearest, within 0..255; NaN to 0."""
        scaled = b.fadd(b.fmul(values, b.splat(scale), flags=FUSED), b.splat(zero), flags=FUSED)
        most, least = ir.Constant(VECTOR, [float(LARGEST_INPUT)] * LANES), ir.Constant(SUMS, [0] * LANES)
        integers = self._rounded(b, b.select(b.fcmp_ordered("<", most, scaled), most, scaled))  # NaN: below zero
        return b.trunc(b.select(b.icmp_signed(">", integers, least), integers, least), BYTES)

    def convert_filters(self, b: Emitter, values: ir.Value) -> ir.Value:
        """To the nearest of numbers that their scale has brought to -127..127."""
        return b.trunc(self._rounded(b, values), BYTES)

    def _rounded(self, b: Emitter, values: ir.Value) -> ir.Value:
        always, mode = ir.Constant(ir.IntType(LANES), -1), ir.Constant(INT32, 4)  # the one that is set: to nearest
        name = "llvm.x86.avx512.mask.cvtps2dq.512"
        return b.llvm(name, SUMS, values, ir.Constant(SUMS, ir.Undefined), always, mode)

    def multiply_add(self, b: Emitter, x: ir.Value, w: ir.Value, sums: ir.Value) -> ir.Value:
        """sums + x[0] w[0] + ... + x[3] w[3] in each of the 16 lanes."""
        return b.llvm("llvm.x86.avx512.vpdpbusd.512", SUMS, sums, b.bitcast(x, SUMS), b.bitcast(w, SUMS))

    def start(self, b: Emitter, filters, panel, epilogue, places) -> list[list[ir.Value]]:
        return [[ir.Constant(SUMS, [0] * LANES) for _ in row] for row in places]

    def finish(self, b: Emitter, filters, panel, sums) -> list[list[ir.Value]]:
        """Of each block, `filters.bias` holds 16 biases and then 16 scales of sums."""
        blocks = (self.finisher(b, filters, b.add(panel.block, r)) for r in range(len(sums)))
        return [[finished(value) for value in row] for finished, row in zip(blocks, sums)]

    def finisher(self, b: Emitter, filters, block) -> Callable[[ir.Value], ir.Value]:
        """What makes float32 of a block's sums."""
        bias, scale = b.load_vectors(b.ahead(filters.bias, b.mul(block, 2 * LANES)), LANES, 2)
        return lambda sums: b.fadd(b.fmul(b.sitofp(sums, VECTOR), scale, flags=FUSED), bias, flags=FUSED)


INT8 = Int8()
FACTORS, TAP_LANES = INT8.factors, INT8.tap_lanes
convolve_int8 = make_convolve(INT8, make_convolve_pixels(INT8), __name__, "convolve_int8")
pack_int8 = make_pack(INT8, __name__, "pack_int8")
convolve_rows_int8 = make_convolve_rows(INT8, __name__, "convolve_rows_int8")
convolve_picture_int8 = make_convolve_picture(INT8, __name__, "convolve_picture_int8")
