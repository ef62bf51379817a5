"""Sums, products, resampling and batch statistics of blocked activations, and the backward passes of these.
Arrays are flat float32; x_at, y_at, ...: their geometry, `Planes` unless a function says `Strides`."""

import numba
from numba import prange

from ..runtime.jit import kernel
from .addressing import cell, plane_task, row_task, row_tasks, strided_cell, written_row, zero_halo
from .simd import LANES, vload, vmuladd, vsplat, vstore, vwhere_positive

f32 = numba.float32


@kernel
def add(a, a_at, b, b_at, slope, y, y_at):
    """y = a + b, multiplied by `slope` where it is not above zero."""
    for task in prange(row_tasks(y_at)):
        picture, block, row = written_row(task, y, y_at)
        floats = y_at.width * LANES
        to, a_row = cell(y_at, picture, block, row, 0), cell(a_at, picture, block, row, 0)
        b_row = cell(b_at, picture, block, row, 0)
        target, first, second = y[to : to + floats], a[a_row : a_row + floats], b[b_row : b_row + floats]
        for k in range(floats):
            value = first[k] + second[k]
            target[k] = value if value > f32(0.0) else value * slope


@kernel
def scale(x, x_at, gain, bias, slope, y, y_at):
    """y = gain * x + bias, each (blocks * LANES,), and `slope` times that where it is not above 0."""
    for task in prange(row_tasks(y_at)):
        picture, block, row = written_row(task, y, y_at)
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
    """y = keep * y + gain * x in place, on the cells of `extent` (`Extent`). x_at, y_at: `Strides`; keep, gain:
    (blocks * LANES,)."""
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
    """y = a * b. a_at: `Strides`; a_lane: floats between the lanes of a. A stride of 0 repeats a vector over the
    plane, or a plane over the channels."""
    for task in prange(row_tasks(y_at)):
        picture, block, row = written_row(task, y, y_at)
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
    """y = each cell of x repeated stride x stride times, multiplied by `factor`; 1 leaves words of any numbers."""
    for task in prange(row_tasks(y_at)):
        picture, block, row = written_row(task, y, y_at)
        to, x_row = cell(y_at, picture, block, row, 0), cell(x_at, picture, block, row // stride, 0)
        for column in range(y_at.width // stride):
            value = vload(x, x_row + column * LANES)
            if factor != f32(1.0):
                value = value * vsplat(factor)
            for repeat in range(stride):
                vstore(y, to + (column * stride + repeat) * LANES, value)


@kernel
def sum_blocks(x, x_at, stride, factor, y, y_at):
    """y = the sum of each stride x stride square of x, multiplied by `factor`."""
    for task in prange(row_tasks(y_at)):
        picture, block, row = written_row(task, y, y_at)
        to, x_row = cell(y_at, picture, block, row, 0), cell(x_at, picture, block, row * stride, 0)
        for column in range(y_at.width):
            for lane in range(LANES):
                total = f32(0.0)
                for i in range(stride):
                    for j in range(stride):
                        total += x[x_row + (i * x_at.pitch + column * stride + j) * LANES + lane]
                y[to + column * LANES + lane] = factor * total


# --- backward passes --------------------------------------------------------------------------------------------------


@kernel
def sum_planes(x, x_at, factor, y, y_at):
    """y, planes of one cell = the sum of each channel of x, row by row, times `factor`."""
    for task in prange(y_at.pictures * y_at.blocks):
        picture, block = plane_task(task, y_at)
        zero_halo(y, y_at, picture, block)
        total = vsplat(f32(0.0))
        for row in range(x_at.height):
            x_row, line = cell(x_at, picture, block, row, 0), vsplat(f32(0.0))
            for column in range(x_at.width):
                line = line + vload(x, x_row + column * LANES)
            total = total + line
        vstore(y, cell(y_at, picture, block, 0, 0), total * vsplat(factor))


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


# --- batch normalisation ----------------------------------------------------------------------------------------------
#
# Statistics of the batch in one pass over memory, and the way back in two, together with that of an activation that is
# the identity above zero and a line through zero below.


@kernel
def channel_moments(x, x_at, means, squares):
    """For each channel of each picture the mean and the sum of squared differences from it; (pictures, blocks *
    LANES) each, flat. x_at: `Planes`.

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
    """For each channel of each picture the sums of d and of d (x - mean), (pictures, blocks * LANES) each, flat;
    d is delta where gain x + offset is above zero, else `slope` times that. delta_at, x_at: `Planes`."""
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
    """y = of_delta d + of_x x + constant, channel by channel, with d as in `sloped_sums`. delta_at, x_at:
    `Planes`; y_at: `Strides`."""
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
