"""What all detection heads need to learn: the truth of a picture, and what darknet prints about them in training."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...config.sections import Section, folder_of
from ...config.word_tree import read_map
from ...errors import DataError
from ...kernels.boxes.iou import best_of_pictures
from ...utils.arrays import Array
from ...utils.resources import find_file

log = logging.getLogger("pydarknet")

Numbers = NDArray[np.int64]  # classes of objects


@dataclass(frozen=True)
class Statistics:
    """Sums over one mini-batch of what darknet prints about a head in training. Two of them add up."""

    slots: int = 0
    any_objectness: float = 0.0  # of all slots
    count: int = 0  # objects given to a slot
    class_count: int = 0
    iou: float = 0.0
    recalled: int = 0  # objects whose IoU is above 0.5
    recalled75: int = 0
    class_probability: float = 0.0  # of the objects' own classes
    all_probabilities: float = 0.0  # of all classes where an object is ([detection])
    objectness: float = 0.0
    boxes: int = 0  # box deltas made, and those made where one stood already (AlexeyAB's [yolo])
    rewritten: int = 0
    class_loss: float = 0.0  # losses are those of one picture on average
    iou_loss: float = 0.0
    uncertainty_loss: float = 0.0
    total_loss: float = 0.0

    def __add__(self, other: Statistics) -> Statistics:
        return Statistics(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def mean(self, name: str) -> float:
        """The sum called `name` divided by what it runs over; NaN without objects, as darknet prints it."""
        count = {"any_objectness": self.slots, "class_probability": self.class_count}.get(name, self.count)
        return getattr(self, name) / count if count else float("nan")


@dataclass(frozen=True)
class TrainingPictures:
    """What a head's section says about the pictures it learns from."""

    jitter: float = 0.2
    random: float = 0.0  # whether, and in AlexeyAB's how far, the network's size changes during training
    resize: float = 1.0
    max_boxes: int = 90

    @classmethod
    def from_section(cls, section: Section, max_boxes: int) -> TrainingPictures:
        """Read the keys; `max_boxes` is the default of `max`."""
        return cls(
            jitter=section.real("jitter", 0.2),
            random=section.real("random", 0.0),
            resize=section.real("resize", 1.0),
            max_boxes=section.natural("max", max_boxes),
        )


@dataclass(frozen=True)
class Truths:
    """The objects of one picture: their classes, boxes (k, 4), and further columns for `coords` above 4."""

    classes: Numbers
    boxes: Array
    more: Array

    def __len__(self) -> int:
        return len(self.classes)

    def select(self, which: NDArray[np.bool_]) -> Truths:
        return Truths(self.classes[which], self.boxes[which], self.more[which])

    def known(self, classes: int) -> Truths:
        """Those whose class is below `classes`; the others are reported."""
        wrong = (self.classes < 0) | (self.classes >= classes)
        for number in self.classes[wrong]:
            log.warning(
                "in txt-labels class_id=%d >= classes=%d in cfg-file. In txt-labels class_id should be [from 0 to %d]",
                number,
                classes,
                classes - 1,
            )
        return self.select(~wrong)


def read_truths(rows: Array, limit: int) -> Truths:
    """Rows of class, x, y, w, h, ... up to the first with x = 0, and no more than `limit`."""
    rows = np.asarray(rows, np.float32)
    rows = rows.reshape(len(rows), -1) if rows.size else np.zeros((0, 5), np.float32)
    end = np.flatnonzero(rows[:, 1] == 0)
    rows = rows[: min([limit, *end[:1]])]
    return Truths(rows[:, 0].astype(np.int64), rows[:, 1:5], rows[:, 5:])


@dataclass(frozen=True)
class ClassMap:
    """The file of `map=`: the network's class for each class of the labels. It is not read before it is needed."""

    section: Section
    classes: int

    @cached_property
    def _path(self) -> str | None:
        path = self.section.text("map")
        return str(find_file(path, folder_of(self.section.path))) if path else None

    @cached_property
    def _numbers(self) -> Numbers:
        assert self._path is not None
        numbers = np.array(read_map(self._path), np.int64)
        wrong = numbers[(numbers < 0) | (numbers >= self.classes)]
        if len(wrong):
            raise DataError(f"{self._path}: found class {wrong[0]}; expected 0 to {self.classes - 1}")
        return numbers

    def __call__(self, classes: Numbers) -> Numbers:
        """The network's classes; the same ones where the section has no map. Raises DataError."""
        if self._path is None:
            return classes
        wrong = classes[(classes < 0) | (classes >= len(self._numbers))]
        if len(wrong):
            raise DataError(f"{self._path} has {len(self._numbers)} lines, but a label has class {wrong[0]}")
        return self._numbers[classes]


