"""Direct convolution over blocked activations: loops over tasks and over the pixels of a plane round the
micro-kernel of `microkernel.py`."""

from typing import Any, NamedTuple

from numba import prange

from ...runtime.jit import device, inlined, kernel, named
from ..activation import activate_fused, clear_lanes
from ..addressing import cell, next_task, reset_queue, residual_cell, zero_halos
from ..pooling import pool_rows
from ..simd import HALF, LANES, VECTOR, instructions, one_of, vload, vstore
from ..views import Residual
from .microkernel import (
    ANY,
    MR,
    MR_SHORT,
    MR_WIDE,
    NARROW,
    NR,
    OC_VECTORS,
    PREFETCHING,
    ROOM,
    SMALL_PLANE,
    STRAIGHT,
    TAP_LANES,
    TAPS,
    WEIGHTS,
    WHOLE,
    Depthwise,
    Float32,
    Product,
    Run,
    TileSource,
    TileTarget,
    make_kind_of,
    make_tile,
    make_tiles,
    panel_of,
)

SHORTEST = (MR + 1) // 2  # pixels of a row, so that a tile goes no farther than the end of the next
FEW_TILES = 8  # of a plane: its products take about as long as its filters from memory


class PlaneSource(NamedTuple):
    """Where a plane's windows are read: the first pixel's origin, and floats between output rows and columns."""

    origin: int
    row_stride: int
    column_stride: int


class PlaneTarget(NamedTuple):
    """Where a plane is written: its first pixel's cell, floats between blocks, and cells from row to row. room: in
    a worker's memory, for a tile that becomes other numbers. copy: floats from a cell to the same in other numbers."""

    origin: int
    block_stride: int
    pitch: int
    room: int
    copy: int


# --- the pixels of a plane --------------------------------------------------------------------------------------------


@device
def _finish_tile(y, at, wrap, run, channels, activation):
    column, pixels = run.column, run.pixels
    while pixels > 0:
        count = min(pixels, run.width - column)
        cells = y[at : at + count * 16]
        activate_fused(cells, activation)
        if channels < 16:
            clear_lanes(cells, channels)
        at += (count - 1) * 16 + wrap
        pixels -= count
        column = 0


@device
def _add_to_tile(y, y_at, y_wrap, residual, at, wrap, run):
    column = run.column
    for _ in range(run.pixels):
        vstore(y, y_at, vload(y, y_at) + vload(residual, at))
        column += 1
        y_at += 16 if column < run.width else y_wrap
        at += 16 if column < run.width else wrap
        column = column if column < run.width else 0


@inlined
def finish_tiles(y, target, run, panel, epilogue, residual, residual_at):
    """The activation that a slope cannot express, and what is added, of a tile that has been written."""
    channels = epilogue.channels - panel.block * 16
    for r in range(panel.oc_vectors):
        y_at = target.at + r * target.block_stride
        if epilogue.activation != 0:
            _finish_tile(y, y_at, target.wrap, run, channels - r * 16, epilogue.activation)
        if residual.adds:
            wrap = (residual.pitch - run.width + 1) * 16
            _add_to_tile(y, y_at, target.wrap, residual.data, residual_at + r * residual.block_stride, wrap, run)


def make_convert_cell(product: Product) -> Any:
    """What writes sixteen float32 of x, times `scale` plus `zero`, as the words of a cell, as a Numba intrinsic."""

    @instructions
    def convert_cell(b, x, x_at, scale, zero, y, y_at):
        b.store_vector(product.convert(b, b.load_vector(b.ahead(x, x_at)), scale, zero), b.ahead(y, y_at))

    return convert_cell


def make_store_tile(product: Product) -> Any:
    """store_tile(work, at, y, target, run, oc_vectors, epilogue): a tile of float32, from `at` on in `work`, whose
    blocks are `product.pixels` cells apart, becomes numbers of the product in y."""
    convert_cell, block_step = make_convert_cell(product), product.pixels * LANES

    @device
    def store_tile(work, at, y, target, run, oc_vectors, epilogue):
        for r in range(oc_vectors):
            to, column = target.at + r * target.block_stride, run.column
            for k in range(run.pixels):
                convert_cell(work, at + r * block_step + k * 16, epilogue.scale, epilogue.zero, y, to)
                column += 1
                to += 16 if column < run.width else target.wrap
                column = column if column < run.width else 0

    return store_tile


@inlined
def _next_pixels(left, most):
    """How many of the pixels that are left the next tile takes: as few as that takes no more tiles."""
    return MR_SHORT if most < left <= 2 * MR_SHORT else min(most, left)


