"""The truth as detection heads learn from it: the objects of a mini-batch, their classes, and their overlaps."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...config.names import read_map
from ...config.sections import Section
from ...errors import DataError, OptionError
from ...kernels.boxes import best_of_pictures
from ...utils.arrays import Array

log = logging.getLogger("pydarknet")

ClassIds = NDArray[np.int64]


@dataclass(frozen=True)
class Truths:
    """The objects of one picture: (k,) classes, (k, 4) boxes, and (k, n) further numbers for `coords` above 4."""

    classes: ClassIds
    boxes: Array
    more: Array

    def __len__(self) -> int:
        return len(self.classes)

    def select(self, which: NDArray[np.bool_]) -> Truths:
        return Truths(self.classes[which], self.boxes[which], self.more[which])

    def known(self, classes: int) -> Truths:
        """Those whose class is below `classes`; a warning for each of the others."""
        wrong = (self.classes < 0) | (self.classes >= classes)
        for number in self.classes[wrong]:
            log.warning(
                "in txt-labels class_id=%d >= classes=%d in cfg-file. In txt-labels class_id should be [from 0 to %d]",
                number, classes, classes - 1,
            )  # fmt: skip
        return self.select(~wrong)


def read_truths(rows: Array, limit: int) -> Truths:
    """Rows of class, x, y, w, h, ... up to the first with x = 0, and at most `limit`. Raises OptionError for an array
    of other columns."""
    rows = np.asarray(rows, np.float32)
    if rows.size == 0:
        rows = np.zeros((0, 5), np.float32)
    if rows.ndim != 2 or rows.shape[1] < 5:
        raise OptionError(f"truth of shape {rows.shape}: expected (objects, 5) rows of class, x, y, w, h")
    end = np.flatnonzero(rows[:, 1] == 0)
    rows = rows[: min([limit, *end[:1]])]
    return Truths(rows[:, 0].astype(np.int64), rows[:, 1:5], rows[:, 5:])


@dataclass(frozen=True)
class ClassMap:
    """The file of `map=`, read at first use: the network's class for each class of the labels."""

    section: Section
    classes: int

    @cached_property
    def _file(self) -> tuple[Path, ClassIds] | None:
        path = self.section.file("map")
        if path is None:
            return None
        numbers = np.array(read_map(path), np.int64)
        wrong = numbers[(numbers < 0) | (numbers >= self.classes)]
        if len(wrong):
            raise DataError(f"{path}: found class {wrong[0]}; expected 0 to {self.classes - 1}")
        return path, numbers

    def __call__(self, classes: ClassIds) -> ClassIds:
        """The network's classes; the same ones where the section has no map. Raises DataError."""
        if self._file is None:
            return classes
        path, numbers = self._file
        wrong = classes[(classes < 0) | (classes >= len(numbers))]
        if len(wrong):
            raise DataError(f"{path} has {len(numbers)} lines, but a label has class {wrong[0]}")
        return numbers[classes]


@dataclass(frozen=True)
class Objects:
    """The objects of a mini-batch, picture after picture: (k,) classes and (k, 4) boxes. Those of picture p are
    starts[p] to starts[p + 1]."""

    classes: ClassIds
    boxes: Array
    starts: NDArray[np.int64]

    @classmethod
    def read(cls, truth: Sequence[Array], limit: int, known: int | None, class_map: ClassMap) -> Objects:
        """`read_truths` of each picture; only classes below `known`, where it is given. Raises DataError."""
        found = [read_truths(rows, limit) for rows in truth]
        if known is not None:
            found = [truths.known(known) for truths in found]
        classes = class_map(np.concatenate([truths.classes for truths in found]))
        starts = np.cumsum([0, *map(len, found)])
        return cls(classes, np.concatenate([truths.boxes for truths in found]), starts)


def square_sum(values: Array) -> float:
    """The sum of squares."""
    return float(np.square(values, dtype=np.float64).sum())


def best_overlaps(boxes: Array, truths: Array, starts: NDArray[np.int64]) -> tuple[Array, NDArray[np.int32]]:
    """For each of `boxes` (4, pictures, ...) the largest IoU with any object of its picture, and the first such object:
    flat, without overlap 0 and the first object. truths: (k, 4), those of picture p from starts[p] to starts[p + 1]."""
    predicted = np.ascontiguousarray(boxes, np.float32).reshape(4, len(starts) - 1, -1)
    best, which = np.empty(predicted.shape[1:], np.float32), np.empty(predicted.shape[1:], np.int32)
    best_of_pictures(predicted, np.ascontiguousarray(truths, np.float32), starts, best, which)
    return best.reshape(-1), which.reshape(-1)


@np.errstate(all="ignore")
def focal_factor(probability: Array) -> Array:
    """The factor of `focal_loss` for all class deltas of a prediction, from the probability of its true class."""
    p = probability + np.float32(1e-15)
    return np.float32(-0.5) * (1 - p) * (2 * p * np.log(p) + p - 1)
