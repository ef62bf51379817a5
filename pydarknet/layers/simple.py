"""Layers of a few lines each: activation, dropout, empty, cost, crop, normalization, l2norm, logistic, implicit, history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..activations import LOGISTIC, Activation, read_activation
from ..config import Section
from ..dialect import Dialect
from ..kernels.layout import copy_channels
from ..tensor import Array, Shape
from .base import Layer, Parameter, PlainLayer, Place
from .convolutional import sizes


@dataclass(kw_only=True, eq=False, repr=False)
class ActivationLayer(Layer):
    """`[activation]`"""

    activation: Activation

    @classmethod
    def from_section(cls, section: Section, place: Place) -> ActivationLayer:
        return cls(section=section, sources=place.previous, activation=read_activation(section, place.dialect, "linear"))

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
        return cls(section=section, sources=place.previous, probability=section.real("probability", place.dialect.dropout))

    def table_row(self) -> str:
        n = self.inputs[0].outputs
        if self.section.flag("dropblock"):
            absolute = self.section.integer("dropblock_size_abs", 0)
            relative = self.section.real("dropblock_size_rel", 0)
            size = f"l.dropblock_size_rel = {relative:.2f}" if relative else f"l.dropblock_size_abs = {absolute or 7}"
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

    @classmethod
    def from_section(cls, section: Section, place: Place) -> Layer:
        section.ignore("temperature", "cls_normalizer", "max_delta", "contrastive_neg_max", "yolo_layer")
        return cls(section=section, sources=place.previous, classes=section.positive("classes", 1000))

    def table_row(self) -> str:
        return f"contrastive {sizes(self.inputs[0])}   classes = {self.classes:4d} "


@dataclass(kw_only=True, eq=False, repr=False)
class Crop(PlainLayer):
    """The centre of the picture, with values moved to -1..1 unless `noadjust`."""

    height: int
    width: int
    noadjust: bool

    @classmethod
    def from_section(cls, section: Section, place: Place) -> Crop:
        section.ignore("flip", "angle", "saturation", "exposure", "shift")
        return cls(
            section=section,
            sources=place.previous,
            height=section.positive("crop_height", 1),
            width=section.positive("crop_width", 1),
            noadjust=section.flag("noadjust"),
        )

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        (shape,) = inputs
        if self.height > shape.height or self.width > shape.width:
            raise self.section.shape_error(f"crops {self.width} x {self.height} out of {shape} (width x height x channels); "
                                           "expected a smaller crop")  # fmt: skip
        return Shape(shape.channels, self.height, self.width)

    def compute(self, x: Array, y: Array) -> None:
        shape = self.inputs[0]
        planes = x.reshape(len(x), shape.channels, shape.height, shape.width)
        top, left = (shape.height - self.height) // 2, (shape.width - self.width) // 2
        cut = planes[:, :, top : top + self.height, left : left + self.width]
        y[:] = (cut if self.noadjust else cut * np.float32(2) - np.float32(1)).reshape(y.shape)

    def table_row(self) -> str:
        shape = self.inputs[0]
        return f"Crop Layer: {shape.height} x {shape.width} -> {self.height} x {self.width} x {shape.channels} image"


@dataclass(kw_only=True, eq=False, repr=False)
class Normalization(PlainLayer):
    """Local response normalisation by darknet's recurrence over channels, which is not quite the textbook window."""

    alpha: float
    beta: float
    kappa: float
    size: int

    @classmethod
    def from_section(cls, section: Section, place: Place) -> Normalization:
        return cls(
            section=section,
            sources=place.previous,
            alpha=section.real("alpha", 0.0001),
            beta=section.real("beta", 0.75),
            kappa=section.real("kappa", 1.0),
            size=section.positive("size", 5),
        )

    def compute(self, x: Array, y: Array) -> None:
        channels = self.shape.channels
        squares = np.square(x.reshape(len(x), channels, -1)) * np.float32(self.alpha)
        norms = np.empty_like(squares)
        norms[:, 0] = np.float32(self.kappa) + squares[:, : self.size // 2].sum(axis=1)
        for k in range(1, channels):
            norms[:, k] = norms[:, k - 1]
            leaving, entering = k - (self.size - 1) // 2 - 1, k + self.size // 2
            if leaving >= 0:
                norms[:, k] -= squares[:, leaving]
            if entering < channels:
                norms[:, k] += squares[:, entering]
        y[:] = x * np.power(norms, np.float32(-self.beta)).reshape(x.shape)

    def table_row(self) -> str:
        s = self.inputs[0]
        return f"Local Response Normalization Layer: {s.width} x {s.height} x {s.channels} image, {self.size} size"


@dataclass(kw_only=True, eq=False, repr=False)
class L2Norm(PlainLayer):
    """Each pixel divided by the Euclidean norm of its channels."""

    @classmethod
    def from_section(cls, section: Section, place: Place) -> L2Norm:
        return cls(section=section, sources=place.previous)

    def compute(self, x: Array, y: Array) -> None:
        planes = x.reshape(len(x), self.shape.channels, -1)
        with np.errstate(invalid="ignore", divide="ignore"):  # as in C, a pixel of zeros gives NaN
            y[:] = (planes / np.sqrt(np.square(planes).sum(axis=1, keepdims=True))).reshape(y.shape)

    def table_row(self) -> str:
        return f"l2norm                                         {self.inputs[0].outputs:4d}"


@dataclass(kw_only=True, eq=False, repr=False)
class Logistic(PlainLayer):
    """`[logistic]`: 1 / (1 + e^-x), with a cross-entropy loss in training."""

    @classmethod
    def from_section(cls, section: Section, place: Place) -> Logistic:
        return cls(section=section, sources=place.previous)

    def compute(self, x: Array, y: Array) -> None:
        y[:] = x
        LOGISTIC.apply_plain(y)

    def table_row(self) -> str:
        return f"logistic x entropy                             {self.inputs[0].outputs:4d}"


@dataclass(kw_only=True, eq=False, repr=False)
class Iseg(PlainLayer):
    """`[iseg]`: the first `classes` channels through the logistic function, `ids` more as they are."""

    classes: int
    ids: int

    @classmethod
    def from_section(cls, section: Section, place: Place) -> Iseg:
        return cls(section=section, sources=place.previous, classes=section.positive("classes", 20),
                   ids=section.natural("ids", 32))  # fmt: skip

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        if inputs[0].channels != self.classes + self.ids:
            raise self.section.shape_error(f"reads {inputs[0].channels} channels; expected classes + ids = "
                                           f"{self.classes + self.ids}")  # fmt: skip
        return inputs[0]

    def compute(self, x: Array, y: Array) -> None:
        y[:] = x
        cells = self.shape.cells * self.classes
        for item in y:
            LOGISTIC.apply_plain(item[:cells])

    def table_row(self) -> str:
        return "iseg"


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
    time_steps: int

    @classmethod
    def from_section(cls, section: Section, place: Place) -> History:
        size = section.positive("history_size", 4, 1 << 10)
        return cls(section=section, sources=place.previous, history_size=size,
                   time_steps=place.net.integer("time_steps", 1))  # fmt: skip

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        (shape,) = inputs
        return Shape(shape.channels * self.history_size, shape.height, shape.width)

    def compute(self, x: Array, y: Array) -> None:
        y[:, : x.shape[1]] = x

    def table_row(self) -> str:
        return (f"HISTORY b = {self.batch}, s = {self.history_size:2d}, steps = {self.time_steps:2d}   "
                f"{sizes(self.inputs[0])} -> {sizes(self.shape)} ")  # fmt: skip
