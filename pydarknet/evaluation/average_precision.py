"""Average precision as AlexeyAB's `detector map` computes it, from arrays; no network, no files.

A *record* is one box with one class. The records of a picture are in darknet's order after suppression: box by box,
class by class. The order matters: where two records match one object, the first is the true positive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..boxes import Candidates, iou
from ..utils.arrays import Array

Integers = NDArray[np.int64]

NOTHING = np.zeros((0, 5), np.float32)
LARGEST_TABLE = 1 << 20  # the number of IoUs that are computed at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """True and false positives above a threshold, and objects (`truths`). A fraction is NaN if darknet computes 0/0."""

    tp: int
    fp: int
    truths: int

    @property
    def fn(self) -> int:
        return self.truths - self.tp

    @property
    def precision(self) -> float:
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        return _ratio(self.tp, self.truths)

    @property
    def f1(self) -> float:
        p, r = np.float32(self.precision), np.float32(self.recall)
        return float(2 * p * r / (p + r)) if p + r != 0 else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassResult(Counts):
    """The metrics of one class. `tp` and `fp` count records above the report's threshold; `ap` (0 to 1) uses all."""

    number: int
    ap: float
    overlap: float  # sum of the IoU of the true positives

    @property
    def average_iou(self) -> float:
        """Mean IoU with the truth; each false positive counts as 0."""
        return self.overlap / max(1, self.tp + self.fp)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Counts):
    """The metrics of `detector map` for a set of pictures. `average_iou` is 0 to 1.

    `detections` counts records of any probability; tp and fp count records above `thresh`. `truths` includes objects of
    classes that the network does not have.
    """

    classes: Sequence[ClassResult]
    thresh: float
    iou_thresh: float
    points: int
    detections: int
    average_iou: float

    @property
    def mean_average_precision(self) -> float:
        """The mean over all classes; a class without truth counts as 0."""
        return sum(result.ap for result in self.classes) / len(self.classes)


def _ratio(part: int, whole: int) -> float:
    """The quotient in float32, as in darknet: the last printed digit depends on it."""
    return float(np.float32(part) / np.float32(whole)) if whole else float("nan")


@dataclass(frozen=True, slots=True)
class Curve:
    """Precision and recall of one class after each of its k records, most probable first. All arrays are (k,)."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    probabilities: Array


def records_of(candidates: Candidates) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(box, class) of every record, in darknet's order."""
    boxes, classes = np.nonzero(candidates.probabilities > 0)
    return boxes, classes


