"""Sums, products and resampling of blocked activations."""

from __future__ import annotations

import numba
from numba import prange

from ..runtime.jit import kernel
from .halo import clear_halo

f32 = numba.float32


@kernel
def add(a, a_item, a_block, a_pitch, a_origin, b, b_item, b_block, b_pitch, b_origin, slope,
        y, y_item, y_block, y_pitch, halo, batch, blocks, height, width):  # fmt: skip
    """y = a + b, multiplied by `slope` where it is not above zero."""
    for task in prange(batch * blocks * height):
        item = task // (blocks * height)
        block = task // height - item * blocks
        row = task - (item * blocks + block) * height
        base = item * y_item + block * y_block
        if row == 0 and halo > 0:
            clear_halo(y, base, height, width, halo)
        y_at = base + ((row + halo) * y_pitch + halo) * 16
        a_at = item * a_item + block * a_block + a_origin + row * a_pitch * 16
        b_at = item * b_item + block * b_block + b_origin + row * b_pitch * 16
        to, first, second = y[y_at : y_at + width * 16], a[a_at : a_at + width * 16], b[b_at : b_at + width * 16]
        for k in range(width * 16):
            value = first[k] + second[k]
            to[k] = value if value > f32(0.0) else value * slope


@kernel
def scale(x, x_item, x_block, x_pitch, x_origin, gain, bias, slope, y, y_item, y_block, y_pitch, halo,
          batch, blocks, height, width):  # fmt: skip
    """y = gain * x + bias, channel by channel, and `slope` times that where it is not above 0; gain, bias: (blocks *
    16,)."""
    for task in prange(batch * blocks * height):
        item = task // (blocks * height)
        block = task // height - item * blocks
        row = task - (item * blocks + block) * height
        base = item * y_item + block * y_block
        if row == 0 and halo > 0:
            clear_halo(y, base, height, width, halo)
        y_at = base + ((row + halo) * y_pitch + halo) * 16
        x_at = item * x_item + block * x_block + x_origin + row * x_pitch * 16
        to, source = y[y_at : y_at + width * 16], x[x_at : x_at + width * 16]
        factor, offset = gain[block * 16 : block * 16 + 16], bias[block * 16 : block * 16 + 16]
        for column in range(width):
            for lane in range(16):
                k = column * 16 + lane
                value = factor[lane] * source[k] + offset[lane]
                to[k] = value if value > f32(0.0) else slope * value


@kernel
def add_scaled(x, x_item, x_block, x_pitch, x_origin, x_stride, keep, gain, y, y_item, y_block, y_pitch, y_origin,
               y_stride, batch, blocks, height, width):  # fmt: skip
    """y = keep * y + gain * x in place, on every `y_stride`-th cell of y and every `x_stride`-th of x.

    keep, gain: (blocks * 16,). `height`, `width` count the cells that take part.
    """
    for task in prange(batch * blocks * height):
        item = task // (blocks * height)
        block = task // height - item * blocks
        row = task - (item * blocks + block) * height
        y_at = item * y_item + block * y_block + y_origin + row * y_stride * y_pitch * 16
        x_at = item * x_item + block * x_block + x_origin + row * x_stride * x_pitch * 16
        k, g = keep[block * 16 : block * 16 + 16], gain[block * 16 : block * 16 + 16]
        for column in range(width):
            to = y[y_at + column * y_stride * 16 : y_at + column * y_stride * 16 + 16]
            source = x[x_at + column * x_stride * 16 : x_at + column * x_stride * 16 + 16]
            for lane in range(16):
                to[lane] = k[lane] * to[lane] + g[lane] * source[lane]


@kernel
def multiply(a, a_item, a_block, a_row, a_column, a_lane, a_origin, b, b_item, b_block, b_pitch, b_origin,
             y, y_item, y_block, y_pitch, halo, batch, blocks, height, width):  # fmt: skip
    """y = a * b. `a` is addressed by its own steps, so that a step of 0 repeats a vector over the plane, or a plane
    over the channels."""
    for task in prange(batch * blocks * height):
        item = task // (blocks * height)
        block = task // height - item * blocks
        row = task - (item * blocks + block) * height
        base = item * y_item + block * y_block
        if row == 0 and halo > 0:
            clear_halo(y, base, height, width, halo)
        y_at = base + ((row + halo) * y_pitch + halo) * 16
        b_at = item * b_item + block * b_block + b_origin + row * b_pitch * 16
        a_at = item * a_item + block * a_block + a_origin + row * a_row
        to, other = y[y_at : y_at + width * 16], b[b_at : b_at + width * 16]
        for column in range(width):
            factor = a[a_at + column * a_column : a_at + column * a_column + 15 * a_lane + 1]
            for lane in range(16):
                to[column * 16 + lane] = factor[lane * a_lane] * other[column * 16 + lane]


@kernel
def upsample(x, x_item, x_block, x_pitch, x_origin, stride, factor, y, y_item, y_block, y_pitch, halo,
             batch, blocks, height, width):  # fmt: skip
    """Each cell of x repeated stride x stride times, multiplied by `factor`; height, width: of y."""
    for task in prange(batch * blocks * height):
        item = task // (blocks * height)
        block = task // height - item * blocks
        row = task - (item * blocks + block) * height
        base = item * y_item + block * y_block
        if row == 0 and halo > 0:
            clear_halo(y, base, height, width, halo)
        y_at = base + ((row + halo) * y_pitch + halo) * 16
        x_at = item * x_item + block * x_block + x_origin + row // stride * x_pitch * 16
        to, source = y[y_at : y_at + width * 16], x[x_at : x_at + width // stride * 16]
        for column in range(width // stride):
            for repeat in range(stride):
                for lane in range(16):
                    to[(column * stride + repeat) * 16 + lane] = factor * source[column * 16 + lane]


@kernel
def sum_blocks(x, x_item, x_block, x_pitch, x_origin, stride, factor, y, y_item, y_block, y_pitch, halo,
               batch, blocks, height, width):  # fmt: skip
    """The sum of each stride x stride square of x, multiplied by `factor`; height, width: of y."""
    for task in prange(batch * blocks * height):
        item = task // (blocks * height)
        block = task // height - item * blocks
        row = task - (item * blocks + block) * height
        base = item * y_item + block * y_block
        if row == 0 and halo > 0:
            clear_halo(y, base, height, width, halo)
        y_at = base + ((row + halo) * y_pitch + halo) * 16
        x_at = item * x_item + block * x_block + x_origin + row * stride * x_pitch * 16
        for column in range(width):
            for lane in range(16):
                total = f32(0.0)
                for i in range(stride):
                    for j in range(stride):
                        total += x[x_at + (i * x_pitch + column * stride + j) * 16 + lane]
                y[y_at + column * 16 + lane] = factor * total
