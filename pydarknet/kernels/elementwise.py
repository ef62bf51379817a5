"""Sums, products and resampling of blocked activations. Arrays are flat float32; x_at, y_at, ...: their geometry,
`Planes` unless a function says `Strides`."""

from __future__ import annotations

import numba
from numba import prange

from ..runtime.jit import kernel
from .addressing import cell, row_task, row_tasks, strided_cell
from .halo import zero_halo
from .simd.vector import LANES

f32 = numba.float32


@kernel
def add(a, a_at, b, b_at, slope, y, y_at):
    """y = a + b, multiplied by `slope` where it is not above zero."""
    for task in prange(row_tasks(y_at)):
        picture, block, row = row_task(task, y_at)
        if row == 0:
            zero_halo(y, y_at, picture, block)
        floats = y_at.width * LANES
        to, a_row = cell(y_at, picture, block, row, 0), cell(a_at, picture, block, row, 0)
        b_row = cell(b_at, picture, block, row, 0)
        target, first, second = y[to : to + floats], a[a_row : a_row + floats], b[b_row : b_row + floats]
        for k in range(floats):
            value = first[k] + second[k]
            target[k] = value if value > f32(0.0) else value * slope


@kernel
def scale(x, x_at, gain, bias, slope, y, y_at):
    """y = gain * x + bias, channel by channel, and `slope` times that where it is not above 0.

    gain, bias: (blocks * LANES,).
    """
    for task in prange(row_tasks(y_at)):
        picture, block, row = row_task(task, y_at)
        if row == 0:
            zero_halo(y, y_at, picture, block)
        floats, channel = y_at.width * LANES, block * LANES
        to, x_row = cell(y_at, picture, block, row, 0), cell(x_at, picture, block, row, 0)
        target, source = y[to : to + floats], x[x_row : x_row + floats]
        factor, offset = gain[channel : channel + LANES], bias[channel : channel + LANES]
        for column in range(y_at.width):
            for lane in range(LANES):
                k = column * LANES + lane
                value = factor[lane] * source[k] + offset[lane]
                target[k] = value if value > f32(0.0) else slope * value


@kernel
def add_scaled(x, x_at, keep, gain, y, y_at, extent):
    """y = keep * y + gain * x in place. x_at, y_at: `Strides`; extent: `Extent`, the cells that take part.

    keep, gain: (blocks * LANES,).
    """
    for task in prange(row_tasks(extent)):
        picture, block, row = row_task(task, extent)
        channel = block * LANES
        k, g = keep[channel : channel + LANES], gain[channel : channel + LANES]
        y_row, x_row = strided_cell(y_at, picture, block, row), strided_cell(x_at, picture, block, row)
        for column in range(extent.width):
            y_cell, x_cell = y_row + column * y_at.column_stride, x_row + column * x_at.column_stride
            target, source = y[y_cell : y_cell + LANES], x[x_cell : x_cell + LANES]
            for lane in range(LANES):
                target[lane] = k[lane] * target[lane] + g[lane] * source[lane]


@kernel
def multiply(a, a_at, a_lane, b, b_at, y, y_at):
    """y = a * b. a_at: `Strides`; a_lane: floats between the lanes of a. A stride of 0 repeats a vector over the plane,
    or a plane over the channels."""
    for task in prange(row_tasks(y_at)):
        picture, block, row = row_task(task, y_at)
        if row == 0:
            zero_halo(y, y_at, picture, block)
        floats, a_row = y_at.width * LANES, strided_cell(a_at, picture, block, row)
        to, b_row = cell(y_at, picture, block, row, 0), cell(b_at, picture, block, row, 0)
        target, other = y[to : to + floats], b[b_row : b_row + floats]
        for column in range(y_at.width):
            a_cell = a_row + column * a_at.column_stride
            factor = a[a_cell : a_cell + (LANES - 1) * a_lane + 1]
            for lane in range(LANES):
                target[column * LANES + lane] = factor[lane * a_lane] * other[column * LANES + lane]


@kernel
def upsample(x, x_at, stride, factor, y, y_at):
    """y = each cell of x repeated stride x stride times, multiplied by `factor`."""
    for task in prange(row_tasks(y_at)):
        picture, block, row = row_task(task, y_at)
        if row == 0:
            zero_halo(y, y_at, picture, block)
        cells = y_at.width // stride
        to, x_row = cell(y_at, picture, block, row, 0), cell(x_at, picture, block, row // stride, 0)
        target, source = y[to : to + y_at.width * LANES], x[x_row : x_row + cells * LANES]
        for column in range(cells):
            for repeat in range(stride):
                for lane in range(LANES):
                    target[(column * stride + repeat) * LANES + lane] = factor * source[column * LANES + lane]


@kernel
def sum_blocks(x, x_at, stride, factor, y, y_at):
    """y = the sum of each stride x stride square of x, multiplied by `factor`."""
    for task in prange(row_tasks(y_at)):
        picture, block, row = row_task(task, y_at)
        if row == 0:
            zero_halo(y, y_at, picture, block)
        to, x_row = cell(y_at, picture, block, row, 0), cell(x_at, picture, block, row * stride, 0)
        for column in range(y_at.width):
            for lane in range(LANES):
                total = f32(0.0)
                for i in range(stride):
                    for j in range(stride):
                        total += x[x_row + (i * x_at.pitch + column * stride + j) * LANES + lane]
                y[to + column * LANES + lane] = factor * total
