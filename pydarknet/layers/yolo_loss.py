"""The loss of `[yolo]`: what its deltas are, given the truth.

All arrays of slots run anchor by anchor and, within one, row by row. "delta" is the direction of descent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import numpy as np

from ..box_gradients import iou_gradient
from ..boxes import giou, iou
from ..tensor import Array
from .head import Places
from .head_training import Numbers, Statistics, best_overlaps, focal_factor, read_truths
from .yolo_options import MEASURES, YoloGrid, YoloLossOptions

_CONFIDENT = np.float32(0.25)


class YoloLoss:
    """Deltas and sums of one mini-batch."""

    box_entries: ClassVar[int] = 4
    averages_everywhere: ClassVar[bool] = False
    counts_boxes: ClassVar[bool] = True

    def __init__(self, options: YoloLossOptions, grid: YoloGrid) -> None:
        self.options, self.grid = options, grid
        self.objectness = self.box_entries
        self.first_class = self.box_entries + 1
        self.entries = self.first_class + grid.classes
        self.every_slot = np.arange(grid.cells * len(grid.mask))
        self.sums = Statistics()
        self.missing_overlap = 0.0  # sum of 1 - IoU or GIoU
        self.squares = np.zeros(self.entries)  # of all deltas, by entry

    @property
    def looks_at_own_class(self) -> bool:
        return self.options.dialect.yolo_looks_at_own_class

    @property
    def focal(self) -> bool:
        return self.options.focal_loss

    @np.errstate(all="ignore")
    def batch(
        self,
        values: Array,
        truth: Sequence[Array],
        max_boxes: int,
        delta: Array,
        reject: Callable[[Array], None] | None = None,
    ) -> tuple[float, Statistics]:
        """Fill `delta` (batch, outputs); the cost and what is printed. `values`: the head's output; `reject` may set
        some of delta to 0 before the cost is made of it."""
        shape = (len(values), len(self.grid.mask), self.entries, self.grid.cells)
        for planes, rows, out in zip(values.reshape(shape), truth, delta.reshape(shape), strict=True):
            truths = read_truths(rows, max_boxes)
            if self.options.dialect.skips_unknown_classes:
                truths = truths.known(self.grid.classes)
            entries = planes.transpose(0, 2, 1).reshape(-1, self.entries)
            change = self.picture(entries, truths.boxes, self.options.class_map(truths.classes))
            self.squares += np.square(change, dtype=np.float64).sum(axis=0)
            out[:] = change.reshape(-1, self.grid.cells, self.entries).transpose(0, 2, 1)
        if reject is not None:
            reject(delta)
            self.squares = np.square(delta.reshape(shape), dtype=np.float64).sum(axis=(0, 1, 3))
        if self.options.delta_normalizer != 1:
            delta *= np.float32(self.options.delta_normalizer)
        return self.cost(), self.sums + self.losses(len(values))

    def cost(self) -> float:
        options = self.options
        if options.iou_loss == "mse" or not options.show_details:
            return float(self.squares.sum())
        others = options.obj_normalizer * self.squares[self.box_entries :].sum()
        return float(others + options.iou_normalizer * self.missing_overlap / max(self.sums.count, 1))

    def losses(self, batch: int) -> Statistics:
        """The parts of the cost, as they are printed."""
        total = float(self.squares.sum())
        others = self.options.obj_normalizer * float(self.squares[self.box_entries :].sum())
        return Statistics(class_loss=others / batch, iou_loss=(total - others) / batch, total_loss=total / batch)

    def picture(self, entries: Array, boxes: Array, classes: Numbers) -> Array:
        """The deltas (slots, entries) of one picture with those objects."""
        delta = np.zeros_like(entries)
        self._without_object(entries, delta, boxes, classes)
        for slots, owners in rounds(self._responsible(boxes)):
            self._with_objects(entries, delta, slots, boxes[owners], classes[owners])
        self._average(delta)
        return delta

    # --- every slot ---

    def _without_object(self, entries: Array, delta: Array, boxes: Array, classes: Numbers) -> None:
        options = self.options
        objectness = entries[:, self.objectness]
        self.sums += Statistics(slots=len(entries), any_objectness=float(objectness.sum(dtype=np.float64)))
        best, which = best_overlaps(self.boxes(entries, self.every_slot), boxes)
        match = best
        if options.dialect.yolo_spares_confident_only:
            confident = (entries[:, self.first_class :] > _CONFIDENT).any(axis=1)
            match = np.where(confident, best, np.float32(0))
        delta[:, self.objectness] = np.float32(options.obj_normalizer) * (0 - objectness)
        spared = np.flatnonzero(match > np.float32(options.ignore_thresh))
        if len(spared):
            self._spare(entries, delta, spared, match[spared], classes[which[spared]])
        certain = np.flatnonzero(best > np.float32(options.truth_thresh))
        if len(certain):
            which = which[certain]
            self._certain(entries, delta, certain, best[certain], boxes[which], classes[which])

    def _spare(self, entries: Array, delta: Array, slots: Places, match: Array, classes: Numbers) -> None:
        """Slots whose box fits a truth are not taught that there is nothing."""
        if not self.options.objectness_smooth:
            delta[slots, self.objectness] = 0
            return
        wanted = np.float32(self.options.obj_normalizer) * (match - entries[slots, self.objectness])
        delta[slots, self.objectness] = np.maximum(delta[slots, self.objectness], wanted)

    def _certain(
        self, entries: Array, delta: Array, slots: Places, best: Array, boxes: Array, classes: Numbers
    ) -> None:
        """Slots whose box fits a truth better than `truth_thresh` learn it."""
        options, smooth = self.options, self.options.objectness_smooth
        wanted = best * best if smooth else np.ones_like(best)
        delta[slots, self.objectness] = np.float32(options.obj_normalizer) * (wanted - entries[slots, self.objectness])
        self._teach_class(entries, delta, slots, classes)
        multiplier = self._multiplier(classes)
        if smooth:
            own = self.first_class + classes
            delta[slots, own] = multiplier * (wanted - entries[slots, own])
        change, _, _ = self.box_change(entries[slots], slots, boxes, multiplier)
        self._add_boxes(delta, slots, change)

    # --- slots of objects ---

    def _responsible(self, boxes: Array) -> list[Places]:
        """For each object the slots that learn it: none where its anchor belongs to another head."""
        grid, options = self.grid, self.options
        anchors, shapes = np.zeros((options.num, 4), np.float32), np.zeros((len(boxes), 4), np.float32)
        anchors[:, 2:] = grid.anchors[: options.num] / grid.pixels
        shapes[:, 2:] = boxes[:, 2:]
        chosen = np.zeros((len(boxes), options.num), bool)
        if options.iou_thresh < 1:
            measure = MEASURES[options.iou_thresh_kind]
            chosen = measure(anchors[None], shapes[:, None]) > np.float32(options.iou_thresh)
        best = iou(anchors[None], shapes[:, None]).argmax(axis=1)
        chosen[np.arange(len(boxes)), best] = True
        last = grid.size.astype(np.int64) - 1
        column, row = np.clip((self.corner(boxes) * grid.size).astype(np.int64), 0, last).T
        position = {number: grid.mask.index(number) for number in grid.mask}
        return [
            np.array([position[n] for n in np.flatnonzero(line).tolist() if n in position], np.int64) * grid.cells
            + cell
            for line, cell in zip(chosen, row * grid.width + column, strict=True)
        ]

    def corner(self, boxes: Array) -> Array:
        """(k, 2): the point of each box that decides about its cell."""
        return boxes[:, :2]

    def _with_objects(self, entries: Array, delta: Array, slots: Places, boxes: Array, classes: Numbers) -> None:
        """Slots that are all different learn an object each."""
        multiplier = self._multiplier(classes)
        here = entries[slots]
        change, overlap, missing = self.box_change(here, slots, boxes, multiplier)
        self.missing_overlap += float(missing.sum(dtype=np.float64))
        self._add_boxes(delta, slots, change)
        objectness = here[:, self.objectness]
        wanted = multiplier * np.float32(self.options.obj_normalizer) * (1 - objectness)
        self._teach_objectness(delta, slots, wanted)
        own = self._teach_class(entries, delta, slots, classes)
        self.sums += Statistics(
            count=len(slots),
            class_count=len(slots),
            iou=float(overlap.sum(dtype=np.float64)),
            recalled=int((overlap > 0.5).sum()),
            recalled75=int((overlap > 0.75).sum()),
            class_probability=float(own.sum(dtype=np.float64)),
            objectness=float(objectness.sum(dtype=np.float64)),
        )

    def _teach_objectness(self, delta: Array, slots: Places, wanted: Array) -> None:
        if self.options.objectness_smooth:
            there = delta[slots, self.objectness]
            wanted = np.where(there == 0, wanted, there)
        delta[slots, self.objectness] = wanted

    def _teach_class(self, entries: Array, delta: Array, slots: Places, classes: Numbers) -> Array:
        """Set the class deltas of slots that are all different; the probabilities of their own classes.

        A slot that has a class already learns the new one besides. A class that the head does not have, which
        pjreddie's may meet, is no class.
        """
        options = self.options
        p, there = entries[slots, self.first_class :], delta[slots, self.first_class :]
        own = np.arange(self.grid.classes) == classes[:, None]
        taken = (there[:, 0] if not self.looks_at_own_class else np.where(own, there, 0).sum(axis=1)) != 0
        probability = np.where(own, p, np.float32(0)).sum(axis=1)
        low = np.float32(0.5 * options.label_smooth_eps)
        high = np.float32(1 - options.label_smooth_eps) + low
        again = high - p
        wanted = np.where(own, high, low) - p
        if options.multipliers is not None:
            multiplier = self._multiplier(classes)[:, None]
            again = again * multiplier
            wanted = np.where(own, wanted * multiplier * np.float32(options.cls_normalizer), wanted)
        if self.focal:
            wanted = focal_factor(probability)[:, None] * (own.astype(np.float32) - p)
        change = np.where(taken[:, None], np.where(own, again, there), wanted)
        delta[slots, self.first_class :] = np.where(np.isfinite(change), change, there)
        return probability

    def _multiplier(self, classes: Numbers) -> Array:
        """What `counters_per_class` makes of each object's weight."""
        if self.options.multipliers is None:
            return np.ones(len(classes), np.float32)
        return self.options.multipliers[classes]

    # --- boxes ---

    def boxes(self, entries: Array, slots: Places) -> Array:
        """(k, 4) decoded boxes of the entries (k, ...) at those slots."""
        grid = self.grid
        cell, anchors = grid.places(slots)
        spread = 4 * entries[:, 2:4] ** 2 if grid.new_coords else np.exp(entries[:, 2:4])
        return np.concatenate([(cell + entries[:, :2]) / grid.size, spread * anchors / grid.pixels], axis=1)

    def box_change(self, entries: Array, slots: Places, boxes: Array, multiplier: Array) -> tuple[Array, Array, Array]:
        """(k, box entries) deltas of slots that learn boxes (k, 4), their IoU as printed, and what it lacks to 1 in the
        cost."""
        options, grid = self.options, self.grid
        weight = (np.float32(options.iou_normalizer) * multiplier)[:, None]
        predicted = self.boxes(entries, slots)
        overlap = iou(predicted, boxes)
        missing = 1 - (giou(predicted, boxes) if options.iou_loss == "giou" else overlap)
        if options.iou_loss != "mse":
            change = iou_gradient(predicted, boxes, options.iou_loss)
            if not grid.new_coords:
                change[:, 2:] *= np.exp(entries[:, 2:4])
            return self._bounded(change * weight), overlap, missing
        cell, anchors = grid.places(slots)
        ratio = boxes[:, 2:] * grid.pixels / anchors
        size = np.sqrt(ratio / 4) if grid.new_coords else np.log(ratio)
        target = np.concatenate([boxes[:, :2] * grid.size - cell, size], axis=1)
        scale = (2 - boxes[:, 2] * boxes[:, 3])[:, None]
        return scale * (target - entries[:, :4]) * weight, overlap, missing

    def _bounded(self, change: Array) -> Array:
        """Without NaN and infinity, and not beyond `max_delta`."""
        change = np.where(np.isfinite(change), change, np.float32(0))
        return np.clip(change, -np.float32(self.options.max_delta), np.float32(self.options.max_delta))

    def _add_boxes(self, delta: Array, slots: Places, change: Array) -> None:
        there = delta[slots, : self.box_entries]
        if self.counts_boxes:
            self.sums += Statistics(boxes=len(slots), rewritten=int((there != 0).any(axis=1).sum()))
        if self.options.dialect.yolo_adds_box_deltas:
            change = there + change
        delta[slots, : self.box_entries] = change

    def _average(self, delta: Array) -> None:
        """Where several classes are wanted, their box deltas were added up."""
        positive = (delta[:, self.first_class :] > 0).sum(axis=1)
        if not self.averages_everywhere:
            if self.options.iou_thresh >= 1:
                return
            positive[delta[:, self.objectness] == 0] = 0
        slots = np.flatnonzero(positive)
        delta[slots, : self.box_entries] /= positive[slots, None].astype(np.float32)


def rounds(responsible: Sequence[Places]) -> Iterator[tuple[Places, Places]]:
    """Slots with the number of the object that each learns, in the objects' order, cut where a slot comes again: what
    stands between two cuts can be learned at once."""
    slots: list[int] = []
    owners: list[int] = []
    for owner, wanted in enumerate(responsible):
        if not set(slots).isdisjoint(wanted.tolist()):
            yield np.array(slots, np.int64), np.array(owners, np.int64)
            slots, owners = [], []
        slots += wanted.tolist()
        owners += [owner] * len(wanted)
    if slots:
        yield np.array(slots, np.int64), np.array(owners, np.int64)
