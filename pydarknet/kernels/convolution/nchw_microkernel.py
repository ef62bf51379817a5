"""The micro-kernels of convolutions in NCHW planes: as in `microkernel.py`, but the lanes of a vector are pixels
of one row.

    y[out][pixel] = bias[out] + sum over taps t of  weights[t, out] * x[taps[t] + stride * pixel]

Layers with few channels leave most lanes of a block of 16 channels empty, in products as in memory. Where their
rows are long, their tensors are NCHW instead, as pictures are.

Filters of 3 x 3 cells over a picture's planes are computed by Winograd's F(2, 3) along the columns:

    y[r] = sum over a picture's planes, the three columns of a filter and the points k of  A[r, k] g[k] * t[k]

with t = B^T d of the four rows d that two rows of the output read, and g = G w of the three rows w of a filter:
four products where a direct convolution takes six. A picture has few planes, so their transformed rows, which
all filters share, cost next to nothing.
"""

from llvmlite import ir

from ..simd import LANES, ZERO, Emitter, instructions, one_of
from .microkernel import NR, loop_over_taps, store_sums

OUTS = 4  # planes of the output in one tile
VECTORS = 5 if NR == 2 else 1  # of their row, as many as registers hold sums for
FEWEST = (VECTORS + 1) // 2  # so that with tiles of these sizes any longer row can be divided
PLANE_VECTORS = 5  # where there is only one plane
SPAN, LEAST, PLANE_SPAN = VECTORS * LANES, FEWEST * LANES, PLANE_VECTORS * LANES  # pixels

# Of F(2, 3): its points, planes of the output in one tile, and vectors of their rows: the most that registers hold, and
# for the rest.
POINTS = 4
COLUMN_OUTS = 4 if NR == 2 else 2
WIDE, NARROW = (3, 2) if NR == 2 else (1, 1)
COLUMN_SPAN = WIDE * LANES  # pixels of a row whose sums a worker has room for


def _biases(b: Emitter, filters, first_out, outs: int, vectors: int) -> list[list[ir.Value]]:
    first = b.ahead(filters.bias, first_out)
    return [[b.splat(b.load(b.ahead(first, o)))] * vectors for o in range(outs)]


def _add_products(b: Emitter, sums: list[list[ir.Value]], weights, pixels: list[ir.Value]) -> None:
    for o, row in enumerate(sums):
        w = b.splat(b.load(b.ahead(weights, o)))
        row[:] = [b.multiply_add(pixel, w, value) for pixel, value in zip(pixels, row)]


def _split(b: Emitter, first, second, phase: int) -> ir.Value:
    return b.shuffled(first, second, range(phase, 2 * LANES, 2))


def make_planar_tile(outs: int, vectors: int, stride: int):
    """The tile for `outs` planes of the output and `vectors` vectors of their row, as a Numba intrinsic. With
    stride 2 one float more is read.

    filters: NchwFilters, of which it takes `count` taps from `first_tap` on."""

    @instructions
    def tile(b, x, x_at, filters, first_tap, count, first_out, y, y_at, y_plane, slope):
        source, table = b.ahead(x, x_at), b.ahead(filters.offsets, first_tap)
        weights, target = b.ahead(filters.weights, b.mul(first_out, count)), b.ahead(y, y_at)

        def products(t, now):
            cells = b.load_vectors(b.ahead(source, b.load(b.ahead(table, t))), LANES, vectors * stride)
            if stride == 2:
                cells = [_split(b, *pair, 0) for pair in zip(cells[::2], cells[1::2], strict=True)]
            _add_products(b, now, b.ahead(weights, b.mul(t, outs)), cells)

        rows = [b.ahead(target, b.mul(y_plane, o)) for o in range(outs)]
        places = [[b.ahead(row, v * LANES) for v in range(vectors)] for row in rows]
        start = _biases(b, filters, first_out, outs, vectors)
        store_sums(b, loop_over_taps(b, count, start, products), places, slope)

    return tile


@instructions
def split_pairs(b, x, x_at, y, even_at, odd_at):
    """Write the even ones of 32 floats to y from `even_at` on, the odd ones from `odd_at` on."""
    pair = b.load_vectors(b.ahead(x, x_at), LANES, 2)
    for phase, at in enumerate((even_at, odd_at)):
        b.store_vector(_split(b, *pair, phase), b.ahead(y, at))


