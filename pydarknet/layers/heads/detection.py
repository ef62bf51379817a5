"""`[detection]`: the head of YOLOv1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ...boxes import Candidates
from ...config.declared import flag, positive, read_options
from ...config.sections import Section
from ...tensor import Shape
from ...utils.arrays import Array
from ..base import BuildContext
from .base import Head, above, grid_indices, stack_boxes
from .detection_loss import RANDOM_UNTIL, DetectionGrid, DetectionLoss, DetectionLossOptions
from .statistics import detection_line
from .targets import TrainingPictures


@dataclass(kw_only=True, eq=False, repr=False)
class DetectionHead(Head):
    """side x side cells, each with class probabilities and `num` boxes with an objectness.

    The output is a vector: cells x classes, then cells x num objectness, then cells x num x (x, y in the cell; w, h as
    fractions of the picture, or their square roots with `sqrt`).
    """

    corrects_letterbox: ClassVar[bool] = False

    options: DetectionLossOptions
    classes: int = positive(largest=1 << 20)
    coords: int = positive(largest=1 << 10)
    num: int = positive(largest=1 << 12)
    side: int = positive(7, largest=1 << 12)
    softmax: bool = flag()
    square_root: bool = flag(key="sqrt")
    _assignment_rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0), repr=False)

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> DetectionHead:
        section.ignore("reorg")
        options = DetectionLossOptions(**read_options(DetectionLossOptions, section))
        pictures = TrainingPictures.from_section(section, context.dialect.yolo_max_boxes)
        return cls.build(section, context, options=options, pictures=pictures)

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        expected = self.side**2 * ((1 + self.coords) * self.num + self.classes)
        if inputs[0].outputs != expected:
            raise self.section.shape_error(
                f"reads {inputs[0].outputs} values; expected {expected} = side={self.side} squared x ((1 + "
                f"coords={self.coords}) x num={self.num} + classes={self.classes})"
            )
        return inputs[0]

    def generators(self) -> dict[str, np.random.Generator]:
        return {"assignment": self._assignment_rng}

    def compute(self, x: Array, y: Array) -> None:
        y[:] = x
        if self.softmax:
            count = self.side**2 * self.classes
            cells = y[:, :count].reshape(len(y), -1, self.classes)
            e = np.exp(cells - cells.max(axis=2, keepdims=True))
            y[:, :count] = (e / e.sum(axis=2, keepdims=True)).reshape(len(y), count)

    def detections(self, sample: int, size: tuple[int, int], thresh: float, hier: float) -> Candidates:
        cells = self.side**2
        probabilities, objectness, boxes = np.split(
            self.values[sample], [cells * self.classes, cells * (self.classes + self.num)]
        )
        column, row, _ = grid_indices(self.side, self.side, self.num)
        x, y, w, h = boxes[: cells * self.num * self.coords].reshape(-1, self.coords)[:, :4].T
        if self.square_root:
            w, h = w**2, h**2
        side = np.float32(self.side)
        classes = np.repeat(probabilities.reshape(cells, self.classes), self.num, axis=0)
        return Candidates(
            stack_boxes((x + column) / side, (y + row) / side, w, h),
            objectness.copy(),
            above(objectness[:, None] * classes, thresh),
        )

    def loss(self, truth: Sequence[Array], network_size: tuple[int, int], seen: int) -> float:
        grid = DetectionGrid(self.side, self.num, self.coords, self.classes, self.square_root)
        at_random = bool(self.pictures.random) and seen < RANDOM_UNTIL
        run = DetectionLoss(self.options, grid, self._assignment_rng if at_random else None)
        cost, self.statistics = run.batch(self.values, truth, self.pictures.max_boxes, self._clear_loss())
        return cost

    def training_line(self, index: int) -> str:
        return detection_line(self.statistics, self.classes)

    def table_row(self) -> str:
        return "Detection Layer"
