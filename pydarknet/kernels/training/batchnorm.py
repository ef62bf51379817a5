"""Batch normalisation in training: statistics of the batch in one pass over memory, and the way back in two, together
with that of an activation that is the identity above zero and a line through zero below."""

from __future__ import annotations

import numba
from numba import prange

from ...runtime.jit import kernel
from ..simd.vector import vload, vmuladd, vsplat, vstore, vwhere_positive

f32 = numba.float32


@kernel
def channel_moments(a, a_item, a_block, a_pitch, a_origin, batch, blocks, height, width, means, squares):
    """For each channel of each item the mean and the sum of squared differences from it; (batch, blocks * 16) each.

    A row is read twice while it is near; rows are joined as by Chan, Golub and LeVeque (1983).
    """
    for task in prange(batch * blocks):
        item = task // blocks
        block = task - item * blocks
        mean, square = vsplat(f32(0.0)), vsplat(f32(0.0))
        share = vsplat(f32(1.0) / f32(width))
        for row in range(height):
            at = item * a_item + block * a_block + a_origin + row * a_pitch * 16
            of_row = vsplat(f32(0.0))
            for column in range(width):
                of_row = of_row + vload(a, at + column * 16)
            of_row = of_row * share
            for column in range(width):
                apart = vload(a, at + column * 16) - of_row
                square = vmuladd(apart, apart, square)
            apart = of_row - mean
            mean = vmuladd(apart, vsplat(f32(1.0) / f32(row + 1)), mean)
            square = vmuladd(apart * apart, vsplat(f32(width) * f32(row) / f32(row + 1)), square)
        vstore(means, task * 16, mean)
        vstore(squares, task * 16, square)


@kernel
def sloped_sums(delta, d_item, d_block, d_pitch, d_origin, x, x_item, x_block, x_pitch, x_origin, gain, offset, slope,
                mean, batch, blocks, height, width, totals, products):  # fmt: skip
    """For each channel of each item the sums of d and of d (x - mean), (batch, blocks * 16) each; d is delta where
    gain x + offset is above zero, else `slope` times that."""
    for task in prange(batch * blocks):
        item = task // blocks
        block = task - item * blocks
        g, o, m = vload(gain, block * 16), vload(offset, block * 16), vload(mean, block * 16)
        below = vsplat(slope)
        total, product = vsplat(f32(0.0)), vsplat(f32(0.0))
        for row in range(height):
            d_at = item * d_item + block * d_block + d_origin + row * d_pitch * 16
            x_at = item * x_item + block * x_block + x_origin + row * x_pitch * 16
            line, with_x = vsplat(f32(0.0)), vsplat(f32(0.0))
            for column in range(width):
                change, value = vload(delta, d_at + column * 16), vload(x, x_at + column * 16)
                change = vwhere_positive(vmuladd(g, value, o), change, change * below)
                line = line + change
                with_x = vmuladd(change, value - m, with_x)
            total, product = total + line, product + with_x
        vstore(totals, task * 16, total)
        vstore(products, task * 16, product)


@kernel
def sloped_combine(delta, d_item, d_block, d_pitch, d_origin, x, x_item, x_block, x_pitch, x_origin, gain, offset,
                   slope, of_delta, of_x, constant, y, y_item, y_block, y_origin, y_row, y_step,
                   batch, blocks, height, width):  # fmt: skip
    """y = of_delta d + of_x x + constant, channel by channel, with d as in `sloped_sums`; y's cells are `y_step` floats
    apart, its rows `y_row`."""
    for task in prange(batch * blocks * height):
        item = task // (blocks * height)
        block = task // height - item * blocks
        row = task - (item * blocks + block) * height
        d_at = item * d_item + block * d_block + d_origin + row * d_pitch * 16
        x_at = item * x_item + block * x_block + x_origin + row * x_pitch * 16
        y_at = item * y_item + block * y_block + y_origin + row * y_row
        g, o, below = vload(gain, block * 16), vload(offset, block * 16), vsplat(slope)
        a, b, c = vload(of_delta, block * 16), vload(of_x, block * 16), vload(constant, block * 16)
        for column in range(width):
            change, value = vload(delta, d_at + column * 16), vload(x, x_at + column * 16)
            change = vwhere_positive(vmuladd(g, value, o), change, change * below)
            vstore(y, y_at + column * y_step, vmuladd(b, value, vmuladd(a, change, c)))
