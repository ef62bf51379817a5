"""Direct convolution over blocked activations: loops over tasks and over the pixels of a plane round the micro-kernel
of `microkernel.py`."""

from __future__ import annotations

from typing import NamedTuple

from numba import prange

from ...runtime.jit import device, inlined, kernel
from ..activation import activate_fused, clear_lanes
from ..addressing import cell, storage
from ..halo import clear_halos, zero_halo
from ..pooling import pool_rows
from ..simd.intrinsics import one_of
from ..simd.vector import vload, vstore
from ..task_queue import next_task, reset_queue
from . import depthwise_microkernel as depthwise
from .depthwise_microkernel import depthwise_tile, straight_tile, wide_straight_tile
from .microkernel import (
    ANY,
    BLOCK,
    COLOURS,
    FIRST_TAP,
    FOUR_LANES,
    FOUR_LANES_2,
    MR,
    MR_SHORT,
    MR_WIDE,
    NARROW,
    NR,
    OC_VECTORS,
    PAIR_TILES,
    PREFETCHING,
    RGB,
    RGB_STRAIGHT,
    RGB_STRAIGHT_2,
    SHORT,
    SINGLE_TILES,
    SMALL_PLANE,
    STRAIGHT,
    STRAIGHT_2,
    TAP_LANES,
    TAPS,
    WEIGHTS,
    WHOLE,
    WIDE_TILES,
    Panel,
    Run,
    TileSource,
    TileTarget,
)
from .views import Residual

SHORTEST = (MR + 1) // 2  # pixels of a row, so that a tile goes no farther than the end of the next
FEW_TILES = 8  # of a plane: its products take about as long as its filters from memory


class PlaneSource(NamedTuple):
    """Where a plane's windows are read: the first pixel's origin, and floats between output rows and columns."""

    origin: int
    row_stride: int
    column_stride: int


class PlaneTarget(NamedTuple):
    """Where a plane is written: its first pixel's cell, floats between blocks, and cells from row to row."""

    origin: int
    block_stride: int
    pitch: int


# Tiles by kind: for NR vectors of output channels, for one, and for one narrow one and twice as many pixels.
_pair, _single, _wide = one_of(PAIR_TILES), one_of(SINGLE_TILES), one_of(WIDE_TILES)


# --- the pixels of a plane --------------------------------------------------------------------------------------------


@device
def finish_tile(y, at, wrap, run, channels, activation):
    """Apply the activation to one tile's vectors, row by row, and keep lanes past the last channel zero."""
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
    """Add the residual to one tile's vectors."""
    column = run.column
    for _ in range(run.pixels):
        vstore(y, y_at, vload(y, y_at) + vload(residual, at))
        column += 1
        y_at += 16 if column < run.width else y_wrap
        at += 16 if column < run.width else wrap
        column = column if column < run.width else 0


@inlined
def finish_tiles(y, target, run, panel, epilogue, residual, residual_at):
    """What follows the products of a tile: the activation, then the residual, where they are asked for."""
    channels = epilogue.channels - panel.block * 16
    for r in range(panel.oc_vectors):
        y_at = target.at + r * target.block_stride
        if epilogue.activation != 0:
            finish_tile(y, y_at, target.wrap, run, channels - r * 16, epilogue.activation)
        if residual.adds:
            wrap = (residual.pitch - run.width + 1) * 16
            _add_to_tile(y, y_at, target.wrap, residual.data, residual_at + r * residual.block_stride, wrap, run)


@inlined
def is_straight(x_step, x_wrap, y_wrap, column, width, pixels, count):
    """Whether the cells of a tile of `count` pixels are all as far apart, in the input and in the output."""
    joined = x_wrap == x_step and y_wrap == 16
    return pixels >= count and (joined or column + count <= width)


@inlined
def _kind(lanes, straight, x_step, pixels):
    """The kind of tile that the lanes in use and the way its cells lie ask for."""
    if lanes == COLOURS:
        if straight and x_step == FOUR_LANES:
            return RGB_STRAIGHT
        if straight and x_step == FOUR_LANES_2:
            return RGB_STRAIGHT_2
        return RGB
    if straight and x_step == 16:
        return STRAIGHT
    if straight and x_step == 32:
        return STRAIGHT_2
    return SHORT if MR_SHORT > 0 and pixels <= MR_SHORT else ANY


@inlined
def next_pixels(left, most):
    """How many of the pixels that are left the next tile takes: as few as that takes no more tiles."""
    return MR_SHORT if most < left <= 2 * MR_SHORT else min(most, left)


@inlined
def panel_of(filters, index):
    """One row of the table of panels."""
    panels = filters.panels
    return Panel(
        panels[index, BLOCK], panels[index, OC_VECTORS], panels[index, FIRST_TAP], panels[index, TAPS],
        panels[index, WEIGHTS],
    )  # fmt: skip


