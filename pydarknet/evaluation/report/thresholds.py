"""F1 as a function of the confidence threshold, and the recommended threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..average_precision import Curve

Floats = NDArray[np.float64]

GRID: Floats = np.linspace(0, 1, 201)
NEARLY = 0.999  # of the best F1; the recommended threshold is the middle of those that reach it


@dataclass(frozen=True)
class F1Curves:
    """F1 at each threshold of `GRID`. by_class: (classes, 201), NaN for classes without objects. mean: (201,), over
    the classes that have objects. precision, recall: (201,) likewise. threshold: the recommended one."""

    by_class: Floats
    mean: Floats
    precision: Floats
    recall: Floats
    threshold: float

    @property
    def best(self) -> float:
        """The mean F1 at the recommended threshold."""
        return float(self.mean[np.searchsorted(GRID, self.threshold - 1e-9)])


def f1_curves(curves: Sequence[Curve], truths: Sequence[int]) -> F1Curves:
    """The curves of F1 from those of precision and recall. truths: the number of objects of each class."""
    parts = np.full((3, len(curves), len(GRID)), np.nan)
    for number, (curve, count) in enumerate(zip(curves, truths, strict=True)):
        if count:
            parts[:, number] = _at_thresholds(curve)
    present = [number for number, count in enumerate(truths) if count]
    if not present:
        zeros = np.zeros(len(GRID))
        return F1Curves(parts[0], zeros, zeros, zeros, 0.25)
    f1, precision, recall = parts[:, present].mean(axis=1)
    return F1Curves(parts[0], f1, precision, recall, _recommended(f1))


def _at_thresholds(curve: Curve) -> Floats:
    """(3, 201): F1, precision and recall of the detections above each threshold; the precision of none is 1."""
    counts = np.searchsorted(-np.asarray(curve.probabilities, np.float64), -GRID, side="left")
    precision = np.append(1.0, curve.precision)[counts]
    recall = np.append(0.0, curve.recall)[counts]
    both = precision + recall
    return np.stack(
        [np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0), precision, recall]
    )


def _recommended(f1: Floats) -> float:
    """The middle of the interval around the best F1 in which F1 is nearly as good; 0.25 if F1 is 0 everywhere."""
    best = int(f1.argmax())
    if f1[best] <= 0:
        return 0.25
    good = f1 >= NEARLY * f1[best]
    first = last = best
    while first > 0 and good[first - 1]:
        first -= 1
    while last < len(f1) - 1 and good[last + 1]:
        last += 1
    return float(GRID[(first + last) // 2])