def match(
    boxes: Array, box: NDArray[np.intp], classes: NDArray[np.intp], truth: Array, iou_thresh: float
) -> tuple[Integers, Array]:
    """The index of the truth that each record matches, (k,) int64, and their IoU, (k,) float32.

    box, classes: (k,) the box and the class of each record. boxes: (n, 4). truth: (t, 5) rows of class, x, y, w, h.
    A record matches the truth of its class with the largest IoU, if that is above `iou_thresh` (compared in float32);
    of equal ones the first. Without a match the index is -1 and the IoU 0.

    Each record is compared with each object of its class, as in darknet: suppression and the size of the heads bound
    the records of a picture. The memory is bounded by `LARGEST_TABLE`.
    """
    found, overlaps = np.full(len(box), -1, np.int64), np.zeros(len(box), np.float32)
    for number in np.intersect1d(classes, truth[:, 0]):
        mine, of_class = np.flatnonzero(classes == number), np.flatnonzero(truth[:, 0] == number)
        rows = max(1, LARGEST_TABLE // len(of_class))
        for start in range(0, len(mine), rows):
            part = mine[start : start + rows]
            table = iou(boxes[box[part], None], truth[None, of_class, 1:])
            best = table.argmax(axis=1)
            value = table[np.arange(len(part)), best]
            hit = value > np.float32(max(iou_thresh, 0))
            found[part[hit]], overlaps[part[hit]] = of_class[best[hit]], value[hit]
    return found, overlaps


@dataclass
class MeanAveragePrecision:
    """Accumulates pictures: call `add` for each in the order of the list, then `report`.

    thresh: only records above it count as tp or fp. points: 0 for the area under the curve, else the number of recall
    levels at which precision is sampled (11 in PASCAL VOC 2007, 101 in COCO).
    """

    classes: int
    thresh: float = 0.25
    iou_thresh: float = 0.5
    points: int = 0
    _classes: list[NDArray[np.intp]] = field(default_factory=list, repr=False)
    _probabilities: list[Array] = field(default_factory=list, repr=False)
    _truths: list[Integers] = field(default_factory=list, repr=False)
    _truth_count: int = 0
    _truths_of: Integers = field(init=False, repr=False)
    _counts: Integers = field(init=False, repr=False)
    _overlaps: list[Array] = field(default_factory=list, repr=False)
    _overlap_of: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._truths_of = np.zeros(self.classes, np.int64)
        self._counts = np.zeros((2, self.classes), np.int64)  # true and false positives
        self._overlap_of = np.zeros(self.classes, np.float32)

    def add(self, candidates: Candidates, truth: Array, difficult: Array = NOTHING) -> int:
        """Count one picture. Returns the number of its objects that no record above the threshold matches.

        candidates: after suppression, boxes in the unit of `truth`, (t, 5). difficult: (d, 5) objects that a detector
        need not find; a record that matches one of them, and no other object, is left out of the ranking.
        """
        box, classes = records_of(candidates)
        probabilities = candidates.probabilities[box, classes]
        found, overlaps = match(candidates.boxes, box, classes, truth, self.iou_thresh)
        hits = self._count(classes, probabilities, found, overlaps)
        known = truth[(truth[:, 0] >= 0) & (truth[:, 0] < self.classes), 0].astype(np.int64)
        np.add.at(self._truths_of, known, 1)
        ranked = found >= 0
        if len(difficult):
            ranked |= match(candidates.boxes, box, classes, difficult, self.iou_thresh)[0] < 0
        else:
            ranked[:] = True
        self._classes.append(classes[ranked])
        self._probabilities.append(probabilities[ranked])
        self._truths.append(np.where(found >= 0, found + self._truth_count, -1)[ranked])
        self._truth_count += len(truth)
        return len(truth) - hits

    def _count(self, classes: NDArray[np.intp], probabilities: Array, found: Integers, overlaps: Array) -> int:
        """Count true and false positives above the threshold. Returns the number of true ones.

        A record is a true positive if no earlier record of the picture, of any probability, matches its object.
        """
        first = np.zeros(len(found), bool)
        first[np.unique(found, return_index=True)[1]] = True
        above = probabilities > np.float32(self.thresh)
        true = above & first & (found >= 0)
        np.add.at(self._counts[0], classes[true], 1)
        np.add.at(self._counts[1], classes[above & ~true], 1)
        np.add.at(self._overlap_of, classes[true], overlaps[true])
        self._overlaps.append(overlaps[true])
        return int(np.count_nonzero(true))

    def curves(self) -> list[Curve]:
        """The precision-recall curve of each class."""
        classes, probabilities, truths = (
            _joined(parts) for parts in (self._classes, self._probabilities, self._truths)
        )
        order = np.argsort(-probabilities, kind="stable")
        order = order[np.argsort(classes[order], kind="stable")]
        ends = np.searchsorted(classes[order], np.arange(self.classes + 1))
        return [
            self._curve(probabilities[part], truths[part], int(self._truths_of[number]))
            for number in range(self.classes)
            for part in [order[ends[number] : ends[number + 1]]]
        ]

    @staticmethod
    def _curve(probabilities: Array, truths: Integers, count: int) -> Curve:
        """The curve of one class from its records, most probable first; each object can be matched once."""
        true = np.zeros(len(truths), bool)
        true[np.unique(truths, return_index=True)[1]] = True
        tp = np.cumsum(true & (truths >= 0))
        precision = tp / np.arange(1, len(truths) + 1)
        return Curve(precision, tp / max(1, count), probabilities)

    def report(self) -> Report:
        """The metrics of the pictures so far."""
        tp, fp = self._counts.tolist()
        classes = [
            ClassResult(
                number=number,
                ap=average_precision(curve, self.points),
                tp=tp[number],
                fp=fp[number],
                truths=int(self._truths_of[number]),
                overlap=float(self._overlap_of[number]),
            )
            for number, curve in enumerate(self.curves())
        ]
        return Report(
            classes=classes,
            tp=sum(tp),
            fp=sum(fp),
            truths=self._truth_count,
            thresh=self.thresh,
            iou_thresh=self.iou_thresh,
            points=self.points,
            detections=sum(len(part) for part in self._classes),
            average_iou=self._average_iou(),
        )

    def _average_iou(self) -> float:
        """The sum is float32, term by term as in darknet: for a large set the last digit depends on the order."""
        values = _joined(self._overlaps)
        total = np.add.accumulate(values, dtype=np.float32)[-1] if values.size else np.float32(0)
        return float(total / np.float32(max(1, self._counts.sum())))


def _joined(parts: Sequence[NDArray]) -> NDArray:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def average_precision(curve: Curve, points: int) -> float:
    """The area under a precision-recall curve, or the mean precision at `points` recall levels from 0 to 1.

    The precision at a recall is the maximum over this and all higher recalls. The area is summed from the last rank to
    the first, in double precision.
    """
    if not len(curve.recall):
        return 0.0
    best = np.maximum.accumulate(curve.precision[::-1])[::-1]
    if points:
        # Darknet's build (-Ofast) multiplies by the reciprocal: 3 x 0.1 of 11 points is above the recall 3/10, which
        # changes printed figures. A single point has the recall 0/0, which no curve reaches.
        recalls = np.arange(points) * (1 / (points - 1)) if points > 1 else np.full(1, np.inf)
        at = np.searchsorted(curve.recall, recalls, side="left")
        return float(np.cumsum(np.append(best, 0.0)[at])[-1] / points)
    # Between two ranks darknet takes the best precision from the former one on.
    heights = np.append(best[:1], best[:-1])
    steps = np.diff(curve.recall, prepend=0.0)
    return float(np.cumsum((steps * heights)[::-1])[-1])
