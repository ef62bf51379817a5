"""Convolution whose products are of bfloat16 numbers and whose sums are float32; see `bf16_microkernel.py`."""

from __future__ import annotations

from numba import prange

from ...runtime.jit import device, kernel
from ..addressing import cell, storage
from ..halo import clear_halos
from ..simd.intrinsics import one_of
from ..task_queue import next_task, reset_queue
from .bf16_microkernel import (
    ANY,
    CELL,
    MISSING,
    PAIR_TILES,
    PROCESSOR,
    SHORT,
    SINGLE_TILES,
    STRAIGHT,
    STRAIGHT_IN,
    TAP_PAIRS,
    round_cell,
    round_pairs,
)
from .direct import PlaneSource, PlaneTarget, finish_tiles, is_straight, next_pixels
from .microkernel import (
    BLOCK,
    FIRST_TAP,
    MR,
    MR_SHORT,
    NR,
    OC_VECTORS,
    TAPS,
    WEIGHTS,
    Panel,
    Run,
    TileSource,
    TileTarget,
)

__all__ = ["CELL", "MISSING", "PROCESSOR", "convolve_bf16", "pack_pairs"]

_pair, _single = one_of(PAIR_TILES), one_of(SINGLE_TILES)


@kernel
def pack_pairs(filters, panels, packed):
    """Filters as `pack_filters` orders them, rounded, two input lanes side by side: per panel (pairs, blocks, 16).

    packed: float32 in whose bits a pair lies, half as many as filters. panels: see PackedFilters.
    """
    for p in prange(panels.shape[0]):
        oc_vectors, pairs, start = panels[p, OC_VECTORS], panels[p, TAPS] * TAP_PAIRS, panels[p, WEIGHTS]
        for pair in range(pairs):
            for r in range(oc_vectors):
                first = start + (2 * pair * oc_vectors + r) * 16
                round_pairs(filters, first, first + oc_vectors * 16, packed,
                            start // 2 + (pair * oc_vectors + r) * 16)  # fmt: skip


@device
def _convolve_pixels(x, source, filters, panel, y, target, first, last, width, epilogue, residual, residual_at):
    """`convolve_pixels` on pairs: distances in x and weights count pairs."""
    step = source.column_stride
    x_wrap = source.row_stride - (width - 1) * step
    y_wrap = (target.pitch - width + 1) * 16
    row = first // width
    column = first - row * width
    pixel = first
    while pixel < last:
        pixels = next_pixels(last - pixel, MR)
        kind = SHORT if MR_SHORT > 0 and pixels <= MR_SHORT else ANY
        if step == CELL and is_straight(step, x_wrap, 16, column, width, pixels, MR):
            kind = STRAIGHT if is_straight(step, x_wrap, y_wrap, column, width, pixels, MR) else STRAIGHT_IN
        tile_source = TileSource(source.origin + row * source.row_stride + column * step, step, x_wrap)
        y_at = target.origin + (row * target.pitch + column) * 16
        tile_target = TileTarget(y_at, target.block_stride, y_wrap)
        run = Run(column, width, pixels)
        if panel.oc_vectors == NR:
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
def _round_cells(x, x_at, x_block, x_step, blocks, count, y, y_at, y_block):
    """`count` cells of each block, `x_step` floats apart, as pairs that lie side by side."""
    for block in range(blocks):
        source, target = x_at + block * x_block, y_at + block * y_block
        for k in range(count):
            round_cell(x, source + k * x_step, y, target + k * CELL)


@device
def _round_pixels(x, x_base, x_at, first, last, work, to):
    """Round what the pixels from `first` to `last` of a plane read, one cell each, to pairs that lie side by side."""
    pixel = first
    while pixel < last:
        row = pixel // x_at.width
        column = pixel - row * x_at.width
        count = min(x_at.width - column, last - pixel)
        _round_cells(
            x, x_base + row * x_at.row_stride + column * x_at.column_stride, x_at.block_stride, x_at.column_stride,
            x_at.blocks, count, work, to + (pixel - first) * CELL, x_at.span,
        )  # fmt: skip
        pixel += count


@kernel
def convolve_bf16(x, x_at, filters, y, y_at, epilogue, residual, queue, workers, work, work_size):
    """y = activation(bias + weights * x) as `convolve`, whose arguments these are, but for the following.

    x_at: PairOrigins; the offsets of `filters` count pairs in what a worker has rounded, its weights are in the order
    of `pack_pairs`. A worker rounds what a task reads of x into its `work_size` floats of `work`, unless it has just
    done so.
    """
    width, panels = x_at.width, filters.panels.shape[0]
    plane = x_at.height * width
    tiles = (plane + MR - 1) // MR
    chunks = (tiles + x_at.tiles_per_task - 1) // x_at.tiles_per_task
    tasks = y_at.pictures * chunks * panels
    gathers = x_at.reach == 0
    pair_step = CELL if gathers else x_at.column_stride // 2
    pair_row = CELL * width if gathers else x_at.row_stride // 2
    reset_queue(queue, workers)
    for worker in prange(workers):
        scratch, present = worker * work_size, -1
        task = next_task(queue, worker, workers, tasks)
        while task >= 0:
            picture = task // (chunks * panels)
            rest = task - picture * chunks * panels
            chunk = rest // panels
            first = chunk * x_at.tiles_per_task * MR
            last = min(plane, first + x_at.tiles_per_task * MR)
            row, last_row = first // width, (last - 1) // width
            if present != picture * chunks + chunk:
                present = picture * chunks + chunk
                x_base = picture * x_at.picture_stride + x_at.low
                if gathers:
                    _round_pixels(x, x_base, x_at, first, last, work, scratch)
                else:
                    count = ((last_row - row) * x_at.row_stride + (width - 1) * x_at.column_stride) // 16
                    _round_cells(x, x_base + row * x_at.row_stride, x_at.block_stride, 16, x_at.blocks,
                                 count + x_at.reach + 1, work, scratch, x_at.span)  # fmt: skip
            start = first * CELL if gathers else row * pair_row
            panels_at = rest - chunk * panels
            block, oc_vectors = filters.panels[panels_at, BLOCK], filters.panels[panels_at, OC_VECTORS]
            panel = Panel(block, oc_vectors, filters.panels[panels_at, FIRST_TAP], filters.panels[panels_at, TAPS],
                          filters.panels[panels_at, WEIGHTS] // 2)  # fmt: skip
            if chunk == 0:
                clear_halos(y, storage(y_at, picture, block), y_at.block_stride, oc_vectors, x_at.height, width,
                            y_at.halo)  # fmt: skip
            target = PlaneTarget(cell(y_at, picture, block, 0, 0), y_at.block_stride, y_at.pitch)
            residual_at = residual.origin + picture * residual.picture_stride + block * residual.block_stride
            _convolve_pixels(
                work, PlaneSource(scratch - start, pair_row, pair_step), filters, panel, y, target, first, last, width,
                epilogue, residual, residual_at,
            )  # fmt: skip
            task = next_task(queue, worker, workers, tasks)
