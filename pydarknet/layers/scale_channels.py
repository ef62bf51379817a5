"""`[scale_channels]` and `[sam]`: products of two layers (squeeze-and-excitation, spatial attention)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..config.sections import Section
from ..kernels.elementwise import multiply
from ..kernels.views import Strides
from ..runtime.program import Call, KernelCall
from ..tensor import Shape, Tensor
from .activations import Activation, read_activation
from .backward_ops import activation_backward, needs_input
from .base import BuildContext, KernelLayer, Layer


@dataclass(kw_only=True, eq=False, repr=False)
class _Product(KernelLayer):
    """y = activation(x_0 * x_1), with x_0 the previous layer, broadcast to the shape of x_1, the layer `from`."""

    row: ClassVar[str] = "scale Layer: {self.sources[1]}"
    activation: Activation
    per_cell: bool = False

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> Layer:
        if not section.has("from"):
            raise section.error("has no from=; expected the number of an earlier layer")
        source = context.resolve(section, "from", section.integer("from", 0))
        for branch in (context.index - 1, source):
            if branch >= 0:
                context.layers[branch].mark_branch()
        return cls(
            section=section,
            sources=(context.index - 1, source),
            activation=read_activation(section, context.dialect, "linear"),
            per_cell=section.flag("scale_wh"),
        )

    def _check(self, fits: bool, inputs: Sequence[Shape], expected: str) -> Shape:
        if not fits:
            raise self.section.shape_error(
                f"the previous layer gives {inputs[0]}, layer {self.sources[1]} {inputs[1]} (width x height x "
                f"channels); expected {expected}",
                "from",
            )
        return inputs[1]

    def _factors(self, strides: Strides) -> tuple[Strides, int]:
        """Where the kernel finds the previous layer's cells, and floats between their lanes; a stride of 0 repeats."""
        return strides, 1

    def bind(self) -> list[Call]:
        (x, other), y = self.source_tensors, self.output
        factors = self._factors(x.layout.strides())
        product = KernelCall(multiply, x.data, *factors, other.data, other.planes, y.data, y.planes)
        return [product, *self.activation.calls(y)]

    def setup_training(self, source_deltas: list[Tensor | None], delta: Tensor | None) -> None:
        super().setup_training(source_deltas, delta)
        self._product = Tensor(self.output.layout) if needs_input(self.activation) else self.output

    def backward(self) -> None:
        activation_backward(self.activation, self.delta, self.output, self._product)
        shape, batch = self.shape, self.batch
        change = self.delta.plain().reshape(batch, shape.channels, shape.height, shape.width)
        first, second = (
            t.plain().reshape(batch, s.channels, s.height, s.width)
            for t, s in zip(self.source_tensors, self.inputs, strict=True)
        )
        to_first, to_second = self.source_deltas
        if to_first is not None:
            shared = tuple(axis for axis in (1, 2, 3) if first.shape[axis] != change.shape[axis])
            to_first.add_plain((change * second).sum(axis=shared, keepdims=True).reshape(batch, -1))
        if to_second is not None:
            to_second.add_plain((change * first).reshape(batch, -1))


@dataclass(kw_only=True, eq=False, repr=False)
class ScaleChannels(_Product):
    """`[scale_channels]`: the previous layer is one factor for each channel, or with `scale_wh` for each pixel."""

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        factor, shape = inputs
        if self.per_cell:
            fits = factor == Shape(1, shape.height, shape.width)
            return self._check(fits, inputs, f"one channel of {shape.width} x {shape.height}")
        return self._check(factor == Shape(shape.channels), inputs, f"1 x 1 x {shape.channels}")

    def _factors(self, strides: Strides) -> tuple[Strides, int]:
        if self.per_cell:
            return strides._replace(block_stride=0), 0
        return strides._replace(row_stride=0, column_stride=0), 1


@dataclass(kw_only=True, eq=False, repr=False)
class Sam(_Product):
    """`[sam]`: the product of two layers of the same shape, element by element."""

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        return self._check(inputs[0] == inputs[1], inputs, "equal sizes")
