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
from numba.core import cgutils

from ...runtime.jit import device
from ..simd import INT64, LANES, Emitter, instructions
from .bf16 import BFloat16
from .direct import finish_tiles, make_convolve, make_pack, make_store_tile
from .int8 import Int8
from .microkernel import Run, TileTarget, missing_features, store_sums

ROWS, BYTES = 16, 64  # of a tile
PIXELS = 2 * ROWS  # that are computed together

SUMS, INPUTS, FILTERS = 0, 4, 6  # numbers of the tiles: 2 x 2 of sums, 2 of inputs, 2 of filters
BYTE, VOID = ir.IntType(8), ir.VoidType()
POINTER = BYTE.as_pointer()

MISSING_INT8 = missing_features("avx512f", "avx512vnni", "amx-tile", "amx-int8")
MISSING_BF16 = missing_features("avx512f", "avx512bf16", "amx-tile", "amx-bf16")


class Int8Tiles(Int8):
    """64 channels lie in a cell: of inputs unsigned numbers, of filters signed ones."""

    tap_lanes, pixels, multiply = 64, PIXELS, "llvm.x86.tdpbusd"


class BFloat16Tiles(BFloat16):
    """32 channels lie in a cell."""

    tap_lanes, pixels, multiply = 32, PIXELS, "llvm.x86.tdpbf16ps"

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
    """multiply(x, at, step, filters, panel, work, room): from `room` on in `work`, the sums [block][PIXELS][LANES]
    of PIXELS pixels from the word `at` of x on, `step` words apart."""

    @instructions
    def multiply(b, x, at, step, filters, panel, work, room):
        sums = b.ahead(work, room)
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
        at_tap = b.ahead(weights, b.mul(t, product.words * oc_vectors * LANES))
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

    return multiply


def _load(b: Emitter, number: int, address: ir.Value, pitch: ir.Value) -> None:
    b.llvm("llvm.x86.tileloadd64", VOID, BYTE(number), b.bitcast(address, POINTER), pitch)


def make_finish_pixel(product: Any) -> Any:
    """finish_pixel(sums, sums_at, filters, panel, r, y, at, epilogue): the sums of a pixel of the panel's block r
    as float32, times the slope where they are not above zero."""

    @instructions
    def finish_pixel(b, sums, sums_at, filters, panel, r, y, at, epilogue):
        value = b.load_vector(b.ahead(sums, sums_at), product.vector)
        finished = product.finish_block(b, filters, b.add(panel.block, r), value)
        store_sums(b, [finished], [[b.ahead(y, at)]], epilogue.slope)

    return finish_pixel


def make_convolve_tiles(product: Any) -> Any:
    """As `make_convolve_pixels`, with tiles of AMX."""
    pair, single, finish_pixel = make_multiply(product, 2), make_multiply(product, 1), make_finish_pixel(product)
    store_tile = make_store_tile(product)

    @device
    def convolve_tiles(
        x, source, filters, panel, y, target, first, last, width, epilogue, residual, residual_at, prefetches, work
    ):
        step, top, bottom = source.column_stride, first // width, (last - 1) // width
        # Positions are pixels of one row after the other, `pitch` apart; with larger strides, rows are computed alone.
        joined = step == LANES
        pitch = source.row_stride // step if joined else width
        stores, out, room = epilogue.stores, y, target.room
        if stores:
            out = work
        begin_tiles()
        for base in range(top, top + 1 if joined else bottom + 1):
            origin = source.origin + base * source.row_stride
            at = first - top * width if base == top else 0
            end = (bottom - base) * pitch + last - bottom * width if joined or base == bottom else width
            while at < end:
                if panel.oc_vectors == 2:
                    pair(x, origin + at * step, step, filters, panel, work, room)
                else:
                    single(x, origin + at * step, step, filters, panel, work, room)
                done = 0
                while done < PIXELS and at + done < end:
                    row = (at + done) // pitch
                    column = at + done - row * pitch
                    pixels = min(PIXELS - done, width - column, end - at - done)
                    if pixels > 0:
                        run, sums = Run(column, width, pixels), room + done * 16
                        y_at = target.origin + ((base + row) * target.pitch + column) * 16
                        finished = to = TileTarget(y_at, target.block_stride, 0)
                        if stores:
                            finished = TileTarget(sums, PIXELS * 16, 0)
                        for r in range(panel.oc_vectors):
                            first_sum, end_at = sums + r * PIXELS * 16, finished.at + r * finished.block_stride
                            for k in range(0, pixels * 16, 16):
                                finish_pixel(work, first_sum + k, filters, panel, r, out, end_at + k, epilogue)
                        other = residual_at + ((base + row) * residual.pitch + column) * 16
                        finish_tiles(out, finished, run, panel, epilogue, residual, other)
                        if stores:
                            store_tile(work, sums, y, to, run, panel.oc_vectors, epilogue)
                    done += pitch - column
                at += PIXELS
        end_tiles()

    return convolve_tiles


INT8, BF16 = Int8Tiles(), BFloat16Tiles()
convolve_int8_tiles = make_convolve(INT8, make_convolve_tiles(INT8), __name__, "convolve_int8_tiles")
convolve_bf16_tiles = make_convolve(BF16, make_convolve_tiles(BF16), __name__, "convolve_bf16_tiles")
pack_int8_tiles = make_pack(INT8, __name__, "pack_int8_tiles")
pack_bf16_tiles = make_pack(BF16, __name__, "pack_bf16_tiles")
