"""The truth as detection heads learn from it: objects, their classes, overlaps, and the gradients of these."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...boxes import Floats
from ...config.names import read_map
from ...config.sections import Section
from ...errors import DataError, OptionError
from ...kernels.boxes import best_of_pictures
from ...utils.arrays import Array
from ...utils.files import log

ClassIds = NDArray[np.int64]


@dataclass(frozen=True)
class Truths:
    """The objects of one picture: (k,) classes, (k, 4) boxes, (k, n) further numbers."""

    classes: ClassIds
    boxes: Array
    more: Array

    def __len__(self) -> int:
        return len(self.classes)

    def select(self, which: NDArray[np.bool_]) -> "Truths":
        return Truths(self.classes[which], self.boxes[which], self.more[which])

    def known(self, classes: int) -> "Truths":
        """Those of known classes; a warning for each other one."""
        wrong = (self.classes < 0) | (self.classes >= classes)
        for number in self.classes[wrong]:
            log.warning(
                "in txt-labels class_id=%d >= classes=%d in cfg-file. In txt-labels class_id should be [from 0 to %d]",
                number, classes, classes - 1,
            )  # fmt: skip
        return self.select(~wrong)


def read_truths(rows: Array, limit: int) -> Truths:
    """Rows up to the first with x = 0, and at most `limit`. Raises OptionError."""
    rows = np.asarray(rows, np.float32)
    if rows.size == 0:
        rows = np.zeros((0, 5), np.float32)
    if rows.ndim != 2 or rows.shape[1] < 5:
        raise OptionError(f"truth of shape {rows.shape}: expected (objects, 5) rows of class, x, y, w, h")
    rows = rows[: min([limit, *np.flatnonzero(rows[:, 1] == 0)[:1]])]
    return Truths(rows[:, 0].astype(np.int64), rows[:, 1:5], rows[:, 5:])


@dataclass(frozen=True)
class ClassMap:
    """The file of `map=`: the network's class for each of the labels'."""

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
        """The network's classes. Raises DataError."""
        if self._file is None:
            return classes
        path, numbers = self._file
        wrong = classes[(classes < 0) | (classes >= len(numbers))]
        if len(wrong):
            raise DataError(f"{path} has {len(numbers)} lines, but a label has class {wrong[0]}")
        return numbers[classes]


@dataclass(frozen=True)
class Objects:
    """The objects of a mini-batch; those of picture p are starts[p] to starts[p + 1]."""

    classes: ClassIds
    boxes: Array
    starts: NDArray[np.int64]

    @classmethod
    def read(cls, truth: Sequence[Array], limit: int, known: int | None, class_map: ClassMap) -> "Objects":
        """The truths of each picture; with `known` only classes below it. Raises DataError."""
        found = [read_truths(rows, limit) for rows in truth]
        if known is not None:
            found = [truths.known(known) for truths in found]
        classes = class_map(np.concatenate([truths.classes for truths in found]))
        return cls(classes, np.concatenate([truths.boxes for truths in found]), np.cumsum([0, *map(len, found)]))


def square_sum(values: Array) -> float:
    """The sum of squares."""
    return float(np.square(values, dtype=np.float64).sum())


def best_overlaps(boxes: Array, truths: Array, starts: NDArray[np.int64]) -> tuple[Array, NDArray[np.int32]]:
    """For each of `boxes` (4, pictures, ...) the largest IoU in its picture, and whose it is."""
    predicted = np.ascontiguousarray(boxes, np.float32).reshape(4, len(starts) - 1, -1)
    best, which = np.empty(predicted.shape[1:], np.float32), np.empty(predicted.shape[1:], np.int32)
    best_of_pictures(predicted, np.ascontiguousarray(truths, np.float32), starts, best, which)
    return best.reshape(-1), which.reshape(-1)


@np.errstate(all="ignore")
def focal_factor(probability: Array) -> Array:
    """The factor of `focal_loss`, from the probability of the true class."""
    p = probability + np.float32(1e-15)
    return np.float32(-0.5) * (1 - p) * (2 * p * np.log(p) + p - 1)


# --- gradients of overlaps (IoU, GIoU, DIoU, CIoU) by the predicted box, as AlexeyAB's darknet has them ---------------
#
# They are not always true derivatives, but networks were trained with them.

