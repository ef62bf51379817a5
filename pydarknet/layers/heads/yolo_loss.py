"""The losses of `[yolo]` and `[Gaussian_yolo]`.

A prediction is one anchor in one cell; its entries are x, y, w, h, objectness and classes. In this order,

    unassigned   all predictions learn to be empty, but those whose best IoU is above `ignore_thresh`;
                 those above `truth_thresh` learn their best object
    assign       each object goes to the prediction of its centre's cell whose anchor fits best,
                 with `iou_thresh` to all whose anchors fit
    train        box, objectness and classes of these, object after object
    average      with `iou_thresh`, box deltas are divided by the number of wanted classes
    reject       AlexeyAB's options for wrong labels
    cost         made of the squares of all deltas

Values and deltas are planes (pictures x anchors, entries, cells). "delta" is minus the gradient of the loss.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ...boxes import Measure, ciou, diou, giou, iou
from ...config.dialect import Dialect
from ...config.sections import Section, flag, natural, read_options, real
from ...utils.arrays import Array
from ..base import TrainingProgress
from .base import Head, Indices, Statistics
from .targets import ClassIds, ClassMap, Objects, best_overlaps, focal_factor, iou_gradient, square_sum

MEASURES: Mapping[str, Measure] = {"iou": iou, "giou": giou, "diou": diou, "ciou": ciou}

SHIFTS = {"center": 0.0, "left_top": -0.5, "right_bottom": 0.5}  # the reference point, in box sizes from the centre
_CONFIDENT = np.float32(0.25)

MOMENTUM = 0.99  # part of the running values of rejected deltas that a mini-batch of a head leaves
SMALL_DELTA = 1.4  # times the progress: the part of the average below which deltas are rejected
STEP = 0.01  # by which the threshold of `percentage` moves


@dataclass(kw_only=True, eq=False, repr=False)
class YoloLoss(Head):
    """The options and the loss of `[yolo]` and `[Gaussian_yolo]`. Anchors are in pixels."""

    is_gaussian = False
    objectness = 4  # its entry, after those of the box
    means: ClassVar[slice] = slice(0, 4)  # of x, y, w and h
    entries_before_classes = 5
    giou_losses: ClassVar[Sequence[str]] = ("giou",)  # values of `iou_loss` whose cost is of GIoU

    anchors: Array
    mask: list[int]
    dialect: Dialect
    labels: ClassMap
    num: int  # how many of the listed anchors an object may choose
    multipliers: Array | None  # one for each class, from counters_per_class
    iou_loss: str  # mse, iou, giou, diou or ciou
    iou_normalizer: float
    iou_thresh_kind: str
    ignore_thresh: float = real(0.5)
    truth_thresh: float = real(1.0)
    obj_normalizer: float = real(1.0)
    cls_normalizer: float = real(1.0)
    delta_normalizer: float = real(1.0)
    uc_normalizer: float = real(1.0)
    iou_thresh: float = real(1.0)
    objectness_smooth: bool = flag()
    focal_loss: bool = flag()
    label_smooth_eps: float = real()
    max_delta: float = real(float("inf"))
    show_details: bool = flag(True)
    scale_x_y: float = real(1.0)
    new_coords: bool = False
    point: str = "center"
    rejection: "DeltaRejection | None" = None

    @property
    def entries(self) -> int:
        """Numbers per anchor and cell."""
        return self.entries_before_classes + self.classes

    def multiplier(self, classes: ClassIds) -> Array:
        """(k,): the classes' weights by `counters_per_class`."""
        return np.ones(len(classes), np.float32) if self.multipliers is None else self.multipliers[classes]

    def learn(self, truth: Sequence[Array], network_size: tuple[int, int], seen: int) -> float:
        self._cells = np.array([self.shape.width, self.shape.height], np.float32)
        self._pixels = np.array(network_size, np.float32)
        self._missing_overlap = 0.0  # sum of 1 - IoU or 1 - GIoU
        self._assigned = [np.zeros(0, np.intp)]  # predictions that learned more than that they are empty
        shape = (len(truth) * len(self.mask), self.entries, self.shape.cells)
        planes, change = self.values.reshape(shape), self.loss_delta.reshape(shape)
        known = self.classes if self.dialect.skips_unknown_classes else None
        objects = Objects.read(truth, self.pictures.max_boxes, known, self.labels)
        self._train_unassigned(planes, change, objects)
        predictions, owners = self.assign_targets(objects)
        for batch in conflict_free_batches(predictions):
            boxes, classes = objects.boxes[owners[batch]], objects.classes[owners[batch]]
            self._train_assigned(planes, change, predictions[batch], boxes, classes)
        assigned = self.index(np.unique(np.concatenate(self._assigned)))
        change[assigned] = self._averaged(change[assigned])
        if self.rejection is not None:
            self.rejection.apply(self.loss_delta, self.entries, self.progress)
        self._squares = np.square(change[assigned], dtype=np.float64).sum(axis=0)  # of all deltas, by entry
        self._squares[self.objectness] = square_sum(change[:, self.objectness])
        if self.delta_normalizer != 1:
            self.loss_delta *= np.float32(self.delta_normalizer)
        cost = self.cost()
        self.statistics += self.losses(len(self.values))
        return cost

    def cost(self) -> float:
        if self.iou_loss == "mse" or not self.show_details:
            return float(self._squares.sum())
        others = self.obj_normalizer * self._squares[self.objectness :].sum()
        return float(others + self.iou_normalizer * self._missing_overlap / max(self.statistics.count, 1))

    def losses(self, batch: int) -> Statistics:
        """The parts of the cost."""
        total = float(self._squares.sum())
        others = self.obj_normalizer * float(self._squares[self.objectness :].sum())
        return Statistics(class_loss=others / batch, iou_loss=(total - others) / batch, total_loss=total / batch)

    @contextmanager
    def _gathered(self, planes: Array, delta: Array, predictions: Indices) -> Iterator[tuple[Array, Array]]:
        index = self.index(predictions)
        change = delta[index]
        yield planes[index], change
        delta[index] = change
        self._assigned.append(predictions)

    def index(self, predictions: Indices) -> tuple[Indices, slice, Indices]:
        """The index of predictions in planes. They are numbered by picture, anchor, row and column."""
        row, cell = np.divmod(predictions, self.shape.cells)
        return row, slice(None), cell

    def cell_and_anchor(self, predictions: Indices) -> tuple[Array, Array]:
        """(k, 2) column and row, and (k, 2) anchor sizes."""
        row, _, cell = self.index(predictions)
        corner = np.stack([cell % self.shape.width, cell // self.shape.width], axis=1).astype(np.float32)
        return corner, self.anchors[np.asarray(self.mask)[row % len(self.mask)]]

    def _train_unassigned(self, planes: Array, delta: Array, objects: Objects) -> None:
        objectness = planes[:, self.objectness]
        self.count(predictions=objectness.size, any_objectness=float(objectness.sum(dtype=np.float64)))
        delta[:, self.objectness] = np.float32(self.obj_normalizer) * (0 - objectness)
        best, which = best_overlaps(self._decode_all(planes), objects.boxes, objects.starts)
        ignored, match = self._above_ignore_thresh(planes, best)
        if len(ignored):
            with self._gathered(planes, delta, ignored) as (entries, change):
                self._ignore(entries, change, match, objects.classes[which[ignored]])
        above = np.flatnonzero(best > np.float32(self.truth_thresh))
        if len(above):
            boxes, classes = objects.boxes[which[above]], objects.classes[which[above]]
            with self._gathered(planes, delta, above) as (entries, change):
                self._train_above_truth_thresh(entries, change, above, best[above], boxes, classes)

    def _decode_all(self, planes: Array) -> Array:
        anchors = len(self.mask)
        entries = planes.reshape(-1, anchors, self.entries, self.shape.cells).transpose(2, 0, 1, 3)
        cell, anchor = self.cell_and_anchor(np.arange(anchors * self.shape.cells))
        return self.decode(entries, *(each.T.reshape(2, anchors, self.shape.cells) for each in (cell, anchor)))

    def _above_ignore_thresh(self, planes: Array, best: Array) -> tuple[Indices, Array]:
        limit = np.float32(self.ignore_thresh)
        predictions = np.flatnonzero(best > limit)
        match = best[predictions]
        if self.dialect.yolo_spares_confident_only:
            classes = planes[self.index(predictions)][:, self.entries_before_classes :]
            match = np.where((classes > _CONFIDENT).any(axis=1), match, np.float32(0))
        return predictions[match > limit], match[match > limit]

    def _ignore(self, entries: Array, delta: Array, match: Array, classes: ClassIds) -> None:
        if not self.objectness_smooth:
            delta[:, self.objectness] = 0
            return
        wanted = np.float32(self.obj_normalizer) * (match - entries[:, self.objectness])
        delta[:, self.objectness] = np.maximum(delta[:, self.objectness], wanted)

    def _train_above_truth_thresh(
        self, entries: Array, delta: Array, predictions: Indices, best: Array, boxes: Array, classes: ClassIds
    ) -> None:
        smooth = self.objectness_smooth
        wanted = best * best if smooth else np.ones_like(best)
        delta[:, self.objectness] = np.float32(self.obj_normalizer) * (wanted - entries[:, self.objectness])
        self._set_class_delta(entries, delta, classes)
        multiplier = self.multiplier(classes)
        if smooth:
            own = np.arange(len(predictions)), self.entries_before_classes + classes
            delta[own] = multiplier * (wanted - entries[own])
        self._add_box_delta(delta, self.box_delta(entries, predictions, boxes, multiplier)[0])

    def assign_targets(self, objects: Objects) -> tuple[Indices, Indices]:
        """Pairs of a prediction and the object that it learns, in the objects' order."""
        boxes = objects.boxes
        anchors, shapes = np.zeros((self.num, 4), np.float32), np.zeros((len(boxes), 4), np.float32)
        anchors[:, 2:] = self.anchors[: self.num] / self._pixels
        shapes[:, 2:] = boxes[:, 2:]
        chosen = np.zeros((len(boxes), self.num), bool)
        if self.iou_thresh < 1:
            chosen = MEASURES[self.iou_thresh_kind](anchors[None], shapes[:, None]) > np.float32(self.iou_thresh)
        chosen[np.arange(len(boxes)), iou(anchors[None], shapes[:, None]).argmax(axis=1)] = True
        ours = [number for number in range(self.num) if number in self.mask]
        owner, which = np.nonzero(chosen[:, ours])
        position = np.array([self.mask.index(number) for number in ours], np.intp)[which]
        last = self._cells.astype(np.int64) - 1
        column, row = np.clip((self.assigned_point(boxes[owner]) * self._cells).astype(np.int64), 0, last).T
        picture = np.repeat(np.arange(len(objects.starts) - 1), np.diff(objects.starts))  # of each object
        plane = picture[owner] * len(self.mask) + position
        return plane * self.shape.cells + row * self.shape.width + column, owner

    def assigned_point(self, boxes: Array) -> Array:
        """(k, 2): the point that chooses the cell."""
        return boxes[:, :2] + np.float32(SHIFTS[self.point]) * boxes[:, 2:] if self.is_gaussian else boxes[:, :2]

    def _train_assigned(
        self, planes: Array, delta: Array, predictions: Indices, boxes: Array, classes: ClassIds
    ) -> None:
        multiplier = self.multiplier(classes)
        with self._gathered(planes, delta, predictions) as (entries, change):
            box, overlap, missing = self.box_delta(entries, predictions, boxes, multiplier)
            self._add_box_delta(change, box)
            objectness, current = entries[:, self.objectness], change[:, self.objectness]
            wanted = multiplier * np.float32(self.obj_normalizer) * (1 - objectness)
            keeps = self.objectness_smooth and not self.is_gaussian
            current[:] = np.where(current == 0, wanted, current) if keeps else wanted
            own = self._set_class_delta(entries, change, classes)
        self._missing_overlap += float(missing.sum(dtype=np.float64))
        number, sums = len(predictions), [float(each.sum(dtype=np.float64)) for each in (overlap, own, objectness)]
        self.count(
            count=number, class_count=number, iou=sums[0], class_probability=sums[1], objectness=sums[2],
            recalled=int((overlap > 0.5).sum()), recalled75=int((overlap > 0.75).sum()),
        )  # fmt: skip

    def _set_class_delta(self, entries: Array, delta: Array, classes: ClassIds) -> Array:
        p, current = entries[:, self.entries_before_classes :], delta[:, self.entries_before_classes :]
        own = np.arange(self.classes) == classes[:, None]
        looks_at_own = self.dialect.yolo_looks_at_own_class and not self.is_gaussian
        has_class = (np.where(own, current, 0).sum(axis=1) if looks_at_own else current[:, 0]) != 0
        probability = np.where(own, p, np.float32(0)).sum(axis=1)
        low = np.float32(0.5 * self.label_smooth_eps)
        high = np.float32(1 - self.label_smooth_eps) + low
        further = high - p
        wanted = np.where(own, high, low) - p
        if self.multipliers is not None:
            multiplier = self.multiplier(classes)[:, None]
            further = further * multiplier
            wanted = np.where(own, wanted * multiplier * np.float32(self.cls_normalizer), wanted)
        if self.focal_loss and not self.is_gaussian:
            wanted = focal_factor(probability)[:, None] * (own.astype(np.float32) - p)
        change = np.where(has_class[:, None], np.where(own, further, current), wanted)
        delta[:, self.entries_before_classes :] = np.where(np.isfinite(change), change, current)
        return probability

    def decode(self, entries: Array, cell: Array, anchors: Array) -> Array:
        """(4, ...) boxes as fractions of the input, of entries in cells with anchors (2, ...)."""
        (columns, rows), (width, height) = self._cells, self._pixels
        w, h = 4 * entries[2:4] ** 2 if self.new_coords else np.exp(entries[2:4])
        x, y = (cell[0] + entries[0]) / columns, (cell[1] + entries[1]) / rows
        return np.stack([x, y, w * anchors[0] / width, h * anchors[1] / height])

    def box_delta(
        self, entries: Array, predictions: Indices, boxes: Array, multiplier: Array
    ) -> tuple[Array, Array, Array]:
        """(k, box entries) deltas, (k,) IoU as printed, (k,) what is missing in the cost."""
        cell, anchors = self.cell_and_anchor(predictions)
        predicted = self.decode(entries.T, cell.T, anchors.T).T
        overlap, means = iou(predicted, boxes), entries[:, self.means]
        ratio = boxes[:, 2:] * self._pixels / anchors
        size = np.sqrt(ratio / 4) if self.new_coords else np.log(ratio)
        away = np.concatenate([self.assigned_point(boxes) * self._cells - cell, size], axis=1) - means
        change, of_sigmas = self.pulls(entries, away, (2 - boxes[:, 2] * boxes[:, 3])[:, None])
        measured = giou(predicted, boxes) if self.iou_loss in self.giou_losses else overlap
        if self.iou_loss != "mse":
            change = iou_gradient(predicted, boxes, self.iou_loss)
            if self.is_gaussian:
                change[:, :2] += np.float32(SHIFTS[self.point]) * change[:, 2:]
            if not self.new_coords:
                change[:, 2:] *= np.exp(means[:, 2:])
        change = change * (np.float32(self.iou_normalizer) * multiplier)[:, None]
        if of_sigmas is not None:
            change, overlap = np.stack([change, of_sigmas], axis=2).reshape(-1, self.objectness), measured
        is_plain = self.iou_loss == "mse" and not self.is_gaussian
        return change if is_plain else self._clipped(change), overlap, 1 - measured

    def pulls(self, entries: Array, away: Array, scale: Array) -> tuple[Array, Array | None]:
        """(k, 4) deltas of means that are `away` from the truth, and of their deviations."""
        return scale * away, None

    def _clipped(self, change: Array) -> Array:
        limit = np.float32(self.max_delta)
        return np.clip(np.where(np.isfinite(change), change, np.float32(0)), -limit, limit)

    def _add_box_delta(self, delta: Array, change: Array) -> None:
        current = delta[:, : self.objectness]
        if not self.is_gaussian:
            self.count(boxes=len(current), rewritten=int((current != 0).any(axis=1).sum()))
        current[:] = current + change if self.dialect.yolo_adds_box_deltas else change

    def _averaged(self, delta: Array) -> Array:
        if self.iou_thresh >= 1 and not self.is_gaussian:
            return delta
        wanted = (delta[:, self.entries_before_classes :] > 0).sum(axis=1)
        if not self.is_gaussian:
            wanted[delta[:, self.objectness] == 0] = 0
        delta[:, : self.objectness] /= np.maximum(wanted, 1)[:, None].astype(np.float32)
        return delta


def class_multipliers(section: Section, classes: int) -> Array | None:
    """(classes,): how much rarer each is than the commonest, at most `max_delta`."""
    counters = section.integers("counters_per_class")
    if counters is None:
        return None
    if len(counters) != classes:
        raise section.error(
            f"number of values in counters_per_class = {len(counters)} doesn't match with classes = {classes}",
            "counters_per_class",
        )
    counts = np.maximum(np.array(counters, np.float32), 1)
    return np.minimum(counts.max() / counts, np.float32(section.real("max_delta", float("inf"))))


def conflict_free_batches(predictions: Indices) -> Iterator[Indices]:
    """Indices in batches without repeated values: batch n holds each value's n-th occurrence."""
    order = np.argsort(predictions, kind="stable")
    ranked = predictions[order]
    occurrence = np.arange(len(predictions)) - np.searchsorted(ranked, ranked)
    for number in range(occurrence.max(initial=-1) + 1):
        yield np.sort(order[occurrence == number])


@dataclass
class DeltaRejection:
    """AlexeyAB's options that set very large and small deltas to 0 late in a run.

    rolling: running values over the mini-batches of all heads, which checkpoints keep.
    """

    # After three quarters of the run: the part that may be too large, and how many deviations that is.
    percentage: float = real(key="badlabels_rejection_percentage")
    sigmas: float = real(key="num_sigmas_reject_badlabels")
    # The iteration after which more and more small deltas are rejected.
    equidistant: int = natural(key="equidistant_point", largest=1 << 40)
    rolling: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("largest", "average", "deviation", "threshold"), 0.0)
    )

    @classmethod
    def from_section(cls, net: Section) -> "DeltaRejection":
        """Read the keys of `[net]`."""
        return cls(**read_options(cls, net))

    def state_dict(self) -> dict[str, float]:
        """The running values."""
        return dict(self.rolling)

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Continue from a state of the same names."""
        self.rolling = {name: float(state[name]) for name in self.rolling}

    def apply(self, delta: Array, entries: int, progress: TrainingProgress) -> None:
        """In place, for one head. entries: numbers of one prediction."""
        start = progress.max_batches * 3 // 4
        late = progress.done > start
        has_percentage, has_sigmas = bool(self.percentage) and late, bool(self.sigmas) and late
        has_equidistant = 0 < self.equidistant < progress.done
        sizes = np.abs(delta[delta != 0], dtype=np.float64)
        if not (has_percentage or has_sigmas or has_equidistant) or not sizes.size:
            return
        share = (progress.done - self.equidistant) / max(1, progress.max_batches - self.equidistant)
        rolling = self.rolling
        least = rolling["average"] * share * SMALL_DELTA
        self._roll("largest", float(sizes.max()), float(sizes.max()))
        self._roll("average", float(sizes.mean()))
        if has_sigmas:
            limit = self._by_deviation(delta, (progress.done - start) / max(1, start))
            least = min(limit, rolling["average"]) * share
        if has_percentage:
            self._by_percentage(delta, entries)
        if has_equidistant:
            delta[np.abs(delta) < least] = 0

    def _roll(self, name: str, now: float, begin: float = 0.0) -> None:
        self.rolling[name] = MOMENTUM * (self.rolling[name] or begin) + (1 - MOMENTUM) * now

    def _by_deviation(self, delta: Array, share: float) -> float:
        rolling = self.rolling
        limit = rolling["average"] + rolling["deviation"] * self.sigmas
        around = delta[delta != 0].astype(np.float64) - rolling["average"]
        self._roll("deviation", float(np.sqrt(np.square(around).mean())))
        delta[np.abs(delta) > max(limit, rolling["largest"] - share * abs(rolling["largest"] - limit))] = 0
        return limit

    def _by_percentage(self, delta: Array, entries: int) -> None:
        rolling = self.rolling
        rolling["threshold"] = rolling["threshold"] or rolling["largest"]
        count = np.count_nonzero(delta)
        too_large = np.abs(delta) > rolling["threshold"]
        delta[too_large] = 0
        if 100 * np.count_nonzero(too_large) * entries / max(1, count) > self.percentage:
            rolling["threshold"] += STEP
        elif rolling["threshold"] > STEP:
            rolling["threshold"] -= STEP
