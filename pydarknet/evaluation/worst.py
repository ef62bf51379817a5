"""The pictures with most missed objects."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..boxes import Box, Detection
from ..config.dialect import Dialect
from ..images.draw import Colour, draw_boxes, percent_label
from ..images.image import Picture, load_image
from ..inference.detector import DetectionResult
from ..utils.arrays import Array
from .runner import ImageResult

GREEN: Colour = (0, 200, 0)
RED: Colour = (230, 0, 0)


@dataclass
class Worst:
    """The `count` pictures with most missed objects; ties go to the earlier picture."""

    count: int = 10
    _kept: list[tuple[int, int, ImageResult]] = field(default_factory=list, repr=False)

    def add(self, result: ImageResult, missed: int) -> None:
        """Consider one picture. A picture without missed objects is never kept."""
        if missed:
            keep = heapq.heappush if len(self._kept) < self.count else heapq.heappushpop
            keep(self._kept, (missed, -result.index, result))

    def ranked(self) -> list[tuple[int, ImageResult]]:
        """(missed objects, result) of each kept picture, worst first."""
        return [(missed, result) for missed, _, result in sorted(self._kept, key=lambda entry: entry[:2], reverse=True)]


def detections_in(result: ImageResult, names: Sequence[str], thresh: float, dialect: Dialect) -> list[Detection]:
    """The detections above the threshold, boxes in pixels."""
    return DetectionResult(result.candidates, names, result.width, result.height, thresh, dialect, 0.0).detections()


def annotated(result: ImageResult, truth: Array, names: Sequence[str], thresh: float, dialect: Dialect) -> Picture:
    """A copy of the picture with the objects of `truth` (t, 5) in green and the detections in red.

    Raises ImageError for a picture that cannot be read.
    """
    image = load_image(result.path)
    height, width, _ = image.shape
    marks = []
    for number, x, y, w, h in truth.tolist():
        name = names[int(number)] if 0 <= number < len(names) else f"{number:.0f}"
        marks.append((Box(x * width, y * height, w * width, h * height), name, GREEN))
    found = sorted(detections_in(result, names, thresh, dialect), key=lambda detection: detection.confidence)
    return draw_boxes(image, [*marks, *((d.box, percent_label(d), RED) for d in found)])
