"""Convolutions that follow one another (pointwise, depthwise, pointwise) in one go, band by band, so that what stands
between them never leaves the cache of a core."""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import prange

from ...runtime.jit import device, kernel
from ..halo import clear, clear_halos
from ..task_queue import next_task, reset_queue
from .convolution_pixels import convolve_pixels, unknown
from .direct import SHORTEST, depthwise_rows, straight_rows


class Pointwise(NamedTuple):
    """A 1x1 convolution as `convolve` takes it; `step`: floats from pixel to pixel of what it reads."""

    taps: Any
    step: int
    lanes: int
    groups: Any
    weights: Any
    bias: Any
    slope: float
    activation: int


class Depthwise(NamedTuple):
    """A convolution of each of `channels` channels with `size` rows of its own, as `convolve_depthwise` takes it;
    `block`, `row`, `step`: floats between blocks, output rows and output columns of what it reads; `is_straight`:
    whether `straight_rows` can be used, as cells lie side by side, and memory that may be read follows the last."""

    taps: Any
    block: int
    row: int
    step: int
    weights: Any
    bias: Any
    slope: float
    activation: int
    size: int
    stride: int
    padding: int
    channels: int
    is_straight: bool


class Plane(NamedTuple):
    """What is expanded, with `side` cells of zeros left and right once it is."""

    height: int
    width: int
    side: int


class Band(NamedTuple):
    """The rows of one task: `rows` of the output from `top` on, `width` cells each; of the expanded plane those from
    `low` to `end`, of which those from `first` to `last` exist."""

    top: int
    rows: int
    width: int
    low: int
    first: int
    last: int
    end: int


@device
def _band(index, bands, height, width, depthwise, plane):
    """The `index`-th of so many parts of `height` rows."""
    top = height * index // bands
    rows = height * (index + 1) // bands - top
    low = top * depthwise.stride - depthwise.padding
    end = low + (rows - 1) * depthwise.stride + depthwise.size
    first = min(max(low, 0), end)
    return Band(top, rows, width, low, first, max(first, min(plane.height, end)), end)


@device
def _clear_outside(work, at, band, plane):
    """Zeros in what lies outside of the expanded plane, whose row `band.low` begins at `at`."""
    pitch, side = (plane.width + 2 * plane.side) * 16, plane.side * 16
    clear(work[at : at + (band.first - band.low) * pitch])
    for row in range(band.first - band.low, band.last - band.low):
        start = at + row * pitch
        clear(work[start : start + side])
        clear(work[start + pitch - side : start + pitch])
    clear(work[at + (band.last - band.low) * pitch : at + (band.end - band.low) * pitch])


@device
def _expand(x, x_at, x_row, expand, group, depthwise, band, plane, work, at):
    """The blocks of one group, `depthwise.block` floats apart from `at` on."""
    block, count = expand.groups[group, 0], expand.groups[group, 1]
    pitch = plane.width + 2 * plane.side
    none, never = unknown(count)
    for r in range(count):
        _clear_outside(work, at + r * depthwise.block, band, plane)
    convolve_pixels(
        count, expand.lanes, x, x_at + band.first * x_row, x_row, expand.step, expand.taps, expand.groups[group, 2],
        expand.groups[group, 3], expand.weights, expand.groups[group, 4], expand.bias, block * 16, work,
        at + ((band.first - band.low) * pitch + plane.side) * 16, depthwise.block, pitch, none,
        (band.last - band.first) * plane.width, plane.width, depthwise.channels - block * 16, expand.slope,
        expand.activation, never, never, work, none, none, none, never,
    )  # fmt: skip


