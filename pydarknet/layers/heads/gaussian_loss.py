"""The loss of `[Gaussian_yolo]`: that of `[yolo]` with a standard deviation for each coordinate."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ...boxes import giou, iou
from ...utils.arrays import Array
from .base import Indices
from .iou_gradient import iou_gradient
from .statistics import Statistics
from .targets import ClassIds
from .yolo_loss import YoloLoss

_SIGMA = np.float32(0.3)  # added to every standard deviation
_SHIFTS = {"center": 0.0, "left_top": -0.5, "right_bottom": 0.5}  # the reference point, in box sizes from the centre


class GaussianLoss(YoloLoss):
    """The loss of one mini-batch. Even box entries are means, odd ones standard deviations.

    The density of a coordinate t with mean m and deviation s is g(z) = exp(-z^2 / 2) / (sqrt(2 pi) (s + 0.3)), with
    z = (t - m) / s; the deltas are those of log(g + 1e-9) / 2 as darknet derives it.
    """

    box_entries: ClassVar[int] = 8
    always_averages: ClassVar[bool] = True
    counts_boxes: ClassVar[bool] = False

    @property
    def looks_at_own_class(self) -> bool:
        return False

    @property
    def focal(self) -> bool:
        return False

    @property
    def shift(self) -> np.float32:
        return np.float32(_SHIFTS[self.grid.point])

    def cost(self) -> float:
        return float(self.squares.sum())

    def losses(self, batch: int) -> Statistics:
        # Entries 4 to 7 are those of width and height, means included, but darknet prints them as uncertainty.
        x_y, w_h, others = (float(part.sum()) / batch for part in np.split(self.squares, (4, 8)))
        return Statistics(class_loss=others, iou_loss=x_y, uncertainty_loss=w_h, total_loss=x_y + w_h + others)

    def _ignore(self, entries: Array, delta: Array, match: Array, classes: ClassIds) -> None:
        if not self.options.objectness_smooth:
            super()._ignore(entries, delta, match, classes)
            return
        wanted = match * match - entries[:, self.objectness]
        delta[:, self.objectness] = np.float32(self.options.obj_normalizer) * wanted
        self._set_class_delta(entries, delta, classes)

    def _set_objectness_delta(self, delta: Array, wanted: Array) -> None:
        delta[:, self.objectness] = wanted

    def assigned_point(self, boxes: Array) -> Array:
        return boxes[:, :2] + self.shift * boxes[:, 2:]

    def decode(self, entries: Array, cell: Array, anchors: Array) -> Array:
        decoded = super().decode(entries[0:8:2], cell, anchors)
        decoded[:2] -= self.shift * decoded[2:]
        return decoded

    def box_delta(
        self, entries: Array, predictions: Indices, boxes: Array, multiplier: Array
    ) -> tuple[Array, Array, Array]:
        options, grid = self.options, self.grid
        mean, sigma = entries[:, 0:8:2], entries[:, 1:8:2]
        cell, anchors = grid.cell_and_anchor(predictions)
        size = np.log(boxes[:, 2:] * grid.pixels / anchors)
        target = np.concatenate([self.assigned_point(boxes) * grid.size - cell, size], axis=1)
        z = (target - mean) / sigma
        density = np.exp(z * z * np.float32(-0.5)) / (np.float32(np.sqrt(2 * np.pi)) * (sigma + _SIGMA))
        scale = (2 - boxes[:, 2] * boxes[:, 3])[:, None]
        pull = np.float32(0.5) * density / (density + np.float32(1e-9)) * scale
        means, sigmas = pull * z / sigma, pull * (z * z / sigma - 1 / (sigma + _SIGMA))
        predicted = self.decode(entries.T, cell.T, anchors.T).T
        overlap = iou(predicted, boxes)
        if options.iou_loss != "mse":
            overlap = giou(predicted, boxes)
            means = iou_gradient(predicted, boxes, options.iou_loss)
            means[:, :2] += self.shift * means[:, 2:]
            means[:, 2:] *= np.exp(mean[:, 2:])
        weight = (np.float32(options.iou_normalizer) * multiplier)[:, None]
        change = np.stack([means * weight, sigmas * np.float32(options.uc_normalizer)], axis=2)
        return self._clipped(change.reshape(-1, 8)), overlap, 1 - overlap
