"""The micro-kernel of every direct convolution: MR pixels x NR vectors of output channels, kept in registers.
What a product is, is a `Product`, one for each type of numbers.

`offsets` is an indirection table with one offset for each (TAP_LANES input channels, kernel row, kernel column):
kernel size, stride, dilation and groups are data, not code, and one compiled tile serves them all. The pixels of
a tile follow one another in reading order and may run over the end of a row, so planes of any width fill the
tile. In NumPy, with the names of `make_tile`:

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

from collections.abc import Collection
from typing import Any, NamedTuple

from llvmlite import binding, ir
from numba import config

from ...runtime.jit import inlined
from ..simd import HALF, INT64, LANES, VECTOR, Emitter, instructions

# Input channels that one tap covers, unless its product says otherwise: small enough that a network's three colours
# waste little, large enough that the loop costs nothing beside its products.
TAP_LANES = 4
COLOURS = 3  # lanes that the picture itself uses


def has_feature(name: str) -> bool:
    """Whether Numba compiles for what LLVM calls `name`: the host has it, and the user's settings leave it."""
    if config.CPU_FEATURES is not None:
        return f"+{name}" in config.CPU_FEATURES.split(",")
    return config.CPU_NAME is None and bool(binding.get_host_cpu_features().get(name))


PROCESSOR = config.CPU_NAME or binding.get_host_cpu_name()


def missing_features(*names: str) -> tuple[str, ...]:
    """Those of LLVM's names of features that `has_feature` does not know."""
    return tuple(name for name in names if not has_feature(name))


def _tile_shape() -> tuple[int, int]:
    """(MR, NR), the pixels and the vectors of output channels whose accumulators fit this machine's registers
    beside the operands."""
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

# Floats of a worker's memory, for a tile before it is written as other numbers than float32.
ROOM = 2048

# The side of planes whose filters take longest to come from memory: they are computed block by block in one tile, so
# that every filter is read once, and prefetched PREFETCH_VECTORS vectors before. 0: there are none.
SMALL_PLANE = 4 if NR == 2 else 0
PREFETCH_VECTORS = 128

# Floats from pixel to pixel of a picture in four lanes, with stride 1 and 2.
FOUR_LANES, FOUR_LANES_2 = TAP_LANES, 2 * TAP_LANES

# Kinds of tiles. STRAIGHT and STRAIGHT_2: the distances of pixels are part of the instructions, for stride 1 and 2;
# RGB_STRAIGHT and RGB_STRAIGHT_2: the same for three colours in four lanes; STRAIGHT_IN: the input's distances are;
# ANY: any others; SHORT: of few pixels; RGB: any others for three colours; PREFETCHING: straight, prefetches the next
# panel; WHOLE: the whole of a small plane. From ANY up to RGB, addresses are in registers.
STRAIGHT, STRAIGHT_2, RGB_STRAIGHT, RGB_STRAIGHT_2, STRAIGHT_IN, ANY, SHORT, RGB, PREFETCHING, WHOLE = range(10)

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
    """Where a tile writes: the first pixel's cell, and floats from block to block, and to the next row's first
    cell."""

    at: int
    block_stride: int
    wrap: int


class Run(NamedTuple):
    """Which pixels a tile computes: so many from a column on, in rows of `width` pixels."""

    column: int
    width: int
    pixels: int


@inlined
def panel_of(filters, index):
    """One row of the table of panels."""
    panels = filters.panels
    return Panel(
        panels[index, BLOCK], panels[index, OC_VECTORS], panels[index, FIRST_TAP], panels[index, TAPS],
        panels[index, WEIGHTS],
    )  # fmt: skip


def _offsets_of_pixels(b: Emitter, distance: int, count: int, at, step, wrap, run) -> list[ir.Value]:
    """Offsets of a tile's `count` pixels: all `distance` apart, which is part of the instructions, or, where it
    is 0, `step` apart and `wrap` at the end of a row, the last one repeated past the plane's end."""
    if distance:
        return [b.add(at, c * distance) for c in range(count)]
    offsets, column = [at], run.column
    for c in range(1, count):
        column = b.add(column, 1)
        ends = b.icmp_signed("==", column, run.width)
        column = b.select(ends, 0, column)
        ahead = b.add(at, b.select(ends, wrap, step))
        at = b.select(b.icmp_signed("<", c, run.pixels), ahead, at)
        offsets.append(at)
    return offsets