def make_convolve_pixels(product: Product) -> Any:
    """What computes one panel of filters at the pixels from `first` to `last` of a plane, in reading order.

    convolve_pixels(x, source, filters, panel, y, target, first, last, width, epilogue, residual, residual_at,
    prefetches, work): x: words of the product; source: PlaneSource, in words; target: PlaneTarget of the panel's
    first block; residual_at: of the plane's first pixel; prefetches: whether the next panel comes from memory.
    work: floats, where tiles lie before they become numbers of the product.
    """
    singles, kinds = make_tiles(product, 1, product.kinds), product.kinds
    pair_tile = wide_tile = single_tile = one_of(singles)  # of one block of output channels
    has_pairs, has_wide, whole_too, narrow = NR > 1 and not product.by_block, product.widens, WHOLE in singles, NARROW
    has_prefetching, kind_of = PREFETCHING in kinds, make_kind_of(product)
    if has_pairs:
        pair_tile = one_of(make_tiles(product, NR, kinds))  # of NR blocks
    if has_wide and NR == 1:  # of one narrow block and twice as many pixels
        wide_tile = one_of(make_tiles(type(product)(HALF), 1, kinds))
    elif has_wide:  # in whole vectors only where pixels lie straight, as their addresses would fill registers
        wide_tile = one_of(make_tiles(product, 1, [kind for kind in kinds if kind < ANY], MR_WIDE))
    if product.by_block and NR > 1:  # every block is computed alone
        narrow = 1 << 30
    converts, room_step, store_tile = product.converts, product.pixels * LANES, None
    if converts:
        store_tile = make_store_tile(product)

    @device
    def convolve_pixels(
        x, source, filters, panel, y, target, first, last, width, epilogue, residual, residual_at, prefetches, work
    ):
        step, channels = source.column_stride, epilogue.channels - panel.block * 16
        x_wrap = source.row_stride - (width - 1) * step
        y_wrap = (target.pitch - width + 1) * 16
        out, stores = y, converts and epilogue.stores
        if converts and stores:
            out, y_wrap = work, 16
        row = first // width
        column = first - row * width
        pixel = first
        single = panel.oc_vectors == 1
        whole = whole_too and single and filters.lanes == TAP_LANES and step == 16 and width == SMALL_PLANE
        whole = whole and last - first == SMALL_PLANE * SMALL_PLANE
        while pixel < last:
            wide = has_wide and channels <= narrow
            most = MR_WIDE if wide else MR
            pixels = _next_pixels(last - pixel, most)
            kind = kind_of(filters.lanes, step, x_wrap, y_wrap, column, width, pixels, most)
            if has_wide and NR > 1 and wide and kind >= ANY:
                wide = False
                pixels = _next_pixels(last - pixel, MR)
                kind = kind_of(filters.lanes, step, x_wrap, y_wrap, column, width, pixels, MR)
            if has_prefetching and prefetches and not wide and kind == STRAIGHT and last - pixel <= 3 * MR:
                kind = PREFETCHING
            if whole_too and whole:
                wide, kind, pixels = False, WHOLE, SMALL_PLANE * SMALL_PLANE
            tile_source = TileSource(source.origin + row * source.row_stride + column * step, step, x_wrap)
            y_at = target.origin + (row * target.pitch + column) * 16
            run = Run(column, width, pixels)
            tile_target = TileTarget(y_at, target.block_stride, y_wrap)
            if converts and stores:
                tile_target = TileTarget(target.room, room_step, y_wrap)
            if has_wide and wide:
                wide_tile(kind, x, tile_source, filters, panel, out, tile_target, run, epilogue)
            elif has_pairs and not single:
                pair_tile(kind, x, tile_source, filters, panel, out, tile_target, run, epilogue)
            else:
                single_tile(kind, x, tile_source, filters, panel, out, tile_target, run, epilogue)
            other = residual_at + (row * residual.pitch + column) * 16
            finish_tiles(out, tile_target, run, panel, epilogue, residual, other)
            if converts and stores:
                stored = TileTarget(y_at, target.block_stride, (target.pitch - width + 1) * 16)
                store_tile(work, target.room, y, stored, run, panel.oc_vectors, epilogue)
            pixel += pixels
            column += pixels
            while column >= width:
                column -= width
                row += 1

    return convolve_pixels


