"""`[yolo]` (YOLOv3, v4, v7) and `[Gaussian_yolo]`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...boxes import Candidates
from ...config.sections import Section, flag
from ...runtime.program import Call
from ...tensor import Shape
from ...utils.arrays import Array
from ..base import BuildContext
from .base import Statistics, TrainingPictures, above, read_anchors, read_mask, read_word, stack_boxes
from .targets import ClassIds, ClassMap
from .yolo_loss import MEASURES, SHIFTS, YoloLoss, class_multipliers

_SIGMA = np.float32(0.3)  # added to every standard deviation
_TRACKING_KEYS = (
    "embedding_layer", "track_history_size", "sim_thresh", "dets_for_track", "dets_for_show", "track_ciou_norm",
)  # fmt: skip
_IOU_LOSS = {"iou": 0, "giou": 1, "mse": 2, "diou": 3, "ciou": 4}


@dataclass(kw_only=True, eq=False, repr=False)
class Yolo(YoloLoss):
    """Entries of a prediction: x, y, w, h, objectness, classes; the output is in NCHW order.

    The logistic function is applied to all but w and h; with `new_coords` the convolution before applies it to
    all.
    x and y are then stretched about the cell's centre by `scale_x_y`."""

    type_number = 28
    in_place = True
    nms_kinds: ClassVar[Sequence[str]] = ("greedynms", "diounms")
    line = (
        "Region {index} Avg IOU: {mean[iou]:f}, Class: {mean[class_probability]:f}, Obj: {mean[objectness]:f}, "
        "No Obj: {mean[any_objectness]:f}, .5R: {mean[recalled]:f}, .75R: {mean[recalled75]:f},  count: {sum[count]}"
    )

    new_coords: bool = flag()

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> "Yolo":
        dialect, total = context.dialect, section.positive("num", 1, 1 << 12)
        classes = section.positive("classes", 20, 1 << 20)
        section.ignore(*_TRACKING_KEYS)
        anchors = read_anchors(section, total)
        return cls.build(
            section, context, classes=classes, anchors=anchors, mask=read_mask(section, total, anchors),
            dialect=dialect, labels=ClassMap(section, classes), num=total,
            multipliers=class_multipliers(section, classes),
            iou_loss=read_word(section, "iou_loss", "mse", ("mse", *MEASURES), "iou"),
            iou_normalizer=section.real("iou_normalizer", dialect.yolo_iou_normalizer),
            iou_thresh_kind=read_word(section, "iou_thresh_kind", "iou", MEASURES, "iou"),
            pictures=TrainingPictures.from_section(section, dialect.yolo_max_boxes),
            nms_kind=read_word(section, "nms_kind", "default", cls.nms_kinds, "default"),
            beta_nms=section.real("beta_nms", 0.6),
        )  # fmt: skip

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

    @property
    def means_of(self) -> tuple[int, int, int, int]:
        """The entries of x, y, w and h."""
        x, y, w, h = range(self.entries)[self.means]
        return x, y, w, h

    def bind(self) -> Sequence[Call]:
        x, y, *size = self.means_of
        logistic = np.full(self.entries, not self.new_coords)
        logistic[size] = False
        return [self.unpack_call(len(self.mask), logistic, self.scale_x_y, (x, y)), *self.pack_calls()]

    def planes(self, values: Array) -> Array:
        """(batch, anchors, entries, height, width)."""
        return values.reshape(len(values), len(self.mask), self.entries, self.shape.height, self.shape.width)

    @np.errstate(over="ignore")  # the exponentials of untrained heads overflow as in C
    def detections(self, sample: int, size: tuple[int, int], thresh: float, hier: float) -> Candidates:
        planes = self.planes(self.values)[sample]
        objectness = planes[:, self.entries_before_classes - 1].transpose(1, 2, 0)
        row, column, position = np.nonzero(objectness > np.float32(thresh))
        e, objectness = planes[position, :, row, column], objectness[row, column, position]
        x, y, w, h = e[:, self.means].T
        anchors = self.anchors[self.mask][position]
        width, height = np.float32(self.shape.width), np.float32(self.shape.height)
        w, h = (4 * w**2, 4 * h**2) if self.new_coords else (np.exp(w), np.exp(h))
        w, h = w * anchors[:, 0] / np.float32(size[0]), h * anchors[:, 1] / np.float32(size[1])
        x, y = (column + x) / width, (row + y) / height
        probabilities, uncertainty = objectness[:, None] * e[:, self.entries_before_classes :], None
        if self.is_gaussian:
            shift, uncertainty = np.float32(-SHIFTS[self.point]), e[:, 1:8:2].astype(np.float32)
            x, y = x + shift * w, y + shift * h
            probabilities *= np.float32(1) - uncertainty.mean(axis=1)[:, None]
        return Candidates(stack_boxes(x, y, w, h), objectness, above(probabilities, thresh), uncertainty)

    def training_line(self, index: int) -> str:
        if not self.dialect.yolo_prints_losses:
            return super().training_line(index)
        s, name = self.statistics, self.iou_loss if self.iou_loss in ("mse", "giou") else "iou"
        parts = f"class_loss = {s.class_loss:f}, iou_loss = {s.iou_loss:f}, " if self.show_details else ""
        count = max(s.count, 1)
        return (
            f"v3 ({name} loss, Normalizer: (iou: {self.iou_normalizer:.2f}, obj: {self.obj_normalizer:.2f}, "
            f"cls: {self.cls_normalizer:.2f}) Region {index} Avg (IOU: {s.iou / count:f}), count: {count}, "
            f"{parts}total_loss = {s.total_loss:f} "
        )

    def table_row(self) -> str:
        return f"yolo\n[yolo] params: {self.loss_columns()}, scale_x_y: {self.scale_x_y:2.2f}"

    def loss_columns(self) -> str:
        """The columns of the loss in AlexeyAB's layer table."""
        loss = self.section.text("iou_loss", "mse") or "mse"
        named = (("iou", 0.75), ("obj", 1.0), ("cls", 1.0), ("delta", 1.0))
        norms = [f"{name}_norm: {self.section.real(f'{name}_normalizer', default):2.2f}" for name, default in named]
        return ", ".join([f"iou loss: {loss} ({_IOU_LOSS.get(loss, 0)})", *norms])


