"""The output of a detection head as OpenCV's region layer gives it: one row for each anchor in each cell."""

from __future__ import annotations

import cv2
import numpy as np

from ..errors import DivergedError
from ..layers.heads.base import Head
from ..layers.heads.region import Region
from ..utils.arrays import Array

BEFORE_CLASSES = 5  # numbers of a row: x, y, w, h, objectness


def thresholds(head: Head) -> tuple[float, float]:
    """The probability above which a class of a row is kept, and the IoU above which the less probable row of a class
    loses it: the options `thresh` and `nms_threshold` with OpenCV's defaults."""
    if isinstance(head, Region):
        return head.section.real("thresh", 0.001), 0.4
    return head.section.real("thresh", 0.2), head.section.real("nms_threshold", 0.0)


def rows_of(head: Head, size: tuple[int, int], thresh: float, nms: float) -> Array:
    """The rows of the last pass, (cells x anchors, 5 + classes) float32; for a batch of n, (n, ..., ...).

    A row is centre and size in fractions of the network's input, objectness, and for each class objectness times its
    probability, or 0 where that is not above `thresh` or where another row suppresses it (not if nms is 0). Rows go
    cell by cell, then anchor by anchor. size: (width, height) of the network's input in pixels. The caller holds the
    network's lock since the pass. Raises DivergedError for outputs that are not finite.
    """
    samples = [_rows(head, sample, size) for sample in range(head.batch)]
    for rows in samples:
        scores = rows[:, BEFORE_CLASSES:]
        scores[~(scores > np.float32(thresh))] = 0
        if nms > 0:
            _suppress(rows, thresh, nms)
    return samples[0] if len(samples) == 1 else np.stack(samples)


def _rows(head: Head, sample: int, size: tuple[int, int]) -> Array:
    if not np.isfinite(head.values[sample]).all():
        raise DivergedError(head.section.located("the output is not finite; broken weights, or a broken input?"))
    found = head.detections(sample, size, -np.inf, 0.5)
    objectness = found.objectness
    if isinstance(head, Region) and head.by_cell:  # whose candidates have none
        objectness = head.values[sample].reshape(-1, head.entries)[:, head.coords]
    rows = np.concatenate([found.boxes, objectness[:, None], found.probabilities], axis=1)
    if isinstance(head, Region):
        if not head.by_cell:
            rows = rows.reshape(len(head.anchors), -1, rows.shape[1]).swapaxes(0, 1).reshape(rows.shape)
        if head.class_fix == -1:
            rows[rows[:, BEFORE_CLASSES - 1] < np.float32(0.5), BEFORE_CLASSES:] = 0
    return np.ascontiguousarray(rows, np.float32)


def _suppress(rows: Array, thresh: float, nms: float) -> None:
    """Set each class's score to 0 in the rows that OpenCV's suppression drops."""
    corners = rows[:, :4].astype(np.float64)
    corners[:, :2] -= corners[:, 2:] / 2
    scores = rows[:, BEFORE_CLASSES:]
    for class_id in np.flatnonzero(np.count_nonzero(scores, axis=0) > 1):
        at = np.flatnonzero(scores[:, class_id])
        kept = at[list(cv2.dnn.NMSBoxes(corners[at].tolist(), scores[at, class_id].tolist(), thresh, nms))]
        values = scores[kept, class_id]
        scores[:, class_id] = 0
        scores[kept, class_id] = values
