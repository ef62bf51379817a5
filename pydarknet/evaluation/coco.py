"""COCO's average precision and recall, as its evaluation tool defines them. NumPy only.

Boxes are float64 rows of left, top, width, height in pixels. Of each class at most 100 records of a picture count. At
each of ten overlaps (0.5 to 0.95) every record, the most probable first, takes the free object of its class that it
overlaps most. Objects outside a range of areas are ignored: neither they nor the records that take them count, nor
do records outside the range that take nothing. Precision is averaged over 101 recalls and over the classes present.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..boxes import Candidates
from ..utils.arrays import Array
from .average_precision import NOTHING, records_of

Floats = NDArray[np.float64]

OVERLAPS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
MOST = 100  # records of one class in one picture

_LOW, _HIGH = np.array(list(AREAS.values())).T[:, :, None]
_BITS = 1 << np.arange(len(OVERLAPS))
_EVERY = int(_BITS.sum())


@dataclass(frozen=True, slots=True)
class CocoReport:
    """AP and AR, 0 to 1; NaN where there is no object to find.

    ap, ap50, ap75, small, medium, large: over overlaps .50 to .95, at .50, at .75, and by area. recall: with at most
    1, 10 and 100 records of a class in a picture. recall_by_area: small, medium, large. classes: `ap` of each.
    """

    ap: float
    ap50: float
    ap75: float
    small: float
    medium: float
    large: float
    recall: tuple[float, float, float]
    recall_by_area: tuple[float, float, float]
    classes: list[float]


@dataclass
class CocoAveragePrecision:
    """Collects pictures, one `add` each; `report` then gives the figures."""

    classes: int
    _records: list[tuple[NDArray, ...]] = field(default_factory=list, repr=False)
    _objects: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._objects = np.zeros((len(AREAS), self.classes), np.int64)  # that are not ignored

    def add(self, boxes: Floats, classes: NDArray, scores: Array, truth: Floats, truth_classes: NDArray) -> None:
        """Count the records (k) and the objects (t) of one picture; objects of unknown classes are left out."""
        known = (truth_classes >= 0) & (truth_classes < self.classes)
        truth, truth_classes = truth[known], truth_classes[known].astype(np.int64)
        ignored = _outside(truth)
        for area, row in enumerate(ignored):
            np.add.at(self._objects[area], truth_classes[~row], 1)
        order = np.lexsort((-scores, classes))
        rank = np.arange(len(order)) - np.searchsorted(classes[order], classes[order])
        order, rank = order[rank < MOST], rank[rank < MOST]
        boxes, classes, scores = boxes[order], classes[order], scores[order]
        # Bits of `taken`: at which overlaps a record takes an object; of `left_out`: at which it does not count.
        taken = np.zeros((len(AREAS), len(order)), np.int16)
        left_out = np.where(_outside(boxes), _EVERY, 0).astype(np.int16)
        for number in np.intersect1d(classes, truth_classes):
            mine, theirs = np.flatnonzero(classes == number), np.flatnonzero(truth_classes == number)
            _take(overlaps(boxes[mine], truth[theirs]), ignored[:, theirs], mine, taken, left_out)
        self._records.append(
            (classes.astype(np.int32), scores.astype(np.float32), rank.astype(np.int8), taken, left_out)
        )

    @np.errstate(all="ignore")  # a network that diverges gives infinite boxes
    def add_candidates(self, candidates: Candidates, truth: Array, width: int, height: int) -> None:
        """The same from candidates after suppression and rows of class, x, y, w, h, in fractions of a picture.

        Boxes are cut at the edges of the picture, as those of `detector valid` are.
        """
        box, classes = records_of(candidates)
        found = in_pixels(candidates.boxes, width, height)
        ends = np.minimum(found[:, :2] + found[:, 2:], (width, height))
        found[:, :2] = np.maximum(found[:, :2], 0)
        found[:, 2:] = np.maximum(ends - found[:, :2], 0)
        self.add(
            found[box],
            classes,
            candidates.probabilities[box, classes],
            in_pixels(truth[:, 1:], width, height),
            truth[:, 0],
        )

    def report(self) -> CocoReport:
        """The figures for the pictures so far."""
        if not self._records:
            self.add_candidates(Candidates.empty(self.classes), NOTHING, 1, 1)
        classes, scores, ranks, taken, left_out = (
            np.concatenate(parts, axis=-1) for parts in zip(*self._records, strict=True)
        )
        order = np.argsort(-scores, kind="stable")
        order = order[np.argsort(classes[order], kind="stable")]
        ends = np.searchsorted(classes[order], np.arange(self.classes + 1))
        precision = np.full((len(AREAS), self.classes, len(OVERLAPS)), np.nan)
        recall = np.full((len(AREAS), 3, self.classes, len(OVERLAPS)), np.nan)
        for number in range(self.classes):
            part = order[ends[number] : ends[number + 1]]
            for area in range(len(AREAS)):
                count = int(self._objects[area, number])
                if not count:
                    continue
                tp, fp = _positives(taken[area, part], left_out[area, part])
                precision[area, number] = _precision(tp, fp, count)
                for i, most in enumerate((1, 10, MOST)):
                    recall[area, i, number] = tp[:, ranks[part] < most].sum(axis=1) / count
        return _summary(precision, recall)


def in_pixels(boxes: Array, width: int, height: int) -> Floats:
    """Centre and size in fractions -> left, top, width, height in pixels."""
    sizes = boxes[:, 2:].astype(np.float64)
    return np.concatenate([boxes[:, :2] - sizes / 2, sizes], axis=1) * (width, height, width, height)


def overlaps(a: Floats, b: Floats) -> Floats:
    """IoU (k, t) of boxes (k, 4) with boxes (t, 4), left, top, width, height."""
    a, b = a[:, None], b[None]
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    sides = np.maximum(high - low, 0)
    common = sides[..., 0] * sides[..., 1]
    union = a[..., 2] * a[..., 3] + b[..., 2] * b[..., 3] - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def _outside(boxes: Floats) -> NDArray[np.bool_]:
    """(areas, k): which boxes lie outside each range of areas."""
    area = boxes[:, 2] * boxes[:, 3]
    return (area < _LOW) | (area > _HIGH)


def _take(table: Floats, ignored: NDArray[np.bool_], mine: NDArray, taken: NDArray, left_out: NDArray) -> None:
    """Let the records `mine` of one class, the best first, take objects; mark that in columns of the other two.

    table: (k, t) overlaps; ignored: (areas, t). An object that is not ignored goes before one that is; of equal
    overlaps the last one counts.
    """
    least = np.minimum(OVERLAPS, 1 - 1e-10)[:, None]
    gone = np.zeros((len(AREAS), len(OVERLAPS), table.shape[1]), bool)
    for row in np.flatnonzero(table.max(axis=1) >= least[0]):
        free = (table[row] >= least) & ~gone
        wanted = free & ~ignored[:, None]
        free = np.where(wanted.any(axis=2, keepdims=True), wanted, free)
        best = table.shape[1] - 1 - np.where(free, table[row], -1)[..., ::-1].argmax(axis=2)
        area, at = np.nonzero(free.any(axis=2))
        gone[area, at, best[area, at]] = True
        hits = np.zeros(best.shape, bool)
        hits[area, at] = True
        column = mine[row]
        hidden = hits & np.take_along_axis(ignored, best, axis=1)
        taken[:, column] = hits @ _BITS
        left_out[:, column] = (left_out[:, column] & ~taken[:, column]) | (hidden @ _BITS)


def _positives(taken: NDArray[np.int16], left_out: NDArray[np.int16]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(overlaps, k) true and false positives."""
    hits, hidden = (taken & _BITS[:, None]) != 0, (left_out & _BITS[:, None]) != 0
    return hits & ~hidden, ~hits & ~hidden


