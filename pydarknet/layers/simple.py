"""Layers of a few lines each: activation, empty, cost, contrastive, implicit, history."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..config.dialect import Dialect
from ..config.sections import Section
from ..kernels.reorder import copy_channels
from ..kernels.training.gradients import add_channels
from ..runtime.program import Call, KernelCall
from ..tensor import Shape, Tensor
from ..utils.arrays import Array
from .activations import Activation, read_activation
from .backward_ops import activation_backward
from .base import BuildContext, KernelLayer, Layer, Parameter, Trainable
from .nchw_layer import NchwLayer
from .summary_row import sizes

log = logging.getLogger("pydarknet")

MASKED = np.float32(-1234)  # darknet's mark for targets that do not count


@dataclass(kw_only=True, eq=False, repr=False)
class ActivationLayer(KernelLayer):
    """`[activation]`"""

    activation: Activation

    @classmethod
    def from_section(cls, section: Section, place: BuildContext) -> ActivationLayer:
        return cls(
            section=section, sources=place.previous, activation=read_activation(section, place.dialect, "linear")
        )

    def bind(self) -> list[Call]:
        assert self.output is not None
        (x,), y, shape = self.source_tensors, self.output, self.shape
        size = y.layout.batch, shape.height, shape.width
        copy = KernelCall(copy_channels, *x.source, 0, shape.channels, *y.target, 0, *size)
        return [copy, *self.activation.calls(y)]

    def backward(self) -> None:
        assert self.delta is not None and self.output is not None
        activation_backward(self.activation, self.delta, self.output, self.source_tensors[0])
        (target,), shape = self.source_deltas, self.shape
        if target is not None:
            at = target.layout
            add_channels(
                *self.delta.source,
                0,
                shape.channels,
                target.data,
                at.item,
                at.block,
                at.pitch,
                at.origin,
                0,
                at.batch,
                shape.height,
                shape.width,
            )

    def table_row(self) -> str:
        return f"Activation Layer: {self.inputs[0].outputs} inputs"


@dataclass(kw_only=True, eq=False, repr=False)
class PassOn(Layer):
    """A layer that does nothing at inference."""

    is_alias: ClassVar[bool] = True

    def forward(self) -> None:
        return

    def backward(self) -> None:
        return


@dataclass(kw_only=True, eq=False, repr=False)
class Empty(PassOn):
    """`[empty]`, `[silence]`: the identity."""

    def table_row(self) -> str:
        return "empty "


@dataclass(kw_only=True, eq=False, repr=False)
class Cost(PassOn):
    """`[cost]`: a loss, without meaning at inference."""

    gives_output: ClassVar[bool] = False
    has_loss: ClassVar[bool] = True
    cost_type: str = "sse"
    smooth_sign: float = 1.0
    scale: float = 1.0
    smoothing: float = 0.0  # the share of the truth that is spread evenly over all entries

    @property
    def is_alias(self) -> bool:  # type: ignore[override]
        return not self.training

    @classmethod
    def from_section(cls, section: Section, place: BuildContext) -> Layer:
        section.ignore("ratio", "noobj", "thresh")
        return cls(
            section=section,
            sources=place.previous,
            cost_type=_cost_type(section),
            scale=section.real("scale", 1.0),
            smooth_sign=place.dialect.smooth_cost_sign,
            smoothing=section.real("smooth", 0.0),
        )

    def loss(self, truth: Sequence[Array], network_size: tuple[int, int], seen: int) -> float:
        """Compare what the layer reads with the truth, (batch, inputs); the cost, its delta added to the source's."""
        x = self.source_tensors[0].plain()
        target = np.stack([np.asarray(t, np.float32).reshape(-1) for t in truth])
        if self.smoothing:
            target = target * np.float32(1 - self.smoothing) + np.float32(self.smoothing / target.shape[1])
        difference = target - x
        if self.cost_type == "masked":
            difference[target == MASKED] = 0
        if self.cost_type == "smooth":
            small = np.abs(difference) < 1
            delta = np.where(small, difference, np.sign(difference) * np.float32(self.smooth_sign))
            cost = np.where(small, difference**2, 2 * np.abs(difference) - 1)
        elif self.cost_type == "L1":
            delta, cost = np.where(difference > 0, np.float32(1), np.float32(-1)), np.abs(difference)
        else:
            delta, cost = difference, difference**2
        self.cost_delta = delta * np.float32(self.scale)
        return float(cost.sum(dtype=np.float64))

    def backward(self) -> None:
        if self.source_deltas[0] is not None:
            self.source_deltas[0].add_plain(self.cost_delta)

    def table_row(self) -> str:
        return f"cost                                           {self.inputs[0].outputs:4d}"


def _cost_type(section: Section) -> str:
    """The kind of loss; a word that darknet does not know is sse there, with a warning."""
    name = section.text("type", "sse") or "sse"
    if name in ("sse", "masked", "smooth", "L1"):
        return name
    log.warning("%s:%d: Couldn't find cost type %s, going with SSE", section.path, section.line, name)
    return "sse"


@dataclass(kw_only=True, eq=False, repr=False)
class Contrastive(PassOn):
    """`[contrastive]`: a training loss on embeddings, without effect at inference."""

    gives_output: ClassVar[bool] = False
    classes: int
    anchors: int  # of the [yolo] layer whose embeddings they are; 0 without one

    @classmethod
    def from_section(cls, section: Section, place: BuildContext) -> Layer:
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
    def from_section(cls, section: Section, place: BuildContext) -> Implicit:
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

    def named_parameters(self) -> list[Parameter]:
        return [Parameter("weights", self.weights)]

    def initialise(self, rng: np.random.Generator, dialect: Dialect) -> None:
        self.weights[:] = self.mean + self.deviation * (2 * rng.random(self.weights.size, np.float32) - 1)

    def setup_training(self, source_deltas: list[Tensor | None], delta: Tensor | None) -> None:
        super().setup_training(source_deltas, delta)
        self._trainable = Trainable("weights", self.weights, decays=True)

    def trainables(self) -> list[Trainable]:
        return [self._trainable]

    def backward(self) -> None:
        assert self.delta is not None
        self._trainable.update += self.delta.plain().sum(axis=0)

    def forward(self) -> None:
        assert self.output is not None
        self.output.fill(np.tile(self.weights, (self.output.layout.batch, 1)))

    def table_row(self) -> str:
        return f"implicit Layer: {self.filters} x {self.atoms} \t mean={self.mean:.2f}, std={self.deviation:.2f} "


@dataclass(kw_only=True, eq=False, repr=False)
class History(NchwLayer):
    """`[history]`: at inference, a copy of x in the first channels and zeros in the room for earlier frames."""

    history_size: int

    @classmethod
    def from_section(cls, section: Section, place: BuildContext) -> History:
        size = section.positive("history_size", 4, 1 << 10)
        return cls(section=section, sources=place.previous, history_size=size)

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        (shape,) = inputs
        return Shape(shape.channels * self.history_size, shape.height, shape.width)

    def compute(self, x: Array, y: Array) -> None:
        y[:, : x.shape[1]] = x

    def compute_backward(self, delta: Array) -> list[Array]:
        return [delta[:, : self.plain_inputs[0].shape[1]]]

    def table_row(self) -> str:
        return (
            f"HISTORY b = {self.batch}, s = {self.history_size:2d}, steps =  1   {sizes(self.inputs[0])} -> "
            f"{sizes(self.shape)} "
        )
