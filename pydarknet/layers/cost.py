"""Losses as layers: `[cost]`, and `[contrastive]`, which is read but not trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..config.sections import Section, real
from ..tensor import Shape
from ..utils.arrays import Array
from .base import BuildContext, Layer, sizes
from .nchw_layer import MASKED, stacked_truth
from .simple import Identity

COST_TYPES = ("sse", "masked", "smooth", "L1")


@dataclass(kw_only=True, eq=False, repr=False)
class Cost(Identity):
    """`[cost]`: the difference d = truth - x of its source, as a loss; computes nothing at inference.

        sse      sum of d^2, with delta d
        masked   the same without the elements whose truth is -1234
        smooth   d^2 where |d| < 1, else 2 |d| - 1, with delta d or its sign (Huber's loss)
        L1       sum of |d|, with delta the sign of d

    Deltas are multiplied by `scale`. `smoothing`: the share of the truth that is spread evenly over all its elements.
    `smooth_sign`: the sign of a smooth delta beyond 1, which is wrong in pjreddie's darknet.
    """

    row: ClassVar[str] = "cost                                           {x.outputs:4d}"
    gives_output: ClassVar[bool] = False
    has_loss: ClassVar[bool] = True
    cost_type: str = "sse"
    smooth_sign: float = 1.0
    scale: float = real(1.0)
    smoothing: float = real(key="smooth")
    loss_delta: Array = field(default_factory=lambda: np.empty((0, 0), np.float32), repr=False)

    @property
    def is_alias(self) -> bool:  # type: ignore[override]
        return not self.training

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> Layer:
        section.ignore("ratio", "noobj", "thresh")
        sign = context.dialect.smooth_cost_sign
        return cls.build(section, context, cost_type=_cost_type(section), smooth_sign=sign)

    def loss(self, truth: Sequence[Array], network_size: tuple[int, int], seen: int) -> float:
        """The cost of the source, (batch, inputs), against truth of the same size; keeps the source's delta."""
        x = self.source_tensors[0].plain()
        target = stacked_truth(self, truth)
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
        self.loss_delta = delta * np.float32(self.scale)
        return float(cost.sum(dtype=np.float64))

    def backward(self) -> None:
        if self.source_deltas[0] is not None:
            self.source_deltas[0].add_plain(self.loss_delta)


def _cost_type(section: Section) -> str:
    """The kind of loss; a word that darknet does not know is sse there, with a warning."""
    name = section.text("type", "sse") or "sse"
    if name in COST_TYPES:
        return name
    section.warn(f"Couldn't find cost type {name}, going with SSE")
    return "sse"


@dataclass(kw_only=True, eq=False, repr=False)
class Contrastive(Identity):
    """`[contrastive]`: a loss on embeddings. It computes nothing at inference, and is not trained here.

    anchors: those of the [yolo] layer whose embeddings it reads, 0 without one.
    """

    gives_output: ClassVar[bool] = False
    classes: int
    anchors: int

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> Layer:
        section.ignore("temperature", "cls_normalizer", "max_delta", "contrastive_neg_max")
        index = section.integer("yolo_layer", 0)
        index += context.index if index < 0 else 0
        head = context.layers[index] if 0 < index < context.index else None
        classes = getattr(head, "classes", section.positive("classes", 1000))
        return cls.build(section, context, classes=classes, anchors=len(getattr(head, "mask", ())))

    def table_row(self) -> str:
        x, count = self.inputs[0], max(1, self.anchors)
        row = (
            f"contrastive {sizes(Shape(count, x.height, x.width))} x emb_size {x.channels // count:4d} x batch: "
            f"{self.batch:4d}  classes = {self.classes:4d}, step = {self.batch * count * x.cells:4d} "
        )
        return row + "\ndetection " if self.anchors else row
