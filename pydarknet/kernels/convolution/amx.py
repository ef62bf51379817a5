"""Convolution whose products are those of AMX's tiles: matrices of 16 rows of 64 bytes that the processor
multiplies in 16 cycles, eight times as many 8-bit products as those of AVX-512 VNNI and as many more of
bfloat16.

The rows of a tile of inputs are pixels, each the numbers of its next 64 (8-bit) or 32 (bfloat16) channels, which
`convert_task` lays side by side. Two such tiles and two of filters make four tiles of sums: of 32 pixels and NR
blocks of channels. With a stride of 1, pixels run on past the ends of rows, and the sums between rows are left
out.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import cgutils

from ...runtime.jit import device
from ..simd import INT64, LANES, Emitter, instructions
from .bf16 import BFloat16
from .direct import finish_tiles, make_convolve, make_pack, make_store_tile
from .int8 import Int8
from .microkernel import ROOM, Run, TileTarget, missing_features

ROWS, BYTES = 16, 64  # of a tile
PIXELS, TALL = 2 * ROWS, 5  # that are computed together: of two blocks; tiles of pixels of one block
POSITIONS = TALL * ROWS

# A worker's memory: sums, then places as numbers of 64 bits, in floats.
SUMS = LANES * POSITIONS
assert SUMS + 2 * 2 * POSITIONS <= ROOM

AHEAD = 8  # taps of filters that are asked for before they are needed
ADDS, STORES, COPIES = 1, 2, 4  # parts of the number of a way to finish sums
KINDS = (0, ADDS, STORES, ADDS + STORES, COPIES, ADDS + COPIES)
BYTE, VOID = ir.IntType(8), ir.VoidType()
POINTER, FLOATS = BYTE.as_pointer(), ir.FloatType().as_pointer()

MISSING_INT8 = missing_features("avx512f", "avx512vnni", "amx-tile", "amx-int8")
MISSING_BF16 = missing_features("avx512f", "avx512bf16", "amx-tile", "amx-bf16")


class Way(NamedTuple):
    """How sums are finished: one of KINDS; floats from block to block of the output, and of what is added; floats from
    a cell to its copy."""

    kind: int
    block_step: int
    other_step: int
    copy: int


class Int8Tiles(Int8):
    """64 channels lie in a cell: of inputs unsigned numbers, of filters signed ones."""

    tap_lanes, pixels, multiply = 64, PIXELS, "llvm.x86.tdpbusd"


class BFloat16Tiles(BFloat16):
    """32 channels lie in a cell."""

    tap_lanes, pixels, multiply = 32, PIXELS, "llvm.x86.tdpbf16ps"

    def finisher(self, b: Emitter, filters, block) -> Callable[[ir.Value], ir.Value]:
        bias = b.load_vector(b.ahead(filters.bias, b.mul(block, LANES)))
        return lambda sums: b.fadd(sums, bias)


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


def make_multiply(product: Any, pixel_tiles: int, oc_vectors: int) -> Any:
    """multiply(x, source, at, end, pitch, filters, panel, work, room, pending, epilogue, way): the
    sums, in tiles, of positions from `at` on, of `end` in all; `pitch` make a row of `source`.
    Meanwhile it finishes the sums of the `pending` positions before, as `make_finish` does."""
    tiles = [(pixels, block) for pixels in range(pixel_tiles) for block in range(oc_vectors)]
    first_filters, first_inputs = len(tiles), len(tiles) + oc_vectors

    @instructions
    def multiply(b, x, source, at, end, pitch, filters, panel, work, room, pending, epilogue, way):
        offsets, weights = b.ahead(filters.offsets, panel.first_tap), b.ahead(filters.weights, panel.weights)
        inputs, step = [], b.mul(source.column_stride, 4)
        for pixels in range(pixel_tiles):
            position, last = b.add(at, pixels * ROWS), b.add(end, -1)
            position = b.select(b.icmp_signed("<", position, last), position, last)
            row, column = b.sdiv(position, pitch), b.srem(position, pitch)
            within = b.add(b.mul(row, source.row_stride), b.mul(column, source.column_stride))
            inputs.append(b.ahead(x, b.add(source.origin, within)))
        for number in range(first_filters):
            b.llvm("llvm.x86.tilezero", VOID, BYTE(number))
        finish = _Finish(b, product, pixel_tiles * ROWS, oc_vectors, filters, panel, epilogue, way)
        share = b.sdiv(b.add(b.add(pending, panel.taps), -1), panel.taps)
        with b.times(panel.taps) as t:
            offset = b.load(b.ahead(offsets, t))
            at_tap = b.ahead(weights, b.mul(t, product.words * oc_vectors * LANES))
            if oc_vectors == 1:  # filters of small planes come from memory
                for line in range(ROWS):
                    b.prefetch(b.ahead(at_tap, (AHEAD * ROWS + line) * LANES))
            for pixels, block in tiles:
                x_tile, w_tile = first_inputs + pixels % 2, first_filters + block
                if block == 0:
                    _load(b, x_tile, b.ahead(inputs[pixels], offset), step)
                if pixels == 0:
                    _load(b, w_tile, b.ahead(at_tap, block * LANES), INT64(oc_vectors * BYTES))
                operands = pixels * oc_vectors + block, x_tile, w_tile
                b.llvm(product.multiply, VOID, *map(BYTE, operands))
            first = b.mul(t, share)
            left = b.sub(pending, first)
            count = b.select(b.icmp_signed("<", left, share), left, share)
            finish.positions(work, room, first, count)

    return multiply


def _load(b: Emitter, number: int, address: ir.Value, pitch: ir.Value) -> None:
    b.llvm("llvm.x86.tileloadd64", VOID, BYTE(number), b.bitcast(address, POINTER), pitch)


def make_store_tiles(pixel_tiles: int, oc_vectors: int) -> Any:
    """store_tiles(work, room): the sums in tiles, to [block][position][LANES] from `room` on."""

    @instructions
    def store_tiles(b, work, room):
        for pixels in range(pixel_tiles):
            for block in range(oc_vectors):
                to = b.ahead(work, b.add(room, (block * pixel_tiles + pixels) * ROWS * LANES))
                number = BYTE(pixels * oc_vectors + block)
                b.llvm("llvm.x86.tilestored64", VOID, number, b.bitcast(to, POINTER), INT64(BYTES))

    return store_tiles


class _Finish:
    """Emits what makes of sums, of a panel's blocks at `count` positions, what the output holds: float32, times the
    slope where they are not above zero, with what is added, numbers of the product, or both."""

    def __init__(self, b: Emitter, product: Any, count: int, oc_vectors: int, filters, panel, epilogue, way) -> None:
        self.b, self.product, self.count, self.epilogue, self.way = b, product, count, epilogue, way
        blocks = range(oc_vectors)
        self.finishers = [product.finisher(b, filters, b.add(panel.block, block)) for block in blocks]
        self.slope = b.splat(epilogue.slope)

    def positions(self, work, room, first, count) -> None:
        """Those from `first` on, whose places stand behind the sums (`write_places`)."""
        b, after = self.b, self.b.append_basic_block("finish.after")
        choice = b.switch(self.way.kind, after)
        for number in KINDS:
            choice.add_case(INT64(number), block := b.append_basic_block("finish"))
            b.position_at_end(block)
            with b.times(count) as k:
                position = b.add(first, k)
                places = b.bitcast(b.ahead(work, b.add(room, SUMS)), INT64.as_pointer())
                place = b.load(b.ahead(places, position))
                with b.if_then(b.icmp_signed("!=", place, 0)):
                    other = b.load(b.ahead(places, b.add(position, POSITIONS))) if number & ADDS else None
                    sums = b.add(room, b.mul(position, LANES))
                    self._finish(number, sums, work, place, other)
            b.branch(after)
        b.position_at_end(after)

    def _finish(self, number, at, work, place, other) -> None:
        b, way, cell = self.b, self.way, self.b.inttoptr(place, FLOATS)
        for block, finisher in enumerate(self.finishers):
            sums = b.ahead(work, b.add(at, block * self.count * LANES))
            value = finisher(b.load_vector(sums, self.product.vector))
            value = b.larger(b.fmul(value, self.slope), value)
            if other is not None:
                other_place = b.ahead(b.inttoptr(other, FLOATS), b.mul(way.other_step, block))
                value = b.fadd(value, b.load_vector(other_place))
            to = b.ahead(cell, b.mul(way.block_step, block))
            if number & (STORES + COPIES):
                numbers = self.product.convert(b, value, self.epilogue.scale, self.epilogue.zero)
                beside = b.ahead(b.ahead(cell, way.copy), block * LANES // self.product.factors)
                b.store_vector(numbers, to if number & STORES else beside)
            if not number & STORES:
                b.store_vector(value, to)


def make_finish(product: Any, pixel_tiles: int, oc_vectors: int) -> Any:
    """finish(filters, panel, work, room, pending, epilogue, way): what `multiply` does beside products."""

    @instructions
    def finish(b, filters, panel, work, room, pending, epilogue, way):
        finish = _Finish(b, product, pixel_tiles * ROWS, oc_vectors, filters, panel, epilogue, way)
        finish.positions(work, room, INT64(0), pending)

    return finish


@instructions
def write_places(b, work, at, count, array, first):
    """At `at` in work, the addresses of `count` cells of an array from `first` on."""
    place, places = b.ptrtoint(b.ahead(array, first), INT64), b.bitcast(b.ahead(work, at), INT64.as_pointer())
    with b.times(count) as k:
        b.store(b.add(place, b.mul(k, BYTES)), b.ahead(places, k))


@instructions
def write_no_places(b, work, at, count):
    """The same for positions that are no pixels."""
    places = b.bitcast(b.ahead(work, at), INT64.as_pointer())
    with b.times(count) as k:
        b.store(INT64(0), b.ahead(places, k))


@device
def set_places(work, at, start, count, pitch, width, y, target, residual, residual_at):
    """Where the sums of the `count` positions from `at` on go: nowhere before `start`, and between rows."""
    done, places = 0, target.room + SUMS
    while done < count:
        row = (at + done) // pitch
        column, here = at + done - row * pitch, places + 2 * done
        if at + done < start or column >= width:
            gap = start - at - done if at + done < start else pitch - column
            write_no_places(work, here, min(gap, count - done))
            done += gap
        else:
            pixels = min(width - column, count - done)
            write_places(work, here, pixels, y, target.origin + (row * target.pitch + column) * 16)
            if residual.adds:
                other = residual_at + (row * residual.pitch + column) * 16
                write_places(work, here + 2 * POSITIONS, pixels, residual.data, other)
            done += pixels


def make_activate(product: Any) -> Any:
    """activate(work, at, start, count, pitch, width, panel, y, target, step, epilogue, residual, residual_at): what
    a slope cannot express, of positions as those of `set_places`, whose sums are float32 already: in y, or in
    `work`, blocks `step` apart, from where they go to y."""
    store_tile = make_store_tile(product)

    @device
    def activate(work, at, start, count, pitch, width, panel, y, target, step, epilogue, residual, residual_at):
        done = max(0, start - at)
        while done < count:
            row = (at + done) // pitch
            column = at + done - row * pitch
            pixels = min(width - column, count - done)
            if pixels > 0:
                run, sums = Run(column, width, pixels), target.room + done * 16
                stored = TileTarget(target.origin + (row * target.pitch + column) * 16, target.block_stride, 0)
                other = residual_at + (row * residual.pitch + column) * 16
                out, to = y, stored
                if epilogue.stores:
                    out, to = work, TileTarget(sums, step, 0)
                finish_tiles(out, to, run, panel, epilogue, residual, other)
                if epilogue.stores:
                    store_tile(work, sums, y, stored, run, panel.oc_vectors, epilogue)
            done += pitch - column

    return activate


def make_convolve_tiles(product: Any) -> Any:
    """As `make_convolve_pixels`, with tiles of AMX."""
    multiply_pair, store_pair, finish_pair = (
        make_multiply(product, 2, 2), make_store_tiles(2, 2), make_finish(product, 2, 2)
    )  # fmt: skip
    multiply_tall, store_tall, finish_tall = (
        make_multiply(product, TALL, 1), make_store_tiles(TALL, 1), make_finish(product, TALL, 1)
    )  # fmt: skip
    activate = make_activate(product)

    @device
    def convolve_tiles(
        x, source, filters, panel, y, target, first, last, width, epilogue, residual, residual_at, prefetches, work
    ):
        top, bottom, pair = first // width, (last - 1) // width, panel.oc_vectors == 2
        # Positions are the cells of rows that follow one another in memory, or those of rows of whole tiles.
        joined, rows = source.row_stride // source.column_stride, bottom - top
        pitch = -(-width // ROWS) * ROWS
        if joined * source.column_stride == source.row_stride and rows * joined + width <= rows * pitch + pitch - ROWS:
            pitch = joined
        start, end = top * pitch + first - top * width, bottom * pitch + last - bottom * width
        at = start if pitch == joined else start - start % ROWS
        positions, room = PIXELS if pair else POSITIONS, target.room
        in_place, kind, block_step = epilogue.activation != 0 and epilogue.stores, 0, target.block_stride
        if epilogue.activation == 0:
            kind = ADDS * residual.adds + STORES * epilogue.stores + COPIES * epilogue.copies
        elif in_place:
            block_step = positions * 16
        way, pending = Way(kind, block_step, residual.block_stride, target.copy), 0
        begin_tiles()
        while at < end or pending > 0:  # the last time, nothing is multiplied
            before = at - positions
            if in_place:
                write_places(work, room + SUMS, pending, work, room)
            else:
                set_places(work, before, start, pending, pitch, width, y, target, residual, residual_at)
            if at < end and pair:
                multiply_pair(x, source, at, end, pitch, filters, panel, work, room, pending, epilogue, way)
            elif at < end:
                multiply_tall(x, source, at, end, pitch, filters, panel, work, room, pending, epilogue, way)
            elif pair:
                finish_pair(filters, panel, work, room, pending, epilogue, way)
            else:
                finish_tall(filters, panel, work, room, pending, epilogue, way)
            if epilogue.activation != 0:
                activate(
                    work, before, start, pending, pitch, width, panel, y, target, block_step, epilogue, residual,
                    residual_at,
                )  # fmt: skip
            pending = max(0, min(positions, end - at))
            if pending > 0 and pair:
                store_pair(work, room)
            elif pending > 0:
                store_tall(work, room)
            at += positions
        end_tiles()

    return convolve_tiles


INT8, BF16 = Int8Tiles(), BFloat16Tiles()
convolve_int8_tiles = make_convolve(INT8, make_convolve_tiles(INT8), __name__, "convolve_int8_tiles")
convolve_bf16_tiles = make_convolve(BF16, make_convolve_tiles(BF16), __name__, "convolve_bf16_tiles")
pack_int8_tiles = make_pack(INT8, __name__, "pack_int8_tiles")
pack_bf16_tiles = make_pack(BF16, __name__, "pack_bf16_tiles")
