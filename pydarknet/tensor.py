"""Activations: their shape, where they lie in memory, and the way to and from darknet's plain order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .kernels import reorder
from .kernels.views import Nchw, Planes, Strides
from .utils.arrays import LANES, Array, aligned_zeros

NCHW = 1  # lanes of a tensor that is kept plane after plane


@dataclass(frozen=True)
class Shape:
    """What one layer gives for one picture: channels x height x width. A plain vector is n x 1 x 1."""

    channels: int
    height: int = 1
    width: int = 1

    @property
    def outputs(self) -> int:
        """How many numbers that is."""
        return self.channels * self.height * self.width

    @property
    def cells(self) -> int:
        """Pixels of one channel."""
        return self.height * self.width

    def __str__(self) -> str:
        """Width x height x channels, the order in which darknet prints sizes."""
        return f"{self.width} x {self.height} x {self.channels}"


@dataclass(frozen=True)
class Layout:
    """How a batch of activations lies in memory: (batch, blocks, height + 2 halo, width + 2 halo, lanes) float32.

    The halo holds zeros; so do lanes past the last channel. NCHW tensors exist at inference only, between layers that
    can do with that (`layers/convolution/planar.py`). Strides count floats, except `pitch`, which counts cells.
    """

    batch: int
    shape: Shape
    halo: int = 0
    lanes: int = LANES

    @property
    def blocks(self) -> int:
        return -(-self.shape.channels // self.lanes)

    @property
    def pitch(self) -> int:
        return self.shape.width + 2 * self.halo

    @property
    def block(self) -> int:
        return (self.shape.height + 2 * self.halo) * self.pitch * self.lanes

    @property
    def item(self) -> int:
        return self.blocks * self.block

    @property
    def origin(self) -> int:
        """The first float inside the halo."""
        return (self.halo * self.pitch + self.halo) * self.lanes

    @cached_property
    def planes(self) -> Planes:
        """The same as kernels take it."""
        height, width = self.shape.height, self.shape.width
        return Planes(self.batch, self.blocks, height, width, self.item, self.block, self.pitch, self.halo)

    def strides(self, stride_y: int = 1, stride_x: int = 1) -> Strides:
        """Every `stride_y`-th row and `stride_x`-th column, as kernels take it."""
        row, column = stride_y * self.pitch * self.lanes, stride_x * self.lanes
        return Strides(self.origin, self.item, self.block, row, column)

    @property
    def nchw(self) -> Nchw:
        """The sizes in plain order, as kernels take them."""
        return Nchw(self.batch, self.shape.channels, self.shape.height, self.shape.width)

    @property
    def is_plain(self) -> bool:
        """Whether that is the plain order."""
        return self.lanes == NCHW and self.halo == 0

    @property
    def size(self) -> int:
        """Floats in all."""
        return self.batch * self.item


class Tensor:
    """A batch of activations in the engine's layout. `data` is flat float32 of `layout.size`."""

    __slots__ = ("data", "layout")

    def __init__(self, layout: Layout, data: Array | None = None) -> None:
        self.layout = layout
        self.data = aligned_zeros(layout.size) if data is None else data

    @property
    def shape(self) -> Shape:
        return self.layout.shape

    @property
    def place(self) -> NDArray[np.int64]:
        """The address of `data`, as kernels take what may stand elsewhere in the next pass; the tensor has to live as
        long."""
        return np.array([self.data.ctypes.data], np.int64)

    @property
    def planes(self) -> Planes:
        """Where the cells of `data` are, as kernels take it."""
        return self.layout.planes

    def is_vector(self) -> bool:
        """Whether the plain order is already there, but for unused lanes at the end of each item."""
        return self.shape.cells == 1 and self.layout.halo == 0

    def fill(self, plain: Array) -> None:
        """Copy (batch, outputs) or (batch, c, h, w) float32 in plain order into this tensor."""
        reorder.pack(plain.reshape(-1), self.shape.channels, self.layout.lanes, self.data, self.planes)

    def release(self) -> None:
        """Forget what is not this tensor's own: nobody will read it any more."""

    def read_into(self, plain: Array) -> None:
        """Copy this tensor into (batch, outputs) float32 in plain order."""
        batch = self.layout.batch
        if self.is_vector():
            plain.reshape(batch, -1)[:] = self.data.reshape(batch, -1)[:, : self.shape.channels]
        else:
            reorder.unpack(self.data, self.planes, self.shape.channels, plain.reshape(-1))

    def add_plain(self, values: Array) -> None:
        """Add (batch, outputs) in plain order."""
        addition = Tensor(self.layout)
        addition.fill(np.ascontiguousarray(values, np.float32))
        self.data += addition.data

    def plain(self) -> Array:
        """A copy in plain order: (batch, outputs) float32."""
        values = np.empty((self.layout.batch, self.shape.outputs), np.float32)
        self.read_into(values)
        return values


class BorrowedInput(Tensor):
    """A planar tensor without a halo, thus in plain order: its floats are those that it was last filled with, where
    they stand."""

    __slots__ = ("_place",)

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout, np.empty(0, np.float32))
        self._place = np.zeros(1, np.int64)

    @property
    def place(self) -> NDArray[np.int64]:
        return self._place

    def fill(self, plain: Array) -> None:
        self.data = plain.reshape(-1)
        self._place[0] = self.data.__array_interface__["data"][0]

    def release(self) -> None:
        self.data = np.empty(0, np.float32)
