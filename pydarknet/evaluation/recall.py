"""Recall of a detector's boxes, whatever their classes: `detector recall`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..boxes import Candidates, iou
from ..utils.arrays import Array


@dataclass
class Recall:
    """Running totals. proposals: boxes with an objectness above `thresh`. correct: objects that a proposal overlaps
    with an IoU above `iou_thresh`."""

    thresh: float = 0.001
    iou_thresh: float = 0.5
    pictures: int = 0
    proposals: int = 0
    objects: int = 0
    correct: int = 0
    overlap: float = 0.0  # sum, in float32, of the best IoU of each object

    def add(self, candidates: Candidates, truth: Array) -> None:
        """Count one picture. truth: (t, 5) rows of class, x, y, w, h, in the unit of the candidates."""
        boxes = candidates.boxes[candidates.objectness > np.float32(self.thresh)]
        self.pictures += 1
        self.proposals += len(boxes)
        self.objects += len(truth)
        if len(truth):
            table = np.nan_to_num(iou(boxes[None], truth[:, None, 1:]), nan=0.0)
            best = table.max(axis=1, initial=0).astype(np.float32)
            self.correct += int(np.count_nonzero(best > np.float32(self.iou_thresh)))
            self.overlap = float(np.add.accumulate(np.append(np.float32(self.overlap), best), dtype=np.float32)[-1])

    def line(self) -> str:
        """The line that darknet prints after each picture."""
        with np.errstate(invalid="ignore"):
            found = np.float32(self.overlap) * np.float32(100) / np.float32(self.objects)
            share = np.float64(100 * self.correct) / np.float64(self.objects)
        proposals = np.float32(self.proposals) / np.float32(self.pictures)
        return (
            f"{self.pictures - 1:5d} {self.correct:5d} {self.objects:5d}\tRPs/Img: {proposals:.2f}\t"
            f"IOU: {_number(found)}%\tRecall:{_number(share)}%"
        )


def _number(value: np.floating) -> str:
    """Two decimals; 0/0 as C prints it on x86."""
    return "-nan" if np.isnan(value) else f"{value:.2f}"
