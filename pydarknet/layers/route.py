"""`[route]`: the concatenation of earlier layers, or a slice of their channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from ..config.sections import Section
from ..kernels.elementwise import add_channels
from ..kernels.reorder import copy_channels
from ..runtime.program import Call, KernelCall
from ..tensor import Shape, Tensor
from ..utils.arrays import LANES
from .base import BuildContext, KernelLayer, Layer, sizes
from .nchw_layer import NchwLayer


@dataclass(kw_only=True, eq=False, repr=False)
class Route(KernelLayer):
    """The channels of sources of equal height and width, one source after another.

    With `groups`, only slice `group_id` of the equal channel slices of each source. Where the memory plan lets a source
    write straight into the output (concatenation), or the output be a part of its source (split), nothing is copied.
    """

    groups: int = 1
    group_id: int = 0

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> Layer:
        references = section.integers("layers")
        if not references:
            raise section.error("Route Layer must specify input layers: layers=...; expected layer numbers")
        sources = tuple(context.resolve(section, "layers", reference) for reference in references)
        groups, group_id = section.positive("groups", 1), section.natural("group_id", 0)
        section.ignore("stream", "wait_stream")
        if group_id >= groups:
            raise section.error(
                f"group_id={group_id}: expected a number from 0 to {groups - 1} (groups={groups})", "group_id"
            )
        for source in sources:
            context.layers[source].mark_branch()
        shapes = [context.shape(source) for source in sources]
        if any((s.height, s.width) != (shapes[0].height, shapes[0].width) for s in shapes):
            if groups > 1:
                raise section.shape_error(
                    "groups needs sources of equal width and height, found " + ", ".join(map(str, shapes)), "layers"
                )
            return FlatRoute(section=section, sources=sources)
        return cls(section=section, sources=sources, groups=groups, group_id=group_id)

    @property
    def is_alias(self) -> bool:  # type: ignore[override]
        return len(self.sources) == 1 and self.groups == 1

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        first = inputs[0]
        for source, shape in zip(self.sources, inputs, strict=True):
            if (shape.height, shape.width) != (first.height, first.width):
                raise self.section.shape_error(
                    f"layers {self.sources[0]} and {source} differ in size: {first} and {shape} (width x height x "
                    "channels)",
                    "layers",
                )
            if shape.channels % self.groups:
                raise self.section.shape_error(
                    f"groups={self.groups} does not divide the {shape.channels} channels of layer {source}", "groups"
                )
        return Shape(sum(shape.channels for shape in inputs) // self.groups, first.height, first.width)

    def concat_offsets(self) -> list[int]:
        if self.groups > 1:
            return []
        return list(accumulate((shape.channels for shape in self.inputs[:-1]), initial=0))

    def split_offset(self) -> int | None:
        return self.group_id * self.shape.channels if self.groups > 1 and len(self.sources) == 1 else None

    def bind(self) -> list[Call]:
        copies: list[Call] = []
        y, to = self.output, 0
        for x in self.source_tensors:
            count = x.shape.channels // self.groups
            first = count * self.group_id
            if not _is_same_memory(x, first, y, to):
                copies.append(KernelCall(copy_channels, x.data, x.planes, first, count, y.data, y.planes, to))
            to += count
        return copies

    def backward(self) -> None:
        delta, first = self.delta, 0
        for source, target in zip(self.inputs, self.source_deltas, strict=True):
            count = source.channels // self.groups
            if target is not None:
                at = target.planes
                add_channels(delta.data, delta.planes, first, count, target.data, at, count * self.group_id)
            first += count

    def table_row(self) -> str:
        return _table_row(self.sources, self.groups, self.group_id, self.shape)


def _is_same_memory(source: Tensor, first: int, output: Tensor, to: int) -> bool:
    """Whether the source's channels from `first` on and the output's from `to` on are the same memory, as the plan of
    the network's memory may have it (`network/memory_plan.py`)."""
    if first % LANES or to % LANES or source.layout.block != output.layout.block:
        return False
    addresses = {
        tensor.data.ctypes.data + channel // LANES * tensor.layout.block * 4
        for tensor, channel in ((source, first), (output, to))
    }
    return len(addresses) == 1


@dataclass(kw_only=True, eq=False, repr=False)
class FlatRoute(NchwLayer):
    """The concatenation of sources of different sizes as vectors, in NCHW order; pjreddie's darknet does so."""

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        return Shape(sum(shape.outputs for shape in inputs))

    def compute(self, x: np.ndarray, y: np.ndarray) -> None:
        np.concatenate(self.nchw_inputs, axis=1, out=y)

    def compute_backward(self, delta: np.ndarray) -> list[np.ndarray]:
        edges = np.cumsum([x.shape[1] for x in self.nchw_inputs])[:-1]
        return np.split(delta, edges, axis=1)

    def table_row(self) -> str:
        return _table_row(self.sources, 1, 0, Shape(0, 0, 0))


def _table_row(sources: Sequence[int], groups: int, group_id: int, shape: Shape) -> str:
    listed = "".join(f" {source}" for source in sources)
    filler = " \t\t            " if len(sources) == 1 else " \t            " if len(sources) <= 3 else " \t    "
    part = f"{group_id}/{groups}" if groups > 1 else "   "
    return f"route {listed}{filler}           {part} -> {sizes(shape)} "
