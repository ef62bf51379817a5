"""`[region]` (YOLOv2, YOLO9000) and `[detection]` (YOLOv1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ...boxes import Candidates
from ...config.sections import Section
from ...config.word_tree import WordTree, softmax_groups
from ...kernels.head_output import softmax_planes
from ...runtime.program import Call, KernelCall
from ...tensor import Shape
from ...utils.arrays import Array
from ..activations import LOGISTIC
from ..base import BuildContext
from ..softmax import tree_of
from .base import Head, Places, above, grid, read_anchors, stack_boxes
from .detection_loss import RANDOM_UNTIL, DetectionGrid, DetectionLoss, DetectionLossOptions
from .region_loss import RegionGrid, RegionLoss, RegionLossOptions
from .targets import TrainingPictures, detection_line, region_line


@dataclass(kw_only=True, eq=False, repr=False)
class Region(Head):
    """Entries per anchor: x, y, w, h (more with coords > 4), objectness, classes; anchors in cells.

    pjreddie's output is planar with x, y and objectness logistic. AlexeyAB's is ordered cell, anchor, entry, with x
    and y raw until they are decoded, and classes raw where neither softmax nor a tree is asked for.
    """

    type_number: ClassVar[int] = 27

    anchors: Array
    coords: int
    softmax: bool
    tree: WordTree | None
    background: bool
    by_cell: bool
    class_fix: int
    options: RegionLossOptions
    class_map: Sequence[int] = ()  # nodes of the tree that count as the classes of detections

    @classmethod
    def from_section(cls, section: Section, place: BuildContext) -> Region:
        section.ignore("absolute", "log", "sqrt", "temperature", "map")  # `map` is for evaluation
        num, classes = section.positive("num", 1, 1 << 12), section.positive("classes", 20, 1 << 20)
        return cls(
            section=section,
            sources=place.previous,
            classes=classes,
            options=RegionLossOptions.from_section(section, place.dialect, classes),
            pictures=TrainingPictures.from_section(section, place.dialect.region_max_boxes),
            anchors=read_anchors(section, num)[:num],
            coords=section.positive("coords", 4, 1 << 12),
            softmax=section.flag("softmax"),
            tree=tree_of(section),
            background=section.flag("background"),
            by_cell=place.dialect.region_by_cell,
            class_fix=section.integer("classfix", 0),
        )

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
        """A view (entries, n, anchors, cells) of planar values."""
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
            LOGISTIC.apply_plain(planes[c])
        if not self.by_cell:
            LOGISTIC.apply_plain(planes[:2])
        first = c if self.background else c + 1
        if self.tree is not None:
            planes[c + 1 :] = softmax_groups(planes[c + 1 :], self.tree)
        elif self.softmax:
            e = np.exp(planes[first:] - planes[first:].max(axis=0))
            planes[first:] = e / e.sum(axis=0)
        elif not self.by_cell:
            LOGISTIC.apply_plain(planes[c + 1 :])
        order = (1, 3, 2, 0) if self.by_cell else (1, 2, 0, 3)
        y[:] = planes.transpose(order).reshape(y.shape)

    def _slots(self, item: int) -> tuple[Array, Places, Places, Places]:
        """Entries (slots, entries) and column, row and anchor of every slot, in the dialect's order."""
        anchors, width, height = len(self.anchors), self.shape.width, self.shape.height
        column, row, position = grid(width, height, anchors)
        if self.by_cell:
            return self.values[item].reshape(-1, self.entries), column, row, position
        entries = self.values[item].reshape(anchors, self.entries, height * width).transpose(0, 2, 1)
        cells = np.arange(height * width)
        return (
            entries.reshape(-1, self.entries),
            np.tile(cells % width, anchors),
            np.tile(cells // width, anchors),
            np.repeat(np.arange(anchors), height * width),
        )

    @np.errstate(over="ignore")  # untrained heads give what they give
    def detections(self, item: int, size: tuple[int, int], thresh: float, hier: float) -> Candidates:
        e, column, row, position = self._slots(item)
        scale = np.ones(len(e), np.float32) if self.background else e[:, self.coords]
        if self.class_fix == -1 and self.by_cell:
            scale = np.where(scale < np.float32(0.5), np.float32(0), scale)
        keep = np.flatnonzero(scale > np.float32(thresh))  # below, no class can be above the threshold
        e, column, row, position, scale = e[keep], column[keep], row[keep], position[keep], scale[keep]
        x, y = e[:, 0].copy(), e[:, 1].copy()
        if self.by_cell:
            LOGISTIC.apply_plain(x)
            LOGISTIC.apply_plain(y)
        anchors, width, height = self.anchors[position], np.float32(self.shape.width), np.float32(self.shape.height)
        boxes = stack_boxes(
            (column + x) / width,
            (row + y) / height,
            np.exp(e[:, 2]) * anchors[:, 0] / width,
            np.exp(e[:, 3]) * anchors[:, 1] / height,
        )
        objectness = np.ones_like(scale) if self.by_cell else scale
        return Candidates(boxes, objectness, self._probabilities(e[:, self.coords + 1 :], scale, thresh, hier))

    def _probabilities(self, classes: Array, scale: Array, thresh: float, hier: float) -> Array:
        """(k, classes): scale x class above the threshold, or one class of the tree, or those of the map."""
        if self.tree is None:
            return above(scale[:, None] * classes, thresh)
        probabilities = np.zeros((len(scale), self.classes), np.float32)
        absolute = self.tree.absolute(np.ascontiguousarray(classes.T)).T
        if self.class_map:
            return above(scale[:, None] * absolute[:, list(self.class_map)], thresh)
        for slot, values in enumerate(absolute):
            if not self.by_cell:
                probabilities[slot, self.tree.top(values, hier)] = scale[slot]
                continue
            likely = np.flatnonzero(
                values > np.float32(0.5)
            )  # AlexeyAB's: the last node above one half, whatever `hier` is
            if len(likely):
                probabilities[slot, likely[-1]] = values[likely[-1]]
        return probabilities

    def loss(self, truth: Sequence[Array], network_size: tuple[int, int], seen: int) -> float:
        places = RegionGrid(
            width=self.shape.width,
            height=self.shape.height,
            anchors=self.anchors,
            coords=self.coords,
            classes=self.classes,
            softmax=self.softmax,
            tree=self.tree,
            background=self.background,
            by_cell=self.by_cell,
            class_fix=self.class_fix if self.by_cell else 0,
        )
        run = RegionLoss(self.options, places, seen)
        cost, self.statistics = run.batch(self.values, truth, self.pictures.max_boxes, self._clear_loss())
        return cost

    def training_line(self, index: int) -> str:
        return region_line(self.statistics)

    def table_row(self) -> str:
        return "detection"


@dataclass(kw_only=True, eq=False, repr=False)
class DetectionHead(Head):
    """YOLOv1: side x side cells, each with class probabilities and `num` boxes with an objectness.

    Flat layout: cells x classes, cells x num objectness, cells x num x (x, y in the cell; w, h of the picture, or
    their square roots with `sqrt`).
    """

    corrects_letterbox: ClassVar[bool] = False

    coords: int
    num: int
    side: int
    softmax: bool
    square_root: bool
    options: DetectionLossOptions
    _chance: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0), repr=False)

    @classmethod
    def from_section(cls, section: Section, place: BuildContext) -> DetectionHead:
        section.ignore("reorg")
        return cls(
            section=section,
            sources=place.previous,
            classes=section.positive("classes", 1, 1 << 20),
            coords=section.positive("coords", 1, 1 << 10),
            num=section.positive("num", 1, 1 << 12),
            side=section.positive("side", 7, 1 << 12),
            softmax=section.flag("softmax"),
            square_root=section.flag("sqrt"),
            options=DetectionLossOptions.from_section(section),
            pictures=TrainingPictures.from_section(section, place.dialect.yolo_max_boxes),
        )

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        expected = self.side**2 * ((1 + self.coords) * self.num + self.classes)
        if inputs[0].outputs != expected:
            raise self.section.shape_error(
                f"reads {inputs[0].outputs} values; expected {expected} = side={self.side} squared x ((1 + "
                f"coords={self.coords}) x num={self.num} + classes={self.classes})"
            )
        return inputs[0]

    def generators(self) -> dict[str, np.random.Generator]:
        return {"assignment": self._chance}

    def compute(self, x: Array, y: Array) -> None:
        y[:] = x
        if self.softmax:
            count = self.side**2 * self.classes
            cells = y[:, :count].reshape(len(y), -1, self.classes)
            e = np.exp(cells - cells.max(axis=2, keepdims=True))
            y[:, :count] = (e / e.sum(axis=2, keepdims=True)).reshape(len(y), count)

    def detections(self, item: int, size: tuple[int, int], thresh: float, hier: float) -> Candidates:
        cells = self.side**2
        probabilities, objectness, boxes = np.split(
            self.values[item], [cells * self.classes, cells * (self.classes + self.num)]
        )
        column, row, _ = grid(self.side, self.side, self.num)
        x, y, w, h = boxes[: cells * self.num * self.coords].reshape(-1, self.coords)[:, :4].T
        if self.square_root:
            w, h = w**2, h**2
        side = np.float32(self.side)
        classes = np.repeat(probabilities.reshape(cells, self.classes), self.num, axis=0)
        return Candidates(
            stack_boxes((x + column) / side, (y + row) / side, w, h),
            objectness.copy(),
            above(objectness[:, None] * classes, thresh),
        )

    def loss(self, truth: Sequence[Array], network_size: tuple[int, int], seen: int) -> float:
        places = DetectionGrid(self.side, self.num, self.coords, self.classes, self.square_root)
        run = DetectionLoss(
            self.options, places, self._chance if self.pictures.random and seen < RANDOM_UNTIL else None
        )
        cost, self.statistics = run.batch(self.values, truth, self.pictures.max_boxes, self._clear_loss())
        return cost

    def training_line(self, index: int) -> str:
        return detection_line(self.statistics, self.classes)

    def table_row(self) -> str:
        return "Detection Layer"
