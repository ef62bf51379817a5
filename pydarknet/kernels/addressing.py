"""From the number of a task to what it computes, and from a cell of a tensor to its place in the flat array.

All functions are inlined. `at` is the geometry of a tensor (`views.Planes`).
"""

from __future__ import annotations

from ..runtime.jit import inlined
from .simd.vector import LANES


@inlined
def row_tasks(at):
    """The number of tasks of one row each: all rows of all planes."""
    return at.pictures * at.blocks * at.height


@inlined
def row_task(task, at):
    """(picture, block, row) of one of `row_tasks`; the rows of a plane follow one another."""
    plane = task // at.height
    picture = plane // at.blocks
    return picture, plane - picture * at.blocks, task - plane * at.height


@inlined
def plane_task(task, at):
    """(picture, block) of one of `at.pictures * at.blocks` tasks of one plane each."""
    picture = task // at.blocks
    return picture, task - picture * at.blocks


@inlined
def band_task(task, bands, rows):
    """(picture, band, first row, end) of one of `bands` tasks for each picture, which divide `rows` rows."""
    picture = task // bands
    band = task - picture * bands
    return picture, band, rows * band // bands, rows * (band + 1) // bands


@inlined
def cell(at, picture, block, row, column):
    """The first float of a cell."""
    inside = (row + at.halo) * at.pitch + column + at.halo
    return picture * at.picture_stride + block * at.block_stride + inside * LANES


@inlined
def storage(at, picture, block):
    """The first float of a plane, halo included."""
    return picture * at.picture_stride + block * at.block_stride


@inlined
def rows_under(window, row, height):
    """(first, end) of the input's rows under the windows of an output row; height: of the input."""
    top = row * window.stride_y - window.padding
    return max(top, 0), min(top + window.size, height)


@inlined
def columns_under(window, column, width):
    """(first, end) of the input's columns under the windows of an output column; width: of the input."""
    left = column * window.stride_x - window.padding
    return max(left, 0), min(left + window.size, width)


@inlined
def strided_cell(at, picture, block, row):
    """The first float of a row's first cell, for `Strides`; the next cell is `column_stride` floats further."""
    return at.first + picture * at.picture_stride + block * at.block_stride + row * at.row_stride
