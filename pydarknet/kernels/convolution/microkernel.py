"""The micro-kernel of every convolution: a few pixels x a few vectors of output channels, kept in registers.

    out[row][column] = bias[row] + sum over taps t, lanes i of  weights[t, i, row] * x[pixel(column) + taps[t] + i]

`taps` is an indirection table, one offset per (input lanes, kernel row, kernel column): kernel size, stride,
dilation and groups are data, not code, and one compiled tile serves them all. The pixels of a tile follow one
another in reading order and may run over the end of a row, so planes of any width fill the tile.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import config, types
from numba.extending import intrinsic

from ..simd.vector import (
    HALF,
    INT64,
    LANES,
    VECTOR,
    data_pointer,
    larger,
    load_vector,
    multiply_add,
    prefetch,
    splat,
    store_vector,
)

# Input channels that one tap covers: small enough that a network's three colours waste little, large enough that the
# loop costs nothing beside its products.
TAP_LANES = 4
COLOURS = 3  # lanes that the picture itself uses


def has_feature(name: str) -> bool:
    """Whether Numba compiles for what LLVM calls `name`: the host has it, and the user's settings leave it."""
    if config.CPU_FEATURES is not None:
        return f"+{name}" in config.CPU_FEATURES.split(",")
    return config.CPU_NAME is None and bool(binding.get_host_cpu_features().get(name))


def _tile_shape() -> tuple[int, int]:
    """(pixels, vectors of output channels) whose accumulators fit this machine's registers beside the operands."""
    if has_feature("avx512f"):
        return 14, 2  # 28 of 32 registers
    return 6, 1  # AVX2: 12 of 16, two a vector; NEON: 24 of 32, four a vector


PIXELS, ROWS = _tile_shape()

# With AVX-512, what is left of a plane is computed in shorter tiles, where those are enough.
FEW_PIXELS = 8 if ROWS == 2 else 0

# For a block of up to so many channels, the registers hold twice as many pixels: as half vectors, or, where registers
# are as wide as a block, because it is computed alone.
NARROW = LANES // 2 if ROWS == 1 else LANES
MANY_PIXELS = 2 * PIXELS

# Planes of so many pixels a side, whose filters take longest to come from memory, are computed block by block in one
# tile, so that every filter is read once, and asked for so many vectors before.
SQUARE = 4 if ROWS == 2 else 0
SOON = 128


def constant(number: int) -> ir.Constant:
    return ir.Constant(INT64, number)


def _pixel_offsets(b: ir.IRBuilder, count: int, at, step, wrap, column, width, pixels) -> list[ir.Value]:
    """Offsets of a tile's `count` pixels: `step` apart, `wrap` at the end of a row, the last one repeated past the
    plane's end."""
    offsets = [at]
    for c in range(1, count):
        column = b.add(column, constant(1))
        ends = b.icmp_signed("==", column, width)
        column = b.select(ends, constant(0), column)
        ahead = b.add(at, b.select(ends, wrap, step))
        at = b.select(b.icmp_signed("<", constant(c), pixels), ahead, at)
        offsets.append(at)
    return offsets


def offsets_of_pixels(b: ir.IRBuilder, distance: int, count: int, at, *row) -> list[ir.Value]:
    """The same, with `row` as above; of cells that are all `distance` floats apart it stands in the instructions, not
    in registers."""
    if distance:
        return [b.add(at, constant(c * distance)) for c in range(count)]
    return _pixel_offsets(b, count, at, *row)


def _offsets_of_square(b: ir.IRBuilder, side: int, at, wrap) -> list[ir.Value]:
    """Offsets of all pixels of a plane, side by side, with `wrap` at the end of a row."""
    pitch = b.add(wrap, constant((side - 1) * LANES))
    rows = [b.add(at, b.mul(pitch, constant(i))) for i in range(side)]
    return [b.add(row, constant(j * LANES)) for row in rows for j in range(side)]


