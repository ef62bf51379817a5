"""Convolution whose products are those of AMX's tiles: matrices of 16 rows of 64 bytes that the processor
multiplies in 16 cycles, eight times as many 8-bit products as those of AVX-512 VNNI and as many more of
bfloat16.

The rows of a tile of inputs are pixels, each the numbers of its next 64 (8-bit) or 32 (bfloat16) channels, which
`convert_task` lays side by side. Two such tiles and two of filters make four tiles of sums: of 32 pixels and NR
blocks of channels. With a stride of 1, pixels run on past the ends of rows, and the sums between rows are left
out.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from ...runtime.jit import device
from ..simd import INT32, INT64, LANES, Emitter, instructions, returning
from .bf16 import BFloat16
from .direct import _finish_tiles, make_convolve, make_pack
from .int8 import Int8
from .microkernel import Run, TileTarget, missing_features

ROWS, BYTES = 16, 64  # of a tile
PIXELS = 2 * ROWS  # that are computed together

SUMS, INPUTS, FILTERS = 0, 4, 6  # numbers of the tiles: 2 x 2 of sums, 2 of inputs, 2 of filters
BYTE, VOID = ir.IntType(8), ir.VoidType()
POINTER = BYTE.as_pointer()

MISSING_INT8 = missing_features("avx512f", "avx512vnni", "amx-tile", "amx-int8")
MISSING_BF16 = missing_features("avx512f", "avx512bf16", "amx-tile", "amx-bf16")


class Int8Tiles(Int8):
    """64 channels lie in a cell: of inputs unsigned numbers, of filters signed ones."""

    blocks, tap_lanes, multiply = 4, 64, "llvm.x86.tdpbusd"


class BFloat16Tiles(BFloat16):
    """32 channels lie in a cell."""

    blocks, tap_lanes, multiply = 2, 32, "llvm.x86.tdpbf16ps"

    def finish_block(self, b: Emitter, filters, block, *sums) -> list[ir.Value]:
        bias = b.load_vector(b.ahead(filters.bias, b.mul(block, LANES)))
        return [b.fadd(value, bias) for value in sums]


@instructions
def begin_tiles(b):
    """Say that all eight tiles are of ROWS rows of BYTES bytes."""
    form = bytes([1, *[0] * 15, *[BYTES, 0] * 8, *[0] * 16, *[ROWS] * 8, *[0] * 8])
    data = ir.Constant(ir.ArrayType(BYTE, len(form)), bytearray(form))
    b.llvm("llvm.x86.ldtilecfg", VOID, b.bitcast(cgutils.global_constant(b.module, "tiles", data), POINTER))


@instructions
def end_tiles(b):
    """Give the tiles' registers back."""
    b.llvm("llvm.x86.tilerelease", VOID)


def make_multiply(product: Any, oc_vectors: int) -> Any:
    """multiply(x, at, step, filters, panel): the address of the sums [block][PIXELS][LANES] of PIXELS pixels
    from the word `at` of x on, `step` words apart."""
    words = product.tap_lanes // product.factors

    @returning(types.intp)
    def multiply(b, x, at, step, filters, panel):
        with b.goto_entry_block():
            sums = b.alloca(INT32, oc_vectors * PIXELS * LANES)
            sums.align = BYTES
        offsets, weights = b.ahead(filters.offsets, panel.first_tap), b.ahead(filters.weights, panel.weights)
        inputs, pitch = b.ahead(x, at), b.mul(step, 4)
        each = [(pixels, block) for pixels in range(2) for block in range(oc_vectors)]
        for pixels, block in each:
            b.llvm("llvm.x86.tilezero", VOID, BYTE(SUMS + 2 * pixels + block))
        entry = b.basic_block
        body, done = b.append_basic_block("tiles.body"), b.append_basic_block("tiles.done")
        b.cbranch(b.icmp_signed("<", 0, panel.taps), body, done)
        b.position_at_end(body)
        t = b.phi(INT64)
        t.add_incoming(INT64(0), entry)
        here = b.ahead(inputs, b.load(b.ahead(offsets, t)))
        for pixels in range(2):
            _load(b, INPUTS + pixels, b.ahead(here, b.mul(step, pixels * ROWS)), pitch)
        at_tap = b.ahead(weights, b.mul(t, words * oc_vectors * LANES))
        for block in range(oc_vectors):
            _load(b, FILTERS + block, b.ahead(at_tap, block * LANES), INT64(oc_vectors * BYTES))
        for pixels, block in each:
            operands = SUMS + 2 * pixels + block, INPUTS + pixels, FILTERS + block
            b.llvm(product.multiply, VOID, *map(BYTE, operands))
        following = b.add(t, 1)
        t.add_incoming(following, b.basic_block)
        b.cbranch(b.icmp_signed("<", following, panel.taps), body, done)
        b.position_at_end(done)
        for pixels, block in each:
            to = b.bitcast(b.ahead(sums, (block * PIXELS + pixels * ROWS) * LANES), POINTER)
            b.llvm("llvm.x86.tilestored64", VOID, BYTE(SUMS + 2 * pixels + block), to, INT64(BYTES))
        return b.ptrtoint(sums, INT64)

    return multiply