@device
def _convolve_block(x, x_at, depthwise, block, band, work, at):
    """One block of the depthwise convolution, its rows one after another from `at` on."""
    weights_at = block * depthwise.taps.shape[0] * 16
    if depthwise.is_straight:
        straight_rows(
            x, x_at, depthwise.row, depthwise.taps, depthwise.weights, weights_at, depthwise.bias, block * 16, work, at,
            band.rows, band.width, depthwise.slope,
        )  # fmt: skip
    else:
        depthwise_rows(
            x, x_at, depthwise.row, depthwise.step, depthwise.taps, depthwise.weights, weights_at, depthwise.bias,
            block * 16, work, at, band.width, band.rows, band.width, depthwise.channels - block * 16, depthwise.slope,
            depthwise.activation,
        )  # fmt: skip


@kernel
def convolve_chain(x, x_item, x_row, in_height, in_width, side,
                   e_taps, e_step, e_lanes, e_groups, e_weights, e_bias, e_slope, e_activation,
                   d_taps, d_block, d_row, d_step, d_weights, d_bias, d_slope, d_activation,
                   size, stride, padding, middle,
                   p_taps, p_step, p_lanes, p_groups, p_weights, p_bias, p_slope, p_activation,
                   batch, height, width, bands, most, y, y_item, y_block, y_pitch, halo, channels,
                   adds, added, a_item, a_block, a_pitch, a_origin,
                   turns, workers, work, work_size):  # fmt: skip
    """y = project(depthwise(expand(x))), or project(depthwise(x)) where there are no `e_groups`; `added` as `convolve`.

    e, d, p: see Pointwise and Depthwise; x, which is expanded: `x_row` floats from row to row, see Plane. A task is one
    of `bands` parts of an item's `height` rows, of at most `most` rows. Workers take turns (`turns.py`); each has
    `work_size` floats of `work`: for the depthwise rows of all `middle` channels, then for the expanded rows of as many
    blocks as a group has, and room for PIXELS more.
    """
    expand = Pointwise(e_taps, e_step, e_lanes, e_groups, e_weights, e_bias, e_slope, e_activation)
    straight = d_step == 16 and d_activation == 0 and e_groups.shape[0] > 0 and width >= SHORTEST
    depthwise = Depthwise(d_taps, d_block, d_row, d_step, d_weights, d_bias, d_slope, d_activation, size, stride,
                          padding, middle, straight)  # fmt: skip
    plane = Plane(in_height, in_width, side)
    blocks, between = (middle + 15) // 16, most * width * 16
    reset_queue(turns, workers)
    for worker in prange(workers):
        scratch = worker * work_size
        expanded = scratch + blocks * between
        task = next_task(turns, worker, workers, batch * bands)
        while task >= 0:
            item = task // bands
            band = _band(task - item * bands, bands, height, width, depthwise, plane)
            for group in range(e_groups.shape[0]):
                _expand(x, item * x_item, x_row, expand, group, depthwise, band, plane, work, expanded)
                for r in range(e_groups[group, 1]):
                    block = e_groups[group, 0] + r
                    _convolve_block(
                        work, expanded + r * d_block, depthwise, block, band, work, scratch + block * between
                    )
            for block in range(0 if e_groups.shape[0] else blocks):
                x_at = item * x_item + block * d_block + band.top * d_row
                _convolve_block(x, x_at, depthwise, block, band, work, scratch + block * between)
            for group in range(p_groups.shape[0]):
                block, count = p_groups[group, 0], p_groups[group, 1]
                none, never = unknown(count)
                y_at, a_at = item * y_item + block * y_block, a_origin + item * a_item + block * a_block
                if band.top == 0:
                    clear_halos(y, y_at, y_block, count, height, width, halo)
                convolve_pixels(
                    count, p_lanes, work, scratch, width * p_step, p_step, p_taps, p_groups[group, 2],
                    p_groups[group, 3], p_weights, p_groups[group, 4], p_bias, block * 16, y,
                    y_at + ((band.top + halo) * y_pitch + halo) * 16, y_block, y_pitch, none, band.rows * width, width,
                    channels - block * 16, p_slope, p_activation, never, adds, added, a_at + band.top * a_pitch * 16,
                    a_block, a_pitch, never,
                )  # fmt: skip
            task = next_task(turns, worker, workers, batch * bands)
