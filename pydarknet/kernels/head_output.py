"""What the last layers do: planes of a detection head on their way into plain order, and softmax."""

from __future__ import annotations

import numba
from numba import prange

from ..runtime.jit import kernel, scalar
from .activation import LOGISTIC, activate_fused, exp32
from .addressing import plane_task
from .reorder import unpack_block
from .simd import LANES

f32 = numba.float32

LOWEST = f32(-87.3)  # where `exp32` saturates: what lies below must become nothing, not nearly nothing


@scalar
def _power(x):
    """e^x for x up to 0, down to 0."""
    return exp32(x) * exp32(min(x - LOWEST, f32(0)))


@kernel
def unpack_head(blocked, at, logistic, scale, shift, plain):
    """As `unpack`, and of the channels for which `logistic` (channels,) is set the logistic function, and then those
    whose `scale` (channels,) is not 1 times that, minus `shift` (channels,)."""
    channels, plane = logistic.shape[0], at.height * at.width
    for task in prange(at.pictures * at.blocks):
        picture, block = plane_task(task, at)
        unpack_block(blocked, at, channels, picture, block, plain)
        to = (picture * channels + block * LANES) * plane
        for c in range(min(channels - block * LANES, LANES)):
            values, channel = plain[to + c * plane : to + (c + 1) * plane], block * LANES + c
            if logistic[channel]:
                activate_fused(values, LOGISTIC)
            if scale[channel] != f32(1):
                for k in range(plane):
                    values[k] = values[k] * scale[channel] - shift[channel]


@kernel
def softmax_planes(x, y, starts, count, step, cells, temperature, room):
    """y = e^(x / temperature), divided by the sum over `count` planes `step` floats apart; for each of `cells` places
    in the planes from each of `starts` (int64) on. `room`: 2 cells for each of these."""
    for s in prange(starts.shape[0]):
        first, there = starts[s], s * 2 * cells
        top, total = room[there : there + cells], room[there + cells : there + 2 * cells]
        top[:] = x[first : first + cells]
        total[:] = f32(0)
        for c in range(1, count):
            values = x[first + c * step : first + c * step + cells]
            for k in range(cells):
                top[k] = max(top[k], values[k])
        for c in range(count):
            at = first + c * step
            values, powers = x[at : at + cells], y[at : at + cells]
            for k in range(cells):
                powers[k] = _power(values[k] / temperature - top[k] / temperature)
                total[k] += powers[k]
        for c in range(count):
            powers = y[first + c * step : first + c * step + cells]
            for k in range(cells):
                powers[k] /= total[k]


@kernel
def softmax_rows(x, y, rows, count, temperature):
    """The same over each of `rows` runs of `count` numbers."""
    for row in prange(rows):
        values, powers = x[row * count : (row + 1) * count], y[row * count : (row + 1) * count]
        top, total = values[0], f32(0)
        for k in range(count):
            top = max(top, values[k])
        for k in range(count):
            powers[k] = _power(values[k] / temperature - top / temperature)
        for k in range(count):
            total += powers[k]
        for k in range(count):
            powers[k] /= total