def make_tile(
    rows: int, lanes: int = TAP_LANES, straight: int = 0, vector: ir.VectorType = VECTOR, pixels: int = PIXELS,
    filters_ahead: bool = False, square: int = 0,
):  # fmt: skip
    """The tile for `rows` vectors of output channels and up to `pixels` pixels, as a Numba intrinsic, where the first
    `lanes` of a tap are in use; `straight` where neither the pixels nor what they read leave their rows, so many
    floats from one's input to the next one's. With a `vector` of HALF, it is for twice as many pixels of up to NARROW
    output channels. With `filters_ahead` it asks for the filters that follow its own in memory. With `square` it is
    for a plane of so many pixels a side, side by side, and asks for filters SOON."""
    count = square * square or pixels * LANES // vector.count

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

            x_base = pointer(x, 0, constant(0))
            row = column, width, pixels
            if square:
                offsets_of_x, offsets = (
                    _offsets_of_square(b, square, *place) for place in ((x_at, x_wrap), (y_at, y_wrap))
                )
            else:
                offsets_of_x = offsets_of_pixels(b, straight, count, x_at, x_step, x_wrap, *row)
                offsets = offsets_of_pixels(b, LANES if straight else 0, count, y_at, constant(LANES), y_wrap, *row)
            sources = [b.gep(x_base, [o]) for o in offsets_of_x]
            offset_table = pointer(taps, 4, first_tap)
            filters = pointer(weights, 7, weights_at)
            places = [[b.gep(pointer(y, 11, constant(0)), [b.add(o, b.mul(y_block, constant(r)))]) for o in offsets]
                      for r in range(rows)]  # fmt: skip
            biases = [
                load_vector(b, pointer(bias, 9, b.add(bias_at, constant(r * LANES))), vector) for r in range(rows)
            ]
            start = start_of_sums(b, accumulate, biases, places)
            fetches = straight >= LANES  # of large planes, memory is to be asked early; elsewhere there is no time to
            if fetches:
                _fetch_targets(b, places)

            def products(t, now):
                shift = b.load(b.gep(offset_table, [t]))
                if fetches:
                    _fetch_inputs(b, b.gep(sources[0], [shift]), straight, count, t)
                at_tap = b.gep(filters, [b.mul(t, constant(TAP_LANES * rows * LANES))])
                if square:
                    for line in range(TAP_LANES * rows):
                        prefetch(b, b.gep(at_tap, [constant((SOON + line) * LANES)]))
                if filters_ahead:
                    following = b.gep(at_tap, [b.mul(tap_count, constant(TAP_LANES * rows * LANES))])
                    for line in range(TAP_LANES * rows):
                        prefetch(b, b.gep(following, [constant(line * LANES)]))
                for lane in range(lanes):
                    at_lane = [b.gep(at_tap, [constant((lane * rows + r) * LANES)]) for r in range(rows)]
                    w = [load_vector(b, address, vector) for address in at_lane]
                    for c, source in enumerate(sources):
                        pixel = splat(b, b.load(b.gep(source, [b.add(shift, constant(lane))])), vector)
                        for r in range(rows):
                            now[r][c] = b.call(multiply_add(b, vector), [pixel, w[r], now[r][c]])

            store_sums(b, loop_over_taps(b, tap_count, start, products), places, slope)
            return context.get_dummy_value()

        return signature, codegen

    return tile


def _fetch_targets(b: ir.IRBuilder, places) -> None:
    """Ask for where the next tile of the row will be written."""
    for row in places:
        for place in row:
            prefetch(b, b.gep(place, [constant(len(row) * LANES)]))