def _offsets_of_square(b: Emitter, side: int, at, wrap) -> list[ir.Value]:
    pitch = b.add(wrap, (side - 1) * LANES)
    rows = [b.add(at, b.mul(pitch, i)) for i in range(side)]
    return [b.add(row, j * LANES) for row in rows for j in range(side)]


class Product:
    """What a number type multiplies, in LLVM's instructions; this one float32. Others override what differs.

    Inputs and filters lie in words of 32 bits, each the numbers of `factors` neighbouring channels: an
    instruction multiplies a word of an input, in all lanes, with one for each output channel, and adds to that
    channel's sum.
    """

    factors = 1  # numbers of a word, and blocks of channels that lie side by side in a cell of LANES words
    converts = True  # a worker converts what it reads of float32 inputs; else these are read where they are
    by_block = False  # an output block reads the input block of its own number, and no other
    widens = False  # there are tiles for twice as many pixels of up to NARROW channels
    kinds: tuple[int, ...] = STRAIGHT, STRAIGHT_2, STRAIGHT_IN, ANY, SHORT  # of tiles
    tap_lanes = TAP_LANES  # input channels of a tap
    pixels = MR  # of a tile, at most
    vector = VECTOR  # what a vector of sums is

    @property
    def words(self) -> int:
        """Words of a tap's inputs."""
        return self.tap_lanes // self.factors

    def convert(self, b: Emitter, values: ir.Value, scale: ir.Value, zero: ir.Value) -> ir.Value:
        """Sixteen float32 inputs as numbers of this type; as integers `scale` times them plus `zero`."""
        raise NotImplementedError

    def convert_filters(self, b: Emitter, values: ir.Value) -> ir.Value:
        """Sixteen float32 of filters as numbers of this type."""
        return self.convert(b, values, *(ir.Constant(ir.FloatType(), number) for number in (1.0, 0.0)))

    def load_input(self, b: Emitter, address: ir.Value) -> ir.Value:
        """What a vector of filters' words is multiplied with: one word of an input, in all lanes. Words are
        loaded as if they were float32."""
        return b.splat(b.load(address), ir.VectorType(ir.FloatType(), self.vector.count))

    def multiply_add(self, b: Emitter, x: ir.Value, w: ir.Value, sums: ir.Value) -> ir.Value:
        """sums + x w, lane by lane, the products of all factors of the words x and w."""
        return b.multiply_add(x, w, sums)

    def start(self, b: Emitter, filters, panel, epilogue, places) -> list[list[ir.Value]]:
        """What sums[row][pixel] begin with; places[row][pixel]: where they will be written."""
        biases = biases_of(b, filters, panel, len(places), self.vector)
        return _start_of_sums(b, epilogue.accumulates, biases, places)

    def finish(self, b: Emitter, filters, panel, sums) -> list[list[ir.Value]]:
        """The sums as float32."""
        return sums


class Float32(Product):
    """Inputs are read where they are. vector: with HALF the tile is for twice as many pixels of half a block."""

    converts = False
    widens = True
    kinds: tuple[int, ...] = STRAIGHT, STRAIGHT_2, RGB_STRAIGHT, RGB_STRAIGHT_2, ANY, SHORT, RGB, PREFETCHING, WHOLE

    def __init__(self, vector: ir.VectorType = VECTOR) -> None:
        self.vector = vector


class Depthwise(Float32):
    """Products of whole vectors: each channel has a filter of its own, and there is no sum over lanes."""

    by_block, tap_lanes = True, 1
    kinds = STRAIGHT, ANY

    def load_input(self, b: Emitter, address: ir.Value) -> ir.Value:
        return b.load_vector(address, self.vector)

    def start(self, b: Emitter, filters, panel, epilogue, places) -> list[list[ir.Value]]:
        biases = biases_of(b, filters, panel, len(places), self.vector)
        return [[bias] * len(row) for bias, row in zip(biases, places)]


