"""The data of a report, collected during the evaluation of a list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...boxes import Candidates, iou
from ...inference.detector import heads_of
from ...layers.heads.region import Region
from ...layers.heads.yolo import Yolo
from ...network.network import Network
from ...utils.arrays import Array
from ..ground_truth import GroundTruth
from ..runner import ImageResult
from ..worst import Worst

SHOWN = 6  # pictures in each section: most missed objects, random


@dataclass
class ReportCollector:
    """Collects the data of a report: pass `add` to `evaluate` as `each`.

    confusion: (classes + 1, classes + 1) int64. Rows are true classes, columns detected ones; the last row counts
    detections without an object, the last column missed objects. random: (missed objects, result) of random pictures.
    """

    network: Network
    names: Sequence[str]
    truth: GroundTruth
    thresh: float = 0.25
    iou_thresh: float = 0.5
    seed: int = 0
    worst: Worst = field(default_factory=lambda: Worst(SHOWN))
    random: list[tuple[int, ImageResult]] = field(default_factory=list)
    picture_sizes: Counter[tuple[int, int]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.classes = heads_of(self.network)[-1].classes
        self.confusion = np.zeros((self.classes + 1, self.classes + 1), np.int64)
        count = min(SHOWN, len(self.truth))
        self._wanted = set(np.random.default_rng(self.seed).choice(len(self.truth), count, replace=False).tolist())

    def add(self, result: ImageResult, missed: int) -> None:
        """Count one picture. missed: the number of its objects without a detection above the threshold."""
        rows = self.truth.boxes[result.index]
        known = rows[(rows[:, 0] >= 0) & (rows[:, 0] < self.classes)]
        count_confusions(self.confusion, result.candidates, known, self.thresh, self.iou_thresh)
        self.worst.add(result, missed)
        if result.index in self._wanted:
            self.random.append((missed, result))
        if result.is_readable:
            self.picture_sizes[result.width, result.height] += 1

    @property
    def sizes(self) -> Array:
        """(n, 2) float32 width and height of each object in pixels of the network's input."""
        _, height, width = self.network.input_shape
        rows = np.concatenate([*self.truth.boxes, np.zeros((0, 5), np.float32)])
        good = rows[(rows[:, 3:] > 0).all(axis=1)]
        return good[:, 3:] * np.array([width, height], np.float32)

    @property
    def anchors(self) -> Array:
        """(k, 2) float32: the anchors that the heads use, in pixels of the network's input; k may be 0."""
        _, height, width = self.network.input_shape
        used: dict[tuple[float, float], None] = {}
        for head in heads_of(self.network):
            if isinstance(head, Yolo):
                pairs = head.anchors[head.mask]
            elif isinstance(head, Region):
                pairs = head.anchors * (width / head.shape.width, height / head.shape.height)
            else:
                continue
            used |= dict.fromkeys((float(w), float(h)) for w, h in pairs)
        return np.array(list(used), np.float32).reshape(-1, 2)


def found_above(candidates: Candidates, thresh: float) -> tuple[Array, NDArray[np.intp], Array]:
    """The boxes whose best class is above the threshold, most probable first: (boxes (k, 4), classes (k,),
    probabilities (k,))."""
    if not len(candidates):
        return np.zeros((0, 4), np.float32), np.zeros(0, np.intp), np.zeros(0, np.float32)
    classes, best = candidates.probabilities.argmax(axis=1), candidates.probabilities.max(axis=1)
    above = np.flatnonzero(best > np.float32(thresh))
    above = above[np.argsort(-best[above], kind="stable")]
    return candidates.boxes[above], classes[above], best[above]


def match_boxes(boxes: Array, truth: Array, iou_thresh: float) -> list[tuple[int, int]]:
    """(index of a box, index of an object) of pairs with an IoU above the threshold, of any classes. Each box and each
    object is in at most one pair; the largest IoU is matched first. boxes: (k, 4). truth: (t, 5)."""
    if not len(boxes) or not len(truth):
        return []
    table = iou(boxes[:, None], truth[None, :, 1:])
    order = np.argsort(-table, axis=None, kind="stable")
    pairs: list[tuple[int, int]] = []
    used_boxes, used_objects = set(), set()
    for box, item in zip(*np.unravel_index(order, table.shape), strict=True):
        if not table[box, item] > np.float32(iou_thresh):
            break
        if box not in used_boxes and item not in used_objects:
            used_boxes.add(box)
            used_objects.add(item)
            pairs.append((int(box), int(item)))
    return pairs


def count_confusions(
    confusion: NDArray[np.int64], candidates: Candidates, truth: Array, thresh: float, iou_thresh: float
) -> None:
    """Add one picture to the confusion matrix, see `ReportCollector`."""
    boxes, classes, _ = found_above(candidates, thresh)
    pairs = match_boxes(boxes, truth, iou_thresh)
    numbers = truth[:, 0].astype(int)
    for box, item in pairs:
        confusion[numbers[item], classes[box]] += 1
    nothing = len(confusion) - 1
    for item in set(range(len(truth))) - {item for _, item in pairs}:
        confusion[numbers[item], nothing] += 1
    for box in set(range(len(boxes))) - {box for box, _ in pairs}:
        confusion[nothing, classes[box]] += 1
