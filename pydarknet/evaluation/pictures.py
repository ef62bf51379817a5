"""Pictures with objects and detections: those with most missed objects, and the pairs of a report."""

import base64
import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..boxes import Box, Detection
from ..config.dialect import Dialect
from ..errors import ImageError
from ..images.image import Picture, encode_image, load_image, shrink
from ..images.operations import Colour, draw_boxes, percent_label
from ..inference.detector import DetectionResult
from ..utils.arrays import Array
from .average_precision import found_above, match_boxes
from .evaluate import ImageResult

GREEN: Colour = (0, 200, 0)
RED: Colour = (230, 0, 0)
RIGHT: Colour = (0, 170, 60)  # the colours of a report
MISSED: Colour = (255, 150, 0)
WRONG: Colour = (225, 20, 20)
LONGEST = 480  # pixels of the longer side of a report's picture
CROWDED = 12  # boxes; in pictures with more, only the wrong ones have labels

Mark = tuple[Box, str, Colour]


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
    marks = [(_place(image, box), _name(names, int(number)), GREEN) for number, *box in truth.tolist()]
    found = sorted(detections_in(result, names, thresh, dialect), key=lambda detection: detection.confidence)
    return draw_boxes(image, [*marks, *((d.box, percent_label(d), RED) for d in found)])


@dataclass(frozen=True)
class AnnotatedPair:
    """A picture with its objects, and the same with the detections. truth, found: JPEG files as `data:` URLs; the texts
    describe them."""

    name: str
    truth: str
    truth_text: str
    found: str
    found_text: str


def annotated_pair(
    result: ImageResult, rows: Array, names: Sequence[str], thresh: float, iou_thresh: float
) -> AnnotatedPair | None:
    """The two pictures of a result and its objects `rows`, (t, 5); None if the picture cannot be read."""
    try:
        image = shrink(load_image(result.path), LONGEST)
    except ImageError:
        return None
    boxes, classes, probabilities = found_above(result.candidates, thresh)
    pairs = [(b, t) for b, t in match_boxes(boxes, rows, iou_thresh) if classes[b] == rows[t, 0]]
    hit_boxes, hit_objects = {box for box, _ in pairs}, {item for _, item in pairs}
    truth = [
        _mark(image, row[1:], _name(names, int(row[0])), "missed" if k not in hit_objects else "", MISSED)
        for k, row in enumerate(rows.tolist())
    ]
    found = [
        _mark(image, box, f"{_name(names, number)} {probability:.0%}", "wrong" if k not in hit_boxes else "", WRONG)
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
    return (_place(image, box), f"{text} {fault}" if fault else text, colour if fault else RIGHT), bool(fault)


def _place(image: Picture, box: Sequence[float]) -> Box:
    """A box in fractions of a picture as one in its pixels."""
    (height, width, _), (x, y, w, h) = image.shape, box
    return Box(x * width, y * height, w * width, h * height)


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
