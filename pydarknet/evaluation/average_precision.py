"""Matching, average precision as in `detector map`, recall as in `detector recall`; from arrays alone.

A *record* is one box with one class. The records of a picture are in darknet's order after suppression: box by
box, class by class. Where two match one object, the first is the true positive.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..boxes import Candidates, iou
from ..utils.arrays import Array

Integers = NDArray[np.int64]

GRID: NDArray[np.float64] = np.linspace(0, 1, 201)  # of confidence thresholds
NEARLY = 0.999  # of the best F1; the recommended threshold is the middle of those that reach it
NOTHING = np.zeros((0, 5), np.float32)
LARGEST_TABLE = 1 << 20  # the number of IoUs that are computed at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Above a threshold; `truths`: objects. A fraction is NaN where darknet has 0/0."""

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
    """`tp` and `fp` are above the threshold; `ap` (0 to 1) is of all records."""

    number: int
    ap: float
    overlap: float  # sum of the IoU of the true positives

    @property
    def average_iou(self) -> float:
        """Each false positive counts as 0."""
        return self.overlap / max(1, self.tp + self.fp)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Counts):
    """`detections` counts records of any probability, tp and fp those above `thresh`. `truths` includes objects
    of classes that the network does not have."""

    classes: Sequence[ClassResult]
    thresh: float
    iou_thresh: float
    points: int
    detections: int
    average_iou: float

    @property
    def mean_average_precision(self) -> float:
        """A class without truth counts as 0."""
        return sum(result.ap for result in self.classes) / len(self.classes)


def _ratio(part: int, whole: int) -> float:
    """In float32, as in darknet: the last printed digit depends on it."""
    return float(np.float32(part) / np.float32(whole)) if whole else float("nan")


@dataclass(frozen=True, slots=True)
class Curve:
    """Of one class after each of its k records, most probable first. All are (k,)."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    probabilities: Array


def records_of(candidates: Candidates) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(box, class) of every record, in darknet's order."""
    boxes, classes = np.nonzero(candidates.probabilities > 0)
    return boxes, classes


def found_above(candidates: Candidates, thresh: float) -> tuple[Array, NDArray[np.intp], Array]:
    """(boxes, classes, probabilities) of those above the threshold, most probable first."""
    if not len(candidates):
        return np.zeros((0, 4), np.float32), np.zeros(0, np.intp), np.zeros(0, np.float32)
    classes, best = candidates.probabilities.argmax(axis=1), candidates.probabilities.max(axis=1)
    above = np.flatnonzero(best > np.float32(thresh))
    above = above[np.argsort(-best[above], kind="stable")]
    return candidates.boxes[above], classes[above], best[above]


def match_boxes(boxes: Array, truth: Array, iou_thresh: float) -> list[tuple[int, int]]:
    """(box, object) of pairs with an IoU above the threshold, of any classes. Each is in at most one pair; the
    largest IoU is matched first. boxes: (k, 4). truth: (t, 5)."""
    if not len(boxes) or not len(truth):
        return []
    table = iou(boxes[:, None], truth[None, :, 1:])
    order = np.argsort(-table, axis=None, kind="stable")
    pairs: dict[int, int] = {}
    for box, item in zip(*np.unravel_index(order, table.shape), strict=True):
        if not table[box, item] > np.float32(iou_thresh):
            break
        if box not in pairs and item not in pairs.values():
            pairs[int(box)] = int(item)
    return list(pairs.items())


