"""Backward passes of pooling over blocked activations. Geometry: `Planes`; window: `SlidingWindow`."""

from __future__ import annotations

import numba
from numba import prange

from ...runtime.jit import kernel
from ..addressing import cell, columns_under, plane_task, rows_under
from ..simd.vector import LANES, vload, vsplat, vstore, vwhere_equal

f32 = numba.float32


@kernel
def maxpool_gradient(x, x_at, window, y, y_at, delta, delta_at, out, out_at, adds):
    """out at the first cell, in reading order, of each window that equals its maximum += delta. Unless it `adds`, out
    is written: delta there, 0 at the other cells of the window; no two windows may then share a cell.

    x, y: what `maxpool` read and gave.
    """
    for task in prange(y_at.pictures * y_at.blocks):
        picture, block = plane_task(task, y_at)
        source, target = cell(x_at, picture, block, 0, 0), cell(out_at, picture, block, 0, 0)
        for row in range(y_at.height):
            y_row, delta_row = cell(y_at, picture, block, row, 0), cell(delta_at, picture, block, row, 0)
            top, bottom = rows_under(window, row, x_at.height)
            for column in range(y_at.width):
                left, right = columns_under(window, column, x_at.width)
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
            top, bottom = rows_under(window, row, out_at.height)
            for column in range(delta_at.width):
                left, right = columns_under(window, column, out_at.width)
                change = vload(delta, delta_row + column * LANES) * scale
                for i in range(top, bottom):
                    for j in range(left, right):
                        to = target + (i * out_at.pitch + j) * LANES
                        vstore(out, to, vload(out, to) + change)
