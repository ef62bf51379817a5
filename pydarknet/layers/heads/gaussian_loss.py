"""The loss of `[Gaussian_yolo]`: as that of `[yolo]`, with a standard deviation beside each coordinate."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ...boxes import giou, iou
from ...utils.arrays import Array
from .base import Places
from .iou_gradient import iou_gradient
from .targets import Numbers, Statistics
from .yolo_loss import YoloLoss

_SIGMA = np.float32(0.3)  # added to every standard deviation
_SHIFTS = {"center": 0.0, "left_top": -0.5, "right_bottom": 0.5}  # the reference point, in box sizes from the centre


class GaussianLoss(YoloLoss):
    """Deltas and sums of one mini-batch. Even box entries are means, odd ones standard deviations."""

    box_entries: ClassVar[int] = 8
    averages_everywhere: ClassVar[bool] = True
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

    def _spare(self, entries: Array, delta: Array, match: Array, classes: Numbers) -> None:
        if not self.options.objectness_smooth:
            super()._spare(entries, delta, match, classes)
            return
        wanted = match * match - entries[:, self.objectness]
        delta[:, self.objectness] = np.float32(self.options.obj_normalizer) * wanted
        self._teach_class(entries, delta, classes)

    def _teach_objectness(self, delta: Array, wanted: Array) -> None:
        delta[:, self.objectness] = wanted

    def corner(self, boxes: Array) -> Array:
        return boxes[:, :2] + self.shift * boxes[:, 2:]

    def boxes(self, entries: Array, cell: Array, anchors: Array) -> Array:
        decoded = super().boxes(entries[0:8:2], cell, anchors)
        decoded[:2] -= self.shift * decoded[2:]
        return decoded

    def box_change(self, entries: Array, slots: Places, boxes: Array, multiplier: Array) -> tuple[Array, Array, Array]:
        options, grid = self.options, self.grid
        mean, sigma = entries[:, 0:8:2], entries[:, 1:8:2]
        cell, anchors = grid.places(slots)
        size = np.log(boxes[:, 2:] * grid.pixels / anchors)
        target = np.concatenate([self.corner(boxes) * grid.size - cell, size], axis=1)
        z = (target - mean) / sigma
        density = np.exp(z * z * np.float32(-0.5)) / (np.float32(np.sqrt(2 * np.pi)) * (sigma + _SIGMA))
        scale = (2 - boxes[:, 2] * boxes[:, 3])[:, None]
        pull = np.float32(0.5) * density / (density + np.float32(1e-9)) * scale
        means, sigmas = pull * z / sigma, pull * (z * z / sigma - 1 / (sigma + _SIGMA))
        predicted = self.boxes(entries.T, cell.T, anchors.T).T
        overlap = iou(predicted, boxes)
        if options.iou_loss != "mse":
            overlap = giou(predicted, boxes)
            means = iou_gradient(predicted, boxes, options.iou_loss)
            means[:, :2] += self.shift * means[:, 2:]
            means[:, 2:] *= np.exp(mean[:, 2:])
        weight = (np.float32(options.iou_normalizer) * multiplier)[:, None]
        change = np.stack([means * weight, sigmas * np.float32(options.uc_normalizer)], axis=2)
        return self._bounded(change.reshape(-1, 8)), overlap, 1 - overlap
