"""Layers of a few lines each: activation, dropout, empty, cost, contrastive, implicit, history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..activations import Activation, read_activation
from ..config import Section
from ..dialect import Dialect
from ..kernels.layout import copy_channels
from ..tensor import Array, Shape
from .base import Layer, Parameter, Place, PlainLayer
from .convolutional import sizes


@dataclass(kw_only=True, eq=False, repr=False)
class ActivationLayer(Layer):
    """`[activation]`"""

    activation: Activation

    @classmethod
    def from_section(cls, section: Section, place: Place) -> ActivationLayer:
        return cls(
            section=section, sources=place.previous, activation=read_activation(section, place.dialect, "linear")
        )

    def forward(self) -> None:
        assert self.output is not None
        (x,), y, shape = self.source_tensors, self.output, self.shape
        copy_channels(*x.source, 0, shape.channels, *y.target, 0, y.layout.batch, shape.height, shape.width)
        self.activation.apply(y)

    def table_row(self) -> str:
        return f"Activation Layer: {self.inputs[0].outputs} inputs"


@dataclass(kw_only=True, eq=False, repr=False)
class _PassOn(Layer):
    """A layer that does nothing at inference."""

    is_alias: ClassVar[bool] = True

    @classmethod
    def from_section(cls, section: Section, place: Place) -> Layer:
        return cls(section=section, sources=place.previous)

    def forward(self) -> None:
        return


@dataclass(kw_only=True, eq=False, repr=False)
class Dropout(_PassOn):
    """`[dropout]`: the identity at inference."""

    probability: float

    @classmethod
    def from_section(cls, section: Section, place: Place) -> Dropout:
        section.ignore("dropblock", "dropblock_size_rel", "dropblock_size_abs")
        return cls(
            section=section, sources=place.previous, probability=section.real("probability", place.dialect.dropout)
        )

    def table_row(self) -> str:
        n = self.inputs[0].outputs
        if self.section.flag("dropblock"):
            cells = self.section.integer("dropblock_size_abs", 0)
            relative = self.section.real("dropblock_size_rel", 0)
            if cells > min(self.inputs[0].width, self.inputs[0].height):
                cells = min(self.inputs[0].width, self.inputs[0].height)
            if relative and not cells:
                size = f"l.dropblock_size_rel = {relative:.2f}"
            else:
                size = f"l.dropblock_size_abs = {cells or 7}"
            return f"dropblock    p = {self.probability:.3f}   {size}    {n:4d}  ->   {n:4d}"
        return f"dropout    p = {self.probability:.3f}        {n:4d}  ->   {n:4d}"


@dataclass(kw_only=True, eq=False, repr=False)
class Empty(_PassOn):
    """`[empty]`, `[silence]`: the identity."""

    def table_row(self) -> str:
        return "empty "


@dataclass(kw_only=True, eq=False, repr=False)
class Cost(_PassOn):
    """`[cost]`: a loss, without meaning at inference."""

    gives_output: ClassVar[bool] = False

    @classmethod
    def from_section(cls, section: Section, place: Place) -> Layer:
        section.ignore("type", "scale", "ratio", "noobj", "thresh")
        return super().from_section(section, place)

    def table_row(self) -> str:
        return f"cost                                           {self.inputs[0].outputs:4d}"


@dataclass(kw_only=True, eq=False, repr=False)
class Contrastive(_PassOn):
    """`[contrastive]`: a training loss on embeddings, without effect at inference."""

    gives_output: ClassVar[bool] = False
    classes: int
    anchors: int  # of the [yolo] layer whose embeddings they are; 0 without one

    @classmethod
    def from_section(cls, section: Section, place: Place) -> Layer:
        section.ignore("temperature", "cls_normalizer", "max_delta", "contrastive_neg_max")
        index = section.integer("yolo_layer", 0)
        index += place.index if index < 0 else 0
        head = place.layers[index] if 0 < index < place.index else None
        classes = section.positive("classes", 1000)
        anchors = len(getattr(head, "mask", ()))
        return cls(section=section, sources=place.previous, classes=getattr(head, "classes", classes), anchors=anchors)

    def table_row(self) -> str:
        x, count = self.inputs[0], max(1, self.anchors)
        row = (
            f"contrastive {sizes(Shape(count, x.height, x.width))} x emb_size {x.channels // count:4d} x batch: "
            f"{self.batch:4d}  classes = {self.classes:4d}, step = {self.batch * count * x.cells:4d} "
        )
        return row + "\ndetection " if self.anchors else row


@dataclass(kw_only=True, eq=False, repr=False)
class Implicit(Layer):
    """`[implicit]`: learnt values that do not depend on the picture, (filters, atoms, 1)."""

    filters: int
    atoms: int
    mean: float
    deviation: float
    weights: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.weights = np.zeros(self.filters * self.atoms, np.float32)

    @classmethod
    def from_section(cls, section: Section, place: Place) -> Implicit:
        return cls(
            section=section,
            sources=place.previous,
            filters=section.positive("filters", 128),
            atoms=section.positive("atoms", 1),
            mean=section.real("mean", 0.0),
            deviation=section.real("std", 0.2),
        )

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        return Shape(self.filters, self.atoms, 1)

    def records(self) -> list[Parameter]:
        return [Parameter("weights", self.weights)]

    def initialise(self, rng: np.random.Generator, dialect: Dialect) -> None:
        self.weights[:] = self.mean + self.deviation * (2 * rng.random(self.weights.size, np.float32) - 1)

    def forward(self) -> None:
        assert self.output is not None
        self.output.fill(np.tile(self.weights, (self.output.layout.batch, 1)))

    def table_row(self) -> str:
        return f"implicit Layer: {self.filters} x {self.atoms} \t mean={self.mean:.2f}, std={self.deviation:.2f} "


@dataclass(kw_only=True, eq=False, repr=False)
class History(PlainLayer):
    """`[history]`: at inference, a copy of x in the first channels and zeros in the room for earlier frames."""

    history_size: int

    @classmethod
    def from_section(cls, section: Section, place: Place) -> History:
        size = section.positive("history_size", 4, 1 << 10)
        return cls(section=section, sources=place.previous, history_size=size)

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        (shape,) = inputs
        return Shape(shape.channels * self.history_size, shape.height, shape.width)

    def compute(self, x: Array, y: Array) -> None:
        y[:, : x.shape[1]] = x

    def table_row(self) -> str:
        return (
            f"HISTORY b = {self.batch}, s = {self.history_size:2d}, steps =  1   {sizes(self.inputs[0])} -> "
            f"{sizes(self.shape)} "
        )