_HALF, _ONE, _TWO = np.float32(0.5), np.float32(1), np.float32(2)
_SIGNS = np.array([[-1], [1], [-1], [1]], np.float32)  # of the edges, which are top, bottom, left, right


@np.errstate(all="ignore")
def iou_gradient(predicted: Floats, truth: Floats, kind: str) -> Floats:
    """(k, 4): the gradient, in x, y, w, h of (k, 4) predicted boxes, of their overlap with `truth`.

    `kind` is iou, giou, diou or ciou. A predicted width or height of 0 counts as 1. Infinite boxes give NaN.
    """
    predicted = np.concatenate([predicted[:, :2], np.where(predicted[:, 2:] == 0, _ONE, predicted[:, 2:])], axis=1)
    outward, truth_outward = _edges(predicted) * _SIGNS, _edges(truth) * _SIGNS
    common, enclosing = (pick(outward, truth_outward) * _SIGNS for pick in (np.minimum, np.maximum))
    outside = outward > truth_outward  # whether each edge of the prediction lies outside the truth's
    apart = (common[1] <= common[0]) | (common[3] <= common[2])
    # Areas, and their derivatives by each edge: 0 where another box's edge bounds the area.
    boxes = _edges(predicted), _edges(truth), enclosing
    (area, by_area), (truth_area, _), (whole, by_whole) = (_area(box) for box in boxes)
    intersection, by_intersection = _area(common)
    by_intersection = np.where(outward < truth_outward, by_intersection, np.float32(0))
    union, by_union = area + truth_area - intersection, by_area - by_intersection
    by_edge = (union * by_intersection - intersection * by_union) / (union * union)
    by_edge = np.where(union > 0, by_edge, np.float32(0))
    if kind == "giou":
        extra = (whole * by_union - union * np.where(outside, by_whole, np.float32(0))) / (whole * whole)
        by_edge = np.where(apart, extra, np.where(whole > 0, by_edge + extra, by_edge))
    top, bottom, left, right = by_edge
    gradient = np.stack([left + right, top + bottom, right - left, bottom - top], axis=1)
    if kind in ("diou", "ciou"):
        width, height = enclosing[3] - enclosing[2], enclosing[1] - enclosing[0]
        diagonal = width * width + height * height
        extra = _distance_terms(truth[:, :2] - predicted[:, :2], outside.astype(np.float32), width, height, diagonal)
        if kind == "ciou":
            extra[:, 2:] += _aspect_terms(predicted, truth, intersection / union)
        near = np.where((diagonal > 0)[:, None], gradient + extra, gradient)
        gradient = np.where(apart[:, None], extra, near)
    return gradient.astype(np.float32, copy=False)


def _edges(box: Floats) -> Floats:
    x, y, w, h = box.T
    return np.stack([y - h * _HALF, y + h * _HALF, x - w * _HALF, x + w * _HALF])


def _area(edges: Floats) -> tuple[Floats, Floats]:
    top, bottom, left, right = edges
    width, height = right - left, bottom - top
    return width * height, np.stack([-width, width, -height, height])


def _distance_terms(step: Floats, outside: Floats, width: Floats, height: Floats, diagonal: Floats) -> Floats:
    distance = (step * step).sum(axis=1)
    (top, bottom, left, right), c = outside, diagonal
    x = (_TWO * step[:, 0] * c - _TWO * width * (right - left) * distance) / (c * c)
    y = (_TWO * step[:, 1] * c - _TWO * height * (bottom - top) * distance) / (c * c)
    w = _TWO * width * _HALF * (right + left) * distance / (c * c)
    h = _TWO * height * _HALF * (bottom + top) * distance / (c * c)
    return np.stack([x, y, w, h], axis=1)


def _aspect_terms(predicted: Floats, truth: Floats, overlap: Floats) -> Floats:
    w, h = predicted[:, 2], predicted[:, 3]
    turn = _angle(truth) - _angle(predicted)
    aspect = 4 / (np.pi * np.pi) * turn * turn
    alpha = aspect / (1 - overlap + aspect + 1e-6)
    pull = alpha * 8 / (np.pi * np.pi) * turn
    return np.stack([pull * h, -pull * w], axis=1).astype(np.float32)


def _angle(box: Floats) -> Floats:
    return np.arctan((box[:, 2] / box[:, 3]).astype(np.float64))
