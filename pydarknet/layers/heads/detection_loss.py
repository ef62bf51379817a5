"""The loss of `[detection]` (YOLOv1): the delta of every output, given the truth.

Each object goes to one box of the cell of its centre: the one that overlaps it most, or where none does, the nearest.
Only the first object of a cell counts. "delta" is minus the gradient of the loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...boxes import iou
from ...config.declared import flag, real
from ...utils.arrays import Array
from .base import Indices
from .statistics import Statistics
from .targets import Truths, read_truths, square_sum

RANDOM_UNTIL = 64000  # images seen, until which `random` assigns objects to any box of their cell
_SMALL = 0.1  # area below which `forced` assigns an object to the second box
_FAR = np.float32(20)  # the distance at which every box is equally far


@dataclass(frozen=True)
class DetectionLossOptions:
    """The keys that only training knows."""

    coord_scale: float = real(1.0)
    object_scale: float = real(1.0)
    noobject_scale: float = real(1.0)
    class_scale: float = real(1.0)
    rescore: bool = flag()
    forced: bool = flag()


@dataclass(frozen=True)
class DetectionGrid:
    """side x side cells with `num` boxes each."""

    side: int
    num: int
    coords: int
    classes: int
    square_root: bool

    def split(self, values: Array) -> tuple[Array, Array, Array]:
        """Views (cells, classes), (cells, num), (cells, num, coords) of one picture's output."""
        cells = self.side**2
        classes, objectness, boxes = np.split(values, [cells * self.classes, cells * (self.classes + self.num)])
        return (
            classes.reshape(cells, self.classes),
            objectness.reshape(cells, self.num),
            boxes.reshape(cells, self.num, self.coords),
        )


class DetectionLoss:
    """The loss of one mini-batch: deltas, cost and statistics. With `rng`, objects are assigned to boxes at random."""

    def __init__(
        self, options: DetectionLossOptions, grid: DetectionGrid, rng: np.random.Generator | None = None
    ) -> None:
        self.options, self.grid, self.rng = options, grid, rng
        self.sums = Statistics()

    @np.errstate(all="ignore")
    def batch(self, values: Array, truth: Sequence[Array], max_boxes: int, delta: Array) -> tuple[float, Statistics]:
        """Fill `delta` (batch, outputs), which holds zeros; the cost and the statistics."""
        for output, rows, out in zip(values, truth, delta, strict=True):
            self.picture(output, read_truths(rows, max_boxes), out)
        return square_sum(delta), self.sums

    def picture(self, values: Array, truths: Truths, delta: Array) -> None:
        """Fill the deltas of one picture with these objects."""
        options, grid = self.options, self.grid
        classes, objectness, boxes = grid.split(values)
        class_delta, objectness_delta, box_delta = grid.split(delta)
        objectness_delta[:] = np.float32(options.noobject_scale) * (0 - objectness)
        self.sums += Statistics(predictions=objectness.size, any_objectness=float(objectness.sum(dtype=np.float64)))
        truths, cells = self._one_per_cell(truths)
        if not len(truths):
            return
        own = np.arange(grid.classes) == truths.classes[:, None]
        p = classes[cells]
        class_delta[cells] = np.float32(options.class_scale) * (own.astype(np.float32) - p)
        side = np.float32(grid.side)
        cell = np.stack([cells % grid.side, cells // grid.side], axis=1).astype(np.float32)
        centres = truths.boxes[:, :2] * side - cell
        truth = np.concatenate([centres, truths.boxes[:, 2:]], axis=1)
        chosen, overlap = self._assign_targets(boxes[cells, :, :4], truth)
        confidence = objectness[cells, chosen]
        wanted = overlap if options.rescore else np.ones_like(overlap)
        objectness_delta[cells, chosen] = np.float32(options.object_scale) * (wanted - confidence)
        target = np.concatenate([centres, np.sqrt(truth[:, 2:]) if grid.square_root else truth[:, 2:]], axis=1)
        change = np.float32(options.coord_scale) * (target - boxes[cells, chosen, :4])
        box_delta[cells, chosen, :4] = change
        self.sums += Statistics(
            count=len(cells),
            class_count=len(cells),
            iou=float(overlap.sum()),
            class_probability=float(p[own].sum()),
            all_probabilities=float(p.sum()),
            objectness=float(confidence.sum()),
        )

    def _one_per_cell(self, truths: Truths) -> tuple[Truths, Indices]:
        """The first object of each cell, and the cells."""
        side = self.grid.side
        column, row = np.clip((truths.boxes[:, :2] * np.float32(side)).astype(np.int64), 0, side - 1).T
        cells = row * side + column
        keep = np.zeros(len(truths), bool)
        keep[np.unique(cells, return_index=True)[1]] = True
        return truths.select(keep), cells[keep]

    def _assign_targets(self, boxes: Array, truth: Array) -> tuple[Indices, Array]:
        """(k,) the box of its cell, of (k, num, 4), that learns each object, and (k,) their IoU."""
        side = np.float32(self.grid.side)
        found = boxes.copy()
        found[..., :2] /= side
        if self.grid.square_root:
            found[..., 2:] *= found[..., 2:]
        truth = np.concatenate([truth[:, :2] / side, truth[:, 2:]], axis=1)
        overlaps = iou(found, truth[:, None])
        positive = np.where(overlaps > 0, overlaps, 0)
        distances = np.sqrt(np.square(found - truth[:, None], dtype=np.float64).sum(axis=2)).astype(np.float32)
        near = np.where(distances < _FAR, distances, _FAR).argmin(axis=1)
        chosen = np.where(positive.any(axis=1), positive.argmax(axis=1), near)
        if self.options.forced:
            small = truth[:, 2] * truth[:, 3] < _SMALL
            chosen = np.where(small, min(1, self.grid.num - 1), 0)
        if self.rng is not None:
            chosen = self.rng.integers(self.grid.num, size=len(truth))
        return chosen, overlaps[np.arange(len(truth)), chosen]
