"""The micro-kernel of every convolution: a few pixels x a few vectors of output channels, kept in registers.

    out[row][column] = bias[row] + sum over taps t, lanes i of  weights[t, i, row] * x[pixel(column) + taps[t] + i]

`taps` is an indirection table, one offset per (input lanes, kernel row, kernel column): kernel size, stride,
dilation and groups are data, not code, and one compiled tile serves them all. The pixels of a tile follow one
another in reading order and may run over the end of a row, so planes of any width fill the tile.
"""

from __future__ import annotations

from llvmlite import binding, ir
from numba import config, types
from numba.extending import intrinsic

from .simd import INT64, LANES, VECTOR, data_pointer, load_vector, multiply_add, prefetch, splat, store_vector

# Input channels that one tap covers: small enough that a network's three colours waste little, large enough that the
# loop costs nothing beside its products.
TAP_LANES = 4
COLOURS = 3  # lanes that the picture itself uses


def _has_avx512() -> bool:
    """Whether Numba compiles for AVX-512: the host has it and the user's settings do not take it away."""
    if config.CPU_FEATURES is not None:
        return "+avx512f" in config.CPU_FEATURES
    return config.CPU_NAME is None and bool(binding.get_host_cpu_features().get("avx512f"))


def _tile_shape() -> tuple[int, int]:
    """(pixels, vectors of output channels) whose accumulators fit this machine's registers beside the operands."""
    if _has_avx512():
        return 14, 2  # 28 of 32 registers
    return 6, 1  # AVX2: 12 of 16, two a vector; NEON: 24 of 32, four a vector


PIXELS, ROWS = _tile_shape()


def _constant(number: int) -> ir.Constant:
    return ir.Constant(INT64, number)


def _pixel_offsets(b: ir.IRBuilder, at, step, wrap, column, width, pixels) -> list[ir.Value]:
    """Offsets of the tile's pixels: `step` apart, `wrap` at the end of a row, the last one repeated past the plane's
    end."""
    offsets = [at]
    for c in range(1, PIXELS):
        column = b.add(column, _constant(1))
        ends = b.icmp_signed("==", column, width)
        column = b.select(ends, _constant(0), column)
        ahead = b.add(at, b.select(ends, wrap, step))
        at = b.select(b.icmp_signed("<", _constant(c), pixels), ahead, at)
        offsets.append(at)
    return offsets


def make_tile(rows: int, lanes: int = TAP_LANES):
    """The tile for `rows` vectors of output channels, as a Numba intrinsic, where the first `lanes` of a tap are in
    use."""

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

            x_base = pointer(x, 0, _constant(0))
            sources = [b.gep(x_base, [o]) for o in _pixel_offsets(b, x_at, x_step, x_wrap, column, width, pixels)]
            offset_table = pointer(taps, 4, first_tap)
            filters = pointer(weights, 7, weights_at)
            offsets = _pixel_offsets(b, y_at, _constant(LANES), y_wrap, column, width, pixels)
            places = [[b.gep(pointer(y, 11, _constant(0)), [b.add(o, b.mul(y_block, _constant(r)))]) for o in offsets]
                      for r in range(rows)]  # fmt: skip
            biases = [load_vector(b, pointer(bias, 9, b.add(bias_at, _constant(r * LANES)))) for r in range(rows)]
            start = _start_of_sums(b, accumulate, biases, places)

            def products(t, now):
                shift = b.load(b.gep(offset_table, [t]))
                at_tap = b.gep(filters, [b.mul(t, _constant(TAP_LANES * rows * LANES))])
                for lane in range(lanes):
                    at_lane = [b.gep(at_tap, [_constant((lane * rows + r) * LANES)]) for r in range(rows)]
                    w = [load_vector(b, address) for address in at_lane]
                    for c, source in enumerate(sources):
                        pixel = splat(b, b.load(b.gep(source, [b.add(shift, _constant(lane))])))
                        for r in range(rows):
                            now[r][c] = b.call(multiply_add(b), [pixel, w[r], now[r][c]])

            _store(b, _loop_over_taps(b, tap_count, start, products), places, slope)
            return context.get_dummy_value()

        return signature, codegen

    return tile


