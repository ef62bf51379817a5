"""The loss of `[region]`: the delta of every prediction, given the truth.

A prediction is one anchor in one cell. Predictions run in the order of the dialect's output: anchor by anchor, or cell
by cell. "delta" is minus the gradient of the loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...boxes import iou
from ...config.declared import flag, read_options, real
from ...config.dialect import Dialect
from ...config.sections import Section
from ...config.word_tree import WordTree
from ...utils.arrays import Array
from .base import Indices
from .statistics import Statistics
from .targets import ClassIds, ClassMap, Truths, best_overlaps, focal_factor, read_truths, square_sum

PRIOR_UNTIL = 12800  # images seen, until which every prediction is trained towards its anchor at its cell's centre
_PRIOR = np.float32(0.01)
_NOWHERE = 100000  # a label with x and y above this has a class, but no box


@dataclass(frozen=True)
class RegionLossOptions:
    """The keys that only training knows."""

    dialect: Dialect
    class_map: ClassMap
    mask_scale: int
    thresh: float = real(0.5)
    coord_scale: float = real(1.0)
    object_scale: float = real(1.0)
    noobject_scale: float = real(1.0)
    class_scale: float = real(1.0)
    rescore: bool = flag()
    bias_match: bool = flag()
    focal_loss: bool = flag()

    @classmethod
    def from_section(cls, section: Section, dialect: Dialect, classes: int) -> RegionLossOptions:
        """Read the keys. Raises ConfigError."""
        mask_scale = int(section.real("mask_scale", 1.0))
        return cls(dialect, ClassMap(section, classes), mask_scale, **read_options(cls, section))


@dataclass(frozen=True)
class RegionGrid:
    """The predictions of a region head, and the entries of each: coordinates, objectness, classes."""

    width: int
    height: int
    anchors: Array  # in cells
    coords: int
    classes: int
    softmax: bool
    tree: WordTree | None
    background: bool
    by_cell: bool
    class_fix: int

    @property
    def cells(self) -> int:
        return self.width * self.height

    @property
    def entries(self) -> int:
        return self.coords + 1 + self.classes

    @cached_property
    def size(self) -> Array:
        """(2,) width and height in cells."""
        return np.array([self.width, self.height], np.float32)

    @cached_property
    def cells_and_anchors(self) -> tuple[Array, Array]:
        """(predictions, 2) float32 column and row, and (predictions, 2) anchor sizes of all predictions."""
        predictions, count = np.arange(self.cells * len(self.anchors)), len(self.anchors)
        cell, anchor = np.divmod(predictions, count) if self.by_cell else np.divmod(predictions, self.cells)[::-1]
        corner = np.stack([cell % self.width, cell // self.width], axis=1).astype(np.float32)
        return corner, self.anchors[anchor]

    def predictions_of(self, cell: Indices) -> Indices:
        """(k, anchors): the predictions of cells."""
        anchors = np.arange(len(self.anchors))
        if self.by_cell:
            return cell[:, None] * len(self.anchors) + anchors
        return anchors * self.cells + cell[:, None]

    def rows(self, values: Array) -> Array:
        """(predictions, entries) of one picture's output."""
        if self.by_cell:
            return values.reshape(-1, self.entries)
        return values.reshape(-1, self.entries, self.cells).transpose(0, 2, 1).reshape(-1, self.entries)

    def planes(self, rows: Array) -> Array:
        """(anchors, entries, cells) of (predictions, entries): the order of the layer before."""
        if self.by_cell:
            return rows.reshape(self.cells, -1, self.entries).transpose(1, 2, 0)
        return rows.reshape(-1, self.cells, self.entries).transpose(0, 2, 1)