def _load(b: Emitter, number: int, address: ir.Value, pitch: ir.Value) -> None:
    b.llvm("llvm.x86.tileloadd64", VOID, BYTE(number), b.bitcast(address, POINTER), pitch)


def make_finish_pixel(product: Any) -> Any:
    """finish_pixel(sums, number, filters, panel, r, y, at, epilogue): the sums of a pixel of the panel's block
    r, of this `number` among them, as float32, times the slope where they are not above zero."""

    @instructions
    def finish_pixel(b, sums, number, filters, panel, r, y, at, epilogue):
        address = b.inttoptr(b.add(sums, b.mul(number, BYTES)), product.vector.as_pointer())
        (value,) = product.finish_block(b, filters, b.add(panel.block, r), b.load(address))
        b.store_vector(b.larger(b.fmul(value, b.splat(epilogue.slope)), value), b.ahead(y, at))

    return finish_pixel


def make_convolve_tiles(product: Any) -> Any:
    """As `make_convolve_pixels`, with tiles of AMX."""
    pair, single, finish_pixel = make_multiply(product, 2), make_multiply(product, 1), make_finish_pixel(product)
    cell = product.cell

    @device
    def convolve_tiles(
        x, source, filters, panel, y, target, first, last, width, epilogue, residual, residual_at, prefetches
    ):
        step, top, bottom = source.column_stride, first // width, (last - 1) // width
        # Positions are pixels of one row after the other, `pitch` apart; with larger strides, rows are computed alone.
        joined = step == cell
        pitch = source.row_stride // step if joined else width
        begin_tiles()
        for base in range(top, top + 1 if joined else bottom + 1):
            origin = source.origin + base * source.row_stride
            at = first - top * width if base == top else 0
            end = (bottom - base) * pitch + last - bottom * width if joined or base == bottom else width
            while at < end:
                if panel.oc_vectors == 2:
                    sums = pair(x, origin + at * step, step, filters, panel)
                else:
                    sums = single(x, origin + at * step, step, filters, panel)
                done = 0
                while done < PIXELS and at + done < end:
                    row = (at + done) // pitch
                    column = at + done - row * pitch
                    pixels = min(PIXELS - done, width - column, end - at - done)
                    if pixels > 0:
                        y_at = target.origin + ((base + row) * target.pitch + column) * 16
                        for r in range(panel.oc_vectors):
                            for k in range(pixels):
                                to = y_at + r * target.block_stride + k * 16
                                finish_pixel(sums, r * PIXELS + done + k, filters, panel, r, y, to, epilogue)
                        run = Run(column, width, pixels)
                        other = residual_at + ((base + row) * residual.pitch + column) * 16
                        tile_target = TileTarget(y_at, target.block_stride, 0)
                        _finish_tiles(y, tile_target, run, panel, epilogue, residual, other)
                    done += pitch - column
                at += PIXELS
        end_tiles()

    return convolve_tiles


INT8, BF16 = Int8Tiles(), BFloat16Tiles()
convolve_int8_tiles = make_convolve(INT8, make_convolve_tiles(INT8), __name__, "convolve_int8_tiles")
convolve_bf16_tiles = make_convolve(BF16, make_convolve_tiles(BF16), __name__, "convolve_bf16_tiles")
pack_int8_tiles = make_pack(INT8, __name__, "pack_int8_tiles")
pack_bf16_tiles = make_pack(BF16, __name__, "pack_bf16_tiles")
