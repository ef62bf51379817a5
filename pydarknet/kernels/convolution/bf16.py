"""Convolution whose products are of bfloat16 numbers and whose sums are float32: one instruction of AVX-512 BF16
multiplies two pairs and adds both products to a float32, twice as many products as of float32.

Nothing is compiled before it is called for, so that the module can be imported anywhere.
"""

from llvmlite import ir
from numba import prange

from ...runtime.jit import kernel
from ..addressing import reset_queue
from ..simd import INT32, LANES, VECTOR, Emitter
from .direct import make_convolve, make_convolve_pixels, make_pack_panel
from .microkernel import Product, missing_features

MISSING = missing_features("avx512f", "avx512bf16")

PAIRS, ROUNDED = ir.VectorType(INT32, LANES), ir.VectorType(ir.IntType(16), LANES)


class BFloat16(Product):
    """Two neighbouring channels lie in a word. LLVM's older forms of the intrinsics, which newer versions of it still
    know, take bfloat16 numbers as integers; llvmlite has no type for them."""

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
_convolve_tasks, _pack_panel = make_convolve(BF16, make_convolve_pixels(BF16)), make_pack_panel(BF16)


@kernel
def pack_pairs(filters, panels, packed):
    """Filters as `pack_filters` orders them, rounded, two input lanes side by side (`make_pack_panel`)."""
    for index in prange(panels.shape[0]):
        _pack_panel(filters, panels, index, packed)


@kernel
def convolve_bf16(x, x_at, filters, y, y_at, epilogue, residual, schedule, queue, workers, work, work_size):
    """y = activation(bias + weights * x), as `make_convolve` says."""
    reset_queue(queue, workers)
    for worker in prange(workers):
        _convolve_tasks(
            worker, x, x_at, filters, y, y_at, epilogue, residual, schedule, queue, workers, work, work_size
        )  # fmt: skip
