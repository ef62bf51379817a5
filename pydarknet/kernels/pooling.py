"""Pooling over blocked activations. Cells outside the plane take no part."""

from __future__ import annotations

import numba
from numba import prange

from ..runtime.jit import device, kernel
from .halo import clear_halo
from .simd.vector import vload, vmax, vsplat, vstore

f32 = numba.float32


@device
def pool_rows(x, at, pitch, rows, columns, y, y_at):
    """The largest of each 2 x 2 cells of one or two rows, `pitch` cells apart, to cells that follow one another."""
    for j in range((columns + 1) // 2):
        cell = at + 2 * j * 16
        right = cell + 16 if 2 * j + 1 < columns else cell
        best = vmax(vload(x, cell), vload(x, right))
        if rows == 2:
            below = vmax(vload(x, cell + pitch * 16), vload(x, right + pitch * 16))
            best = vmax(best, below)
        vstore(y, y_at + j * 16, best)


@kernel
def maxpool(x, x_item, x_block, x_pitch, x_origin, in_height, in_width, size, stride_y, stride_x, pad,
            y, y_item, y_block, y_pitch, halo, batch, blocks, height, width):  # fmt: skip
    """Largest value of each size x size window; windows begin `pad` cells before row * stride_y, column * stride_x.

    A window that lies outside the plane altogether gives 0.
    """
    for task in prange(batch * blocks * height):
        item = task // (blocks * height)
        block = task // height - item * blocks
        row = task - (item * blocks + block) * height
        base = item * y_item + block * y_block
        if row == 0 and halo > 0:
            clear_halo(y, base, height, width, halo)
        y_at = base + ((row + halo) * y_pitch + halo) * 16
        x_at = item * x_item + block * x_block + x_origin
        top = max(row * stride_y - pad, 0)
        bottom = min(row * stride_y - pad + size, in_height)
        for column in range(width):
            left = max(column * stride_x - pad, 0)
            right = min(column * stride_x - pad + size, in_width)
            best = vsplat(f32(-3.4028234663852886e38) if top < bottom and left < right else f32(0.0))
            for i in range(top, bottom):
                for j in range(left, right):
                    best = vmax(vload(x, x_at + (i * x_pitch + j) * 16), best)
            vstore(y, y_at + column * 16, best)


@kernel
def local_average(x, x_item, x_block, x_pitch, x_origin, in_height, in_width, size, stride_y, stride_x, pad,
                  y, y_item, y_block, y_pitch, halo, batch, blocks, height, width):  # fmt: skip
    """Mean of the cells of each window that lie inside the plane; arguments as `maxpool`."""
    for task in prange(batch * blocks * height):
        item = task // (blocks * height)
        block = task // height - item * blocks
        row = task - (item * blocks + block) * height
        base = item * y_item + block * y_block
        if row == 0 and halo > 0:
            clear_halo(y, base, height, width, halo)
        y_at = base + ((row + halo) * y_pitch + halo) * 16
        x_at = item * x_item + block * x_block + x_origin
        top = max(row * stride_y - pad, 0)
        bottom = min(row * stride_y - pad + size, in_height)
        for column in range(width):
            left = max(column * stride_x - pad, 0)
            right = min(column * stride_x - pad + size, in_width)
            total = vsplat(f32(0.0))
            for i in range(top, bottom):
                for j in range(left, right):
                    total = total + vload(x, x_at + (i * x_pitch + j) * 16)
            cells = max((bottom - top) * (right - left), 1)
            vstore(y, y_at + column * 16, total * vsplat(f32(1.0) / f32(cells)))


@kernel
def global_average(x, x_item, x_block, x_pitch, x_origin, in_height, in_width, y, y_item, y_block, halo, batch, blocks):
    """Mean of each channel, into one cell."""
    for task in prange(batch * blocks):
        item = task // blocks
        block = task - item * blocks
        base = item * y_item + block * y_block
        if halo > 0:
            clear_halo(y, base, 1, 1, halo)
        x_at = item * x_item + block * x_block + x_origin
        total = vsplat(f32(0.0))
        for i in range(in_height):
            line = vsplat(f32(0.0))
            for j in range(in_width):
                line = line + vload(x, x_at + (i * x_pitch + j) * 16)
            total = total + line
        at = base + (halo * (1 + 2 * halo) + halo) * 16
        vstore(y, at, total * vsplat(f32(1.0) / f32(in_height * in_width)))