def match(
    boxes: Array, box: NDArray[np.intp], classes: NDArray[np.intp], truth: Array, iou_thresh: float
) -> tuple[Integers, Array]:
    """The index of the truth that each record matches, (k,) int64, and their IoU, (k,) float32.

    box, classes: (k,), of each record. boxes: (n, 4). truth: (t, 5) rows of class, x, y, w, h. A record matches
    the truth of its class with the largest IoU, the first of equal ones, if that is above `iou_thresh` (in
    float32);
    else the index is -1 and the IoU 0.
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


class MeanAveragePrecision:
    """Accumulates pictures: call `add` for each in the order of the list, then `report`.

    thresh: only records above it count as tp or fp. points: 0 for the area under the curve, else the number of
    recall levels at which precision is sampled (11 in PASCAL VOC 2007, 101 in COCO).
    """

    def __init__(self, classes: int, thresh: float = 0.25, iou_thresh: float = 0.5, points: int = 0) -> None:
        self.classes, self.thresh, self.iou_thresh, self.points = classes, thresh, iou_thresh, points
        self._ranked: list[tuple[NDArray, NDArray, NDArray]] = []
        self._truth_count = 0
        self._truths_of = np.zeros(classes, np.int64)
        self._counts = np.zeros((2, classes), np.int64)  # true and false positives
        self._overlaps: list[Array] = []
        self._overlap_of = np.zeros(classes, np.float32)

    def add(self, candidates: Candidates, truth: Array, difficult: Array = NOTHING) -> int:
        """Count one picture. Returns the number of its objects that no record above the threshold matches.

        candidates: after suppression, boxes in the unit of `truth`, (t, 5). difficult: (d, 5) objects that a
        detector need not find; a record that matches one of them, and no other object, is left out of the
        ranking.
        """
        box, classes = records_of(candidates)
        probabilities = candidates.probabilities[box, classes]
        found, overlaps = match(candidates.boxes, box, classes, truth, self.iou_thresh)
        # True positives are records above the threshold whose object no earlier one, of any probability, matches.
        above = probabilities > np.float32(self.thresh)
        true = above & _first_matches(found)
        np.add.at(self._counts[0], classes[true], 1)
        np.add.at(self._counts[1], classes[above & ~true], 1)
        np.add.at(self._overlap_of, classes[true], overlaps[true])
        self._overlaps.append(overlaps[true])
        known = truth[(truth[:, 0] >= 0) & (truth[:, 0] < self.classes), 0].astype(np.int64)
        np.add.at(self._truths_of, known, 1)
        ranked = (found >= 0) | (match(candidates.boxes, box, classes, difficult, self.iou_thresh)[0] < 0)
        truths = np.where(found >= 0, found + self._truth_count, -1)
        self._ranked.append((classes[ranked], probabilities[ranked], truths[ranked]))
        self._truth_count += len(truth)
        return len(truth) - int(np.count_nonzero(true))

    def curves(self) -> list[Curve]:
        """Of each class."""
        columns = zip(*self._ranked, strict=True) if self._ranked else [[]] * 3
        classes, probabilities, truths = (_joined(column) for column in columns)
        parts = ranked_by_class(classes, probabilities, self.classes)
        return [
            _curve(probabilities[part], truths[part], count)
            for part, count in zip(parts, self._truths_of.tolist(), strict=True)
        ]

    def report(self) -> Report:
        """Of the pictures so far."""
        aps = [average_precision(curve, self.points) for curve in self.curves()]
        rows = zip(aps, *self._counts.tolist(), self._truths_of.tolist(), self._overlap_of.tolist(), strict=True)
        classes = [
            ClassResult(number=number, ap=ap, tp=tp, fp=fp, truths=truths, overlap=overlap)
            for number, (ap, tp, fp, truths, overlap) in enumerate(rows)
        ]
        tp, fp = self._counts.sum(axis=1).tolist()
        # A float32 sum, term by term as in darknet: for a large set the last digit depends on the order.
        overlap = np.add.accumulate(np.append(np.float32(0), _joined(self._overlaps)), dtype=np.float32)[-1]
        return Report(
            classes=classes, tp=tp, fp=fp, truths=self._truth_count, thresh=self.thresh, iou_thresh=self.iou_thresh,
            points=self.points, detections=sum(len(part) for part, *_ in self._ranked),
            average_iou=float(overlap / np.float32(max(1, tp + fp))),
        )  # fmt: skip


def _first_matches(truths: Integers) -> NDArray[np.bool_]:
    first = np.zeros(len(truths), bool)
    first[np.unique(truths, return_index=True)[1]] = True
    return first & (truths >= 0)


def _curve(probabilities: Array, truths: Integers, count: int) -> Curve:
    tp = np.cumsum(_first_matches(truths))
    return Curve(tp / np.arange(1, len(truths) + 1), tp / max(1, count), probabilities)


def _joined(parts: Sequence[NDArray]) -> NDArray:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def ranked_by_class(classes: NDArray, probabilities: Array, count: int) -> list[NDArray[np.intp]]:
    """The indices of the records of each class, most probable first, then the earlier."""
    order = np.argsort(-probabilities, kind="stable")
    order = order[np.argsort(classes[order], kind="stable")]
    return np.split(order, np.searchsorted(classes[order], np.arange(count + 1)))[1:-1]


def best_from_here(precision: NDArray[np.float64]) -> NDArray[np.float64]:
    """The maximum over each rank and all later ones, along the last axis."""
    return np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]


def average_precision(curve: Curve, points: int) -> float:
    """The area under a curve, or the mean precision at `points` recall levels from 0 to 1, where the precision
    at a recall is the maximum over this and all higher recalls."""
    if not len(curve.recall):
        return 0.0
    best = best_from_here(curve.precision)
    if points:
        # Darknet's build (-Ofast) multiplies by the reciprocal: 3 x 0.1 of 11 points is above the recall 3/10, which
        # changes printed figures. A single point has the recall 0/0, which no curve reaches.
        recalls = np.arange(points) * (1 / (points - 1)) if points > 1 else np.full(1, np.inf)
        at = np.searchsorted(curve.recall, recalls, side="left")
        return float(np.cumsum(np.append(best, 0.0)[at])[-1] / points)
    # Between two ranks darknet takes the best precision from the former one on.
    heights = np.append(best[:1], best[:-1])
    return float(np.cumsum((np.diff(curve.recall, prepend=0.0) * heights)[::-1])[-1])


@dataclass(frozen=True)
class F1Curves:
    """F1 at each threshold of `GRID`. by_class: (classes, 201), NaN for classes without objects. mean: (201,),
    of the others. threshold: the recommended one. best: the mean there."""

    by_class: NDArray[np.float64]
    mean: NDArray[np.float64]
    threshold: float

    @property
    def best(self) -> float:
        return float(self.mean[np.searchsorted(GRID, self.threshold - 1e-9)])


def f1_curves(curves: Sequence[Curve], truths: Sequence[int]) -> F1Curves:
    """truths: the number of objects of each class."""
    present = [number for number, count in enumerate(truths) if count]
    by_class, mean = np.full((len(curves), len(GRID)), np.nan), np.zeros(len(GRID))
    for number in present:
        by_class[number] = _f1(curves[number])
    if present:
        mean = by_class[present].mean(axis=0)
    return F1Curves(by_class, mean, _recommended(mean))


def _f1(curve: Curve) -> NDArray[np.float64]:
    """(201,): F1 of the detections above each threshold; the precision of none is 1."""
    counts = np.searchsorted(-np.asarray(curve.probabilities, np.float64), -GRID, side="left")
    precision, recall = np.append(1.0, curve.precision)[counts], np.append(0.0, curve.recall)[counts]
    both = precision + recall
    return np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0)


def _recommended(f1: NDArray[np.float64]) -> float:
    """The middle of the interval around the best F1 where it is nearly as good; 0.25 if it is 0."""
    best = int(f1.argmax())
    if f1[best] <= 0:
        return 0.25
    worse = np.flatnonzero(f1 < NEARLY * f1[best])
    first = int(worse[worse < best].max(initial=-1)) + 1
    last = int(worse[worse > best].min(initial=len(f1))) - 1
    return float(GRID[(first + last) // 2])


@dataclass
class Recall:
    """proposals: boxes with an objectness above `thresh`. correct: objects that one overlaps."""

    thresh: float = 0.001
    iou_thresh: float = 0.5
    pictures: int = 0
    proposals: int = 0
    objects: int = 0
    correct: int = 0
    overlap: float = 0.0  # sum, in float32, of the best IoU of each object

    def add(self, candidates: Candidates, truth: Array) -> None:
        """truth: (t, 5) rows of class, x, y, w, h, in the unit of the candidates."""
        boxes = candidates.boxes[candidates.objectness > np.float32(self.thresh)]
        self.pictures += 1
        self.proposals += len(boxes)
        self.objects += len(truth)
        if len(truth):
            table = np.nan_to_num(iou(boxes[None], truth[:, None, 1:]), nan=0.0)
            best = table.max(axis=1, initial=0).astype(np.float32)
            self.correct += int(np.count_nonzero(best > np.float32(self.iou_thresh)))
            self.overlap = float(np.add.accumulate(np.append(np.float32(self.overlap), best), dtype=np.float32)[-1])

    def line(self) -> str:
        """The line that darknet prints after each picture."""
        with np.errstate(invalid="ignore"):
            found = np.float32(self.overlap) * np.float32(100) / np.float32(self.objects)
            share = np.float64(100 * self.correct) / np.float64(self.objects)
        proposals = np.float32(self.proposals) / np.float32(self.pictures)
        return (
            f"{self.pictures - 1:5d} {self.correct:5d} {self.objects:5d}\tRPs/Img: {proposals:.2f}\t"
            f"IOU: {_two_decimals(found)}%\tRecall:{_two_decimals(share)}%"
        )


def _two_decimals(value: np.floating) -> str:
    return "-nan" if np.isnan(value) else f"{value:.2f}"