def _precision(tp: NDArray[np.bool_], fp: NDArray[np.bool_], count: int) -> Floats:
    """Mean precision at 101 recalls for each overlap: (overlaps,)."""
    hits, misses = np.cumsum(tp, axis=1, dtype=np.float64), np.cumsum(fp, axis=1, dtype=np.float64)
    precision = hits / (hits + misses + np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    best = np.concatenate([best, np.zeros((len(best), 1))], axis=1)
    at = [np.searchsorted(row, RECALLS, side="left") for row in hits / count]
    return np.array([row[places].mean() for row, places in zip(best, at, strict=True)])


def _summary(precision: Floats, recall: Floats) -> CocoReport:
    by_area = [_mean(part) for part in precision]
    return CocoReport(
        ap=by_area[0],
        ap50=_mean(precision[0, :, 0]),
        ap75=_mean(precision[0, :, 5]),
        small=by_area[1],
        medium=by_area[2],
        large=by_area[3],
        recall=(_mean(recall[0, 0]), _mean(recall[0, 1]), _mean(recall[0, 2])),
        recall_by_area=(_mean(recall[1, 2]), _mean(recall[2, 2]), _mean(recall[3, 2])),
        classes=[_mean(row) for row in precision[0]],
    )


def _mean(values: Floats) -> float:
    """Over what there is; NaN of nothing."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")
