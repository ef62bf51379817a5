"""Sums and copies of blocked activations that only backward passes need."""

from __future__ import annotations

import numba
from numba import prange

from ...runtime.jit import kernel
from ..addressing import cell, plane_task, row_task, row_tasks, strided_cell
from ..simd.vector import LANES, vload, vsplat, vstore

f32 = numba.float32


@kernel
def channel_total(x, x_at, out):
    """out (pictures, blocks * LANES), flat: the sum of each channel of each picture. x_at: `Planes`."""
    for task in prange(x_at.pictures * x_at.blocks):
        picture, block = plane_task(task, x_at)
        total = vsplat(f32(0.0))
        for row in range(x_at.height):
            x_row, line = cell(x_at, picture, block, row, 0), vsplat(f32(0.0))
            for column in range(x_at.width):
                line = line + vload(x, x_row + column * LANES)
            total = total + line
        vstore(out, task * LANES, total)


@kernel
def spread_cells(x, x_at, y, y_at):
    """Copy x to y. x_at: `Planes`; y_at: `Strides`."""
    for task in prange(row_tasks(x_at)):
        picture, block, row = row_task(task, x_at)
        x_row, y_row = cell(x_at, picture, block, row, 0), strided_cell(y_at, picture, block, row)
        for column in range(x_at.width):
            vstore(y, y_row + column * y_at.column_stride, vload(x, x_row + column * LANES))


@kernel
def add_channels(x, x_at, first, count, y, y_at, to):
    """`count` channels of y from `to` on += channels of x from `first` on. x_at, y_at: `Planes` of equal sides."""
    for task in prange(y_at.pictures * y_at.height):
        picture = task // y_at.height
        row = task - picture * y_at.height
        floats = (y_at.width - 1) * LANES + 1
        for c in range(count):
            x_row = cell(x_at, picture, (first + c) // LANES, row, 0) + (first + c) % LANES
            y_row = cell(y_at, picture, (to + c) // LANES, row, 0) + (to + c) % LANES
            source, cells = x[x_row : x_row + floats], y[y_row : y_row + floats]
            for column in range(y_at.width):
                cells[column * LANES] += source[column * LANES]
