"""Inverted bottlenecks (pointwise, depthwise, pointwise convolution) in one pass, band of rows by band, so that
what is between the convolutions never leaves the cache of a core."""

from typing import NamedTuple

from numba import prange

from ...runtime.jit import device, kernel
from ..addressing import cell, clear, next_task, reset_queue, residual_cell, zero_halos
from ..views import Epilogue
from .direct import (
    PlaneSource,
    PlaneTarget,
    convolve_depthwise_pixels,
    convolve_pixels,
    nothing_added,
    opaque_zero_and_false,
    straight_depthwise_rows,
)
from .microkernel import panel_of


class Band(NamedTuple):
    """`rows` of the output from `top` on; of the expanded plane those from `low` to `end`, of which those from
    `first` to `last` exist."""

    top: int
    rows: int
    width: int
    low: int
    first: int
    last: int
    end: int


@device
def _band(index, x_at, height, width, depthwise):
    top = height * index // x_at.bands
    rows = height * (index + 1) // x_at.bands - top
    low = top * depthwise.stride - depthwise.padding
    end = low + (rows - 1) * depthwise.stride + depthwise.size
    first = min(max(low, 0), end)
    return Band(top, rows, width, low, first, max(first, min(x_at.height, end)), end)


@device
def _clear_outside(work, at, band, x_at):
    """Zeros in what lies outside of the expanded plane, whose row `band.low` begins at `at`."""
    pitch, side = (x_at.width + 2 * x_at.side) * 16, x_at.side * 16
    clear(work[at : at + (band.first - band.low) * pitch])
    for row in range(band.first - band.low, band.last - band.low):
        start = at + row * pitch
        clear(work[start : start + side])
        clear(work[start + pitch - side : start + pitch])
    clear(work[at + (band.last - band.low) * pitch : at + (band.end - band.low) * pitch])


@device
def _expand(x, picture, x_at, expand, panel, depthwise, band, work, at):
    pitch = x_at.width + 2 * x_at.side
    zero, never = opaque_zero_and_false(panel.oc_vectors)
    for r in range(panel.oc_vectors):
        _clear_outside(work, at + r * depthwise.block_stride, band, x_at)
    source = PlaneSource(picture * x_at.picture_stride + band.first * x_at.row_stride, x_at.row_stride,
                         expand.column_stride)  # fmt: skip
    origin = at + ((band.first - band.low) * pitch + x_at.side) * 16
    convolve_pixels(
        x, source, expand, panel, work, PlaneTarget(origin, depthwise.block_stride, pitch, zero, zero), zero,
        (band.last - band.first) * x_at.width, x_at.width,
        Epilogue(depthwise.channels, expand.slope, expand.activation, never, never, expand.slope, expand.slope, never),
        nothing_added(work, zero, never), zero, never, work,
    )  # fmt: skip


@device
def _convolve_block(x, x_base, depthwise, block, band, work, at):
    panel = panel_of(depthwise, block)
    zero, never = opaque_zero_and_false(panel.oc_vectors)
    slope = depthwise.slope
    epilogue = Epilogue(depthwise.channels, slope, depthwise.activation, never, never, slope, slope, never)
    if depthwise.is_straight:
        straight_depthwise_rows(
            x, x_base, depthwise.row_stride, depthwise, panel, work, at, band.rows, band.width, epilogue
        )  # fmt: skip
    else:
        convolve_depthwise_pixels(
            x, PlaneSource(x_base, depthwise.row_stride, depthwise.column_stride), depthwise, panel, work,
            PlaneTarget(at, depthwise.block_stride, band.width, zero, zero), zero, band.rows * band.width, band.width,
            epilogue, nothing_added(work, zero, never), zero, never, work,
        )  # fmt: skip


@kernel
def convolve_inverted_bottleneck(
    x, x_at, expand, depthwise, project, y, y_at, residual, queue, workers, work, work_size
):  # fmt: skip
    """y = project(depthwise(expand(x))), or project(depthwise(x)) where `expand` has no panels, plus the
    residual.

    x_at: BandedPlanes; expand, depthwise, project: BottleneckLink. A task is one band of a picture's rows. A
    worker's `work_size` floats of `work` are for the depthwise rows of all expanded channels, then for the
    expanded rows of a panel's blocks, and MR pixels more.
    """
    height, width, middle = y_at.height, y_at.width, (depthwise.channels + 15) // 16
    between, tasks = x_at.most_rows * width * 16, y_at.pictures * x_at.bands
    reset_queue(queue, workers)
    for worker in prange(workers):
        scratch = worker * work_size
        expanded = scratch + middle * between
        task = next_task(queue, worker, workers, tasks)
        while task >= 0:
            picture = task // x_at.bands
            band = _band(task - picture * x_at.bands, x_at, height, width, depthwise)
            for index in range(expand.panels.shape[0]):
                panel = panel_of(expand, index)
                _expand(x, picture, x_at, expand, panel, depthwise, band, work, expanded)
                for r in range(panel.oc_vectors):
                    block_at = expanded + r * depthwise.block_stride
                    block = panel.block + r
                    _convolve_block(work, block_at, depthwise, block, band, work, scratch + block * between)
            for block in range(0 if expand.panels.shape[0] else middle):
                x_base = (
                    picture * x_at.picture_stride + block * depthwise.block_stride + band.top * depthwise.row_stride
                )
                _convolve_block(x, x_base, depthwise, block, band, work, scratch + block * between)
            for index in range(project.panels.shape[0]):
                panel = panel_of(project, index)
                zero, never = opaque_zero_and_false(panel.oc_vectors)
                if band.top == 0:
                    zero_halos(y, y_at, picture, panel.block, panel.oc_vectors)
                step, slope = project.column_stride, project.slope
                convolve_pixels(
                    work, PlaneSource(scratch, width * step, step), project, panel, y,
                    PlaneTarget(
                        cell(y_at, picture, panel.block, band.top, 0), y_at.block_stride, y_at.pitch, zero, zero
                    ),
                    zero, band.rows * width, width,
                    Epilogue(project.channels, slope, project.activation, never, never, slope, slope, never),
                    residual, residual_cell(residual, picture, panel.block, band.top, 0), never, work,
                )  # fmt: skip
            task = next_task(queue, worker, workers, tasks)
