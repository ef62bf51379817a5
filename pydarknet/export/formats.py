"""The output formats of an exported detector: decoded boxes and scores as other programs expect them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import OptionError
from .graph import Graph, Side, Value
from .heads import BEFORE_CLASSES, pixels

MOST_DETECTIONS = 300  # of a picture, in the padded outputs, as in Ultralytics' programs
RAW = "raw"


@dataclass(frozen=True)
class ExportOptions:
    """The options of an ONNX file.

    format      raw: the outputs of `Network.forward`; boxes, yolov5, yolov8: decoded boxes
    nms         suppress overlapping boxes in the graph; not for raw
    thresh      with nms, the score above which a box is kept; None: that of darknet's `detector test`
    iou_thresh  with nms, the IoU above which the weaker of two boxes of a class is suppressed
    dynamic     any batch, and any input size unless a layer fixes it
    fp16        weights and activations are float16; input, heads, softmax and outputs stay float32

    Raises OptionError for invalid values.
    """

    format: str = RAW
    nms: bool = False
    thresh: float | None = None
    iou_thresh: float = 0.45
    dynamic: bool = False
    fp16: bool = False

    def __post_init__(self) -> None:
        if self.format not in (RAW, *FORMATS):
            raise OptionError(f"format {self.format!r}: expected {', '.join((RAW, *FORMATS))}")
        if self.nms and self.format == RAW:
            raise OptionError("nms: the format is raw; expected one with decoded boxes")
        for name, value in (("thresh", self.thresh), ("iou_thresh", self.iou_thresh)):
            if value is not None and not 0 <= value <= 1:
                raise OptionError(f"{name} {value}: expected a number from 0 to 1")

    @property
    def is_raw(self) -> bool:
        return self.format == RAW

    @property
    def input_name(self) -> str:
        """The name of the graph's input that users of the format expect."""
        return "images" if self.format.startswith("yolo") else "input"


@dataclass(frozen=True)
class Rows:
    """Decoded boxes of all heads: a tensor (n, 5 + classes, boxes), see `heads.DECODERS`."""

    name: str
    classes: int
    boxes: Side
    image: Value


def write_outputs(graph: Graph, rows: Rows, options: ExportOptions, thresh: float) -> None:
    """Add the outputs of a format other than raw."""
    if not options.nms:
        return FORMATS[options.format](graph, rows)
    place, scores = _scored(graph, rows)
    kept = _suppressed(graph, place, scores, thresh, options.iou_thresh)
    if options.format == "boxes":
        return _found(graph, _fractions(graph, place, rows.image), scores, kept)
    return _padded(graph, _listed(graph, _corners(graph, place)), scores, kept, rows)


def _scored(graph: Graph, rows: Rows) -> tuple[str, str]:
    """(n, 4, boxes): centre and size in pixels, and (n, classes, boxes): objectness x class probability."""
    place, objectness, classes = graph.split(rows.name, [4, BEFORE_CLASSES - 4, rows.classes], axis=1)
    return place, graph.add("Mul", objectness, classes)


def _listed(graph: Graph, x: str) -> str:
    """(n, entries, boxes) -> (n, boxes, entries)."""
    return graph.add("Transpose", x, perm=[0, 2, 1])


def _corners(graph: Graph, place: str) -> str:
    """(n, 4, boxes): left, top, right, bottom."""
    centre, size = graph.split(place, [2, 2], axis=1)
    half = graph.times(size, 0.5)
    return graph.join([graph.add("Sub", centre, half), graph.add("Add", centre, half)], axis=1)


def _fractions(graph: Graph, place: str, image: Value) -> str:
    """(n, boxes, 4): the corners as fractions of the input."""
    corners = _corners(graph, place)
    size = pixels(graph, image.name, image.shape.width, image.shape.height)
    return _listed(graph, graph.add("Div", corners, graph.join([size, size], axis=0)))


def _boxes(graph: Graph, rows: Rows) -> None:
    place, scores = _scored(graph, rows)
    graph.set_output(_fractions(graph, place, rows.image), "boxes", graph.batch_side, rows.boxes, 4)
    graph.set_output(_listed(graph, scores), "scores", graph.batch_side, rows.boxes, rows.classes)


def _yolov5(graph: Graph, rows: Rows) -> None:
    listed = _listed(graph, rows.name)
    graph.set_output(listed, "output0", graph.batch_side, rows.boxes, BEFORE_CLASSES + rows.classes)


def _yolov8(graph: Graph, rows: Rows) -> None:
    joined = graph.join([*_scored(graph, rows)], axis=1)
    graph.set_output(joined, "output0", graph.batch_side, 4 + rows.classes, rows.boxes)


FORMATS: dict[str, Callable[[Graph, Rows], None]] = {"boxes": _boxes, "yolov5": _yolov5, "yolov8": _yolov8}
RAW_OUTPUTS = ExportOptions()


# --- non-maximum suppression -----------------------------------------------------------------------------------------


def _suppressed(graph: Graph, place: str, scores: str, thresh: float, iou_thresh: float) -> str:
    """(m, 3) int64: picture, class and box of each score that remains, class by class."""
    most = graph.constant(np.iinfo(np.int32).max, np.int64)
    limits = [graph.constant(value) for value in (iou_thresh, thresh)]
    return graph.add("NonMaxSuppression", _listed(graph, place), scores, most, *limits, center_point_box=1)


def _found(graph: Graph, corners: str, scores: str, kept: str) -> None:
    """`detections` (m, 7): picture of the batch, left, top, right, bottom, class, score."""
    picture, kind, box = graph.split(kept, [1, 1, 1], axis=1)
    places = graph.add("GatherND", corners, graph.join([picture, box], axis=1))
    score = graph.add("Unsqueeze", graph.add("GatherND", scores, kept), graph.integers([1]))
    picture, kind = graph.cast(picture, np.float32), graph.cast(kind, np.float32)
    graph.set_output(graph.join([picture, places, kind, score], axis=1), "detections", "detections", 7)


def _padded(graph: Graph, corners: str, scores: str, kept: str, rows: Rows) -> None:
    """`output0` (n, k, 6): left, top, right, bottom, score, class, best first, padded with zeros."""
    zero = graph.constant(0.0)
    none = graph.add("Clip", scores, zero, zero)  # instead of ConstantOfShape, which OpenCV cannot read here
    alive = graph.add("ScatterND", none, kept, graph.add("GatherND", scores, kept))
    alive = graph.add("Reshape", alive, graph.integers([0, -1]))
    largest: Side = "detections"
    if isinstance(rows.boxes, int):
        largest = min(MOST_DETECTIONS, rows.boxes * rows.classes)
        boxes, count = graph.integers([rows.boxes]), graph.integers([largest])
    else:
        boxes = graph.side(scores, 2)
        count = graph.add("Min", graph.integers([MOST_DETECTIONS]), graph.side(alive, 1))
    score, index = graph.add_several("TopK", [alive, count], 2, axis=1)
    box = graph.add("Unsqueeze", graph.add("Mod", index, boxes), graph.integers([2]))
    kind = graph.add("Unsqueeze", graph.cast(graph.add("Div", index, boxes), np.float32), graph.integers([2]))
    score = graph.add("Unsqueeze", score, graph.integers([2]))
    found = graph.join([graph.add("GatherND", corners, box, batch_dims=1), score, kind], axis=2)
    is_real = graph.add("Greater", score, zero)
    graph.set_output(graph.add("Where", is_real, found, zero), "output0", graph.batch_side, largest, 6)
