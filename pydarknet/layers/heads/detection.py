"""`[detection]`: the head of YOLOv1, and its loss.

Each object goes to one box of the cell of its centre: the one that overlaps it most, or where none does, the nearest.
Only the first object of a cell counts. "delta" is minus the gradient of the loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ...boxes import Candidates, iou
from ...config.sections import Section, flag, positive, real
from ...tensor import Shape
from ...utils.arrays import Array
from ..base import BuildContext
from .base import Head, Indices, above, grid_indices, stack_boxes
from .statistics import Statistics, detection_line
from .targets import TrainingPictures, Truths, read_truths, square_sum

RANDOM_UNTIL = 64000  # images seen, until which `random` assigns objects to any box of their cell
_SMALL = 0.1  # area below which `forced` assigns an object to the second box
_FAR = np.float32(20)  # the distance at which every box is equally far


@dataclass(kw_only=True, eq=False, repr=False)
class DetectionHead(Head):
    """side x side cells, each with class probabilities and `num` boxes with an objectness.

    The output is a vector: cells x classes, then cells x num objectness, then cells x num x (x, y in the cell; w, h as
    fractions of the picture, or their square roots with `sqrt`).
    """

    row: ClassVar[str] = "Detection Layer"
    corrects_letterbox: ClassVar[bool] = False

    classes: int = positive(largest=1 << 20)
    coords: int = positive(largest=1 << 10)
    num: int = positive(largest=1 << 12)
    side: int = positive(7, largest=1 << 12)
    softmax: bool = flag()
    square_root: bool = flag(key="sqrt")
    coord_scale: float = real(1.0)
    object_scale: float = real(1.0)
    noobject_scale: float = real(1.0)
    class_scale: float = real(1.0)
    rescore: bool = flag()
    forced: bool = flag()
    _assignment_rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0), repr=False)

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> DetectionHead:
        section.ignore("reorg")
        pictures = TrainingPictures.from_section(section, context.dialect.yolo_max_boxes)
        return cls.build(section, context, pictures=pictures)

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

    def split(self, values: Array) -> tuple[Array, Array, Array]:
        """Views (cells, classes), (cells, num), (cells, num, coords) of one picture's output."""
        cells = self.side**2
        classes, objectness, boxes = np.split(values, [cells * self.classes, cells * (self.classes + self.num)])
        return classes.reshape(cells, -1), objectness.reshape(cells, -1), boxes.reshape(cells, self.num, self.coords)

    def detections(self, sample: int, size: tuple[int, int], thresh: float, hier: float) -> Candidates:
        probabilities, objectness, boxes = self.split(self.values[sample])
        column, row, _ = grid_indices(self.side, self.side, self.num)
        x, y, w, h = boxes[..., :4].reshape(-1, 4).T
        if self.square_root:
            w, h = w**2, h**2
        side = np.float32(self.side)
        classes = np.repeat(probabilities, self.num, axis=0)
        return Candidates(
            stack_boxes((x + column) / side, (y + row) / side, w, h),
            objectness.flatten(),
            above(objectness.reshape(-1, 1) * classes, thresh),
        )

    def make_loss(self, network_size: tuple[int, int], seen: int) -> DetectionLoss:
        return DetectionLoss(self, self._assignment_rng if self.pictures.random and seen < RANDOM_UNTIL else None)

    def training_line(self, index: int) -> str:
        return detection_line(self.statistics, self.classes)


class DetectionLoss:
    """The loss of one mini-batch: deltas, cost and statistics. With `rng`, objects are assigned to boxes at random."""

    def __init__(self, head: DetectionHead, rng: np.random.Generator | None) -> None:
        self.head, self.rng = head, rng
        self.sums = Statistics()

    @np.errstate(all="ignore")
    def batch(self, values: Array, truth: Sequence[Array], max_boxes: int, delta: Array) -> tuple[float, Statistics]:
        """Fill `delta` (batch, outputs), which holds zeros; the cost and the statistics."""
        for output, rows, out in zip(values, truth, delta, strict=True):
            self.picture(output, read_truths(rows, max_boxes), out)
        return square_sum(delta), self.sums

    def picture(self, values: Array, truths: Truths, delta: Array) -> None:
        """Fill the deltas of one picture with these objects."""
        head = self.head
        classes, objectness, boxes = head.split(values)
        class_delta, objectness_delta, box_delta = head.split(delta)
        objectness_delta[:] = np.float32(head.noobject_scale) * (0 - objectness)
        self.sums += Statistics(predictions=objectness.size, any_objectness=float(objectness.sum(dtype=np.float64)))
        truths, cells = self._one_per_cell(truths)
        if not len(truths):
            return
        own = np.arange(head.classes) == truths.classes[:, None]
        p = classes[cells]
        class_delta[cells] = np.float32(head.class_scale) * (own.astype(np.float32) - p)
        side = np.float32(head.side)
        cell = np.stack([cells % head.side, cells // head.side], axis=1).astype(np.float32)
        centres = truths.boxes[:, :2] * side - cell
        truth = np.concatenate([centres, truths.boxes[:, 2:]], axis=1)
        chosen, overlap = self._assign_targets(boxes[cells, :, :4], truth)
        confidence = objectness[cells, chosen]
        wanted = overlap if head.rescore else np.ones_like(overlap)
        objectness_delta[cells, chosen] = np.float32(head.object_scale) * (wanted - confidence)
        target = np.concatenate([centres, np.sqrt(truth[:, 2:]) if head.square_root else truth[:, 2:]], axis=1)
        change = np.float32(head.coord_scale) * (target - boxes[cells, chosen, :4])
        box_delta[cells, chosen, :4] = change
        self.sums += Statistics(
            count=len(cells),
            class_count=len(cells),
            iou=float(overlap.sum()),
            class_probability=float(p[own].sum()),
            all_probabilities=float(p.sum()),
            objectness=float(confidence.sum()),
        )

    def _one_per_cell(self, truths: Truths) -> tuple[Truths, Indices]:
        """The first object of each cell, and the cells."""
        side = self.head.side
        column, row = np.clip((truths.boxes[:, :2] * np.float32(side)).astype(np.int64), 0, side - 1).T
        cells = row * side + column
        keep = np.zeros(len(truths), bool)
        keep[np.unique(cells, return_index=True)[1]] = True
        return truths.select(keep), cells[keep]

    def _assign_targets(self, boxes: Array, truth: Array) -> tuple[Indices, Array]:
        """(k,) the box of its cell, of (k, num, 4), that learns each object, and (k,) their IoU."""
        side = np.float32(self.head.side)
        found = boxes.copy()
        found[..., :2] /= side
        if self.head.square_root:
            found[..., 2:] *= found[..., 2:]
        truth = np.concatenate([truth[:, :2] / side, truth[:, 2:]], axis=1)
        overlaps = iou(found, truth[:, None])
        positive = np.where(overlaps > 0, overlaps, 0)
        distances = np.sqrt(np.square(found - truth[:, None], dtype=np.float64).sum(axis=2)).astype(np.float32)
        near = np.where(distances < _FAR, distances, _FAR).argmin(axis=1)
        chosen = np.where(positive.any(axis=1), positive.argmax(axis=1), near)
        if self.head.forced:
            small = truth[:, 2] * truth[:, 3] < _SMALL
            chosen = np.where(small, min(1, self.head.num - 1), 0)
        if self.rng is not None:
            chosen = self.rng.integers(self.head.num, size=len(truth))
        return chosen, overlaps[np.arange(len(truth)), chosen]