def make_tile(
    product: Product, oc_vectors: int, words: int = 0, straight: int = 0, joined: bool = True, pixels: int = MR,
    prefetches_panel: bool = False, square: int = 0,
):  # fmt: skip
    """The tile for so many vectors of output channels and up to `pixels` pixels, as a Numba intrinsic.

    tile(x, source, filters, panel, y, target, run, epilogue): source: TileSource; target: TileTarget.

    words: those of a tap that are in use, if not all. straight: words from one pixel's input to the next one's,
    where neither the pixels nor what they read leave their rows; 0 where they may. joined: nor does what they
    write. prefetches_panel: it asks for the filters that follow its own. square: it is for a whole plane of so
    many pixels a side, and prefetches filters.
    """
    count = square * square or pixels * LANES // product.vector.count
    loaded = ir.VectorType(ir.FloatType(), product.vector.count)
    lines = product.words * oc_vectors  # vectors of a tap's filters
    # Of large planes, memory is to be asked early; elsewhere there is no time to.
    fetches = not product.converts and product.words > 1 and straight >= LANES

    @instructions
    def tile(b, x, source, filters, panel, y, target, run, epilogue):
        if square:
            offsets_of_x = _offsets_of_square(b, square, source.at, source.wrap)
            offsets_of_y = _offsets_of_square(b, square, target.at, target.wrap)
        else:
            apart = LANES if straight and joined else 0
            offsets_of_x = _offsets_of_pixels(b, straight, count, source.at, source.step, source.wrap, run)
            offsets_of_y = _offsets_of_pixels(b, apart, count, target.at, LANES, target.wrap, run)
        pixels_of_x = [b.ahead(x, offset) for offset in offsets_of_x]
        offset_table, weights = b.ahead(filters.offsets, panel.first_tap), b.ahead(filters.weights, panel.weights)
        blocks = [b.mul(target.block_stride, r) for r in range(oc_vectors)]
        pixels_of_y = [[b.ahead(y, b.add(offset, block)) for offset in offsets_of_y] for block in blocks]
        start = product.start(b, filters, panel, epilogue, pixels_of_y)
        if fetches:
            for place in (place for row in pixels_of_y for place in row):
                b.prefetch(b.ahead(place, count * LANES))  # where the next tile of the row will be written

        def products(t, sums):
            shift = b.load(b.ahead(offset_table, t))
            if fetches:
                _fetch_inputs(b, b.ahead(pixels_of_x[0], shift), straight, count, t)
            at_tap = b.ahead(weights, b.mul(t, lines * LANES))
            if square:
                for line in range(lines):
                    b.prefetch(b.ahead(at_tap, (PREFETCH_VECTORS + line) * LANES))
            if prefetches_panel:
                following = b.ahead(at_tap, b.mul(panel.taps, lines * LANES))
                for line in range(lines):
                    b.prefetch(b.ahead(following, line * LANES))
            for word in range(words or product.words):
                w = b.load_vectors(b.ahead(at_tap, word * oc_vectors * LANES), LANES, oc_vectors, loaded)
                for c, pixel in enumerate(pixels_of_x):
                    value = product.load_input(b, b.ahead(pixel, b.add(shift, word)))
                    for r in range(oc_vectors):
                        sums[r][c] = product.multiply_add(b, value, w[r], sums[r][c])

        sums = product.finish(b, filters, panel, loop_over_taps(b, panel.taps, start, products))
        store_sums(b, sums, pixels_of_y, epilogue.slope)

    return tile


def make_tiles(product: Product, oc_vectors: int, kinds: Collection[int], pixels: int = MR) -> dict[int, Any]:
    """Tiles of several kinds for `one_of`; kinds that this machine has no use for are left out."""
    differences: dict[int, dict[str, Any]] = {
        STRAIGHT: {"straight": LANES},
        STRAIGHT_2: {"straight": 2 * LANES},
        RGB_STRAIGHT: {"straight": FOUR_LANES, "words": COLOURS},
        RGB_STRAIGHT_2: {"straight": FOUR_LANES_2, "words": COLOURS},
        STRAIGHT_IN: {"straight": LANES, "joined": False},
        ANY: {},
        **({SHORT: {"pixels": MR_SHORT}} if MR_SHORT else {}),
        RGB: {"words": COLOURS},
        PREFETCHING: {"straight": LANES, "prefetches_panel": True},
        **({WHOLE: {"square": SMALL_PLANE}} if SMALL_PLANE and oc_vectors == 1 and pixels == MR else {}),
    }
    made = [kind for kind in differences if kind in kinds]
    return {kind: make_tile(product, oc_vectors, **{"pixels": pixels} | differences[kind]) for kind in made}


