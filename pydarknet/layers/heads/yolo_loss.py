"""The loss of `[yolo]`: what its deltas are, given the truth.

The whole mini-batch is learned at once. Numbers stand in planes (pictures x anchors, entries, cells) as the head gives
them; only slots that learn more than that they are empty are taken out, as rows (k, entries). "delta" is the direction
of descent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import numpy as np

from ...boxes import giou, iou
from ...utils.arrays import Array
from .base import Places
from .iou_gradient import iou_gradient
from .targets import Numbers, Objects, Statistics, best_overlaps, focal_factor, square_sum
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
        self.sums = Statistics()
        self.missing_overlap = 0.0  # sum of 1 - IoU or GIoU
        self.taught = [np.zeros(0, np.intp)]  # slots that learned more than that they are empty
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
        """Fill `delta` (batch, outputs), which is 0; the cost and what is printed. `values`: the head's output;
        `reject` may set some of delta to 0 before the cost is made of it."""
        shape = (len(truth) * len(self.grid.mask), self.entries, self.grid.cells)
        planes, change = values.reshape(shape), delta.reshape(shape)
        known = self.grid.classes if self.options.dialect.skips_unknown_classes else None
        objects = Objects.read(truth, max_boxes, known, self.options.class_map)
        self._without_object(planes, change, objects)
        slots, owners = self._responsible(objects)
        for turn in rounds(slots):
            self._with_objects(planes, change, slots[turn], objects.boxes[owners[turn]], objects.classes[owners[turn]])
        taught = self.grid.at(np.unique(np.concatenate(self.taught)))
        change[taught] = self._averaged(change[taught])
        if reject is not None:
            reject(delta)
        self.squares = np.square(change[taught], dtype=np.float64).sum(axis=0)
        self.squares[self.objectness] = square_sum(change[:, self.objectness])
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

    @contextmanager
    def _learning(self, planes: Array, delta: Array, slots: Places) -> Iterator[tuple[Array, Array]]:
        """The entries of slots that are all different, and their deltas, to be changed in place; both (k, entries)."""
        at = self.grid.at(slots)
        change = delta[at]
        yield planes[at], change
        delta[at] = change
        self.taught.append(slots)

    # --- every slot ---

    def _without_object(self, planes: Array, delta: Array, objects: Objects) -> None:
        options = self.options
        objectness = planes[:, self.objectness]
        self.sums += Statistics(slots=objectness.size, any_objectness=float(objectness.sum(dtype=np.float64)))
        delta[:, self.objectness] = np.float32(options.obj_normalizer) * (0 - objectness)
        best, which = best_overlaps(self._every_box(planes), objects.boxes, objects.starts)
        spared, match = self._fitting(planes, best)
        if len(spared):
            with self._learning(planes, delta, spared) as (entries, change):
                self._spare(entries, change, match, objects.classes[which[spared]])
        certain = np.flatnonzero(best > np.float32(options.truth_thresh))
        if len(certain):
            boxes, classes = objects.boxes[which[certain]], objects.classes[which[certain]]
            with self._learning(planes, delta, certain) as (entries, change):
                self._certain(entries, change, certain, best[certain], boxes, classes)

    def _every_box(self, planes: Array) -> Array:
        """(4, pictures, anchors, cells): the decoded boxes of all slots."""
        grid, anchors = self.grid, len(self.grid.mask)
        entries = planes.reshape(-1, anchors, self.entries, grid.cells).transpose(2, 0, 1, 3)
        places = grid.places(np.arange(anchors * grid.cells))
        return self.boxes(entries, *(place.T.reshape(2, anchors, grid.cells) for place in places))

    def _fitting(self, planes: Array, best: Array) -> tuple[Places, Array]:
        """The slots whose box fits a truth, and how well."""
        limit = np.float32(self.options.ignore_thresh)
        slots = np.flatnonzero(best > limit)
        match = best[slots]
        if self.options.dialect.yolo_spares_confident_only:
            row, _, cell = self.grid.at(slots)
            confident = (planes[row, self.first_class :, cell] > _CONFIDENT).any(axis=1)
            match = np.where(confident, match, np.float32(0))
        return slots[match > limit], match[match > limit]

    def _spare(self, entries: Array, delta: Array, match: Array, classes: Numbers) -> None:
        """Slots whose box fits a truth are not taught that there is nothing."""
        if not self.options.objectness_smooth:
            delta[:, self.objectness] = 0
            return
        wanted = np.float32(self.options.obj_normalizer) * (match - entries[:, self.objectness])
        delta[:, self.objectness] = np.maximum(delta[:, self.objectness], wanted)

    def _certain(
        self, entries: Array, delta: Array, slots: Places, best: Array, boxes: Array, classes: Numbers
    ) -> None:
        """Slots whose box fits a truth better than `truth_thresh` learn it."""
        options, smooth = self.options, self.options.objectness_smooth
        wanted = best * best if smooth else np.ones_like(best)
        delta[:, self.objectness] = np.float32(options.obj_normalizer) * (wanted - entries[:, self.objectness])
        self._teach_class(entries, delta, classes)
        multiplier = self.options.multiplier(classes)
        if smooth:
            own = np.arange(len(slots)), self.first_class + classes
            delta[own] = multiplier * (wanted - entries[own])
        change, _, _ = self.box_change(entries, slots, boxes, multiplier)
        self._add_boxes(delta, change)

    # --- slots of objects ---

    def _responsible(self, objects: Objects) -> tuple[Places, Places]:
        """Slots and the number of the object that each learns, in the objects' order; no slot for an object whose
        anchor belongs to another head, and the same slot for several objects where they fall together."""
        grid, options, boxes = self.grid, self.options, objects.boxes
        anchors, shapes = np.zeros((options.num, 4), np.float32), np.zeros((len(boxes), 4), np.float32)
        anchors[:, 2:] = grid.anchors[: options.num] / grid.pixels
        shapes[:, 2:] = boxes[:, 2:]
        chosen = np.zeros((len(boxes), options.num), bool)
        if options.iou_thresh < 1:
            measure = MEASURES[options.iou_thresh_kind]
            chosen = measure(anchors[None], shapes[:, None]) > np.float32(options.iou_thresh)
        best = iou(anchors[None], shapes[:, None]).argmax(axis=1)
        chosen[np.arange(len(boxes)), best] = True
        ours = [number for number in range(options.num) if number in grid.mask]
        owner, which = np.nonzero(chosen[:, ours])
        position = np.array([grid.mask.index(number) for number in ours], np.intp)[which]
        last = grid.size.astype(np.int64) - 1
        column, row = np.clip((self.corner(boxes[owner]) * grid.size).astype(np.int64), 0, last).T
        plane = objects.picture[owner] * len(grid.mask) + position
        return plane * grid.cells + row * grid.width + column, owner

    def corner(self, boxes: Array) -> Array:
        """(k, 2): the point of each box that decides about its cell."""
        return boxes[:, :2]

    def _with_objects(self, planes: Array, delta: Array, slots: Places, boxes: Array, classes: Numbers) -> None:
        """Slots that are all different learn an object each."""
        multiplier = self.options.multiplier(classes)
        with self._learning(planes, delta, slots) as (here, there):
            change, overlap, missing = self.box_change(here, slots, boxes, multiplier)
            self._add_boxes(there, change)
            objectness = here[:, self.objectness]
            wanted = multiplier * np.float32(self.options.obj_normalizer) * (1 - objectness)
            self._teach_objectness(there, wanted)
            own = self._teach_class(here, there, classes)
        self.missing_overlap += float(missing.sum(dtype=np.float64))
        self.sums += Statistics(
            count=len(slots),
            class_count=len(slots),
            iou=float(overlap.sum(dtype=np.float64)),
            recalled=int((overlap > 0.5).sum()),
            recalled75=int((overlap > 0.75).sum()),
            class_probability=float(own.sum(dtype=np.float64)),
            objectness=float(objectness.sum(dtype=np.float64)),
        )

    def _teach_objectness(self, delta: Array, wanted: Array) -> None:
        if self.options.objectness_smooth:
            there = delta[:, self.objectness]
            wanted = np.where(there == 0, wanted, there)
        delta[:, self.objectness] = wanted

    def _teach_class(self, entries: Array, delta: Array, classes: Numbers) -> Array:
        """Set the class deltas of slots; the probabilities of their own classes.

        A slot that has a class already learns the new one besides. A class that the head does not have, which
        pjreddie's may meet, is no class.
        """
        options = self.options
        p, there = entries[:, self.first_class :], delta[:, self.first_class :]
        own = np.arange(self.grid.classes) == classes[:, None]
        taken = (there[:, 0] if not self.looks_at_own_class else np.where(own, there, 0).sum(axis=1)) != 0
        probability = np.where(own, p, np.float32(0)).sum(axis=1)
        low = np.float32(0.5 * options.label_smooth_eps)
        high = np.float32(1 - options.label_smooth_eps) + low
        again = high - p
        wanted = np.where(own, high, low) - p
        if options.multipliers is not None:
            multiplier = options.multiplier(classes)[:, None]
            again = again * multiplier
            wanted = np.where(own, wanted * multiplier * np.float32(options.cls_normalizer), wanted)
        if self.focal:
            wanted = focal_factor(probability)[:, None] * (own.astype(np.float32) - p)
        change = np.where(taken[:, None], np.where(own, again, there), wanted)
        delta[:, self.first_class :] = np.where(np.isfinite(change), change, there)
        return probability

    # --- boxes ---

    def boxes(self, entries: Array, cell: Array, anchors: Array) -> Array:
        """(4, ...) decoded boxes of (entries, ...) in cells with anchors of those sizes, (2, ...) both."""
        grid, (width, height) = self.grid, self.grid.network_size
        w, h = 4 * entries[2:4] ** 2 if grid.new_coords else np.exp(entries[2:4])
        x, y = (cell[0] + entries[0]) / grid.width, (cell[1] + entries[1]) / grid.height
        return np.stack([x, y, w * anchors[0] / width, h * anchors[1] / height])

    def box_change(self, entries: Array, slots: Places, boxes: Array, multiplier: Array) -> tuple[Array, Array, Array]:
        """(k, box entries) deltas of slots that learn boxes (k, 4), their IoU as printed, and what it lacks to 1 in the
        cost."""
        options, grid = self.options, self.grid
        weight = (np.float32(options.iou_normalizer) * multiplier)[:, None]
        cell, anchors = grid.places(slots)
        predicted = self.boxes(entries.T, cell.T, anchors.T).T
        overlap = iou(predicted, boxes)
        missing = 1 - (giou(predicted, boxes) if options.iou_loss == "giou" else overlap)
        if options.iou_loss != "mse":
            change = iou_gradient(predicted, boxes, options.iou_loss)
            if not grid.new_coords:
                change[:, 2:] *= np.exp(entries[:, 2:4])
            return self._bounded(change * weight), overlap, missing
        ratio = boxes[:, 2:] * grid.pixels / anchors
        size = np.sqrt(ratio / 4) if grid.new_coords else np.log(ratio)
        target = np.concatenate([boxes[:, :2] * grid.size - cell, size], axis=1)
        scale = (2 - boxes[:, 2] * boxes[:, 3])[:, None]
        return scale * (target - entries[:, :4]) * weight, overlap, missing

    def _bounded(self, change: Array) -> Array:
        """Without NaN and infinity, and not beyond `max_delta`."""
        change = np.where(np.isfinite(change), change, np.float32(0))
        return np.clip(change, -np.float32(self.options.max_delta), np.float32(self.options.max_delta))

    def _add_boxes(self, delta: Array, change: Array) -> None:
        there = delta[:, : self.box_entries]
        if self.counts_boxes:
            self.sums += Statistics(boxes=len(there), rewritten=int((there != 0).any(axis=1).sum()))
        there[:] = there + change if self.options.dialect.yolo_adds_box_deltas else change

    def _averaged(self, delta: Array) -> Array:
        """Deltas of slots (k, entries): where several classes are wanted, those of the box were added up."""
        if self.options.iou_thresh >= 1 and not self.averages_everywhere:
            return delta
        wanted = (delta[:, self.first_class :] > 0).sum(axis=1)
        if not self.averages_everywhere:
            wanted[delta[:, self.objectness] == 0] = 0
        delta[:, : self.box_entries] /= np.maximum(wanted, 1)[:, None].astype(np.float32)
        return delta


def rounds(slots: Places) -> Iterator[Places]:
    """Which of the slots are learned at once: in round n those that come for the n-th time."""
    order = np.argsort(slots, kind="stable")
    ranked = slots[order]
    turn = np.arange(len(slots)) - np.searchsorted(ranked, ranked)
    for number in range(turn.max(initial=-1) + 1):
        yield np.sort(order[turn == number])