def make_convert_task(product: Product) -> Any:
    """convert_task(x, x_base, x_at, first, last, work, to): converts the inputs of the pixels from `first` to
    `last` of a plane, x_at: Origins. Of a filter of one cell those in use, which then lie side by side; else all
    between them."""
    factors, convert_cell, clears = product.factors, make_convert_cell(product), product.vector == VECTOR
    block_words = LANES // factors

    @device
    def convert_cells(x, source, step, x_at, count, work, to):
        # Filters are 0 where there are no channels; so must inputs be, if they could be NaN.
        for block in range(-(-x_at.blocks // factors) * factors if clears else x_at.blocks):
            together = block // factors
            to_block = to + together * x_at.span + (block - together * factors) * block_words
            if block >= x_at.blocks:
                for k in range(count):
                    at = to_block + k * LANES
                    work[at : at + block_words] = 0
                continue
            from_block = source + block * x_at.block_stride
            for k in range(count):
                convert_cell(x, from_block + k * step, x_at.scale, x_at.zero, work, to_block + k * LANES)

    @device
    def convert_task(x, x_base, x_at, first, last, work, to):
        width, step, pixel = x_at.width, x_at.column_stride, first
        if x_at.reach != 0:
            row, last_row = first // width, (last - 1) // width
            count = ((last_row - row) * x_at.row_stride + (width - 1) * step) // 16 + x_at.reach + 1
            convert_cells(x, x_base + row * x_at.row_stride, 16, x_at, count, work, to)
            return
        while pixel < last:
            row = pixel // width
            column = pixel - row * width
            count = min(width - column, last - pixel)
            source = x_base + row * x_at.row_stride + column * step
            convert_cells(x, source, step, x_at, count, work, to + (pixel - first) * LANES)
            pixel += count

    return convert_task


def make_convolve(product: Product, convolve_pixels: Any, module: str, name: str, pools: bool = False) -> Any:
    """The kernel `name` of `module`: y = activation(bias + weights * x), plus the residual, over all pictures,
    panels of filters and pixels. pools: the largest of each 2 x 2 cells of that, of those that there are; a task
    is then one panel x two rows.

    x, y: flat float32; x_at: Origins; y_at: Planes, whose halo is filled with zeros; filters: PackedFilters;
    epilogue: Epilogue; residual: Residual; schedule: Schedule; queue: the tasks of `workers` workers. Where the
    product converts, the offsets of `filters` count words in what a worker has converted, its panels and weights
    are those of `make_pack`. A worker has `work_size` floats of `work`: for what a task reads of x, converted
    unless it has just been, and for a tile before y `stores` it; or for rows before they are pooled.
    """
    converts, by_block, pixels, factors = product.converts, product.by_block, product.pixels, product.factors
    convert_task = make_convert_task(product) if converts else None

    @kernel
    @named(module, name)
    def convolve(x, x_at, filters, y, y_at, epilogue, residual, schedule, queue, workers, work, work_size):
        width, panels = x_at.width, filters.panels.shape[0]
        plane = x_at.height * width
        unit = 2 * width if pools else pixels
        tiles = (plane + unit - 1) // unit
        chunks = (tiles + schedule.tiles_per_task - 1) // schedule.tiles_per_task
        tasks = y_at.pictures * chunks * panels
        reset_queue(queue, workers)
        for worker in prange(workers):
            scratch, present = worker * work_size, -1
            task = next_task(queue, worker, workers, tasks)
            while task >= 0:
                picture = task // (chunks * panels)
                rest = task - picture * chunks * panels
                if schedule.by_panel:
                    index = rest // chunks
                    chunk = rest - index * chunks
                else:
                    chunk = rest // panels
                    index = rest - chunk * panels
                panel = panel_of(filters, index)
                # Where the output holds words of the product, several blocks lie in a cell.
                beside = factors if converts and epilogue.stores else 1
                plane_of_y = panel.block // beside
                if chunk == 0 and panel.block == plane_of_y * beside:
                    zero_halos(y, y_at, picture, plane_of_y, -(-panel.oc_vectors // beside))
                first = chunk * schedule.tiles_per_task * unit
                last = min(plane, first + schedule.tiles_per_task * unit)
                x_base, row_step, step = picture * x_at.picture_stride, x_at.row_stride, x_at.column_stride
                if by_block:
                    x_base += panel.block * x_at.block_stride
                words = x
                if converts and x_at.blocks > 0:
                    words = work
                    if present != picture * chunks + chunk:
                        present = picture * chunks + chunk
                        convert_task(x, x_base + x_at.low, x_at, first, last, work, scratch)
                    if x_at.reach == 0:
                        row_step, step = LANES * width, LANES
                        x_base = scratch - first * LANES
                    else:
                        x_base = scratch - first // width * row_step
                to = cell(y_at, picture, plane_of_y, 0, 0) + (panel.block - plane_of_y * beside) * (LANES // beside)
                copy = 0
                if converts and epilogue.copies:
                    plane_of_copy = panel.block // factors
                    copy = y_at.pictures * y_at.picture_stride - cell(y_at, picture, panel.block, 0, 0)
                    copy += (picture * -(-y_at.blocks // factors) + plane_of_copy) * y_at.block_stride
                    copy += (panel.block - plane_of_copy * factors) * (LANES // factors)
                target = PlaneTarget(
                    to, y_at.block_stride if beside == 1 else LANES // beside, y_at.pitch, scratch + work_size - ROOM,
                    copy,
                )  # fmt: skip
                if pools:
                    target = PlaneTarget(scratch - first * 16, unit * 16, width, scratch, copy)
                residual_at = residual_cell(residual, picture, panel.block, 0, 0)
                convolve_pixels(
                    words, PlaneSource(x_base, row_step, step), filters, panel, work if pools else y,
                    target, first, last, width, epilogue, residual, residual_at,
                    schedule.by_panel and tiles <= FEW_TILES, work,
                )  # fmt: skip
                if pools:
                    for r in range(panel.oc_vectors):
                        rows, to = (last - first) // width, cell(y_at, picture, panel.block + r, chunk, 0)
                        pool_rows(work, scratch + r * unit * 16, width, rows, width, y, to)
                task = next_task(queue, worker, workers, tasks)

    return convolve


def make_pack(product: Product, module: str, name: str) -> Any:
    """The kernel `name` of `module`, which brings filters from float32, as `pack_filters` orders them, into
    words.

    pack(filters, panels, packed): panels: of the float32 filters; packed: (words, blocks, 16) for each panel,
    float32 in whose bits words lie.
    """
    factors, words = product.factors, product.words

    @instructions
    def pack_words(b, x, x_at, step, y, y_at):
        """Sixteen words, of the vectors that are `step` floats apart from x_at on."""
        vectors = b.load_vectors(b.ahead(x, x_at), step, factors)
        b.store_vector(b.interleaved([product.convert_filters(b, vector) for vector in vectors]), b.ahead(y, y_at))

    @kernel
    @named(module, name)
    def pack(filters, panels, packed):
        for index in prange(panels.shape[0]):
            oc_vectors, start = panels[index, OC_VECTORS], panels[index, WEIGHTS]
            for word in range(panels[index, TAPS] * words):
                for r in range(oc_vectors):
                    first = start + (word * factors * oc_vectors + r) * 16
                    to = start // factors + (word * oc_vectors + r) * 16
                    pack_words(filters, first, oc_vectors * 16, packed, to)

    return pack


FLOAT32, DEPTHWISE = Float32(), Depthwise()
convolve_pixels, convolve_depthwise_pixels = make_convolve_pixels(FLOAT32), make_convolve_pixels(DEPTHWISE)
convolve = make_convolve(FLOAT32, convolve_pixels, __name__, "convolve")
convolve_pooled = make_convolve(FLOAT32, convolve_pixels, __name__, "convolve_pooled", pools=True)
convolve_depthwise = make_convolve(DEPTHWISE, convolve_depthwise_pixels, __name__, "convolve_depthwise")


@device
def opaque_zero_and_false(count):
    """(0, False) for `count` above zero, hidden from the compiler: it would copy `convolve_pixels`, with all
    tiles, for arguments that it knows."""
    return 0 * count, count < 0


@inlined
def nothing_added(data, zero, never):
    """The residual where there is none; zero, never: of `opaque_zero_and_false`."""
    return Residual(data, never, zero, zero, zero, zero)


_straight_tile = make_tile(DEPTHWISE, 1, straight=LANES)
_wide_straight_tile = make_tile(DEPTHWISE, 1, straight=LANES, pixels=MR_WIDE) if NR > 1 else _straight_tile


@device
def straight_depthwise_rows(x, x_at, row_stride, filters, panel, y, y_at, rows, width, epilogue):
    """`convolve_depthwise_pixels` with stride 1, to rows of at least SHORTEST pixels that follow one another.
    Tiles may go beyond the end of their row, into what the next row's overwrite, the last by up to MR pixels. No
    activation but a slope."""
    for row in range(rows):
        column = 0
        while column < width:
            # Tiles of this kind look at the first cells only.
            source = TileSource(x_at + row * row_stride + column * 16, row_stride, row_stride)
            target = TileTarget(y_at + (row * width + column) * 16, row_stride, row_stride)
            run = Run(column, width, width)
            if NR > 1 and width - column > MR:
                _wide_straight_tile(x, source, filters, panel, y, target, run, epilogue)
                column += MR_WIDE
            else:
                _straight_tile(x, source, filters, panel, y, target, run, epilogue)
                column += MR