def make_kind_of(product: Product) -> Any:
    """kind_of(lanes, step, x_wrap, y_wrap, column, width, pixels, count): the kind of a tile of `count` pixels."""
    has_colours, has_short, has_stride_2, has_inputs = (
        kind in product.kinds for kind in (RGB, SHORT, STRAIGHT_2, STRAIGHT_IN)
    )

    @inlined
    def is_straight(x_step, x_wrap, y_wrap, column, width, pixels, count):
        joined = x_wrap == x_step and y_wrap == 16
        return pixels >= count and (joined or column + count <= width)

    @inlined
    def kind_of(lanes, step, x_wrap, y_wrap, column, width, pixels, count):
        straight = is_straight(step, x_wrap, y_wrap, column, width, pixels, count)
        if has_colours and lanes == COLOURS:
            if straight and step == FOUR_LANES:
                return RGB_STRAIGHT
            if straight and step == FOUR_LANES_2:
                return RGB_STRAIGHT_2
            return RGB
        if straight and step == LANES:
            return STRAIGHT
        if has_stride_2 and straight and step == 2 * LANES:
            return STRAIGHT_2
        if has_inputs and step == LANES and is_straight(step, x_wrap, 16, column, width, pixels, count):
            return STRAIGHT_IN
        return SHORT if has_short and pixels <= MR_SHORT else ANY

    return kind_of


def biases_of(b: Emitter, filters, panel, oc_vectors: int, vector: ir.VectorType = VECTOR) -> list[ir.Value]:
    """The biases of a panel's output blocks."""
    first = b.ahead(filters.bias, b.mul(panel.block, LANES))
    return b.load_vectors(first, LANES, oc_vectors, vector)


def _fetch_inputs(b: Emitter, cell, step: int, count: int, t) -> None:
    """Ask for the cells of the tile after the next one: at each of the taps of a cell for some of them."""
    taps = LANES // TAP_LANES
    share = -(-count // taps)
    first = b.ahead(cell, b.mul(b.urem(t, taps), share * step))
    for k in range(2 * count, 2 * count + share):
        b.prefetch(b.ahead(first, k * step))


def _start_of_sums(b: Emitter, accumulates, biases, places) -> list[list[ir.Value]]:
    entry = b.basic_block
    load, ready = b.append_basic_block("sums.load"), b.append_basic_block("sums.ready")
    b.cbranch(b.icmp_signed("!=", accumulates, ir.Constant(accumulates.type, 0)), load, ready)
    b.position_at_end(load)
    present = [[b.load_vector(place, biases[0].type) for place in row] for row in places]
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


def loop_over_taps(b: Emitter, tap_count, start, products) -> list[list[ir.Value]]:
    """sums[row][pixel], begun at start; `products(t, sums)` emits what tap t adds. LLVM basic blocks and phis."""
    entry = b.basic_block
    head, body, done = (b.append_basic_block(name) for name in ("taps.head", "taps.body", "taps.done"))
    b.branch(head)
    b.position_at_end(head)
    t = b.phi(INT64)
    t.add_incoming(INT64(0), entry)
    sums = [[b.phi(value.type) for value in row] for row in start]
    for row, first in zip(sums, start):
        for value, begin in zip(row, first):
            value.add_incoming(begin, entry)
    b.cbranch(b.icmp_signed("<", t, tap_count), body, done)

    b.position_at_end(body)
    now = [list(row) for row in sums]
    products(t, now)
    t.add_incoming(b.add(t, 1), b.basic_block)
    for row, new in zip(sums, now):
        for value, following in zip(row, new):
            value.add_incoming(following, b.basic_block)
    b.branch(head)
    b.position_at_end(done)
    return sums


def store_sums(b: Emitter, sums, places, slope) -> None:
    """Write every sum, times `slope` (at most 1) where it is not above zero; zeros after half a vector."""
    vector = sums[0][0].type
    slopes, zero = b.splat(slope, vector), ir.Constant(vector, [0.0] * vector.count)
    for row, targets in zip(sums, places):
        for value, place in zip(row, targets):
            b.store_vector(b.larger(b.fmul(value, slopes), value), place)
            if vector == HALF:
                b.store_vector(zero, b.ahead(place, HALF.count))
