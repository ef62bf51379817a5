"""`[upsample]`, and `[reorg]` and `[reorg3d]`, which move pixels between space and channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..config.sections import Section, flag, natural, positive, real
from ..kernels import elementwise
from ..runtime.program import Call, KernelCall
from ..tensor import Shape, Tensor
from .base import BuildContext, KernelLayer, sizes
from .nchw_layer import NchwLayer


@dataclass(kw_only=True, eq=False, repr=False)
class Upsample(KernelLayer):
    """`[upsample]`: each pixel repeated stride x stride times, times `scale`.

    With `reverse` (a negative stride) the sum of each square of stride x stride pixels, times `scale`.
    """

    stride: int
    reverse: bool
    scale: float = real(1.0)

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> Upsample:
        stride = section.integer("stride", 2)
        if not 1 <= abs(stride) <= 1 << 12:
            raise section.error(f"stride={stride}: expected a number from 1 to {1 << 12}, or its negative", "stride")
        return cls.build(section, context, stride=abs(stride), reverse=stride < 0)

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        (shape,) = inputs
        if self.reverse:
            return Shape(shape.channels, shape.height // self.stride, shape.width // self.stride)
        return Shape(shape.channels, shape.height * self.stride, shape.width * self.stride)

    def bind(self) -> list[Call]:
        (x,), y = self.source_tensors, self.output
        kernel = elementwise.sum_blocks if self.reverse else elementwise.upsample
        return [KernelCall(kernel, x.data, x.planes, self.stride, np.float32(self.scale), y.data, y.planes)]

    def backward(self) -> None:
        (target,) = self.source_deltas
        if target is None:
            return
        delta, change, factor = self.delta, Tensor(target.layout), np.float32(self.scale)
        if self.reverse:  # without the pixels beyond the last whole square, which took no part
            height, width = self.shape.height * self.stride, self.shape.width * self.stride
            whole = change.planes._replace(height=height, width=width)
            elementwise.upsample(delta.data, delta.planes, self.stride, factor, change.data, whole)
        else:
            elementwise.sum_blocks(delta.data, delta.planes, self.stride, factor, change.data, change.planes)
        target.data += change.data

    def table_row(self) -> str:
        name = "downsample              " if self.reverse else "upsample                "
        return f"{name}{self.stride:2d}x  {sizes(self.inputs[0])} -> {sizes(self.shape)}"


@dataclass(kw_only=True, eq=False, repr=False)
class Reorg(NchwLayer):
    """`[reorg]`: space to depth, or with `reverse` depth to space, in YOLOv2's historical order.

    flatten: swap channels and pixels instead. extra: so many more numbers, zeros, after a copy of the input.
    """

    row: ClassVar[str] = "reorg_old              /{self.stride:2d}  {x_sizes}   ->  {y_sizes}"
    stride: int = positive(largest=1 << 12)
    reverse: bool = flag()
    flatten: bool = flag()
    extra: int = natural()
    _order: NDArray[np.int64] | None = field(default=None, repr=False)

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        (shape,) = inputs
        s = self.stride
        if self.extra:
            return Shape(shape.outputs + self.extra)
        if self.flatten:
            return shape
        if self.reverse:
            self._require(shape.channels % (s * s) == 0, shape)
            return Shape(shape.channels // (s * s), shape.height * s, shape.width * s)
        self._require(shape.height % s == 0 and shape.width % s == 0 and self._channels_fit(shape), shape)
        return Shape(shape.channels * s * s, shape.height // s, shape.width // s)

    def _channels_fit(self, shape: Shape) -> bool:
        return shape.channels % (self.stride * self.stride) == 0

    def _require(self, fits: bool, shape: Shape) -> None:
        if not fits:
            raise self.section.shape_error(
                f"stride={self.stride} does not fit its input of {shape} (width x height x channels): channels must "
                "divide by stride x stride, sides by stride",
                "stride",
            )

    def setup(self, sources: list[Tensor], output: Tensor | None) -> None:
        super().setup(sources, output)
        self._order = None if self.extra else self._input_indices()

    def _input_indices(self) -> NDArray[np.int64]:
        """The index of the input element, in NCHW order, of each output element."""
        shape, s = self.inputs[0], self.stride
        c, h, w = shape.channels, shape.height, shape.width
        flat = np.arange(shape.outputs).reshape(c, h, w)
        if self.flatten:
            order = np.arange(shape.outputs)
            return order.reshape(h * w, c).T.ravel() if self.reverse else flat.reshape(c, h * w).T.ravel()
        k, j, i = np.meshgrid(np.arange(c), np.arange(h), np.arange(w), indexing="ij")
        deep = c // (s * s)
        offset = k // deep
        wide = i * s + offset % s + w * s * (j * s + offset // s + h * s * (k % deep))
        if not self.reverse:
            return wide.ravel()
        order = np.empty(shape.outputs, np.int64)
        order[wide.ravel()] = flat.ravel()
        return order

    def compute(self, x: np.ndarray, y: np.ndarray) -> None:
        if self._order is None:
            y[:, : x.shape[1]] = x
        else:
            np.take(x, self._order, axis=1, out=y)

    def compute_backward(self, delta: np.ndarray) -> list[np.ndarray]:
        x = self.nchw_inputs[0]
        if self._order is None:
            return [delta[:, : x.shape[1]]]
        change = np.empty_like(x)
        change[:, self._order] = delta
        return [change]


@dataclass(kw_only=True, eq=False, repr=False)
class Reorg3d(Reorg):
    """`[reorg3d]`: space to depth, y[k, j, i] = x[k mod c, j s + (k / c) / s, i s + (k / c) mod s] for c channels."""

    row: ClassVar[str] = "reorg                    /{self.stride:2d} {x_sizes} -> {y_sizes}"

    def _channels_fit(self, shape: Shape) -> bool:
        return True

    def _input_indices(self) -> NDArray[np.int64]:
        shape, s = self.inputs[0], self.stride
        c, h, w = shape.channels, shape.height, shape.width
        if self.reverse:
            deep = c // (s * s)
            x = np.arange(shape.outputs).reshape(s, s, deep, h, w)
            return x.transpose(2, 3, 0, 4, 1).ravel()
        x = np.arange(shape.outputs).reshape(c, h // s, s, w // s, s)
        return x.transpose(2, 4, 0, 1, 3).ravel()