@dataclass(kw_only=True, eq=False, repr=False)
class GaussianYolo(Yolo):
    """Entries: x, sigma of x, y, sigma of y, w, sigma, h, sigma, objectness, classes.

    Class probabilities are multiplied by 1 - the mean sigma. `point`: the point of the box that x and y give.

    A coordinate with mean m and deviation s has the density g(z) = exp(-z^2 / 2) / (sqrt(2 pi) (s + 0.3)), z =
    (t - m) / s; the deltas are those of log(g + 1e-9) / 2 as darknet derives it.
    """

    is_gaussian = True
    objectness = 8
    means: ClassVar[slice] = slice(0, 8, 2)
    entries_before_classes = 9
    giou_losses: ClassVar[Sequence[str]] = tuple(MEASURES)
    type_number = 29
    nms_kinds: ClassVar[Sequence[str]] = ("greedynms", "diounms", "cornersnms")
    line = (
        f"{Yolo.line}, class_loss = {{sum[class_loss]:.2f}}, iou_loss = {{sum[iou_loss]:.2f}}, "
        "uc_loss = {sum[uncertainty_loss]:.2f}, total_loss = {sum[total_loss]:.2f} "
    )

    new_coords: bool = False

    @classmethod
    def build(cls, section: Section, context: BuildContext, **options: Any) -> Any:
        point = read_word(section, "yolo_point", "center", SHIFTS, "center")
        return super().build(section, context, point=point, **options)

    def training_line(self, index: int) -> str:
        return self.statistics.line(self.line, index=index)

    def table_row(self) -> str:
        point = {"center": 1, "left_top": 2, "right_bottom": 4}[self.point]
        return f"[Gaussian_yolo] {self.loss_columns()}, scale: {self.scale_x_y:2.2f}, point: {point}"

    def cost(self) -> float:
        return float(self._squares.sum())

    def losses(self, batch: int) -> Statistics:
        # Entries 4 to 7 are those of width and height, means included, but darknet prints them as uncertainty.
        x_y, w_h, others = (float(part.sum()) / batch for part in np.split(self._squares, (4, 8)))
        return Statistics(class_loss=others, iou_loss=x_y, uncertainty_loss=w_h, total_loss=x_y + w_h + others)

    def _ignore(self, entries: Array, delta: Array, match: Array, classes: ClassIds) -> None:
        if not self.objectness_smooth:
            super()._ignore(entries, delta, match, classes)
            return
        delta[:, self.objectness] = np.float32(self.obj_normalizer) * (match * match - entries[:, self.objectness])
        self._set_class_delta(entries, delta, classes)

    def decode(self, entries: Array, cell: Array, anchors: Array) -> Array:
        decoded = super().decode(entries[self.means], cell, anchors)
        decoded[:2] -= np.float32(SHIFTS[self.point]) * decoded[2:]
        return decoded

    def pulls(self, entries: Array, away: Array, scale: Array) -> tuple[Array, Array | None]:
        sigma = entries[:, 1:8:2]
        z = away / sigma
        density = np.exp(z * z * np.float32(-0.5)) / (np.float32(np.sqrt(2 * np.pi)) * (sigma + _SIGMA))
        pull = np.float32(0.5) * density / (density + np.float32(1e-9)) * scale
        of_sigmas = pull * (z * z / sigma - 1 / (sigma + _SIGMA))
        return pull * z / sigma, of_sigmas * np.float32(self.uc_normalizer)
