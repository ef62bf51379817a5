"""Batch normalisation in training: statistics of the batch in one pass over memory, and the way back in two, together
with that of an activation that is the identity above zero and a line through zero below."""

from __future__ import annotations

import numba
from numba import prange

from ...runtime.jit import kernel
from ..addressing import cell, plane_task, row_task, row_tasks, strided_cell
from ..simd.vector import LANES, vload, vmuladd, vsplat, vstore, vwhere_positive

f32 = numba.float32


@kernel
def channel_moments(x, x_at, means, squares):
    """For each channel of each picture the mean and the sum of squared differences from it; (pictures, blocks * LANES)
    each, flat. x_at: `Planes`.

    A row is read twice while it is near; rows are joined as by Chan, Golub and LeVeque (1983).
    """
    for task in prange(x_at.pictures * x_at.blocks):
        picture, block = plane_task(task, x_at)
        mean, square = vsplat(f32(0.0)), vsplat(f32(0.0))
        share = vsplat(f32(1.0) / f32(x_at.width))
        for row in range(x_at.height):
            at, of_row = cell(x_at, picture, block, row, 0), vsplat(f32(0.0))
            for column in range(x_at.width):
                of_row = of_row + vload(x, at + column * LANES)
            of_row = of_row * share
            for column in range(x_at.width):
                apart = vload(x, at + column * LANES) - of_row
                square = vmuladd(apart, apart, square)
            apart = of_row - mean
            mean = vmuladd(apart, vsplat(f32(1.0) / f32(row + 1)), mean)
            square = vmuladd(apart * apart, vsplat(f32(x_at.width) * f32(row) / f32(row + 1)), square)
        vstore(means, task * LANES, mean)
        vstore(squares, task * LANES, square)


@kernel
def sloped_sums(delta, delta_at, x, x_at, gain, offset, slope, mean, totals, products):
    """For each channel of each picture the sums of d and of d (x - mean), (pictures, blocks * LANES) each, flat; d is
    delta where gain x + offset is above zero, else `slope` times that. delta_at, x_at: `Planes`."""
    for task in prange(delta_at.pictures * delta_at.blocks):
        picture, block = plane_task(task, delta_at)
        g, o, m = vload(gain, block * LANES), vload(offset, block * LANES), vload(mean, block * LANES)
        below = vsplat(slope)
        total, product = vsplat(f32(0.0)), vsplat(f32(0.0))
        for row in range(delta_at.height):
            delta_row, x_row = cell(delta_at, picture, block, row, 0), cell(x_at, picture, block, row, 0)
            line, with_x = vsplat(f32(0.0)), vsplat(f32(0.0))
            for column in range(delta_at.width):
                change, value = vload(delta, delta_row + column * LANES), vload(x, x_row + column * LANES)
                change = vwhere_positive(vmuladd(g, value, o), change, change * below)
                line = line + change
                with_x = vmuladd(change, value - m, with_x)
            total, product = total + line, product + with_x
        vstore(totals, task * LANES, total)
        vstore(products, task * LANES, product)


@kernel
def sloped_combine(delta, delta_at, x, x_at, gain, offset, slope, of_delta, of_x, constant, y, y_at):
    """y = of_delta d + of_x x + constant, channel by channel, with d as in `sloped_sums`. delta_at, x_at: `Planes`;
    y_at: `Strides`."""
    for task in prange(row_tasks(delta_at)):
        picture, block, row = row_task(task, delta_at)
        delta_row, x_row = cell(delta_at, picture, block, row, 0), cell(x_at, picture, block, row, 0)
        y_row, channel = strided_cell(y_at, picture, block, row), block * LANES
        g, o, below = vload(gain, channel), vload(offset, channel), vsplat(slope)
        a, b, c = vload(of_delta, channel), vload(of_x, channel), vload(constant, channel)
        for column in range(delta_at.width):
            change, value = vload(delta, delta_row + column * LANES), vload(x, x_row + column * LANES)
            change = vwhere_positive(vmuladd(g, value, o), change, change * below)
            vstore(y, y_row + column * y_at.column_stride, vmuladd(b, value, vmuladd(a, change, c)))