@dataclass(frozen=True)
class Objects:
    """The objects of a mini-batch, one picture's after another's: their classes and boxes (k, 4). Those of picture p
    stand from starts[p] to starts[p + 1]."""

    classes: Numbers
    boxes: Array
    starts: Numbers

    @classmethod
    def read(cls, truth: Sequence[Array], limit: int, known: int | None, class_map: ClassMap) -> Objects:
        """`read_truths` of each picture, only classes below `known` where it is given. Raises DataError."""
        found = [read_truths(rows, limit) for rows in truth]
        if known is not None:
            found = [truths.known(known) for truths in found]
        classes = class_map(np.concatenate([truths.classes for truths in found]))
        starts = np.cumsum([0, *map(len, found)])
        return cls(classes, np.concatenate([truths.boxes for truths in found]), starts)

    @property
    def picture(self) -> Numbers:
        """(k,): the picture of each object."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


def square_sum(values: Array) -> float:
    """The sum of squares."""
    return float(np.square(values, dtype=np.float64).sum())


def best_overlaps(boxes: Array, truths: Array, starts: Numbers) -> tuple[Array, NDArray[np.int32]]:
    """For each of `boxes` (4, pictures, ...) the largest IoU with any truth of its picture, and the first of those.

    truths: (k, 4), those of picture p from starts[p] to starts[p + 1]. Both results are flat, one number for each box;
    without overlap they are 0 and the first truth of the picture.
    """
    slots = np.ascontiguousarray(boxes, np.float32).reshape(4, len(starts) - 1, -1)
    best, which = np.empty(slots.shape[1:], np.float32), np.empty(slots.shape[1:], np.int32)
    best_of_pictures(slots, np.ascontiguousarray(truths, np.float32), starts, best, which)
    return best.reshape(-1), which.reshape(-1)


@np.errstate(all="ignore")
def focal_factor(probability: Array) -> Array:
    """What `focal_loss` multiplies all class deltas of a slot by, from the probability of its true class."""
    p = probability + np.float32(1e-15)
    return np.float32(-0.5) * (1 - p) * (2 * p * np.log(p) + p - 1)


# The lines that darknet prints about a head, layer `index`, after each forward pass in training. Where no object was
# given to the head, averages are printed as nan.


def yolo_line(s: Statistics, index: int) -> str:
    """pjreddie's [yolo]."""
    return (
        f"Region {index} Avg IOU: {s.mean('iou'):f}, Class: {s.mean('class_probability'):f}, "
        f"Obj: {s.mean('objectness'):f}, No Obj: {s.mean('any_objectness'):f}, .5R: {s.mean('recalled'):f}, "
        f".75R: {s.mean('recalled75'):f},  count: {s.count}"
    )


def yolo_losses_line(
    s: Statistics, index: int, iou_loss: str, normalizers: tuple[float, float, float], show_details: bool
) -> str:
    """AlexeyAB's [yolo]; the normalizers are those of iou, obj and cls."""
    name = iou_loss if iou_loss in ("mse", "giou") else "iou"
    iou_normalizer, obj_normalizer, cls_normalizer = normalizers
    count = max(s.count, 1)
    parts = f"class_loss = {s.class_loss:f}, iou_loss = {s.iou_loss:f}, " if show_details else ""
    return (
        f"v3 ({name} loss, Normalizer: (iou: {iou_normalizer:.2f}, obj: {obj_normalizer:.2f}, "
        f"cls: {cls_normalizer:.2f}) Region {index} Avg (IOU: {s.iou / count:f}), count: {count}, "
        f"{parts}total_loss = {s.total_loss:f} "
    )


def gaussian_line(s: Statistics, index: int) -> str:
    """[Gaussian_yolo]."""
    return (
        f"{yolo_line(s, index)}, class_loss = {s.class_loss:.2f}, iou_loss = {s.iou_loss:.2f}, "
        f"uc_loss = {s.uncertainty_loss:.2f}, total_loss = {s.total_loss:.2f} "
    )


def region_line(s: Statistics) -> str:
    """[region] in both dialects."""
    return (
        f"Region Avg IOU: {s.mean('iou'):f}, Class: {s.mean('class_probability'):f}, Obj: {s.mean('objectness'):f}, "
        f"No Obj: {s.mean('any_objectness'):f}, Avg Recall: {s.mean('recalled'):f},  count: {s.count}"
    )


def detection_line(s: Statistics, classes: int) -> str:
    """[detection] in both dialects."""
    return (
        f"Detection Avg IOU: {s.mean('iou'):f}, Pos Cat: {s.mean('class_probability'):f}, "
        f"All Cat: {s.mean('all_probabilities') / classes:f}, Pos Obj: {s.mean('objectness'):f}, "
        f"Any Obj: {s.mean('any_objectness'):f}, count: {s.count}"
    )
