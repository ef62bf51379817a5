"""The micro-kernel of every direct convolution: MR pixels x NR vectors of output channels, kept in registers.

`offsets` is an indirection table with one offset for each (TAP_LANES input channels, kernel row, kernel column): kernel
size, stride, dilation and groups are data, not code, and one compiled tile serves them all. The pixels of a tile follow
one another in reading order and may run over the end of a row, so planes of any width fill the tile. In NumPy, with the
names of `make_tile`:

    sums = np.empty((oc_vectors, pixels, 16), np.float32)        # in registers
    for r in range(oc_vectors):
        sums[r] = y[pixel_of_y, r] if accumulates else bias[r]
    for t in range(taps):                                        # the loop in the machine code
        for lane in range(TAP_LANES):                            # this and the following ones are unrolled
            for c in range(pixels):
                value = x[pixel_of_x[c] + offsets[t] + lane]     # one float, copied to all 16 lanes
                for r in range(oc_vectors):
                    sums[r, c] += value * weights[t, lane, r]    # one fused multiply-add
    y[pixel_of_y] = np.maximum(sums, sums * slope)
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import binding, ir
from numba import config, types
from numba.extending import intrinsic

from ..simd.intrinsics import Members
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
    """(MR, NR), the pixels and the vectors of output channels whose accumulators fit this machine's registers beside
    the operands."""
    if has_feature("avx512f"):
        return 14, 2  # 28 of 32 registers
    return 6, 1  # AVX2: 12 of 16, two a vector; NEON: 24 of 32, four a vector


MR, NR = _tile_shape()

# Pixels of a shorter tile for what is left of a plane, with AVX-512; 0: there is none.
MR_SHORT = 8 if NR == 2 else 0

# For a block of up to NARROW channels, the registers hold twice as many pixels: as half vectors, or, where registers
# are as wide as a block, because it is computed alone.
NARROW = LANES // 2 if NR == 1 else LANES
MR_WIDE = 2 * MR

# The side of planes whose filters take longest to come from memory: they are computed block by block in one tile, so
# that every filter is read once, and prefetched PREFETCH_VECTORS vectors before. 0: there are none.
SMALL_PLANE = 4 if NR == 2 else 0
PREFETCH_VECTORS = 128

# The columns of the table of panels: the first output block, the number of output blocks (NR or 1), the first entry of
# the indirection table, the number of entries, the first float of the weights.
BLOCK, OC_VECTORS, FIRST_TAP, TAPS, WEIGHTS = range(5)


class Panel(NamedTuple):
    """One row of the table of panels."""

    block: int
    oc_vectors: int
    first_tap: int
    taps: int
    weights: int


class TileSource(NamedTuple):
    """Where a tile reads: the first pixel's origin, and floats from pixel to pixel, and to the next row's first."""

    at: int
    step: int
    wrap: int


class TileTarget(NamedTuple):
    """Where a tile writes: the first pixel's cell, and floats from block to block, and to the next row's first cell."""

    at: int
    block_stride: int
    wrap: int


class Run(NamedTuple):
    """Which pixels a tile computes: so many from a column on, in rows of `width` pixels."""

    column: int
    width: int
    pixels: int


def constant(number: int) -> ir.Constant:
    return ir.Constant(INT64, number)


def _pixel_offsets(b: ir.IRBuilder, count: int, at, step, wrap, run) -> list[ir.Value]:
    """Offsets of a tile's `count` pixels: `step` apart, `wrap` at the end of a row, the last one repeated past the
    plane's end. run: the members of Run."""
    offsets, column = [at], run.column
    for c in range(1, count):
        column = b.add(column, constant(1))
        ends = b.icmp_signed("==", column, run.width)
        column = b.select(ends, constant(0), column)
        ahead = b.add(at, b.select(ends, wrap, step))
        at = b.select(b.icmp_signed("<", constant(c), run.pixels), ahead, at)
        offsets.append(at)
    return offsets


def offsets_of_pixels(b: ir.IRBuilder, distance: int, count: int, at, step, wrap, run) -> list[ir.Value]:
    """The same; where all cells are `distance` floats apart, it is part of the instructions, not in registers."""
    if distance:
        return [b.add(at, constant(c * distance)) for c in range(count)]
    return _pixel_offsets(b, count, at, step, wrap, run)