@device
def convolve_pixels(
    x, source, filters, panel, y, target, first, last, width, epilogue, residual, residual_at, prefetches
):
    """One panel of filters at the pixels from `first` to `last` of a plane, in reading order.

    x, y: flat float32; source: PlaneSource, target: PlaneTarget, of y's first block of the panel; filters:
    PackedFilters; residual_at: where the plane's first pixel is in the residual; prefetches: whether the panel that
    follows this one comes from memory and is needed next.
    """
    step, channels = source.column_stride, epilogue.channels - panel.block * 16
    x_wrap = source.row_stride - (width - 1) * step
    y_wrap = (target.pitch - width + 1) * 16
    row = first // width
    column = first - row * width
    pixel = first
    single = panel.oc_vectors == 1
    whole = single and filters.lanes == TAP_LANES and step == 16 and width == SMALL_PLANE
    whole = whole and last - first == SMALL_PLANE * SMALL_PLANE
    while pixel < last:
        wide = channels <= NARROW
        pixels = next_pixels(last - pixel, MR_WIDE if wide else MR)
        straight = is_straight(step, x_wrap, y_wrap, column, width, pixels, MR_WIDE if wide else MR)
        kind = _kind(filters.lanes, straight, step, pixels)
        if NR > 1 and wide and kind >= ANY:
            wide = False
            pixels = next_pixels(last - pixel, MR)
            kind = _kind(filters.lanes, is_straight(step, x_wrap, y_wrap, column, width, pixels, MR), step, pixels)
        if prefetches and not wide and kind == STRAIGHT and last - pixel <= 3 * MR:
            kind = PREFETCHING
        if whole:
            wide, kind, pixels = False, WHOLE, SMALL_PLANE * SMALL_PLANE
        tile_source = TileSource(source.origin + row * source.row_stride + column * step, step, x_wrap)
        y_at = target.origin + (row * target.pitch + column) * 16
        tile_target = TileTarget(y_at, target.block_stride, y_wrap)
        run = Run(column, width, pixels)
        if wide:
            _wide(kind, x, tile_source, filters, panel, y, tile_target, run, epilogue)
        elif NR > 1 and not single:
            _pair(kind, x, tile_source, filters, panel, y, tile_target, run, epilogue)
        else:
            _single(kind, x, tile_source, filters, panel, y, tile_target, run, epilogue)
        finish_tiles(y, tile_target, run, panel, epilogue, residual, residual_at + (row * residual.pitch + column) * 16)
        pixel += pixels
        column += pixels
        while column >= width:
            column -= width
            row += 1


@device
def opaque_zero_and_false(count):
    """(0, False) for `count` above zero, in a way that the compiler cannot see: it would compile a specialised copy of
    `convolve_pixels`, with all tiles, for arguments that it knows."""
    return 0 * count, count < 0


# --- kernels ----------------------------------------------------------------------------------------------------------


@kernel
def convolve(x, x_at, filters, y, y_at, epilogue, residual, schedule, queue, workers):
    """y = activation(bias + weights * x), plus the residual, over all pictures, panels of filters and pixels.

    x, y: flat float32; x_at: Origins; y_at: Planes, whose halo is filled with zeros; filters: PackedFilters; epilogue:
    Epilogue; residual: Residual; schedule: Schedule; queue: the tasks of `workers` workers (`task_queue.py`).
    """
    height, width, panels = x_at.height, x_at.width, filters.panels.shape[0]
    plane = height * width
    tiles = (plane + MR - 1) // MR
    chunks = (tiles + schedule.tiles_per_task - 1) // schedule.tiles_per_task
    tasks = y_at.pictures * chunks * panels
    reset_queue(queue, workers)
    for worker in prange(workers):
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
            y_base = storage(y_at, picture, panel.block)
            if chunk == 0:
                clear_halos(y, y_base, y_at.block_stride, panel.oc_vectors, height, width, y_at.halo)
            first = chunk * schedule.tiles_per_task * MR
            source = PlaneSource(picture * x_at.picture_stride, x_at.row_stride, x_at.column_stride)
            target = PlaneTarget(cell(y_at, picture, panel.block, 0, 0), y_at.block_stride, y_at.pitch)
            residual_at = residual.origin + picture * residual.picture_stride + panel.block * residual.block_stride
            convolve_pixels(
                x, source, filters, panel, y, target, first, min(plane, first + schedule.tiles_per_task * MR), width,
                epilogue, residual, residual_at, schedule.by_panel and tiles <= FEW_TILES,
            )  # fmt: skip
            task = next_task(queue, worker, workers, tasks)


