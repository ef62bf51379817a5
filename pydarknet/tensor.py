"""Tensors of activations: shape, memory layout, and conversion to and from NCHW order."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .kernels import reorder
from .kernels.views import Nchw, Planes, Strides
from .utils.arrays import LANES, Array, aligned_zeros

NCHW = 1  # `Layout.lanes` of a tensor in NCHW order


@dataclass(frozen=True)
class Shape:
    """The shape of a layer's output for one sample: channels x height x width. A vector is n x 1 x 1."""

    channels: int
    height: int = 1
    width: int = 1

    @property
    def outputs(self) -> int:
        """The number of elements."""
        return self.channels * self.height * self.width

    @property
    def cells(self) -> int:
        """The number of pixels of one channel."""
        return self.height * self.width

    def __str__(self) -> str:
        """Width x height x channels, the order in which darknet prints sizes."""
        return f"{self.width} x {self.height} x {self.channels}"


class Numbers(NamedTuple):
    """What lies in words of 32 bits: the numbers of `factors` neighbouring channels, each `scale` times its value
    plus `zero`."""

    factors: int = 1
    scale: np.float32 = np.float32(1)
    zero: np.float32 = np.float32(0)

    @property
    def word_of_zeros(self) -> int:
        """A word whose numbers stand for 0."""
        return int(self.zero) * sum(1 << 32 // self.factors * each for each in range(self.factors))


FLOATS = Numbers()


@dataclass(frozen=True)
class Layout:
    """The memory layout of a batch of activations: (batch, blocks, height + 2 halo, width + 2 halo, lanes)
    float32, or words of other numbers. copy: of the same in other numbers, which follow.

    The halo and lanes past the last channel are zeros. Tensors in NCHW order or of other numbers exist only at
    inference, between layers that support it. Strides are in floats, `pitch` is in cells.
    """

    batch: int
    shape: Shape
    halo: int = 0
    lanes: int = LANES
    numbers: Numbers = FLOATS
    copy: Numbers | None = None

    @property
    def unit(self) -> int:
        """Channels of a block."""
        return self.lanes * self.numbers.factors

    @property
    def blocks(self) -> int:
        return -(-self.shape.channels // self.unit)

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
        """The layout as an argument of kernels."""
        height, width = self.shape.height, self.shape.width
        sizes = self.batch, self.blocks, height, width, self.item, self.block, self.pitch, self.halo
        return Planes(*sizes, self.numbers.word_of_zeros)

    def strides(self, stride_y: int = 1, stride_x: int = 1) -> Strides:
        """The strides over every `stride_y`-th row and `stride_x`-th column, as an argument of kernels."""
        row, column = stride_y * self.pitch * self.lanes, stride_x * self.lanes
        return Strides(self.origin, self.item, self.block, row, column)

    @property
    def nchw(self) -> Nchw:
        """The sizes in NCHW order, as an argument of kernels."""
        return Nchw(self.batch, self.shape.channels, self.shape.height, self.shape.width)

    @property
    def is_plain(self) -> bool:
        """Whether the data is in NCHW order without a halo."""
        return self.lanes == NCHW and self.halo == 0

    @property
    def size(self) -> int:
        """The number of floats, with halo and unused lanes."""
        return self.batch * self.item + (self.converted.size if self.converted else 0)

    @cached_property
    def converted(self) -> "Layout | None":
        """That of the copy in other numbers."""
        return replace(self, numbers=self.copy, copy=None) if self.copy else None


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
    def converted(self) -> "Tensor | None":
        """The same in other numbers, where they follow."""
        at = self.layout
        return Tensor(at.converted, self.data[at.batch * at.item :]) if at.converted else None

    @property
    def place(self) -> NDArray[np.int64]:
        """(1,) int64: the address of `data`, for kernels whose input may be elsewhere in the next pass. The
        tensor must live as long."""
        return np.array([self.data.ctypes.data], np.int64)

    @property
    def planes(self) -> Planes:
        """The geometry of `data`, as an argument of kernels."""
        return self.layout.planes

    def is_vector(self) -> bool:
        """Whether the data is in NCHW order, except for unused lanes at the end of each sample."""
        return self.shape.cells == 1 and self.layout.halo == 0

    def fill(self, plain: Array) -> None:
        """Copy (batch, outputs) or (batch, c, h, w) float32 in NCHW order into this tensor."""
        reorder.pack(plain.reshape(-1), self.shape.channels, self.layout.lanes, self.data, self.planes)

    def release(self) -> None:
        """Drop references to memory that is not the tensor's own, after its last use."""

    def read_into(self, plain: Array) -> None:
        """Copy this tensor into (batch, outputs) float32 in NCHW order."""
        batch = self.layout.batch
        if self.is_vector():
            plain.reshape(batch, -1)[:] = self.data.reshape(batch, -1)[:, : self.shape.channels]
        else:
            reorder.unpack(self.data, self.planes, self.shape.channels, plain.reshape(-1))

    def add_plain(self, values: Array) -> None:
        """Add (batch, outputs) float32 in NCHW order."""
        addition = Tensor(self.layout)
        addition.fill(np.ascontiguousarray(values, np.float32))
        self.data += addition.data

    def plain(self) -> Array:
        """A copy in NCHW order: (batch, outputs) float32."""
        values = np.empty((self.layout.batch, self.shape.outputs), np.float32)
        self.read_into(values)
        return values


class BorrowedInput(Tensor):
    """The caller's NCHW array, used in place: `fill` keeps a reference instead of a copy, and kernels read the
    address anew in every pass."""

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