def make_plane3_tile(stride: int):
    """The tile for one plane and one 3 x 3 filter, as a Numba intrinsic: the outer columns of the filter take
    their pixels from the vectors that the middle column loads. `above`, `here`, `below`: where the middle column
    reads in three rows; a vector before and a vector behind each row may be read too."""

    @instructions
    def tile(b, x, above, here, below, filters, channel, y, y_at):
        weights, target = b.ahead(filters.weights, b.mul(channel, 9)), b.ahead(y, y_at)
        sums = _biases(b, filters, channel, 1, PLANE_VECTORS)
        for row, at in enumerate((above, here, below)):
            for column, pixels in enumerate(_neighbours(b, b.ahead(x, at), stride)):
                _add_products(b, sums, b.ahead(weights, 3 * row + column), pixels)
        store_sums(b, sums, [[b.ahead(target, v * LANES) for v in range(PLANE_VECTORS)]], filters.slope)

    return tile


def _neighbours(b: Emitter, cell, stride: int) -> tuple[list[ir.Value], list[ir.Value], list[ir.Value]]:
    """The left neighbours of the pixels from `cell` on, `stride` apart; those pixels; their right neighbours."""

    def pairs_of(numbers, firsts, seconds):
        return [b.shuffled(*pair, numbers) for pair in zip(firsts, seconds, strict=True)]

    count = stride * PLANE_VECTORS
    if stride == 1 and NR == 1:  # loads that lie across two lines are rarer here, and cheaper than two exchanges
        before, here, behind = (b.load_vectors(b.ahead(cell, k), LANES, count) for k in (-1, 0, 1))
        return before, here, behind
    loaded = b.load_vectors(b.ahead(cell, -LANES), LANES, count + 3 - stride)
    if stride == 1:
        here = last = loaded[1:-1]
        behind = pairs_of(range(1, LANES + 1), here, loaded[2:])
    else:
        here, behind = (pairs_of(range(k, 2 * LANES, 2), loaded[1::2], loaded[2::2]) for k in range(2))
        last = behind  # what lies before the next vector's first pixel is its last
    before = pairs_of(range(LANES - 1, 2 * LANES - 1), [loaded[0], *last[:-1]], last)
    return before, here, behind


def make_column_tile(vectors: int, pooled: int):
    """The tile for two rows of COLUMN_OUTS output planes, `vectors` vectors of each, as a Numba intrinsic;
    `pooled`: for one row, the larger of the two.

    filters: NchwFilters, their `count` offsets in t those of what the columns of a filter read, plane by plane;
    the points of t are `t_point` floats apart. Their weights: (2, count, 2, COLUMN_OUTS) for the planes of a
    tile, of the two middle points and of the two outer ones.
    """

    @instructions
    def tile(b, t, t_at, t_point, filters, count, first_out, y, y_at, y_plane, y_row):
        source, target = b.ahead(t, t_at), b.ahead(y, y_at)
        weights = b.ahead(filters.weights, b.mul(b.mul(first_out, POINTS), count))

        def products_of(points, first):
            """Emits what a tap adds to the two sums of each plane; the filters of `points` begin at tap `first`."""

            def products(tap, now):
                cell = b.ahead(source, b.load(b.ahead(filters.offsets, tap)))
                at_tap = b.ahead(weights, b.mul(b.add(tap, first), 2 * COLUMN_OUTS))
                for i, point in enumerate(points):
                    pixels = b.load_vectors(b.ahead(cell, b.mul(t_point, point)), LANES, vectors)
                    first_sum = i * COLUMN_OUTS
                    _add_products(b, now[first_sum : first_sum + COLUMN_OUTS], b.ahead(at_tap, first_sum), pixels)

            return products

        start = _biases(b, filters, first_out, COLUMN_OUTS, vectors) + [[ZERO] * vectors for _ in range(COLUMN_OUTS)]
        middle = loop_over_taps(b, count, start, products_of((1, 2), 0))
        pairs = list(zip(middle[:COLUMN_OUTS], middle[COLUMN_OUTS:], strict=True))
        start = [[getattr(b, sign)(*pair) for pair in zip(*rows)] for sign in ("fadd", "fsub") for rows in pairs]
        rows = loop_over_taps(b, count, start, products_of((0, 3), count))
        for o in range(COLUMN_OUTS):
            place = b.ahead(target, b.mul(y_plane, o))
            for v, (above, below) in enumerate(zip(rows[o], rows[COLUMN_OUTS + o], strict=True)):
                cell = b.ahead(place, v * LANES)
                b.store_vector(b.larger(above, below) if pooled else above, cell)
                if not pooled:
                    b.store_vector(below, b.ahead(cell, y_row))

    return tile


tile_planes = one_of({vectors: make_planar_tile(OUTS, vectors, 1) for vectors in range(FEWEST, VECTORS + 1)})
tile_plane = one_of({stride: make_planar_tile(1, PLANE_VECTORS, stride) for stride in (1, 2)})
tile_plane3 = one_of({stride: make_plane3_tile(stride) for stride in (1, 2)})
tile_columns = one_of(
    {2 * vectors + pooled: make_column_tile(vectors, pooled) for vectors in (WIDE, NARROW) for pooled in (0, 1)}
)