@kernel
def convolve_pooled(x, x_at, filters, y, y_at, epilogue, queue, workers, work, work_size):
    """The largest of each 2 x 2 cells of `convolve`'s output, of those that there are.

    Arguments as `convolve`; y_at: after pooling. A task is two rows of one panel's blocks. Each worker has `work_size`
    floats of `work` for its rows.
    """
    width, panels = x_at.width, filters.panels.shape[0]
    tasks = y_at.pictures * y_at.height * panels
    reset_queue(queue, workers)
    for worker in prange(workers):
        scratch = worker * work_size
        task = next_task(queue, worker, workers, tasks)
        while task >= 0:
            picture = task // (y_at.height * panels)
            pair = task // panels - picture * y_at.height
            panel = panel_of(filters, task - (picture * y_at.height + pair) * panels)
            pixels = width * min(2, x_at.height - 2 * pair)
            zero, never = opaque_zero_and_false(panel.oc_vectors)
            source = PlaneSource(
                picture * x_at.picture_stride + 2 * pair * x_at.row_stride, x_at.row_stride, x_at.column_stride
            )
            convolve_pixels(
                x, source, filters, panel, work, PlaneTarget(scratch, 2 * width * 16, width), zero, pixels, width,
                epilogue, Residual(work, never, zero, zero, zero, zero), zero, never,
            )  # fmt: skip
            for r in range(panel.oc_vectors):
                if pair == 0:
                    zero_halo(y, y_at, picture, panel.block + r)
                cells = scratch + r * 2 * width * 16
                pool_rows(work, cells, width, pixels // width, width, y, cell(y_at, picture, panel.block + r, pair, 0))
            task = next_task(queue, worker, workers, tasks)


# --- depthwise --------------------------------------------------------------------------------------------------------


@device
def depthwise_rows(x, source, filters, block, y, target, rows, width, epilogue):
    """`rows` rows of one block of `convolve_depthwise`, from those on where `source` and `target` begin."""
    step, channels = source.column_stride, epilogue.channels - block * 16
    x_wrap = source.row_stride - (width - 1) * step
    y_wrap = (target.pitch - width + 1) * 16
    row, column, pixel = 0, 0, 0
    while pixel < rows * width:
        left = rows * width - pixel
        wide = NR > 1 or channels <= NARROW
        count = MR_WIDE if wide else MR
        straight = step == 16 and is_straight(step, x_wrap, y_wrap, column, width, min(count, left), count)
        if NR > 1 and wide and not straight:
            wide, count = False, MR
            straight = step == 16 and is_straight(step, x_wrap, y_wrap, column, width, min(count, left), count)
        pixels = min(count, left)
        if wide:
            kind = depthwise.WIDE_STRAIGHT if straight else depthwise.WIDE_ANY
        else:
            kind = depthwise.STRAIGHT if straight else depthwise.ANY
        tile_source = TileSource(source.origin + row * source.row_stride + column * step, step, x_wrap)
        y_at = target.origin + (row * target.pitch + column) * 16
        run = Run(column, width, pixels)
        depthwise_tile(kind, x, tile_source, filters, filters.offsets.shape[0], block, y,
                       TileTarget(y_at, target.block_stride, y_wrap), run, epilogue.slope)  # fmt: skip
        if epilogue.activation != 0:
            finish_tile(y, y_at, y_wrap, run, channels, epilogue.activation)
        pixel += pixels
        column += pixels
        while column >= width:
            column -= width
            row += 1


@device
def straight_rows(x, x_at, row_stride, filters, block, y, y_at, rows, width, slope):
    """The same with stride 1, to rows of at least SHORTEST pixels that follow one another: in tiles that begin in their
    row and may go beyond its end, into what the next row's then overwrite. Up to MR pixels are read and written behind
    the last row."""
    taps = filters.offsets.shape[0]
    for row in range(rows):
        column = 0
        while column < width:
            # Tiles of this kind look at the first cells only.
            source = TileSource(x_at + row * row_stride + column * 16, row_stride, row_stride)
            target = TileTarget(y_at + (row * width + column) * 16, row_stride, row_stride)
            run = Run(column, width, width)
            if NR > 1 and width - column > MR:
                wide_straight_tile(x, source, filters, taps, block, y, target, run, slope)
                column += MR_WIDE
            else:
                straight_tile(x, source, filters, taps, block, y, target, run, slope)
                column += MR


@kernel
def convolve_depthwise(x, x_at, filters, y, y_at, epilogue, queue, workers):
    """y = activation(bias + each channel convolved with its own filter); arguments as `convolve`, filters:
    DepthwiseFilters. A task is some rows of one block of one picture."""
    height, width, blocks = y_at.height, y_at.width, y_at.blocks
    bands = max(1, min(8, height // 8))
    tasks = y_at.pictures * blocks * bands
    reset_queue(queue, workers)
    for worker in prange(workers):
        task = next_task(queue, worker, workers, tasks)
        while task >= 0:
            picture = task // (blocks * bands)
            block = task // bands - picture * blocks
            band = task - (picture * blocks + block) * bands
            if band == 0:
                zero_halo(y, y_at, picture, block)
            row, end = height * band // bands, height * (band + 1) // bands
            origin = picture * x_at.picture_stride + block * x_at.block_stride + row * x_at.row_stride
            source = PlaneSource(origin, x_at.row_stride, x_at.column_stride)
            target = PlaneTarget(cell(y_at, picture, block, row, 0), y_at.block_stride, y_at.pitch)
            depthwise_rows(x, source, filters, block, y, target, end - row, width, epilogue)
            task = next_task(queue, worker, workers, tasks)
