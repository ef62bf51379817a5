"""Matrix-vector products over plain arrays."""

from __future__ import annotations

import numba
from numba import prange

from ..runtime.jit import reducing_kernel

f32 = numba.float32


@reducing_kernel
def dense(x, x_item, weights, gain, bias, y, batch, inputs, outputs):
    """y[n, o] = gain[o] * (weights[o] . x[n]) + bias[o]; all arrays flat, items of x `x_item` floats apart."""
    for o in prange(outputs):
        row = weights[o * inputs : o * inputs + inputs]
        for n in range(batch):
            values = x[n * x_item : n * x_item + inputs]
            total = f32(0.0)
            for i in range(inputs):
                total += row[i] * values[i]
            y[n * outputs + o] = gain[o] * total + bias[o]


@reducing_kernel
def locally_connected(x, weights, bias, batch, channels, height, width, size, stride, pad, filters, out_height,
                      out_width, y):  # fmt: skip
    """A convolution whose every output location has filters of its own: weights (location, filter, channel, row,
    column).

    x: plain and flat; y, bias: plain (filter, row, column).
    """
    window = channels * size * size
    places = out_height * out_width
    for task in prange(batch * places):
        item = task // places
        place = task - item * places
        top = place // out_width * stride - pad
        left = place % out_width * stride - pad
        for f in range(filters):
            row = (place * filters + f) * window
            total = f32(0.0)
            for c in range(channels):
                for u in range(max(0, -top), min(size, height - top)):
                    first, last = max(0, -left), min(size, width - left)
                    from_ = ((item * channels + c) * height + top + u) * width + left
                    to = row + (c * size + u) * size
                    cells, factors = x[from_ + first : from_ + last], weights[to + first : to + last]
                    for v in range(last - first):
                        total += factors[v] * cells[v]
            y[(item * filters + f) * places + place] = total + bias[f * places + place]