def _start_of_sums(b: ir.IRBuilder, accumulate, biases, places) -> list[list[ir.Value]]:
    """start[row][pixel]: what already stands in the output where `accumulate` is not 0, else the bias."""
    entry = b.basic_block
    load, ready = b.append_basic_block("sums.load"), b.append_basic_block("sums.ready")
    b.cbranch(b.icmp_signed("!=", accumulate, ir.Constant(accumulate.type, 0)), load, ready)
    b.position_at_end(load)
    present = [[load_vector(b, place) for place in row] for row in places]
    b.branch(ready)
    b.position_at_end(ready)
    start = []
    for bias, row in zip(biases, present):
        phis = [b.phi(VECTOR) for _ in row]
        for phi, value in zip(phis, row):
            phi.add_incoming(value, load)
            phi.add_incoming(bias, entry)
        start.append(phis)
    return start


def _loop_over_taps(b: ir.IRBuilder, tap_count, start, products) -> list[list[ir.Value]]:
    """sums[row][pixel], begun at start; `products(t, sums)` emits what tap t adds. LLVM basic blocks and phis."""
    entry = b.basic_block
    head, body, done = (b.append_basic_block(name) for name in ("taps.head", "taps.body", "taps.done"))
    b.branch(head)
    b.position_at_end(head)
    t = b.phi(INT64)
    t.add_incoming(_constant(0), entry)
    sums = [[b.phi(VECTOR) for _ in row] for row in start]
    for row, first in zip(sums, start):
        for value, begin in zip(row, first):
            value.add_incoming(begin, entry)
    b.cbranch(b.icmp_signed("<", t, tap_count), body, done)

    b.position_at_end(body)
    now = [list(row) for row in sums]
    products(t, now)
    t.add_incoming(b.add(t, _constant(1)), b.basic_block)
    for row, new in zip(sums, now):
        for value, following in zip(row, new):
            value.add_incoming(following, b.basic_block)
    b.branch(head)
    b.position_at_end(done)
    return sums


def _store(b: ir.IRBuilder, sums, places, slope) -> None:
    """Write every sum to its place, multiplied by `slope` where it is not above zero."""
    slopes, zero = splat(b, slope), ir.Constant(VECTOR, [0.0] * LANES)
    for row, targets in zip(sums, places):
        for value, place in zip(row, targets):
            positive = b.fcmp_ordered(">", value, zero)
            store_vector(b, b.select(positive, value, b.fmul(value, slopes)), place)


@intrinsic
def tile_depthwise(
    typingctx, x, x_at, x_step, x_wrap, taps, tap_count, weights, weights_at, bias, bias_at, y, y_at, y_wrap,
    column, width, pixels, slope,
):  # fmt: skip
    """The same for a convolution of each channel with its own filter: products of whole vectors, no sum over lanes.

    weights: (taps, 16).
    """
    signature = types.none(
        x, x_at, x_step, x_wrap, taps, tap_count, weights, weights_at, bias, bias_at, y, y_at, y_wrap,
        column, width, pixels, slope,
    )  # fmt: skip

    def codegen(context, b, sig, arguments):
        (x, x_at, x_step, x_wrap, taps, tap_count, weights, weights_at, bias, bias_at, y, y_at, y_wrap,
         column, width, pixels, slope) = arguments  # fmt: skip

        def pointer(array, position, offset):
            return b.gep(data_pointer(context, b, sig.args[position], array), [offset])

        x_base, y_base = pointer(x, 0, _constant(0)), pointer(y, 10, _constant(0))
        sources = [b.gep(x_base, [o]) for o in _pixel_offsets(b, x_at, x_step, x_wrap, column, width, pixels)]
        offset_table, filters = pointer(taps, 4, _constant(0)), pointer(weights, 6, weights_at)
        start = [[load_vector(b, pointer(bias, 8, bias_at))] * PIXELS]

        def products(t, now):
            shift = b.load(b.gep(offset_table, [t]))
            w = load_vector(b, b.gep(filters, [b.mul(t, _constant(LANES))]))
            for c, source in enumerate(sources):
                now[0][c] = b.call(multiply_add(b), [load_vector(b, b.gep(source, [shift])), w, now[0][c]])

        sums = _loop_over_taps(b, tap_count, start, products)
        offsets = _pixel_offsets(b, y_at, _constant(LANES), y_wrap, column, width, pixels)
        _store(b, sums, [[b.gep(y_base, [o]) for o in offsets]], slope)
        return context.get_dummy_value()

    return signature, codegen


