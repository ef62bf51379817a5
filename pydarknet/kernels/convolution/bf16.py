"""Convolution whose products are of bfloat16 numbers and whose sums are float32: one instruction of AVX-512 BF16
multiplies two pairs and adds both products to a float32. The module can be imported anywhere."""

from llvmlite import ir

from ..simd import INT32, LANES, VECTOR, Emitter
from .direct import make_convolve, make_convolve_pixels, make_pack
from .microkernel import Product, missing_features
from .nchw import make_convolve_picture, make_convolve_rows

MISSING = missing_features("avx512f", "avx512bf16")

PAIRS, ROUNDED = ir.VectorType(INT32, LANES), ir.VectorType(ir.IntType(16), LANES)


class BFloat16(Product):
    """Two neighbouring channels lie in a word. LLVM's older forms of the intrinsics, which newer versions of it
    still know, take bfloat16 numbers as integers; llvmlite has no type for them."""

    factors = 2

    def convert(self, b: Emitter, values: ir.Value, scale: ir.Value, zero: ir.Value) -> ir.Value:
        """To the nearest, of two equally near ones to the even one."""
        return b.llvm("llvm.x86.avx512bf16.cvtneps2bf16.512", ROUNDED, values)

    def multiply_add(self, b: Emitter, x: ir.Value, w: ir.Value, sums: ir.Value) -> ir.Value:
        """sums + x[0] w[0] + x[1] w[1] in each of the 16 lanes."""
        pairs = b.bitcast(x, PAIRS), b.bitcast(w, PAIRS)
        return b.llvm("llvm.x86.avx512bf16.dpbf16ps.512", VECTOR, sums, *pairs)


BF16 = BFloat16()
FACTORS = BF16.factors
convolve_bf16 = make_convolve(BF16, make_convolve_pixels(BF16), __name__, "convolve_bf16")
pack_bf16 = make_pack(BF16, __name__, "pack_bf16")
convolve_rows_bf16 = make_convolve_rows(BF16, __name__, "convolve_rows_bf16")
convolve_picture_bf16 = make_convolve_picture(BF16, __name__, "convolve_picture_bf16")
