"""Named tuples of integers that kernels take beside their arrays: where a tensor's cells are, and how windows move.

This module imports neither Numba nor NumPy, so callers can make these tuples without loading either.

Arrays stay plain arguments; only geometry travels in a tuple: `maxpool(x, x_at, window, y, y_at)`. Rules:

* Never write to an array through a member of a tuple inside `prange`. Numba compiles such a write and then drops it
  without a message (seen with Numba 0.68.1).
* Members are integers, floats or booleans, and no tuples themselves: Numba takes a tuple apart at a parallel loop one
  level deep only.
* A kernel gets a tuple as an argument, or makes it by calling the class itself. A device function must not return one.
* Callers pass members of Python's types (int, bool). A member of another type is another kind of argument, for which
  the kernel is compiled again.
"""

from typing import NamedTuple


class Planes(NamedTuple):
    """The geometry of blocked activations. The float of (picture, block, row, column, lane) is at

        picture * picture_stride + block * block_stride + ((row + halo) * pitch + column + halo) * LANES + lane

    of the tensor's flat array (`addressing.cell`).
    """

    pictures: int
    blocks: int  # of LANES channels
    height: int  # rows of a plane, without the halo
    width: int  # cells of a row, without the halo
    picture_stride: int  # floats from picture to picture
    block_stride: int  # floats from block to block
    pitch: int  # cells from row to row, halo included
    halo: int  # cells of zeros round each plane


class Strides(NamedTuple):
    """Cells at regular distances: all of a tensor, every n-th of its rows and columns, or one cell again and again
    where a stride is 0. The first float of the cell of (picture, block, row, column) is at

        first + picture * picture_stride + block * block_stride + row * row_stride + column * column_stride
    """

    first: int
    picture_stride: int
    block_stride: int
    row_stride: int
    column_stride: int


class Extent(NamedTuple):
    """How many cells take part, where the tensors have more (`Strides` do not say)."""

    pictures: int
    blocks: int
    height: int
    width: int


class Nchw(NamedTuple):
    """The sizes of a flat array in plain order: (pictures, channels, height, width)."""

    pictures: int
    channels: int
    height: int
    width: int


class SlidingWindow(NamedTuple):
    """A window of size x size cells. The one of (row, column) begins at the input's cell (row * stride_y - padding,
    column * stride_x - padding)."""

    size: int
    stride_y: int
    stride_x: int
    padding: int  # cells above and on the left


class PartialSums(NamedTuple):
    """Where `weight_gradient` puts what it sums up: the rows of a batch are divided into `parts`, each of which has
    sums of its own. Strides in floats."""

    parts: int
    part_stride: int
    block_stride: int  # from one block of output channels to the next