def _offsets_of_square(b: ir.IRBuilder, side: int, at, wrap) -> list[ir.Value]:
    """Offsets of all pixels of a plane, side by side, with `wrap` at the end of a row."""
    pitch = b.add(wrap, constant((side - 1) * LANES))
    rows = [b.add(at, b.mul(pitch, constant(i))) for i in range(side)]
    return [b.add(row, constant(j * LANES)) for row in rows for j in range(side)]


def make_tile(
    oc_vectors: int, lanes: int = TAP_LANES, straight: int = 0, vector: ir.VectorType = VECTOR, pixels: int = MR,
    prefetches_panel: bool = False, square: int = 0,
):  # fmt: skip
    """The tile for so many vectors of output channels and up to `pixels` pixels, as a Numba intrinsic.

    tile(x, source, filters, panel, y, target, run, epilogue): arrays x and y are flat float32, `filters` has the
    members offsets, weights and bias of PackedFilters, the others are TileSource, Panel, TileTarget, Run and Epilogue.

    lanes: inputs of a tap that are in use. straight: floats from one pixel's input to the next one's, where neither the
    pixels nor what they read leave their rows; 0 where they may. vector: with HALF the tile is for twice as many pixels
    of up to NARROW output channels. prefetches_panel: it prefetches the filters that follow its own in memory. square:
    it is for a plane of so many pixels a side, side by side, and prefetches filters.
    """
    count = square * square or pixels * LANES // vector.count

    @intrinsic
    def tile(typingctx, x, source, filters, panel, y, target, run, epilogue):
        signature = types.none(x, source, filters, panel, y, target, run, epilogue)

        def codegen(context, b, sig, arguments):
            x_base, y_base = (data_pointer(context, b, sig.args[i], arguments[i]) for i in (0, 4))
            source, filters, panel, target, run, epilogue = (
                Members(context, b, sig.args[i], arguments[i]) for i in (1, 2, 3, 5, 6, 7)
            )
            if square:
                offsets_of_x = _offsets_of_square(b, square, source.at, source.wrap)
                offsets_of_y = _offsets_of_square(b, square, target.at, target.wrap)
            else:
                offsets_of_x = offsets_of_pixels(b, straight, count, source.at, source.step, source.wrap, run)
                apart = LANES if straight else 0
                offsets_of_y = offsets_of_pixels(b, apart, count, target.at, constant(LANES), target.wrap, run)
            pixels_of_x = [b.gep(x_base, [offset]) for offset in offsets_of_x]
            offset_table = b.gep(filters.offsets, [panel.first_tap])
            weights = b.gep(filters.weights, [panel.weights])
            pixels_of_y = output_pixels(b, y_base, target, offsets_of_y, oc_vectors)
            start = start_of_sums(
                b, epilogue.accumulates, biases_of(b, filters, panel, oc_vectors, vector), pixels_of_y
            )
            fetches = straight >= LANES  # of large planes, memory is to be asked early; elsewhere there is no time to
            if fetches:
                _fetch_targets(b, pixels_of_y)

            def products(t, sums):
                shift = b.load(b.gep(offset_table, [t]))
                if fetches:
                    _fetch_inputs(b, b.gep(pixels_of_x[0], [shift]), straight, count, t)
                at_tap = b.gep(weights, [b.mul(t, constant(TAP_LANES * oc_vectors * LANES))])
                if square:
                    for line in range(TAP_LANES * oc_vectors):
                        prefetch(b, b.gep(at_tap, [constant((PREFETCH_VECTORS + line) * LANES)]))
                if prefetches_panel:
                    following = b.gep(at_tap, [b.mul(panel.taps, constant(TAP_LANES * oc_vectors * LANES))])
                    for line in range(TAP_LANES * oc_vectors):
                        prefetch(b, b.gep(following, [constant(line * LANES)]))
                for lane in range(lanes):
                    at_lane = [b.gep(at_tap, [constant((lane * oc_vectors + r) * LANES)]) for r in range(oc_vectors)]
                    w = [load_vector(b, address, vector) for address in at_lane]
                    for c, pixel in enumerate(pixels_of_x):
                        value = splat(b, b.load(b.gep(pixel, [b.add(shift, constant(lane))])), vector)
                        for r in range(oc_vectors):
                            sums[r][c] = b.call(multiply_add(b, vector), [value, w[r], sums[r][c]])

            store_sums(b, loop_over_taps(b, panel.taps, start, products), pixels_of_y, epilogue.slope)
            return context.get_dummy_value()

        return signature, codegen

    return tile


