"""Pictures of a report: the ground truth beside the detections, with descriptions for screen readers."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ...boxes import Box
from ...errors import ImageError
from ...images.draw import Colour, draw_boxes
from ...images.image import Picture, encode_image, load_image, shrink
from ..runner import ImageResult
from .collector import ReportCollector, found_above, match_boxes

LONGEST = 480  # pixels of a picture's longer side
CROWDED = 12  # boxes; in pictures with more, only the wrong ones have labels
GREEN: Colour = (0, 170, 60)
ORANGE: Colour = (255, 150, 0)
RED: Colour = (225, 20, 20)

Mark = tuple[Box, str, Colour]


@dataclass(frozen=True)
class AnnotatedPair:
    """A picture with its objects, and the same with the detections. truth, found: JPEG files as `data:` URLs; the texts
    describe them."""

    name: str
    truth: str
    truth_text: str
    found: str
    found_text: str


def annotated_pair(collector: ReportCollector, result: ImageResult) -> AnnotatedPair | None:
    """The two pictures of a result; None if the picture cannot be read."""
    try:
        image = shrink(load_image(result.path), LONGEST)
    except ImageError:
        return None
    names, rows = collector.names, collector.truth.boxes[result.index]
    boxes, classes, probabilities = found_above(result.candidates, collector.thresh)
    pairs = [(b, t) for b, t in match_boxes(boxes, rows, collector.iou_thresh) if classes[b] == rows[t, 0]]
    hit_boxes, hit_objects = {box for box, _ in pairs}, {item for _, item in pairs}
    truth = [
        _mark(image, row[1:], _name(names, int(row[0])), "missed" if k not in hit_objects else "", ORANGE)
        for k, row in enumerate(rows.tolist())
    ]
    found = [
        _mark(image, box, f"{_name(names, number)} {probability:.0%}", "wrong" if k not in hit_boxes else "", RED)
        for k, (box, number, probability) in enumerate(
            zip(boxes.tolist(), classes.tolist(), probabilities, strict=True)
        )
    ]
    missed, wrong = len(rows) - len(hit_objects), len(boxes) - len(hit_boxes)
    return AnnotatedPair(
        result.path.name,
        _data(image, truth),
        f"Truth: {_counted(names, rows[:, 0].astype(int).tolist())}; {missed} missed",
        _data(image, found),
        f"Found: {_counted(names, classes.tolist())}; {wrong} wrong",
    )


def _mark(image: Picture, box: Sequence[float], text: str, fault: str, colour: Colour) -> tuple[Mark, bool]:
    """A box to draw, and whether it is missed or wrong."""
    height, width, _ = image.shape
    x, y, w, h = box
    place = Box(x * width, y * height, w * width, h * height)
    return (place, f"{text} {fault}" if fault else text, colour if fault else GREEN), bool(fault)


def _data(image: Picture, marks: Sequence[tuple[Mark, bool]]) -> str:
    """The `data:` URL of a picture with its boxes, the faulty ones on top."""
    ordered = sorted(marks, key=lambda mark: mark[1])
    crowded = len(marks) > CROWDED
    drawn = draw_boxes(image, [(box, "" if crowded and not faulty else text, colour)
                               for (box, text, colour), faulty in ordered])  # fmt: skip
    return f"data:image/jpeg;base64,{base64.b64encode(encode_image(drawn, '.jpg', 82)).decode()}"


def _name(names: Sequence[str], number: int) -> str:
    return names[number] if 0 <= number < len(names) else str(number)


def _counted(names: Sequence[str], numbers: Sequence[int]) -> str:
    counts = Counter(_name(names, number) for number in numbers)
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "nothing"
