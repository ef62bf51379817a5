"""`[region]`: the detection head of YOLOv2 and YOLO9000, and its loss.

Predictions run in the dialect's order: anchor by anchor, or cell by cell.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...boxes import Candidates, iou
from ...config.dialect import Dialect
from ...config.names import WordTree, softmax_groups
from ...config.sections import Section, flag, integer, positive, real
from ...kernels.reorder import softmax_planes
from ...runtime.program import Call, KernelCall
from ...tensor import Shape
from ...utils.arrays import Array
from ..activations import LOGISTIC
from ..base import BuildContext
from ..losses import tree_of
from .base import Head, Indices, TrainingPictures, above, read_anchors, stack_boxes
from .targets import ClassIds, ClassMap, Truths, best_overlaps, focal_factor, read_truths, square_sum

PRIOR_UNTIL = 12800  # images seen, until which all are trained towards their anchors
_PRIOR = np.float32(0.01)
_NOWHERE = 100000  # a label with x and y above this has a class, but no box


@dataclass(kw_only=True, eq=False, repr=False)
class Region(Head):
    """Entries of a prediction: x, y, w, h (more with coords > 4), objectness, classes. Anchors are in cells.

    pjreddie's output is in NCHW order. AlexeyAB's is ordered cell, anchor, entry; x and y stay pre-activations
    until they are decoded, as do classes without softmax or tree.
    """

    row = "detection"
    line = (
        "Region Avg IOU: {mean[iou]:f}, Class: {mean[class_probability]:f}, Obj: {mean[objectness]:f}, "
        "No Obj: {mean[any_objectness]:f}, Avg Recall: {mean[recalled]:f},  count: {sum[count]}"
    )
    type_number = 27

    anchors: Array
    tree: WordTree | None
    by_cell: bool
    dialect: Dialect
    labels: ClassMap
    mask_scale: int
    coords: int = positive(4, largest=1 << 12)
    softmax: bool = flag()
    background: bool = flag()
    class_fix: int = integer(key="classfix")
    thresh: float = real(0.5)
    coord_scale: float = real(1.0)
    object_scale: float = real(1.0)
    noobject_scale: float = real(1.0)
    class_scale: float = real(1.0)
    rescore: bool = flag()
    bias_match: bool = flag()
    focal_loss: bool = flag()
    class_map: Sequence[int] = ()  # nodes of the tree that are the classes of detections

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> "Region":
        section.ignore("absolute", "log", "sqrt", "temperature", "map")  # `map` is for evaluation
        num, classes = section.positive("num", 1, 1 << 12), section.positive("classes", 20, 1 << 20)
        return cls.build(
            section, context, classes=classes, dialect=context.dialect, labels=ClassMap(section, classes),
            mask_scale=int(section.real("mask_scale", 1.0)),
            pictures=TrainingPictures.from_section(section, context.dialect.region_max_boxes),
            anchors=read_anchors(section, num)[:num],
            tree=tree_of(section), by_cell=context.dialect.region_by_cell,
        )  # fmt: skip

    @property
    def order_is_nchw(self) -> bool:  # type: ignore[override]
        return not self.by_cell

    @property
    def entries(self) -> int:
        """Numbers per anchor and cell."""
        return self.coords + 1 + self.classes

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        (shape,) = inputs
        expected = len(self.anchors) * self.entries
        if shape.channels != expected:
            raise self.section.shape_error(
                "filters= in the layer before doesn't correspond to classes= and num= in [region]: found "
                f"{shape.channels} channels; expected filters={expected} = num={len(self.anchors)} x ({self.classes} "
                f"classes + {self.coords} coords + 1)"
            )
        if self.tree is not None and len(self.tree.names) != self.classes:
            raise self.section.shape_error(
                f"tree has {len(self.tree.names)} nodes; expected classes={self.classes}", "tree"
            )
        return shape

    def _planes(self, x: Array) -> Array:
        return x.reshape(len(x), len(self.anchors), self.entries, -1).transpose(2, 0, 1, 3)

    def bind(self) -> Sequence[Call]:
        if self.by_cell or self.tree is not None or self.coords < 2:
            return [self.forward_in_python]
        first = self.coords + (not self.background)
        logistic = np.zeros(self.entries, np.bool_)
        logistic[[0, 1, self.coords]] = True, True, not self.background
        logistic[self.coords + 1 :] |= not self.softmax
        taken, values = [self.unpack_call(len(self.anchors), logistic)], self.values.reshape(-1)
        if self.softmax:
            cells = self.shape.cells
            starts = np.arange(len(self.values) * len(self.anchors)) * (self.entries * cells) + first * cells
            room = np.empty(2 * cells * len(starts), np.float32)
            count = self.entries - first
            taken.append(KernelCall(softmax_planes, values, values, starts, count, cells, cells, np.float32(1), room))
        return [*taken, *self.pack_calls()]

    def compute(self, x: Array, y: Array) -> None:
        planes, c = self._planes(x).copy(), self.coords
        if not self.background:
            LOGISTIC.apply_nchw(planes[c])
        if not self.by_cell:
            LOGISTIC.apply_nchw(planes[:2])
        first = c if self.background else c + 1
        if self.tree is not None:
            planes[c + 1 :] = softmax_groups(planes[c + 1 :], self.tree)
        elif self.softmax:
            e = np.exp(planes[first:] - planes[first:].max(axis=0))
            planes[first:] = e / e.sum(axis=0)
        elif not self.by_cell:
            LOGISTIC.apply_nchw(planes[c + 1 :])
        y[:] = planes.transpose((1, 3, 2, 0) if self.by_cell else (1, 2, 0, 3)).reshape(y.shape)

    @property
    def fixes_classes(self) -> int:
        """`classfix`, which only AlexeyAB's darknet has."""
        return self.class_fix if self.by_cell else 0

    def order(self) -> tuple[Indices, Indices, Indices]:
        """(column, row, anchor) of every prediction."""
        anchors, cells, width = len(self.anchors), self.shape.cells, self.shape.width
        predictions = np.arange(cells * anchors)
        cell, position = np.divmod(predictions, anchors) if self.by_cell else np.divmod(predictions, cells)[::-1]
        return cell % width, cell // width, position

    def rows(self, values: Array) -> Array:
        if self.by_cell:
            return values.reshape(-1, self.entries)
        return values.reshape(-1, self.entries, self.shape.cells).transpose(0, 2, 1).reshape(-1, self.entries)

    @np.errstate(over="ignore")  # the exponentials of untrained heads overflow as in C
    def detections(self, sample: int, size: tuple[int, int], thresh: float, hier: float) -> Candidates:
        e, (column, row, position) = self.rows(self.values[sample]), self.order()
        scale = np.ones(len(e), np.float32) if self.background else e[:, self.coords]
        if self.fixes_classes == -1:
            scale = np.where(scale < np.float32(0.5), np.float32(0), scale)
        keep = np.flatnonzero(scale > np.float32(thresh))  # below, no class can be above the threshold
        e, column, row, position, scale = e[keep], column[keep], row[keep], position[keep], scale[keep]
        x, y = e[:, 0].copy(), e[:, 1].copy()
        for values in (x, y) if self.by_cell else ():
            LOGISTIC.apply_nchw(values)
        width, height = np.float32(self.shape.width), np.float32(self.shape.height)
        w, h = (np.exp(e[:, 2:4]) * self.anchors[position]).T
        boxes = stack_boxes((column + x) / width, (row + y) / height, w / width, h / height)
        objectness = np.ones_like(scale) if self.by_cell else scale
        return Candidates(boxes, objectness, self._probabilities(e[:, self.coords + 1 :], scale, thresh, hier))

    def _probabilities(self, classes: Array, scale: Array, thresh: float, hier: float) -> Array:
        if self.tree is None:
            return above(scale[:, None] * classes, thresh)
        probabilities = np.zeros((len(scale), self.classes), np.float32)
        absolute = self.tree.absolute(np.ascontiguousarray(classes.T)).T
        if self.class_map:
            return above(scale[:, None] * absolute[:, list(self.class_map)], thresh)
        for index, values in enumerate(absolute):
            if not self.by_cell:
                probabilities[index, self.tree.top(values, hier)] = scale[index]
                continue
            likely = np.flatnonzero(values > np.float32(0.5))  # AlexeyAB's takes the last
            if len(likely):
                probabilities[index, likely[-1]] = values[likely[-1]]
        return probabilities

    def learn(self, truth: Sequence[Array], network_size: tuple[int, int], seen: int) -> float:
        column, row, anchor = self.order()
        self._cells = np.array([self.shape.width, self.shape.height], np.float32)
        self._corner = np.stack([column, row], axis=1).astype(np.float32)  # (predictions, 2), and their anchors' sizes
        self._priors, self._has_prior, cost = self.anchors[anchor], seen < PRIOR_UNTIL, 0.0
        planes = self.loss_delta.reshape(len(self.values), len(self.anchors), self.entries, self.shape.cells)
        for output, rows, out in zip(self.values, truth, planes, strict=True):
            truths = read_truths(rows, self.pictures.max_boxes)
            if self.dialect.skips_unknown_classes:
                truths = truths.known(self.classes)
            entries = self.rows(output)
            centres = entries[:, :2]
            if self.by_cell:
                centres = (1 / (1 + np.exp(-centres))).astype(np.float32)
            change = self._picture_delta(entries, centres, truths)
            before, objectness = square_sum(change), entries[:, self.coords]
            change[:, :2] *= centres * (1 - centres)  # the derivative of the logistic function
            if not self.background:
                change[:, self.coords] *= objectness * (1 - objectness)
            cost += square_sum(change) if self.dialect.region_slope_in_cost else before
            if self.by_cell:
                out[:] = change.reshape(self.shape.cells, -1, self.entries).transpose(1, 2, 0)
            else:
                out[:] = change.reshape(-1, self.shape.cells, self.entries).transpose(0, 2, 1)
        return cost

    def _picture_delta(self, entries: Array, centres: Array, truths: Truths) -> Array:
        delta = np.zeros_like(entries)
        self.count(predictions=len(entries))
        if self.tree is not None:
            nowhere = (truths.boxes[:, :2] > _NOWHERE).all(axis=1)
            if nowhere.any():
                self._class_only(entries, delta, int(truths.classes[nowhere.argmax()]))
                return delta
        size = np.exp(entries[:, 2:4]) * self._priors / self._cells
        predicted = np.concatenate([(self._corner + centres) / self._cells, size], axis=1)
        self._train_unassigned(entries, centres, delta, predicted, truths)
        if len(truths):
            self._train_assigned(entries, centres, delta, predicted, truths)
        return delta

    def _class_only(self, entries: Array, delta: Array, number: int) -> None:
        path = self._path(number)
        objectness = entries[:, self.coords]
        probability = objectness * entries[:, [self.coords + 1 + node for node in path]].prod(axis=1)
        best = int(np.where(probability > 0, probability, 0).argmax())
        if self.dialect.region_class_lowers_objectness:
            delta[:, self.coords] = np.float32(self.noobject_scale) * (0 - objectness)
            delta[best, self.coords] = 0
        self._set_class_delta(entries, delta, np.array([best]), number, np.float32(self.class_scale))

    def _train_unassigned(self, entries: Array, centres: Array, delta: Array, predicted: Array, truths: Truths) -> None:
        objectness = entries[:, self.coords]
        self.count(any_objectness=float(objectness.sum(dtype=np.float64)))
        best, which = best_overlaps(predicted.T[:, None], truths.boxes, np.array([0, len(truths)]))
        scale = np.float32(self.noobject_scale)
        if self.fixes_classes == -1:
            delta[:, self.coords] = scale * (best - objectness)
        else:
            fits = best > np.float32(self.thresh)
            delta[:, self.coords] = np.where(fits, np.float32(0), scale * (np.float32(self.background) - objectness))
            if self.fixes_classes > 0:
                self._train_ignored_classes(entries, delta, np.flatnonzero(fits), truths.classes[which[fits]])
        if self._has_prior:
            delta[:, :2] = _PRIOR * (np.float32(0.5) - centres)
            delta[:, 2:4] = _PRIOR * (0 - entries[:, 2:4])

    def _train_ignored_classes(self, entries: Array, delta: Array, predictions: Indices, classes: ClassIds) -> None:
        scale = np.full(len(predictions), self.class_scale, np.float32)
        if self.fixes_classes == 2:
            scale *= entries[predictions, self.coords]
        for number in np.unique(classes).tolist():
            of_it = classes == number
            self._set_class_delta(entries, delta, predictions[of_it], number, scale[of_it, None])

    def _train_assigned(self, entries: Array, centres: Array, delta: Array, predicted: Array, truths: Truths) -> None:
        boxes = truths.boxes
        assigned = self._assign_targets(predicted, boxes)
        overlap = iou(predicted[assigned], boxes)
        objectness = entries[assigned, self.coords]
        size = np.log(boxes[:, 2:] * self._cells / self._priors[assigned])
        target = np.concatenate([boxes[:, :2] * self._cells - self._corner[assigned], size], axis=1)
        current = np.concatenate([centres[assigned], entries[assigned, 2:4]], axis=1)
        scale = np.full((len(assigned), 1), self.coord_scale, np.float32)
        if self.dialect.region_small_boxes_count_more:
            scale *= (2 - boxes[:, 2] * boxes[:, 3])[:, None]
        wanted = overlap if self.rescore else np.ones_like(overlap)
        if self.background:
            wanted = np.zeros_like(overlap)
        # Of several objects assigned to one prediction the last one counts.
        delta[assigned, :4] = scale * (target - current)
        delta[assigned, self.coords] = np.float32(self.object_scale) * (wanted - objectness)
        if truths.more.size:
            mask = slice(4, min(self.coords, 4 + truths.more.shape[1]))
            delta[assigned, mask] = self.mask_scale * (truths.more[:, : mask.stop - 4] - entries[assigned, mask])
        for prediction, number in zip(assigned[:, None], self.labels(truths.classes).tolist(), strict=True):
            self._set_class_delta(entries, delta, prediction, number, np.float32(self.class_scale))
        self.count(
            count=len(assigned),
            iou=float(overlap.sum()),
            recalled=int((overlap > 0.5).sum()),
            objectness=float(objectness.sum()),
        )

    def _assign_targets(self, predicted: Array, boxes: Array) -> Indices:
        """(k,): of each object's cell, the prediction whose size fits best."""
        last = self._cells.astype(np.int64) - 1
        column, row = np.clip((boxes[:, :2] * self._cells).astype(np.int64), 0, last).T
        cell, anchor = (row * self.shape.width + column)[:, None], np.arange(len(self.anchors))
        candidates = cell * len(anchor) + anchor if self.by_cell else anchor * self.shape.cells + cell
        size = predicted[candidates][..., 2:]
        if self.bias_match:
            size = self._priors[candidates] / self._cells
        shapes = np.concatenate([np.zeros_like(size), size], axis=2)
        overlap = iou(shapes, (boxes * np.array([0, 0, 1, 1], np.float32))[:, None])
        return candidates[np.arange(len(boxes)), np.where(overlap > 0, overlap, 0).argmax(axis=1)]

    def _set_class_delta(
        self, entries: Array, delta: Array, predictions: Indices, number: int, scale: Array | np.float32
    ) -> None:
        first = self.coords + 1
        if self.tree is not None:
            path = self._path(number)
            for node in path:
                begin, end = next((first + a, first + b) for a, b in self.tree.groups if a <= node < b)
                delta[predictions, begin:end] = scale * (0 - entries[predictions, begin:end])
                delta[predictions, first + node] = (scale * (1 - entries[predictions, first + node, None]))[:, 0]
            probability = entries[predictions][:, [first + node for node in path]].prod(axis=1) if path else np.zeros(1)
            self.count(class_count=len(predictions), class_probability=float(probability.sum()))
            return
        own = np.arange(self.classes) == number
        p, current = entries[predictions, first:], delta[predictions, first:]
        change = scale * (own.astype(np.float32) - p)
        probability = p[:, own].sum(axis=1)
        if self.focal_loss:
            change = change * focal_factor(probability)[:, None]
        if self.dialect.region_keeps_classes and not self.softmax:
            has_class = current[:, 0] != 0
            change = np.where(has_class[:, None] & ~own, current, change)
            probability = np.where(has_class, np.float32(0), probability)
        delta[predictions, first:] = change
        self.count(class_count=len(predictions), class_probability=float(probability.sum()))

    def _path(self, number: int) -> list[int]:
        tree, path = self.tree, []
        assert tree is not None
        while 0 <= number < len(tree.parent):
            path.append(number)
            number = int(tree.parent[number])
        return path