def output_pixels(b: ir.IRBuilder, y_base, target, offsets, oc_vectors: int) -> list[list[ir.Value]]:
    """[r][c]: the address of the c-th pixel's cell in the r-th output block. target: the members of TileTarget."""
    return [
        [b.gep(y_base, [b.add(offset, b.mul(target.block_stride, constant(r)))]) for offset in offsets]
        for r in range(oc_vectors)
    ]


def biases_of(b: ir.IRBuilder, filters, panel, oc_vectors: int, vector: ir.VectorType = VECTOR) -> list[ir.Value]:
    """The biases of a panel's output blocks. filters, panel: the members of PackedFilters and Panel."""
    first = b.mul(panel.block, constant(LANES))
    places = [b.gep(filters.bias, [b.add(first, constant(r * LANES))]) for r in range(oc_vectors)]
    return [load_vector(b, place, vector) for place in places]


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


def start_of_sums(b: ir.IRBuilder, accumulates, biases, places) -> list[list[ir.Value]]:
    """start[row][pixel]: what already stands in the output where `accumulates` is not 0, else the bias."""
    entry = b.basic_block
    load, ready = b.append_basic_block("sums.load"), b.append_basic_block("sums.ready")
    b.cbranch(b.icmp_signed("!=", accumulates, ir.Constant(accumulates.type, 0)), load, ready)
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


# Floats from pixel to pixel of a picture in four lanes, with stride 1 and 2.
FOUR_LANES, FOUR_LANES_2 = TAP_LANES, 2 * TAP_LANES

# Kinds of tiles. STRAIGHT and STRAIGHT_2: the distances of pixels are part of the instructions, for stride 1 and 2;
# RGB_STRAIGHT and RGB_STRAIGHT_2: the same for three colours in four lanes; ANY: any others; SHORT: of few pixels; RGB:
# any others for three colours; PREFETCHING: straight, prefetches the next panel; WHOLE: the whole of a small plane.
# From ANY up to RGB, addresses are in registers.
STRAIGHT, STRAIGHT_2, RGB_STRAIGHT, RGB_STRAIGHT_2, ANY, SHORT, RGB, PREFETCHING, WHOLE = range(9)


def _straight_tiles(oc_vectors: int, vector: ir.VectorType, pixels: int) -> dict[int, Any]:
    return {
        STRAIGHT: make_tile(oc_vectors, TAP_LANES, LANES, vector, pixels),
        STRAIGHT_2: make_tile(oc_vectors, TAP_LANES, 2 * LANES, vector, pixels),
        RGB_STRAIGHT: make_tile(oc_vectors, COLOURS, FOUR_LANES, vector, pixels),
        RGB_STRAIGHT_2: make_tile(oc_vectors, COLOURS, FOUR_LANES_2, vector, pixels),
    }


def _tiles_of_all_kinds(oc_vectors: int, vector: ir.VectorType = VECTOR) -> dict[int, Any]:
    return {
        **_straight_tiles(oc_vectors, vector, MR),
        ANY: make_tile(oc_vectors, vector=vector),
        **({SHORT: make_tile(oc_vectors, vector=vector, pixels=MR_SHORT)} if MR_SHORT else {}),
        RGB: make_tile(oc_vectors, COLOURS, vector=vector),
        PREFETCHING: make_tile(oc_vectors, straight=LANES, vector=vector, prefetches_panel=True),
    }


PAIR_TILES, SINGLE_TILES = _tiles_of_all_kinds(NR), _tiles_of_all_kinds(1)  # of NR blocks, of one
if SMALL_PLANE:
    SINGLE_TILES[WHOLE] = make_tile(1, square=SMALL_PLANE)
# Many pixels of a narrow block: in whole vectors only where they lie straight, as their addresses would fill registers.
WIDE_TILES = _tiles_of_all_kinds(1, HALF) if NR == 1 else _straight_tiles(1, VECTOR, MR_WIDE)