def make_products(columns: int):
    """The matrix product of Winograd's method, as a Numba intrinsic, for `columns` tiles of the picture.

    y[column][row] = sum over t < tap_count, lanes i of  weights[t, i, row] * x[column + t * x_tap + i]

    weights: (tap_count, 16, ROWS, 16); y: (columns, ROWS, 16); columns of x are 16 floats apart.
    Meanwhile some of the weights that come next, those from `next_at` on, are fetched from memory.
    """

    @intrinsic
    def products_of(typingctx, x, x_at, x_tap, tap_count, weights, weights_at, next_at, y, y_at):
        signature = types.none(x, x_at, x_tap, tap_count, weights, weights_at, next_at, y, y_at)

        def codegen(context, b, sig, arguments):
            x, x_at, x_tap, tap_count, weights, weights_at, next_at, y, y_at = arguments
            x_base = b.gep(data_pointer(context, b, sig.args[0], x), [x_at])
            filters = b.gep(data_pointer(context, b, sig.args[4], weights), [weights_at])
            following = b.gep(data_pointer(context, b, sig.args[4], weights), [next_at])
            y_base = b.gep(data_pointer(context, b, sig.args[7], y), [y_at])

            def products(t, now):
                pixels = b.gep(x_base, [b.mul(t, x_tap)])
                at_tap = b.gep(filters, [b.mul(t, _constant(LANES * ROWS * LANES))])
                next_tap = b.gep(following, [b.mul(t, _constant(LANES * ROWS * LANES))])
                for line in range(columns * ROWS):
                    prefetch(b, b.gep(next_tap, [_constant(line * LANES)]))
                for lane in range(LANES):
                    w = [load_vector(b, b.gep(at_tap, [_constant((lane * ROWS + r) * LANES)])) for r in range(ROWS)]
                    for c in range(columns):
                        pixel = splat(b, b.load(b.gep(pixels, [_constant(c * LANES + lane)])))
                        for r in range(ROWS):
                            now[r][c] = b.call(multiply_add(b), [pixel, w[r], now[r][c]])

            start = [[ir.Constant(VECTOR, [0.0] * LANES)] * columns for _ in range(ROWS)]
            for r, row in enumerate(_loop_over_taps(b, tap_count, start, products)):
                for c, value in enumerate(row):
                    store_vector(b, value, b.gep(y_base, [_constant((c * ROWS + r) * LANES)]))
            return context.get_dummy_value()

        return signature, codegen

    return products_of


# The weight gradient's tile: input channels x vectors of output channels.
GRADIENT_LANES = 8 if ROWS == 2 else 4


@intrinsic
def tile_gradient(typingctx, x, x_at, x_step, delta, delta_at, delta_step, delta_block, count, out, out_at, out_block):
    """out[row][lane] += sum over `count` pixels p of  delta[row][p] * x[p + lane]

    The same reduction over pixels: x advances by `x_step` a pixel, delta by `delta_step`; GRADIENT_LANES input channels
    by ROWS vectors of output channels, `delta_block` and `out_block` floats apart.
    """
    signature = types.none(
        x, x_at, x_step, delta, delta_at, delta_step, delta_block, count, out, out_at, out_block,
    )  # fmt: skip

    def codegen(context, b, sig, arguments):
        x, x_at, x_step, delta, delta_at, delta_step, delta_block, count, out, out_at, out_block = arguments
        x_base = b.gep(data_pointer(context, b, sig.args[0], x), [x_at])
        delta_base = b.gep(data_pointer(context, b, sig.args[3], delta), [delta_at])
        out_base = b.gep(data_pointer(context, b, sig.args[8], out), [out_at])
        places = [[b.gep(out_base, [b.add(b.mul(out_block, _constant(r)), _constant(c * LANES))])
                   for c in range(GRADIENT_LANES)] for r in range(ROWS)]  # fmt: skip

        def products(t, now):
            at_x, at_delta = b.gep(x_base, [b.mul(t, x_step)]), b.gep(delta_base, [b.mul(t, delta_step)])
            d = [load_vector(b, b.gep(at_delta, [b.mul(delta_block, _constant(r))])) for r in range(ROWS)]
            for c in range(GRADIENT_LANES):
                channel = splat(b, b.load(b.gep(at_x, [_constant(c)])))
                for r in range(ROWS):
                    now[r][c] = b.call(multiply_add(b), [channel, d[r], now[r][c]])

        start = [[load_vector(b, place) for place in row] for row in places]
        for row, targets in zip(_loop_over_taps(b, count, start, products), places):
            for value, place in zip(row, targets):
                store_vector(b, value, place)
        return context.get_dummy_value()

    return signature, codegen


tile_pair, tile_pair_of_colours = make_tile(ROWS), make_tile(ROWS, COLOURS)
tile_single, tile_single_of_colours = make_tile(1), make_tile(1, COLOURS)
