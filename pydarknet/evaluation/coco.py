"""COCO's average precision and recall, as its evaluation tool defines them. NumPy only.

Boxes are float64 rows of left, top, width, height in pixels. At each of ten IoU thresholds (0.5 to 0.95) the
records, most probable first, at most 100 of a class and picture, are matched with the free object of their class
with the largest IoU. Objects outside an area range, records matched with them, and unmatched records outside it
do not count. Precision is averaged over 101 recall levels and over the classes present.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..boxes import Candidates
from ..utils.arrays import Array
from .average_precision import NOTHING, best_from_here, ranked_by_class, records_of

Floats = NDArray[np.float64]

OVERLAPS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
MAX_RECORDS = 100  # of one class in one picture

_LOW, _HIGH = np.array(list(AREAS.values())).T[:, :, None]
_BITS = 1 << np.arange(len(OVERLAPS))
_EVERY = int(_BITS.sum())


@dataclass(frozen=True, slots=True)
class CocoReport:
    """AP and AR, 0 to 1; NaN if there are no objects.

    ap: mean over IoU .50 to .95; ap50, ap75: at one. small, medium, large: `ap` by area. recall: AR with at most
    1, 10 and 100 records. classes: `ap` of each.
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


class CocoAveragePrecision:
    """Accumulates pictures: call `add` for each, then `report`."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self._records: list[tuple[NDArray, ...]] = []
        self._objects = np.zeros((len(AREAS), classes), np.int64)  # without the ignored ones

    def add(self, boxes: Floats, classes: NDArray, scores: Array, truth: Floats, truth_classes: NDArray) -> None:
        """Count boxes (k, 4), classes, scores (k,) of records, truth (t, 4), truth_classes (t,).

        Objects of unknown classes are left out.
        """
        known = (truth_classes >= 0) & (truth_classes < self.classes)
        truth, truth_classes = truth[known], truth_classes[known].astype(np.int64)
        ignored = _outside(truth)
        for area, row in enumerate(ignored):
            np.add.at(self._objects[area], truth_classes[~row], 1)
        order = np.lexsort((-scores, classes))
        rank = np.arange(len(order)) - np.searchsorted(classes[order], classes[order])
        order, rank = order[rank < MAX_RECORDS], rank[rank < MAX_RECORDS]
        boxes, classes, scores = boxes[order], classes[order], scores[order]
        # One bit per IoU threshold. `taken`: the record is matched at it; `left_out`: the record does not count at it.
        taken = np.zeros((len(AREAS), len(order)), np.int16)
        left_out = np.where(_outside(boxes), _EVERY, 0).astype(np.int16)
        for number in np.intersect1d(classes, truth_classes):
            mine, theirs = np.flatnonzero(classes == number), np.flatnonzero(truth_classes == number)
            _match(overlaps(boxes[mine], truth[theirs]), ignored[:, theirs], mine, taken, left_out)
        numbers = classes.astype(np.int32), scores.astype(np.float32), rank.astype(np.int8)
        self._records.append((*numbers, taken, left_out))

    @np.errstate(all="ignore")  # a network that diverges gives infinite boxes
    def add_candidates(self, candidates: Candidates, truth: Array, width: int, height: int) -> None:
        """truth: (t, 5). Both in fractions of the picture, to which boxes are clipped."""
        box, classes = records_of(candidates)
        found = in_pixels(candidates.boxes, width, height)
        ends = np.minimum(found[:, :2] + found[:, 2:], (width, height))
        found[:, :2] = np.maximum(found[:, :2], 0)
        found[:, 2:] = np.maximum(ends - found[:, :2], 0)
        objects = in_pixels(truth[:, 1:], width, height)
        self.add(found[box], classes, candidates.probabilities[box, classes], objects, truth[:, 0])

    def report(self) -> CocoReport:
        """Of the pictures so far."""
        if not self._records:
            self.add_candidates(Candidates.empty(self.classes), NOTHING, 1, 1)
        classes, scores, ranks, taken, left_out = (
            np.concatenate(parts, axis=-1) for parts in zip(*self._records, strict=True)
        )
        precision = np.full((len(AREAS), self.classes, len(OVERLAPS)), np.nan)
        recall = np.full((len(AREAS), 3, self.classes, len(OVERLAPS)), np.nan)
        for number, part in enumerate(ranked_by_class(classes, scores, self.classes)):
            for area in range(len(AREAS)):
                count = int(self._objects[area, number])
                if not count:
                    continue
                hits, hidden = taken[area, part] & _BITS[:, None] != 0, left_out[area, part] & _BITS[:, None] != 0
                tp = hits & ~hidden
                precision[area, number] = _precision(tp, ~hits & ~hidden, count)
                for i, most in enumerate((1, 10, MAX_RECORDS)):
                    recall[area, i, number] = tp[:, ranks[part] < most].sum(axis=1) / count
        ap, small, medium, large = map(_mean, precision)
        return CocoReport(
            ap, _mean(precision[0, :, 0]), _mean(precision[0, :, 5]), small, medium, large,
            recall=(_mean(recall[0, 0]), _mean(recall[0, 1]), _mean(recall[0, 2])),
            recall_by_area=(_mean(recall[1, 2]), _mean(recall[2, 2]), _mean(recall[3, 2])),
            classes=[_mean(row) for row in precision[0]],
        )  # fmt: skip


def in_pixels(boxes: Array, width: int, height: int) -> Floats:
    """x, y, w, h in fractions -> left, top, width, height in pixels, (k, 4) both."""
    sizes = boxes[:, 2:].astype(np.float64)
    return np.concatenate([boxes[:, :2] - sizes / 2, sizes], axis=1) * (width, height, width, height)


def overlaps(a: Floats, b: Floats) -> Floats:
    """(k, t) IoU of boxes a (k, 4) with boxes b (t, 4)."""
    a, b = a[:, None], b[None]
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    sides = np.maximum(high - low, 0)
    common = sides[..., 0] * sides[..., 1]
    union = a[..., 2] * a[..., 3] + b[..., 2] * b[..., 3] - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def _outside(boxes: Floats) -> NDArray[np.bool_]:
    area = boxes[:, 2] * boxes[:, 3]
    return (area < _LOW) | (area > _HIGH)


def _match(table: Floats, ignored: NDArray[np.bool_], mine: NDArray, taken: NDArray, left_out: NDArray) -> None:
    """Match the records of one class with objects, best record first; write to columns `mine` of taken and
    left_out.

    table: (k, t) IoU. ignored: (areas, t), others are preferred. Of equal IoU the last object wins.
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


def _precision(tp: NDArray[np.bool_], fp: NDArray[np.bool_], count: int) -> Floats:
    """(thresholds,): the mean over 101 recall levels. tp, fp: (thresholds, k)."""
    hits, misses = np.cumsum(tp, axis=1, dtype=np.float64), np.cumsum(fp, axis=1, dtype=np.float64)
    precision = hits / (hits + misses + np.spacing(1))
    best = np.concatenate([best_from_here(precision), np.zeros((len(precision), 1))], axis=1)
    at = [np.searchsorted(row, RECALLS, side="left") for row in hits / count]
    return np.array([row[places].mean() for row, places in zip(best, at, strict=True)])


def _mean(values: Floats) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")
