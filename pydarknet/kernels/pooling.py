"""Pooling over blocked activations, and its backward passes. Cells outside the plane take no part. Geometry:
`Planes`; window: `SlidingWindow`."""

from typing import Any

import numba
from llvmlite import ir
from numba import prange

from ..runtime.jit import device, kernel, named
from .addressing import cell, cells_under, plane_task, row_tasks, written_row
from .simd import LANES, VECTOR, simd, vload, vmax, vsplat, vstore, vwhere_equal, vwords

f32 = numba.float32


@device
def pool_rows(x, at, pitch, rows, columns, y, y_at):
    """The largest of each 2 x 2 cells of one or two rows, `pitch` cells apart, to cells that follow one another."""
    for j in range((columns + 1) // 2):
        left = at + 2 * j * 16
        right = left + 16 if 2 * j + 1 < columns else left
        best = vmax(vload(x, left), vload(x, right))
        if rows == 2:
            below = vmax(vload(x, left + pitch * 16), vload(x, right + pitch * 16))
            best = vmax(best, below)
        vstore(y, y_at + j * 16, best)


def _make_maxpool(larger: Any, lowest: int, name: str) -> Any:
    """The kernel `name`: y = the largest value of each window of x that lies inside the plane; 0 where a window lies
    outside altogether.

    x, y: flat float32, or words of other numbers, their geometry `Planes`; window: `SlidingWindow`. larger: of the
    numbers of two vectors; lowest: a word of the smallest ones.
    """

    @kernel
    @named(__name__, name)
    def maxpool(x, x_at, window, y, y_at):
        for task in prange(row_tasks(y_at)):
            picture, block, row = written_row(task, y, y_at)
            source, target = cell(x_at, picture, block, 0, 0), cell(y_at, picture, block, row, 0)
            top, bottom = cells_under(window, row, window.stride_y, x_at.height)
            for column in range(y_at.width):
                left, right = cells_under(window, column, window.stride_x, x_at.width)
                best = vwords(lowest if top < bottom and left < right else y_at.fill)
                for i in range(top, bottom):
                    for j in range(left, right):
                        best = larger(vload(x, source + (i * x_at.pitch + j) * LANES), best)
                vstore(y, target + column * LANES, best)

    return maxpool


@simd
def _larger_pairs(b, x, y):
    """Of bfloat16 numbers: integers of their bits are in the same order once negative ones are turned round."""
    kind = ir.VectorType(ir.IntType(16), 2 * LANES)
    sign, others = (ir.Constant(kind, [number] * 2 * LANES) for number in (15, 0x7FFF))
    pairs = [b.bitcast(each, kind) for each in (x, y)]
    first, second = (b.xor(each, b.and_(b.ashr(each, sign), others)) for each in pairs)
    return b.bitcast(b.select(b.icmp_signed(">", first, second), *pairs), VECTOR)


@simd
def _larger_bytes(b, x, y):
    """Of unsigned 8-bit integers."""
    first, second = (b.bitcast(each, ir.VectorType(ir.IntType(8), 4 * LANES)) for each in (x, y))
    return b.bitcast(b.select(b.icmp_unsigned(">", first, second), first, second), VECTOR)


maxpool = _make_maxpool(vmax, 0xFF7FFFFF, "maxpool")
maxpool_bf16 = _make_maxpool(_larger_pairs, 0xFF7FFF7F, "maxpool_bf16")
maxpool_int8 = _make_maxpool(_larger_bytes, 0, "maxpool_int8")


@kernel
def local_average(x, x_at, window, y, y_at):
    """Mean of the cells of each window that lie inside the plane; arguments as `maxpool`."""
    for task in prange(row_tasks(y_at)):
        picture, block, row = written_row(task, y, y_at)
        source, target = cell(x_at, picture, block, 0, 0), cell(y_at, picture, block, row, 0)
        top, bottom = cells_under(window, row, window.stride_y, x_at.height)
        for column in range(y_at.width):
            left, right = cells_under(window, column, window.stride_x, x_at.width)
            total = vsplat(f32(0.0))
            for i in range(top, bottom):
                for j in range(left, right):
                    total = total + vload(x, source + (i * x_at.pitch + j) * LANES)
            cells = max((bottom - top) * (right - left), 1)
            vstore(y, target + column * LANES, total * vsplat(f32(1.0) / f32(cells)))


@kernel
def maxpool_gradient(x, x_at, window, y, y_at, delta, delta_at, out, out_at, adds):
    """out at the first cell, in reading order, of each window that equals its maximum += delta. Unless it
    `adds`, out is written: delta there, 0 at the other cells of the window; no two windows may then share a
    cell.

    x, y: what `maxpool` read and gave.
    """
    for task in prange(y_at.pictures * y_at.blocks):
        picture, block = plane_task(task, y_at)
        source, target = cell(x_at, picture, block, 0, 0), cell(out_at, picture, block, 0, 0)
        for row in range(y_at.height):
            y_row, delta_row = cell(y_at, picture, block, row, 0), cell(delta_at, picture, block, row, 0)
            top, bottom = cells_under(window, row, window.stride_y, x_at.height)
            for column in range(y_at.width):
                left, right = cells_under(window, column, window.stride_x, x_at.width)
                best = vload(y, y_row + column * LANES)
                pending = vload(delta, delta_row + column * LANES)  # what has not found its cell yet
                for i in range(top, bottom):
                    for j in range(left, right):
                        to = target + (i * out_at.pitch + j) * LANES
                        found = vwhere_equal(vload(x, source + (i * x_at.pitch + j) * LANES), best, pending)
                        pending = pending - found
                        vstore(out, to, vload(out, to) + found if adds else found)


@kernel
def average_gradient(delta, delta_at, factor, window, out, out_at):
    """Each cell of delta, times `factor`, added to all cells of its window in out."""
    for task in prange(delta_at.pictures * delta_at.blocks):
        picture, block = plane_task(task, delta_at)
        scale, target = vsplat(f32(factor)), cell(out_at, picture, block, 0, 0)
        for row in range(delta_at.height):
            delta_row = cell(delta_at, picture, block, row, 0)
            top, bottom = cells_under(window, row, window.stride_y, out_at.height)
            for column in range(delta_at.width):
                left, right = cells_under(window, column, window.stride_x, out_at.width)
                change = vload(delta, delta_row + column * LANES) * scale
                for i in range(top, bottom):
                    for j in range(left, right):
                        to = target + (i * out_at.pitch + j) * LANES
                        vstore(out, to, vload(out, to) + change)
