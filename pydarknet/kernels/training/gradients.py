"""What training adds: sums over pixels, the gradients of filters, and the ways back through pooling and routes."""

from __future__ import annotations

import numba
import numpy as np
from numba import prange

from ...runtime.jit import kernel
from ..convolution.microkernel import ROWS
from ..convolution.winograd_microkernel import GRADIENT_LANES, tile_gradient
from ..halo import clear
from ..simd.vector import vload, vmuladd, vsplat, vstore, vwhere_equal

f32 = numba.float32

# Pixels whose inputs and deltas stay in a core's first cache while all cells of a filter meet them.
AT_ONCE = 160


@kernel
def filter_gradient(x, x_item, x_row, x_step, taps, delta, delta_item, delta_block, delta_row, delta_step, tasks,
                    batch, height, width, splits, out, out_split, out_block):  # fmt: skip
    """out[split] = sum over items and pixels of delta x input, for the groups of filters and channels in `tasks`.

    tasks: (m, 4) int64: offsets of the first input channel in x, of the first filter's block in delta, of the result in
    out, and 1 or 2 blocks of filters. taps: (size * size,) offsets in x of the filter's cells. Rows are divided into
    `splits` parts, whatever the number of threads, so that the order of sums is always the same.
    """
    tap_count = taps.shape[0]
    for part in prange(tasks.shape[0] * splits):
        task = part // splits
        split = part - task * splits
        x_at, delta_at, blocks = tasks[task, 0], tasks[task, 1], tasks[task, 3]
        out_at = split * out_split + tasks[task, 2]
        for r in range(blocks):
            clear(out[out_at + r * out_block : out_at + r * out_block + tap_count * GRADIENT_LANES * 16])
        # A single block at the end is computed as a pair of the same: the second result falls on the first.
        delta_second = delta_block if blocks == ROWS else 0
        out_second = out_block if blocks == ROWS else 0
        line, end = batch * height * split // splits, batch * height * (split + 1) // splits
        while line < end:
            item = line // height
            row = line - item * height
            rows = min(end - line, height - row, max(1, AT_ONCE // width))
            for tap in range(tap_count):
                tile_gradient(
                    x, item * x_item + row * x_row + taps[tap] + x_at, x_row, x_step,
                    delta, item * delta_item + row * delta_row + delta_at, delta_row, delta_step, delta_second,
                    rows, width, out, out_at + tap * GRADIENT_LANES * 16, out_second,
                )  # fmt: skip
            line += rows


@kernel
def depthwise_gradient(x, x_item, x_block, x_row, x_step, taps, delta, delta_item, delta_block, delta_row, delta_step,
                       batch, blocks, height, width, out):  # fmt: skip
    """The same for filters of one channel each: out (blocks, taps, 16)."""
    tap_count = taps.shape[0]
    for part in prange(blocks * tap_count):
        block = part // tap_count
        tap = part - block * tap_count
        total = vsplat(f32(0.0))
        for item in range(batch):
            for row in range(height):
                x_at = item * x_item + block * x_block + row * x_row + taps[tap]
                delta_at = item * delta_item + block * delta_block + row * delta_row
                line = vsplat(f32(0.0))
                for column in range(width):
                    line = vmuladd(vload(x, x_at + column * x_step), vload(delta, delta_at + column * delta_step), line)
                total = total + line
        vstore(out, part * 16, total)


@kernel
def unpack_filter_gradient(packed, splits, out_split, tasks, channels_per_group, filters_per_group, size, channel_units,
                           gradient):  # fmt: skip
    """gradient (n, channels / groups, size, size), flat, += the packed sums of all splits, in their order."""
    taps = size * size
    n = gradient.shape[0] // (channels_per_group * taps)
    for task in prange(tasks.shape[0]):
        first_channel = channel_units[task, 1] * GRADIENT_LANES
        for r in range(tasks[task, 3]):
            for lane in range(16):
                f = (channel_units[task, 0] + r) * 16 + lane
                if f >= n:
                    continue
                base = f // filters_per_group * channels_per_group
                for i in range(GRADIENT_LANES):
                    c = first_channel + i - base
                    if c < 0 or c >= channels_per_group:
                        continue
                    for tap in range(taps):
                        total = f32(0.0)
                        at = tasks[task, 2] + r * channel_units[task, 2] + (tap * GRADIENT_LANES + i) * 16 + lane
                        for split in range(splits):
                            total += packed[split * out_split + at]
                        gradient[(f * channels_per_group + c) * taps + tap] += total


@kernel
def channel_total(a, a_item, a_block, a_pitch, a_origin, batch, blocks, height, width, out):
    """out (batch, blocks * 16): the sum of each channel of each item."""
    for task in prange(batch * blocks):
        item = task // blocks
        block = task - item * blocks
        at = item * a_item + block * a_block + a_origin
        total = vsplat(f32(0.0))
        for row in range(height):
            line = vsplat(f32(0.0))
            for column in range(width):
                line = line + vload(a, at + (row * a_pitch + column) * 16)
            total = total + line
        vstore(out, task * 16, total)


@kernel
def spread_cells(x, x_item, x_block, x_pitch, x_origin, y, y_item, y_block, y_origin, y_row, y_step,
                 batch, blocks, height, width):  # fmt: skip
    """Copy x to y, whose cells are `y_step` floats apart, its rows `y_row`."""
    for task in prange(batch * blocks * height):
        item = task // (blocks * height)
        block = task // height - item * blocks
        row = task - (item * blocks + block) * height
        x_at = item * x_item + block * x_block + x_origin + row * x_pitch * 16
        y_at = item * y_item + block * y_block + y_origin + row * y_row
        for column in range(width):
            vstore(y, y_at + column * y_step, vload(x, x_at + column * 16))


@kernel
def maxpool_gradient(x, x_item, x_block, x_pitch, x_origin, in_height, in_width, size, stride_y, stride_x, pad,
                     y, y_item, y_block, y_pitch, y_origin, delta, d_item, d_block, d_pitch, d_origin,
                     out, o_item, o_block, o_pitch, o_origin, adds, batch, blocks, height, width):  # fmt: skip
    """out at the first cell, in reading order, of each window that equals its maximum += delta. Unless it `adds`, out
    is written: delta there, 0 at the other cells of the window; no two windows may then share a cell."""
    for task in prange(batch * blocks):
        item = task // blocks
        block = task - item * blocks
        x_at, o_at = item * x_item + block * x_block + x_origin, item * o_item + block * o_block + o_origin
        y_at, d_at = item * y_item + block * y_block + y_origin, item * d_item + block * d_block + d_origin
        for row in range(height):
            top, bottom = max(row * stride_y - pad, 0), min(row * stride_y - pad + size, in_height)
            for column in range(width):
                left, right = max(column * stride_x - pad, 0), min(column * stride_x - pad + size, in_width)
                best = vload(y, y_at + (row * y_pitch + column) * 16)
                pending = vload(delta, d_at + (row * d_pitch + column) * 16)  # what has not found its cell yet
                for i in range(top, bottom):
                    for j in range(left, right):
                        to = o_at + (i * o_pitch + j) * 16
                        found = vwhere_equal(vload(x, x_at + (i * x_pitch + j) * 16), best, pending)
                        pending = pending - found
                        vstore(out, to, vload(out, to) + found if adds else found)


@kernel
def spread_gradient(delta, d_item, d_block, d_pitch, d_origin, factor, size, stride_y, stride_x, pad, out, o_item,
                    o_block, o_pitch, o_origin, in_height, in_width, batch, blocks, height, width):  # fmt: skip
    """Each cell of delta, times `factor`, added to all cells of its window: the gradient of an average."""
    for task in prange(batch * blocks):
        item = task // blocks
        block = task - item * blocks
        scale = vsplat(f32(factor))
        for row in range(height):
            for column in range(width):
                d_at = item * d_item + block * d_block + d_origin + (row * d_pitch + column) * 16
                change = vload(delta, d_at) * scale
                for i in range(max(row * stride_y - pad, 0), min(row * stride_y - pad + size, in_height)):
                    for j in range(max(column * stride_x - pad, 0), min(column * stride_x - pad + size, in_width)):
                        at = item * o_item + block * o_block + o_origin + (i * o_pitch + j) * 16
                        vstore(out, at, vload(out, at) + change)


@kernel
def add_channels(x, x_item, x_block, x_pitch, x_origin, first, count, y, y_item, y_block, y_pitch, y_origin, to,
                 batch, height, width):  # fmt: skip
    """`count` channels of y from `to` on += channels of x from `first` on."""
    for task in prange(batch * height):
        item = task // height
        row = task - item * height
        for c in range(count):
            x_at = item * x_item + (first + c) // 16 * x_block + x_origin + row * x_pitch * 16 + (first + c) % 16
            y_at = item * y_item + (to + c) // 16 * y_block + y_origin + row * y_pitch * 16 + (to + c) % 16
            source, cells = x[x_at : x_at + (width - 1) * 16 + 1], y[y_at : y_at + (width - 1) * 16 + 1]
            for column in range(width):
                cells[column * 16] += source[column * 16]


@kernel
def dense_weight_gradient(x, delta, batch, inputs, outputs, gradient):
    """gradient[o, i] += sum over items of delta[n, o] x[n, i]; all flat."""
    for o in prange(outputs):
        row = gradient[o * inputs : o * inputs + inputs]
        for n in range(batch):
            values, change = x[n * inputs : n * inputs + inputs], delta[n * outputs + o]
            for i in range(inputs):
                row[i] += change * values[i]


@kernel
def dense_input_gradient(delta, weights, batch, inputs, outputs, out):
    """out[n, i] = sum over o of delta[n, o] weights[o, i]; all flat."""
    chunks = (inputs + 1023) // 1024
    for task in prange(batch * chunks):
        n = task // chunks
        first = (task - n * chunks) * 1024
        count = min(1024, inputs - first)
        result = out[n * inputs + first : n * inputs + first + count]
        clear(result)
        for o in range(outputs):
            row, change = weights[o * inputs + first : o * inputs + first + count], delta[n * outputs + o]
            for i in range(count):
                result[i] += change * row[i]


@kernel
def descend(weights, updates, rate, decay, momentum):
    """updates -= decay * weights; weights += rate * updates; updates *= momentum."""
    chunks = (weights.size + 4095) // 4096
    for chunk in prange(chunks):
        w, u = weights[chunk * 4096 : chunk * 4096 + 4096], updates[chunk * 4096 : chunk * 4096 + 4096]
        for k in range(w.size):
            change = u[k] - decay * w[k]
            w[k] += rate * change
            u[k] = momentum * change


@kernel
def adapt(weights, updates, means, squares, rate, decay, keeps_mean, keeps_square, of_mean, of_square, epsilon):
    """Adam (Kingma and Ba, 2015): the rolling means of change = updates - decay * weights and of its square, divided by
    `of_mean` and `of_square`, move the weights by rate * mean / (sqrt(square) + epsilon); updates = 0."""
    one = f32(1.0)
    chunks = (weights.size + 4095) // 4096
    for chunk in prange(chunks):
        first, end = chunk * 4096, chunk * 4096 + 4096
        w, u, m, v = weights[first:end], updates[first:end], means[first:end], squares[first:end]
        for k in range(w.size):
            change = u[k] - decay * w[k]
            m[k] = keeps_mean * m[k] + (one - keeps_mean) * change
            v[k] = keeps_square * v[k] + (one - keeps_square) * change * change
            w[k] += rate * (m[k] / of_mean) / (np.sqrt(v[k] / of_square) + epsilon)
            u[k] = f32(0.0)