class RegionLoss:
    """The loss of one mini-batch: deltas, cost, and sums for the line that darknet prints."""

    def __init__(self, options: RegionLossOptions, grid: RegionGrid, seen: int) -> None:
        self.options, self.grid = options, grid
        self.has_prior = seen < PRIOR_UNTIL
        self.objectness, self.first_class = grid.coords, grid.coords + 1
        self.sums = Statistics()

    @np.errstate(all="ignore")
    def batch(self, values: Array, truth: Sequence[Array], max_boxes: int, delta: Array) -> tuple[float, Statistics]:
        """Fill `delta` (batch, outputs) in the order of the layer before; the cost and the statistics."""
        cost = 0.0
        planes = delta.reshape(len(delta), len(self.grid.anchors), self.grid.entries, self.grid.cells)
        for output, rows, out in zip(values, truth, planes, strict=True):
            truths = read_truths(rows, max_boxes)
            if self.options.dialect.skips_unknown_classes:
                truths = truths.known(self.grid.classes)
            entries = self.grid.rows(output)
            centres = entries[:, :2]
            if self.grid.by_cell:
                centres = (1 / (1 + np.exp(-centres))).astype(np.float32)
            change = self.picture(entries, centres, truths)
            if self.options.dialect.region_slope_in_cost:
                self._logistic_backward(entries, centres, change)
                cost += square_sum(change)
            else:
                cost += square_sum(change)
                self._logistic_backward(entries, centres, change)
            out[:] = self.grid.planes(change)
        return cost, self.sums

    def _logistic_backward(self, entries: Array, centres: Array, delta: Array) -> None:
        """Multiply deltas by the derivative of the logistic function, for x, y and objectness."""
        delta[:, :2] *= centres * (1 - centres)
        if not self.grid.background:
            objectness = entries[:, self.objectness]
            delta[:, self.objectness] *= objectness * (1 - objectness)

    def picture(self, entries: Array, centres: Array, truths: Truths) -> Array:
        """The deltas (predictions, entries) of one picture, before the derivative of the logistic function."""
        delta = np.zeros_like(entries)
        self.sums += Statistics(predictions=len(entries))
        if self.grid.tree is not None:
            nowhere = (truths.boxes[:, :2] > _NOWHERE).all(axis=1)
            if nowhere.any():
                self._class_only(entries, delta, int(truths.classes[nowhere.argmax()]))
                return delta
        corner, anchors = self.grid.cells_and_anchors
        size = np.exp(entries[:, 2:4]) * anchors / self.grid.size
        predicted = np.concatenate([(corner + centres) / self.grid.size, size], axis=1)
        self._train_unassigned(entries, centres, delta, predicted, truths)
        if len(truths):
            self._train_assigned(entries, centres, delta, predicted, truths)
        return delta

    def _class_only(self, entries: Array, delta: Array, number: int) -> None:
        """Train a picture with a class but no boxes: the prediction that gives the class most probability learns it."""
        path = self._path(number)
        objectness = entries[:, self.objectness]
        probability = objectness * entries[:, [self.first_class + node for node in path]].prod(axis=1)
        best = int(np.where(probability > 0, probability, 0).argmax())
        if self.options.dialect.region_class_lowers_objectness:
            delta[:, self.objectness] = np.float32(self.options.noobject_scale) * (0 - objectness)
            delta[best, self.objectness] = 0
        self._set_class_delta(entries, delta, np.array([best]), number, np.float32(self.options.class_scale))

    def _train_unassigned(self, entries: Array, centres: Array, delta: Array, predicted: Array, truths: Truths) -> None:
        options, grid = self.options, self.grid
        objectness = entries[:, self.objectness]
        self.sums += Statistics(any_objectness=float(objectness.sum(dtype=np.float64)))
        best, which = best_overlaps(predicted.T[:, None], truths.boxes, np.array([0, len(truths)]))
        scale = np.float32(options.noobject_scale)
        if grid.class_fix == -1:
            delta[:, self.objectness] = scale * (best - objectness)
        else:
            fits = best > np.float32(options.thresh)
            nothing = np.float32(1 if grid.background else 0)
            delta[:, self.objectness] = np.where(fits, np.float32(0), scale * (nothing - objectness))
            if grid.class_fix > 0:
                self._train_ignored_classes(entries, delta, np.flatnonzero(fits), truths.classes[which[fits]])
        if self.has_prior:
            delta[:, :2] = _PRIOR * (np.float32(0.5) - centres)
            delta[:, 2:4] = _PRIOR * (0 - entries[:, 2:4])

    def _train_ignored_classes(self, entries: Array, delta: Array, predictions: Indices, classes: ClassIds) -> None:
        """Train the classes of predictions that fit an object, as `classfix` asks."""
        scale = np.full(len(predictions), self.options.class_scale, np.float32)
        if self.grid.class_fix == 2:
            scale *= entries[predictions, self.objectness]
        for number in np.unique(classes).tolist():
            of_it = classes == number
            self._set_class_delta(entries, delta, predictions[of_it], number, scale[of_it, None])

    def _train_assigned(self, entries: Array, centres: Array, delta: Array, predicted: Array, truths: Truths) -> None:
        options, grid, boxes = self.options, self.grid, truths.boxes
        corner, anchors = grid.cells_and_anchors
        assigned = self.assign_targets(predicted, boxes)
        overlap = iou(predicted[assigned], boxes)
        objectness = entries[assigned, self.objectness]
        target = np.concatenate(
            [boxes[:, :2] * grid.size - corner[assigned], np.log(boxes[:, 2:] * grid.size / anchors[assigned])], axis=1
        )
        current = np.concatenate([centres[assigned], entries[assigned, 2:4]], axis=1)
        scale = np.full((len(assigned), 1), options.coord_scale, np.float32)
        if options.dialect.region_small_boxes_count_more:
            scale *= (2 - boxes[:, 2] * boxes[:, 3])[:, None]
        change = scale * (target - current)
        wanted = overlap if options.rescore else np.ones_like(overlap)
        if grid.background:
            wanted = np.zeros_like(overlap)
        confidence = np.float32(options.object_scale) * (wanted - objectness)
        # Of several objects assigned to one prediction the last one counts.
        delta[assigned, :4] = change
        delta[assigned, self.objectness] = confidence
        if truths.more.size:
            mask = slice(4, min(grid.coords, 4 + truths.more.shape[1]))
            delta[assigned, mask] = options.mask_scale * (truths.more[:, : mask.stop - 4] - entries[assigned, mask])
        for prediction, number in zip(assigned[:, None], options.class_map(truths.classes).tolist(), strict=True):
            self._set_class_delta(entries, delta, prediction, number, np.float32(options.class_scale))
        self.sums += Statistics(
            count=len(assigned),
            iou=float(overlap.sum()),
            recalled=int((overlap > 0.5).sum()),
            objectness=float(objectness.sum()),
        )

    def assign_targets(self, predicted: Array, boxes: Array) -> Indices:
        """(k,): for each object the prediction of its cell whose size fits best; the first one where none overlaps."""
        grid = self.grid
        last = grid.size.astype(np.int64) - 1
        column, row = np.clip((boxes[:, :2] * grid.size).astype(np.int64), 0, last).T
        candidates = grid.predictions_of(row * grid.width + column)
        size = predicted[candidates][..., 2:]
        if self.options.bias_match:
            size = grid.cells_and_anchors[1][candidates] / grid.size
        nothing = np.zeros_like(size[..., 0])
        shapes = np.stack([nothing, nothing, size[..., 0], size[..., 1]], axis=2)
        wanted = boxes * np.array([0, 0, 1, 1], np.float32)
        overlap = iou(shapes, wanted[:, None])
        best = np.where(overlap > 0, overlap, 0).argmax(axis=1)
        return candidates[np.arange(len(boxes)), best]

    # === Classes ===

    def _set_class_delta(
        self, entries: Array, delta: Array, predictions: Indices, number: int, scale: Array | np.float32
    ) -> None:
        """Set the class deltas of distinct predictions, towards class `number`."""
        first, options = self.first_class, self.options
        if self.grid.tree is not None:
            path = self._path(number)
            for node in path:
                begin, end = next((first + a, first + b) for a, b in self.grid.tree.groups if a <= node < b)
                delta[predictions, begin:end] = scale * (0 - entries[predictions, begin:end])
                delta[predictions, first + node] = (scale * (1 - entries[predictions, first + node, None]))[:, 0]
            probability = entries[predictions][:, [first + node for node in path]].prod(axis=1) if path else np.zeros(1)
            self.sums += Statistics(class_count=len(predictions), class_probability=float(probability.sum()))
            return
        own = np.arange(self.grid.classes) == number
        p, current = entries[predictions, first:], delta[predictions, first:]
        change = scale * (own.astype(np.float32) - p)
        probability = p[:, own].sum(axis=1)
        if options.focal_loss:
            change = change * focal_factor(probability)[:, None]
        if options.dialect.region_keeps_classes and not self.grid.softmax:
            has_class = current[:, 0] != 0
            change = np.where(has_class[:, None] & ~own, current, change)
            probability = np.where(has_class, np.float32(0), probability)
        delta[predictions, first:] = change
        self.sums += Statistics(class_count=len(predictions), class_probability=float(probability.sum()))

    def _path(self, number: int) -> list[int]:
        """The node and its ancestors; empty for a class that the tree does not have."""
        tree, path = self.grid.tree, []
        assert tree is not None
        while 0 <= number < len(tree.parent):
            path.append(number)
            number = int(tree.parent[number])
        return path
