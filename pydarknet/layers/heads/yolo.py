"""`[yolo]` (YOLOv3, v4, v7) and `[Gaussian_yolo]`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...boxes import Candidates
from ...config.sections import Section
from ...runtime.program import Call
from ...tensor import Shape
from ...utils.arrays import Array
from ..base import BuildContext
from .base import above, read_anchors, read_mask, stack_boxes
from .statistics import gaussian_line, yolo_line, yolo_losses_line
from .targets import ClassMap, TrainingPictures
from .yolo_loss import MEASURES, GaussianLoss, YoloLoss, YoloOptions, class_multipliers

_TRACKING_KEYS = (
    "embedding_layer",
    "track_history_size",
    "sim_thresh",
    "dets_for_track",
    "dets_for_show",
    "track_ciou_norm",
)
_IOU_LOSS = {"iou": 0, "giou": 1, "mse": 2, "diou": 3, "ciou": 4}


@dataclass(kw_only=True, eq=False, repr=False)
class Yolo(YoloOptions):
    """Entries of a prediction: x, y, w, h, objectness, classes; the output is in NCHW order.

    The logistic function is applied to all but w and h, unless `new_coords`, where the convolution before applies it
    to all. x and y are then stretched about the cell's centre by `scale_x_y`. Anchors are in pixels."""

    type_number: ClassVar[int] = 28
    in_place: ClassVar[bool] = True
    rejects_deltas: ClassVar[bool] = True

    # Computes the loss of a mini-batch.
    loss_class: ClassVar[Callable[..., YoloLoss]] = YoloLoss

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> Yolo:
        dialect, total = context.dialect, section.positive("num", 1, 1 << 12)
        classes = section.positive("classes", 20, 1 << 20)
        section.ignore(*_TRACKING_KEYS)
        iou_loss, kind = section.text("iou_loss", "mse") or "", section.text("iou_thresh_kind", "iou") or ""
        anchors = read_anchors(section, total)
        return cls.build(
            section,
            context,
            classes=classes,
            anchors=anchors,
            mask=read_mask(section, total, anchors),
            dialect=dialect,
            labels=ClassMap(section, classes),
            num=total,
            multipliers=class_multipliers(section, classes),
            iou_loss=iou_loss if iou_loss in ("mse", *MEASURES) else "iou",
            iou_normalizer=section.real("iou_normalizer", dialect.yolo_iou_normalizer),
            iou_thresh_kind=kind if kind in MEASURES else "iou",
            pictures=TrainingPictures.from_section(section, dialect.yolo_max_boxes),
            nms_kind=cls.read_nms(section),
            beta_nms=section.real("beta_nms", 0.6),
            **cls.own_options(section),
        )

    @classmethod
    def own_options(cls, section: Section) -> dict:
        """The options that only this class has, as arguments of its constructor."""
        return {"new_coords": section.flag("new_coords")}

    @classmethod
    def read_nms(cls, section: Section) -> str:
        """The kind of non-maximum suppression; an unknown word is the default, as in darknet."""
        kind = section.text("nms_kind", "default")
        return kind if kind in ("greedynms", "diounms") else "default"

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        (shape,) = inputs
        expected = len(self.mask) * self.entries
        if shape.channels != expected:
            raise self.section.shape_error(
                "filters= in the [convolutional]-layer doesn't correspond to classes= or mask= in "
                f"[{self.kind}]-layer: the layer before gives {shape.channels} channels; expected filters={expected} "
                f"= {len(self.mask)} masks x ({self.classes} classes + {self.entries_before_classes})"
            )
        return shape

    def logistic_entries(self) -> list[tuple[int, int]]:
        """(first entry, number of entries) that pass through the logistic function."""
        return [(0, 2), (4, 1 + self.classes)]

    def bind(self) -> Sequence[Call]:
        logistic = np.zeros(self.entries, np.bool_)
        for first, count in self.logistic_entries():
            logistic[first : first + count] = not self.new_coords
        return [self.unpack_call(len(self.mask), logistic, self.scale_x_y, self.centre_entries()), *self.pack_calls()]

    def centre_entries(self) -> tuple[int, int]:
        """The entries of x and y."""
        return 0, 1

    def planes(self, values: Array) -> Array:
        """A view (batch, anchors, entries, height, width)."""
        return values.reshape(len(values), len(self.mask), self.entries, self.shape.height, self.shape.width)

    @np.errstate(over="ignore")  # the exponentials of untrained heads overflow as in C
    def detections(self, sample: int, size: tuple[int, int], thresh: float, hier: float) -> Candidates:
        planes = self.planes(self.values)[sample]
        objectness = planes[:, self.entries_before_classes - 1].transpose(1, 2, 0)
        row, column, position = np.nonzero(objectness > np.float32(thresh))
        e, objectness = planes[position, :, row, column], objectness[row, column, position]
        x, y, w, h = e[:, : self.entries_before_classes - 1 : self.entries_before_classes // 4].T
        anchors = self.anchors[self.mask][position]
        width, height = np.float32(self.shape.width), np.float32(self.shape.height)
        w, h = (4 * w**2, 4 * h**2) if self.new_coords else (np.exp(w), np.exp(h))
        w, h = w * anchors[:, 0] / np.float32(size[0]), h * anchors[:, 1] / np.float32(size[1])
        boxes = stack_boxes(*self._centres((column + x) / width, (row + y) / height, w, h), w, h)
        probabilities, uncertainty = objectness[:, None] * e[:, self.entries_before_classes :], self._uncertainty(e)
        if uncertainty is not None:
            probabilities *= np.float32(1) - uncertainty.mean(axis=1)[:, None]
        return Candidates(boxes, objectness, above(probabilities, thresh), uncertainty)

    def _centres(self, x: Array, y: Array, w: Array, h: Array) -> tuple[Array, Array]:
        """The centres of boxes of size w x h whose x and y are these."""
        return x, y

    def _uncertainty(self, entries: Array) -> Array | None:
        """(k, 4) of predictions (k, entries), where the head predicts it."""
        return None

    def make_loss(self, network_size: tuple[int, int], seen: int) -> YoloLoss:
        return self.loss_class(self, network_size)

    def training_line(self, index: int) -> str:
        if not self.dialect.yolo_prints_losses:
            return yolo_line(self.statistics, index)
        normalizers = (self.iou_normalizer, self.obj_normalizer, self.cls_normalizer)
        return yolo_losses_line(self.statistics, index, self.iou_loss, normalizers, self.show_details)

    def table_row(self) -> str:
        loss = self.section.text("iou_loss", "mse") or "mse"
        return (
            f"yolo\n[yolo] params: iou loss: {loss} ({_IOU_LOSS.get(loss, 0)}), {self._normalizers()}, scale_x_y: "
            f"{self.scale_x_y:2.2f}"
        )

    def _normalizers(self) -> str:
        named = (("iou", 0.75), ("obj", 1.0), ("cls", 1.0), ("delta", 1.0))
        return ", ".join(
            f"{name}_norm: {self.section.real(f'{name}_normalizer', default):2.2f}" for name, default in named
        )


@dataclass(kw_only=True, eq=False, repr=False)
class GaussianYolo(Yolo):
    """Entries: x, sigma of x, y, sigma of y, w, sigma, h, sigma, objectness, classes.

    Class probabilities are multiplied by 1 - the mean sigma. `point`: the point of the box that x and y give."""

    entries_before_classes: ClassVar[int] = 9
    type_number: ClassVar[int] = 29
    rejects_deltas: ClassVar[bool] = False
    loss_class: ClassVar[Callable[..., YoloLoss]] = GaussianLoss

    @classmethod
    def own_options(cls, section: Section) -> dict:
        point = section.text("yolo_point", "center")
        return {"point": point if point in ("left_top", "right_bottom") else "center"}

    @classmethod
    def read_nms(cls, section: Section) -> str:
        kind = section.text("nms_kind", "default")
        return kind if kind in ("greedynms", "diounms", "cornersnms") else "default"

    def logistic_entries(self) -> list[tuple[int, int]]:
        return [(0, 4), (5, 1), (7, 2 + self.classes)]

    def centre_entries(self) -> tuple[int, int]:
        return 0, 2

    def _centres(self, x: Array, y: Array, w: Array, h: Array) -> tuple[Array, Array]:
        shift = np.float32({"center": 0.0, "left_top": 0.5, "right_bottom": -0.5}[self.point])
        return x + shift * w, y + shift * h

    def _uncertainty(self, entries: Array) -> Array:
        return entries[:, 1:8:2].astype(np.float32)

    def training_line(self, index: int) -> str:
        return gaussian_line(self.statistics, index)

    def table_row(self) -> str:
        loss = self.section.text("iou_loss", "mse") or "mse"
        point = {"center": 1, "left_top": 2, "right_bottom": 4}[self.point]
        return (
            f"[Gaussian_yolo] iou loss: {loss} ({_IOU_LOSS.get(loss, 0)}), {self._normalizers()}, scale: "
            f"{self.scale_x_y:2.2f}, point: {point}"
        )