def _fetch_inputs(b: ir.IRBuilder, cell, step: int, count: int, t) -> None:
    """Ask for the cells that the tile after the next one reads where this one reads `cell` and those after it, `step`
    floats apart: at each of the taps of a cell for some of them."""
    taps = LANES // TAP_LANES
    share = -(-count // taps)
    first = b.gep(cell, [b.mul(b.urem(t, constant(taps)), constant(share * step))])
    for k in range(2 * count, 2 * count + share):
        prefetch(b, b.gep(first, [constant(k * step)]))


def start_of_sums(b: ir.IRBuilder, accumulate, biases, places) -> list[list[ir.Value]]:
    """start[row][pixel]: what already stands in the output where `accumulate` is not 0, else the bias."""
    entry = b.basic_block
    load, ready = b.append_basic_block("sums.load"), b.append_basic_block("sums.ready")
    b.cbranch(b.icmp_signed("!=", accumulate, ir.Constant(accumulate.type, 0)), load, ready)
    b.position_at_end(load)
    present = [[load_vector(b, place, biases[0].type) for place in row] for row in places]
    b.branch(ready)
    b.position_at_end(ready)
    start = []
    for bias, row in zip(biases, present):
        phis = [b.phi(bias.type) for _ in row]
        for phi, value in zip(phis, row):
            phi.add_incoming(value, load)
            phi.add_incoming(bias, entry)
        start.append(phis)
    return start


def loop_over_taps(b: ir.IRBuilder, tap_count, start, products) -> list[list[ir.Value]]:
    """sums[row][pixel], begun at start; `products(t, sums)` emits what tap t adds. LLVM basic blocks and phis."""
    entry = b.basic_block
    head, body, done = (b.append_basic_block(name) for name in ("taps.head", "taps.body", "taps.done"))
    b.branch(head)
    b.position_at_end(head)
    t = b.phi(INT64)
    t.add_incoming(constant(0), entry)
    sums = [[b.phi(value.type) for value in row] for row in start]
    for row, first in zip(sums, start):
        for value, begin in zip(row, first):
            value.add_incoming(begin, entry)
    b.cbranch(b.icmp_signed("<", t, tap_count), body, done)

    b.position_at_end(body)
    now = [list(row) for row in sums]
    products(t, now)
    t.add_incoming(b.add(t, constant(1)), b.basic_block)
    for row, new in zip(sums, now):
        for value, following in zip(row, new):
            value.add_incoming(following, b.basic_block)
    b.branch(head)
    b.position_at_end(done)
    return sums


def store_sums(b: ir.IRBuilder, sums, places, slope) -> None:
    """Write every sum to its place, multiplied by `slope`, which is at most 1, where it is not above zero; zeros after
    half a vector."""
    vector = sums[0][0].type
    slopes, zero = splat(b, slope, vector), ir.Constant(vector, [0.0] * vector.count)
    for row, targets in zip(sums, places):
        for value, place in zip(row, targets):
            store_vector(b, larger(b, b.fmul(value, slopes), value), place)
            if vector == HALF:
                store_vector(b, zero, b.gep(place, [constant(HALF.count)]))


THIN, THIN_2 = TAP_LANES, 2 * TAP_LANES  # from pixel to pixel of a picture in four lanes, with stride 1 and 2

# Kinds of tiles: straight ones, whose distances stand in their instructions, with stride 1 or 2, and the same for
# pictures of three colours in four lanes; any others, short ones, any others for three colours; straight ones that ask
# for the filters of the next group; the whole of a small plane, of single blocks only.
STRAIGHT, STRAIGHT_2, COLOURED_THIN, COLOURED_THIN_2, ANY, FEW, COLOURED, AHEAD, WHOLE = range(9)


def _straight_tiles(rows: int, vector: ir.VectorType, pixels: int) -> dict[int, Any]:
    return {
        STRAIGHT: make_tile(rows, TAP_LANES, LANES, vector, pixels),
        STRAIGHT_2: make_tile(rows, TAP_LANES, 2 * LANES, vector, pixels),
        COLOURED_THIN: make_tile(rows, COLOURS, THIN, vector, pixels),
        COLOURED_THIN_2: make_tile(rows, COLOURS, THIN_2, vector, pixels),
    }


def _tiles_of_all_kinds(rows: int, vector: ir.VectorType = VECTOR) -> dict[int, Any]:
    return {
        **_straight_tiles(rows, vector, PIXELS),
        ANY: make_tile(rows, vector=vector),
        **({FEW: make_tile(rows, vector=vector, pixels=FEW_PIXELS)} if FEW_PIXELS else {}),
        COLOURED: make_tile(rows, COLOURS, vector=vector),
        AHEAD: make_tile(rows, straight=LANES, vector=vector, filters_ahead=True),
    }


PAIR_TILES, SINGLE_TILES = _tiles_of_all_kinds(ROWS), _tiles_of_all_kinds(1)
if SQUARE:
    SINGLE_TILES[WHOLE] = make_tile(1, square=SQUARE)
# Many pixels of a narrow block: in whole vectors only where they lie straight, as their addresses would fill registers.
MANY_TILES = _tiles_of_all_kinds(1, HALF) if ROWS == 1 else _straight_tiles(1, VECTOR, MANY_PIXELS)
