"""Layers that change the size of planes: `[maxpool]`, `[local_avgpool]`, `[avgpool]`, `[upsample]`, `[reorg]`,
`[reorg3d]`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..config.sections import Section, flag, natural, positive, real
from ..kernels import elementwise
from ..kernels.pooling import average_gradient, local_average, maxpool, maxpool_bf16, maxpool_gradient, maxpool_int8
from ..kernels.views import SlidingWindow
from ..runtime.program import Call, KernelCall
from ..tensor import Numbers, Shape, Tensor
from ..utils.arrays import Array
from .base import BuildContext, Layer, NchwLayer, sizes
from .convolution.section import Blur, blur_row, read_strides


@dataclass(kw_only=True, eq=False, repr=False)
class _WindowPool(Layer):
    size: int
    stride_y: int
    stride_x: int
    padding: int  # the total of both sides, as darknet counts it
    blur: Blur | None = None  # antialiasing, which takes over the strides

    kernels: ClassVar[Mapping[int, Callable[..., Any]]]  # by the numbers in a word
    word: ClassVar[str]

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> Layer:
        stride_y, stride_x, blur = read_strides(section)
        size = section.positive("size", section.positive("stride", 1), 1 << 12)
        padding = section.natural("padding", size - 1, 1 << 16)
        section.ignore("maxpool_zero_nonmax", "maxpool_depth", "out_channels")
        return cls.build(section, context, size=size, stride_y=stride_y, stride_x=stride_x, padding=padding, blur=blur)

    def _pooled(self, shape: Shape) -> Shape:
        if min(shape.height, shape.width) + self.padding < self.size:
            return Shape(shape.channels, 0, 0)
        rest = self.padding - self.size
        height, width = (shape.height + rest) // self.stride_y + 1, (shape.width + rest) // self.stride_x + 1
        return Shape(shape.channels, height, width)

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        pooled = self._pooled(inputs[0])
        return self.blur.out_shape(pooled) if self.blur else pooled

    def setup(self, sources: list[Tensor], output: Tensor | None) -> None:
        super().setup(sources, output)
        self._target = self.blur.setup(self._pooled(self.inputs[0]), self.output) if self.blur else self.output

    def bind(self) -> list[Call]:
        (x,), y = self.source_tensors, self._target
        kernel = self.kernels[x.layout.numbers.factors]
        pool = KernelCall(kernel, x.data, x.planes, self._window, y.data, y.planes)
        return [pool, self.blur.run] if self.blur else [pool]

    def setup_training(self, source_deltas: list[Tensor | None], delta: Tensor | None) -> None:
        super().setup_training(source_deltas, delta)
        self._pooled_delta = self.blur.setup_training(self.delta) if self.blur else self.delta

    def backward(self) -> None:
        if self.blur:
            self.blur.backward()
        super().backward()

    @property
    def _window(self) -> SlidingWindow:
        return SlidingWindow(self.size, self.stride_y, self.stride_x, self.padding // 2)

    def table_operations(self) -> float:
        return float(self.size**2 * self._pooled(self.inputs[0]).outputs)

    def table_row(self) -> str:
        first, last = (" ", "   ") if self.stride_x == self.stride_y else ("", f"x{self.stride_y:2d} ")
        window = f"{first}{self.size:2d}x{self.size:2d}/{self.stride_x:2d}{last}"
        x, out = self.inputs[0], self._pooled(self.inputs[0])
        row = f"{self.word}              {window}{sizes(x)} -> {sizes(out)} {self.table_operations() / 1e9:5.3f} BF"
        return row + blur_row(self.blur, out)


@dataclass(kw_only=True, eq=False, repr=False)
class Maxpool(_WindowPool):
    """`[maxpool]`: the maximum of each window, without the pixels outside the plane."""

    kernels: ClassVar[Mapping[int, Callable[..., Any]]] = {1: maxpool, 2: maxpool_bf16, 4: maxpool_int8}
    word: ClassVar[str] = "max"

    def passes_on(self, numbers: Numbers) -> bool:
        return self.blur is None

    @property
    def is_maxpool_2x2(self) -> bool:
        (shape,) = self.inputs
        whole = Shape(shape.channels, (shape.height + 1) // 2, (shape.width + 1) // 2)
        window = self.size, self.stride_y, self.stride_x, self.padding // 2
        return window == (2, 2, 2, 0) and self.blur is None and self.shape == whole

    @property
    def can_overwrite(self) -> bool:
        return self.is_maxpool_2x2

    def add_gradient(self, target: Tensor) -> None:
        (x,), y, delta, adds = self.source_tensors, self._target, self._pooled_delta, not self.overwrites
        maxpool_gradient(
            x.data, x.planes, self._window, y.data, y.planes, delta.data, delta.planes, target.data, target.planes,
            adds,
        )  # fmt: skip

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> Layer:
        if section.flag("maxpool_depth"):
            return DepthMaxpool.from_section(section, context)
        return super().from_section(section, context)


@dataclass(kw_only=True, eq=False, repr=False)
class LocalAvgpool(_WindowPool):
    """`[local_avgpool]`: the mean of each window, without the pixels outside the plane."""

    kernels: ClassVar[Mapping[int, Callable[..., Any]]] = {1: local_average}
    word: ClassVar[str] = "avg"

    def add_gradient(self, target: Tensor) -> None:
        delta = self._pooled_delta
        factor = np.float32(1 / self.size**2)  # as in darknet, also at the borders
        average_gradient(delta.data, delta.planes, factor, self._window, target.data, target.planes)


@dataclass(kw_only=True, eq=False, repr=False)
class DepthMaxpool(NchwLayer):
    """`[maxpool]` with `maxpool_depth`: output channel g is the maximum of the channels g + k out_channels."""

    row = "max-depth         {self.size:2d}x{self.size:2d}/{self.stride:2d}   {x_sizes} -> {y_sizes} {giga:5.3f} BF"
    size: int
    stride: int
    out_channels: int = positive()

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> Layer:
        section.ignore("maxpool_depth", "antialiasing", "padding", "maxpool_zero_nonmax", "stride_x", "stride_y")
        stride = section.positive("stride", 1)
        return cls.build(section, context, size=section.positive("size", stride), stride=stride)

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        if self.out_channels > inputs[0].channels:
            raise self.section.shape_error(
                f"out_channels={self.out_channels} is more than the {inputs[0].channels} it reads", "out_channels"
            )
        return Shape(self.out_channels, inputs[0].height, inputs[0].width)

    def compute(self, x: Array, y: Array) -> None:
        channels = x.reshape(len(x), self.inputs[0].channels, -1)
        out = y.reshape(len(y), self.out_channels, -1)
        for g in range(self.out_channels):
            out[:, g] = channels[:, g :: self.out_channels].max(axis=1)

    def compute_backward(self, delta: Array) -> list[Array]:
        shape, x = self.inputs[0], self.nchw_inputs[0]
        channels = x.reshape(len(x), shape.channels, -1)
        out = np.zeros_like(channels)
        for g in range(self.out_channels):
            best = channels[:, g :: self.out_channels].argmax(axis=1)
            change = delta.reshape(len(x), self.out_channels, -1)[:, g]
            np.put_along_axis(out, (g + best * self.out_channels)[:, None], change[:, None], axis=1)
        return [out.reshape(x.shape)]

    def table_operations(self) -> float:
        return float(self.size**2 * self.inputs[0].channels * self.shape.cells)


@dataclass(kw_only=True, eq=False, repr=False)
class Avgpool(Layer):
    """`[avgpool]`: the mean of each channel."""

    row = "avg                          {x_sizes} ->   {y.channels:4d}"
    sets_size = True

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        return Shape(inputs[0].channels)

    def bind(self) -> list[Call]:
        (x,), y = self.source_tensors, self.output
        factor = np.float32(1) / np.float32(x.shape.cells)
        return [KernelCall(elementwise.sum_planes, x.data, x.planes, factor, y.data, y.planes)]

    def add_gradient(self, target: Tensor) -> None:
        delta, shape = self.delta, self.inputs[0]
        factor, window = np.float32(1 / shape.cells), SlidingWindow(max(shape.height, shape.width), 1, 1, 0)
        average_gradient(delta.data, delta.planes, factor, window, target.data, target.planes)


@dataclass(kw_only=True, eq=False, repr=False)
class Upsample(Layer):
    """`[upsample]`: each pixel repeated stride x stride times, or the sum of such squares, times `scale`."""

    stride: int
    reverse: bool  # a negative stride: sums
    scale: float = real(1.0)

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> "Upsample":
        stride = section.integer("stride", 2)
        if not 1 <= abs(stride) <= 1 << 12:
            raise section.error(f"stride={stride}: expected a number from 1 to {1 << 12}, or its negative", "stride")
        return cls.build(section, context, stride=abs(stride), reverse=stride < 0)

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        (shape,) = inputs
        if self.reverse:
            return Shape(shape.channels, shape.height // self.stride, shape.width // self.stride)
        return Shape(shape.channels, shape.height * self.stride, shape.width * self.stride)

    def passes_on(self, numbers: Numbers) -> bool:
        return not self.reverse and self.scale == 1

    def bind(self) -> list[Call]:
        (x,), y = self.source_tensors, self.output
        kernel = elementwise.sum_blocks if self.reverse else elementwise.upsample
        return [KernelCall(kernel, x.data, x.planes, self.stride, np.float32(self.scale), y.data, y.planes)]

    def add_gradient(self, target: Tensor) -> None:
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
    """`[reorg]`: space to depth, or with `reverse` depth to space, in YOLOv2's historical order."""

    row = "reorg_old              /{self.stride:2d}  {x_sizes}   ->  {y_sizes}"
    any_channels = False  # whether any number of channels can become fewer pixels
    stride: int = positive(largest=1 << 12)
    reverse: bool = flag()
    flatten: bool = flag()  # swap channels and pixels instead
    extra: int = natural()  # so many zeros after a copy of the input

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        (shape,), s = inputs, self.stride
        if self.extra:
            return Shape(shape.outputs + self.extra)
        if self.flatten:
            return shape
        sides_fit = self.reverse or shape.height % s == shape.width % s == 0
        if not sides_fit or (shape.channels % (s * s) and (self.reverse or not self.any_channels)):
            raise self.section.shape_error(
                f"stride={s} does not fit its input of {shape} (width x height x channels): channels must divide by "
                "stride x stride, sides by stride",
                "stride",
            )
        if self.reverse:
            return Shape(shape.channels // (s * s), shape.height * s, shape.width * s)
        return Shape(shape.channels * s * s, shape.height // s, shape.width // s)

    def setup(self, sources: list[Tensor], output: Tensor | None) -> None:
        super().setup(sources, output)
        self._order = np.arange(self.inputs[0].outputs) if self.extra else self._input_indices()

    def _input_indices(self) -> NDArray[np.int64]:
        shape, s = self.inputs[0], self.stride
        c, h, w = shape.channels, shape.height, shape.width
        flat = np.arange(shape.outputs)
        if self.flatten:
            return flat.reshape((h * w, c) if self.reverse else (c, h * w)).T.ravel()
        k, j, i = np.indices((c, h, w))
        deep = c // (s * s)
        offset = k // deep
        wide = (i * s + offset % s + w * s * (j * s + offset // s + h * s * (k % deep))).ravel()
        return wide.argsort() if self.reverse else wide

    def compute(self, x: Array, y: Array) -> None:
        np.take(x, self._order, axis=1, out=y[:, : x.shape[1]])

    def compute_backward(self, delta: Array) -> list[Array]:
        change = np.empty_like(self.nchw_inputs[0])
        change[:, self._order] = delta[:, : change.shape[1]]
        return [change]


@dataclass(kw_only=True, eq=False, repr=False)
class Reorg3d(Reorg):
    """`[reorg3d]`: space to depth, y[k, j, i] = x[k mod c, j s + (k / c) / s, i s + (k / c) mod s] for c channels."""

    row = "reorg                    /{self.stride:2d} {x_sizes} -> {y_sizes}"
    any_channels = True

    def _input_indices(self) -> NDArray[np.int64]:
        shape, s = self.inputs[0], self.stride
        c, h, w = shape.channels, shape.height, shape.width
        if self.reverse:
            return np.arange(shape.outputs).reshape(s, s, c // (s * s), h, w).transpose(2, 3, 0, 4, 1).ravel()
        return np.arange(shape.outputs).reshape(c, h // s, s, w // s, s).transpose(2, 4, 0, 1, 3).ravel()
