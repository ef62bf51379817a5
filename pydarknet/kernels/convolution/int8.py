"""Convolution whose products are of 8-bit integers and whose sums are of 32 bits: one instruction of AVX-512
VNNI multiplies four unsigned inputs with four signed filters and adds the products to an integer. Inputs are
`scale` times their value plus `zero`; each filter has a scale of its own. The module can be imported anywhere."""

from llvmlite import ir

from ..simd import INT32, LANES, VECTOR, Emitter
from .direct import make_convolve, make_convolve_pixels, make_pack
from .microkernel import Product, missing_features

MISSING = missing_features("avx512f", "avx512vnni")
LARGEST_INPUT, LARGEST_FILTER = 255, 127

SUMS, BYTES = ir.VectorType(INT32, LANES), ir.VectorType(ir.IntType(8), LANES)


class Int8(Product):
    """Four neighbouring channels lie in a word: of inputs unsigned numbers, of filters signed ones."""

    factors = 4
    tap_lanes = LANES  # fewer words would be multiplied faster than their addresses can be found
    vector = SUMS

    def convert(self, b: Emitter, values: ir.Value, scale: ir.Value, zero: ir.Value) -> ir.Value:
        """To the nearest, within 0..255; NaN to 0."""
        scaled = b.fadd(b.fmul(values, b.splat(scale), ("contract",)), b.splat(zero), ("contract",))
        least, most = (ir.Constant(VECTOR, [float(number)] * LANES) for number in (0, LARGEST_INPUT))
        above = b.select(b.fcmp_ordered(">", scaled, least), scaled, least)
        return self._rounded(b, b.select(b.fcmp_ordered("<", above, most), above, most))

    def convert_filters(self, b: Emitter, values: ir.Value) -> ir.Value:
        """To the nearest of numbers that their scale has brought to -127..127."""
        return self._rounded(b, values)

    def _rounded(self, b: Emitter, values: ir.Value) -> ir.Value:
        return b.trunc(b.fptosi(b.llvm("llvm.rint.v16f32", VECTOR, values), SUMS), BYTES)

    def multiply_add(self, b: Emitter, x: ir.Value, w: ir.Value, sums: ir.Value) -> ir.Value:
        """sums + x[0] w[0] + ... + x[3] w[3] in each of the 16 lanes."""
        return b.llvm("llvm.x86.avx512.vpdpbusd.512", SUMS, sums, b.bitcast(x, SUMS), b.bitcast(w, SUMS))

    def start(self, b: Emitter, filters, panel, epilogue, places) -> list[list[ir.Value]]:
        return [[ir.Constant(SUMS, [0] * LANES) for _ in row] for row in places]

    def finish(self, b: Emitter, filters, panel, sums) -> list[list[ir.Value]]:
        """Of each block, `filters.bias` holds 16 biases and then 16 scales of sums."""
        return [self.finish_block(b, filters, b.add(panel.block, r), *row) for r, row in enumerate(sums)]

    def finish_block(self, b: Emitter, filters, block, *sums) -> list[ir.Value]:
        bias, scale = b.load_vectors(b.ahead(filters.bias, b.mul(block, 2 * LANES)), LANES, 2)
        products = [b.fmul(b.sitofp(value, VECTOR), scale, ("contract",)) for value in sums]
        return [b.fadd(product, bias, ("contract",)) for product in products]


INT8 = Int8()
FACTORS, TAP_LANES = INT8.factors, INT8.tap_lanes
convolve_int8 = make_convolve(INT8, make_convolve_pixels(INT8), __name__, "convolve_int8")
pack_int8 = make_pack(INT8, __name__, "pack_int8")
