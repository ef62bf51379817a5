"""`[region]`: the detection head of YOLOv2 and YOLO9000."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...boxes import Candidates
from ...config.declared import flag, integer, positive
from ...config.sections import Section
from ...config.word_tree import WordTree, softmax_groups
from ...kernels.head_output import softmax_planes
from ...runtime.program import Call, KernelCall
from ...tensor import Shape
from ...utils.arrays import Array
from ..activations import LOGISTIC
from ..base import BuildContext
from ..softmax import tree_of
from .base import Head, Indices, above, grid_indices, read_anchors, stack_boxes
from .region_loss import RegionGrid, RegionLoss, RegionLossOptions
from .statistics import region_line
from .targets import TrainingPictures


@dataclass(kw_only=True, eq=False, repr=False)
class Region(Head):
    """Entries of a prediction: x, y, w, h (more with coords > 4), objectness, classes. Anchors are in cells.

    pjreddie's output is in NCHW order, with x, y and objectness logistic. AlexeyAB's is ordered cell, anchor, entry;
    x and y stay pre-activations until they are decoded, and so do classes without softmax or tree.
    """

    type_number: ClassVar[int] = 27

    anchors: Array
    tree: WordTree | None
    by_cell: bool
    options: RegionLossOptions
    coords: int = positive(4, largest=1 << 12)
    softmax: bool = flag()
    background: bool = flag()
    class_fix: int = integer(key="classfix")
    class_map: Sequence[int] = ()  # nodes of the tree that are the classes of detections

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> Region:
        section.ignore("absolute", "log", "sqrt", "temperature", "map")  # `map` is for evaluation
        num, classes = section.positive("num", 1, 1 << 12), section.positive("classes", 20, 1 << 20)
        return cls.build(
            section,
            context,
            classes=classes,
            options=RegionLossOptions.from_section(section, context.dialect, classes),
            pictures=TrainingPictures.from_section(section, context.dialect.region_max_boxes),
            anchors=read_anchors(section, num)[:num],
            tree=tree_of(section),
            by_cell=context.dialect.region_by_cell,
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
        """A view (entries, batch, anchors, cells) of values in NCHW order."""
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
        order = (1, 3, 2, 0) if self.by_cell else (1, 2, 0, 3)
        y[:] = planes.transpose(order).reshape(y.shape)

    def _predictions(self, sample: int) -> tuple[Array, Indices, Indices, Indices]:
        """Entries (predictions, entries) and column, row and anchor of each, in the dialect's order."""
        anchors, width, height = len(self.anchors), self.shape.width, self.shape.height
        column, row, position = grid_indices(width, height, anchors)
        if self.by_cell:
            return self.values[sample].reshape(-1, self.entries), column, row, position
        entries = self.values[sample].reshape(anchors, self.entries, height * width).transpose(0, 2, 1)
        cells = np.arange(height * width)
        return (
            entries.reshape(-1, self.entries),
            np.tile(cells % width, anchors),
            np.tile(cells // width, anchors),
            np.repeat(np.arange(anchors), height * width),
        )

    @np.errstate(over="ignore")  # the exponentials of untrained heads overflow as in C
    def detections(self, sample: int, size: tuple[int, int], thresh: float, hier: float) -> Candidates:
        e, column, row, position = self._predictions(sample)
        scale = np.ones(len(e), np.float32) if self.background else e[:, self.coords]
        if self.class_fix == -1 and self.by_cell:
            scale = np.where(scale < np.float32(0.5), np.float32(0), scale)
        keep = np.flatnonzero(scale > np.float32(thresh))  # below, no class can be above the threshold
        e, column, row, position, scale = e[keep], column[keep], row[keep], position[keep], scale[keep]
        x, y = e[:, 0].copy(), e[:, 1].copy()
        if self.by_cell:
            LOGISTIC.apply_nchw(x)
            LOGISTIC.apply_nchw(y)
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
        """(k, classes): scale x class probability where above the threshold; with a tree, of its nodes."""
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
            likely = np.flatnonzero(values > np.float32(0.5))  # AlexeyAB's takes the last one, and ignores `hier`
            if len(likely):
                probabilities[index, likely[-1]] = values[likely[-1]]
        return probabilities

    def loss(self, truth: Sequence[Array], network_size: tuple[int, int], seen: int) -> float:
        grid = RegionGrid(
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
        run = RegionLoss(self.options, grid, seen)
        cost, self.statistics = run.batch(self.values, truth, self.pictures.max_boxes, self._clear_loss())
        return cost

    def training_line(self, index: int) -> str:
        return region_line(self.statistics)

    def table_row(self) -> str:
        return "detection"
