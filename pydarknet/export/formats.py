"""The output formats of an exported detector: decoded boxes and scores as other programs expect them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import OptionError
from ..inference.detector import check_fractions
from .graph import Graph, Side, Tensor, Value, join
from .heads import BEFORE_CLASSES, pixels

MOST_DETECTIONS = 300  # of a picture, in the padded outputs, as in Ultralytics' programs
RAW = "raw"


@dataclass(frozen=True)
class ExportOptions:
    """The options of an ONNX file. Raises OptionError for invalid values."""

    format: str = RAW  # raw: the outputs of `Network.forward`; boxes, yolov5, yolov8: decoded boxes
    nms: bool = False  # suppress overlapping boxes in the graph; not for raw
    thresh: float | None = None  # with nms, the score above which a box is kept; None: that of `detector test`
    iou_thresh: float = 0.45  # with nms, the IoU above which the weaker of two boxes of a class is suppressed
    dynamic: bool = False  # any batch, and any input size unless a layer fixes it
    fp16: bool = False  # weights and activations are float16; input, heads, softmax and outputs stay float32

    def __post_init__(self) -> None:
        if self.format not in (RAW, *FORMATS):
            raise OptionError(f"format {self.format!r}: expected {', '.join((RAW, *FORMATS))}")
        if self.nms and self.format == RAW:
            raise OptionError("nms: the format is raw; expected one with decoded boxes")
        check_fractions(thresh=self.thresh or 0.0, iou_thresh=self.iou_thresh)

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

    tensor: Tensor
    classes: int
    boxes: Side
    image: Value

    def scored(self) -> tuple[Tensor, Tensor]:
        """(n, 4, boxes): centre and size in pixels, and (n, classes, boxes): objectness x class probability."""
        place, objectness, classes = self.tensor.split([4, BEFORE_CLASSES - 4, self.classes], axis=1)
        return place, objectness * classes


def write_outputs(graph: Graph, rows: Rows, options: ExportOptions, thresh: float) -> None:
    """Add the outputs of a format other than raw."""
    if not options.nms:
        return FORMATS[options.format](graph, rows)
    place, scores = rows.scored()
    limits = [graph.tensor(each) for each in (np.int64(np.iinfo(np.int32).max), options.iou_thresh, thresh)]
    # (m, 3) int64: picture, class and box of each score that remains, class by class
    kept = _listed(place).node("NonMaxSuppression", scores, *limits, center_point_box=1)
    if options.format == "boxes":
        return _found(graph, _fractions(place, rows.image), scores, kept)
    return _padded(graph, _listed(_corners(place)), scores, kept, rows)


def _listed(x: Tensor) -> Tensor:
    """(n, entries, boxes) -> (n, boxes, entries)."""
    return x.turned(0, 2, 1)


def _corners(place: Tensor) -> Tensor:
    """(n, 4, boxes): left, top, right, bottom."""
    centre, size = place.split([2, 2], axis=1)
    half = size * 0.5
    return join([centre - half, centre + half], axis=1)


def _fractions(place: Tensor, image: Value) -> Tensor:
    corners = _corners(place)
    size = pixels(image.tensor, image.shape.width, image.shape.height)
    return _listed(corners / join([size, size], axis=0))


def _boxes(graph: Graph, rows: Rows) -> None:
    place, scores = rows.scored()
    graph.set_output(_fractions(place, rows.image), "boxes", graph.batch_side, rows.boxes, 4)
    graph.set_output(_listed(scores), "scores", graph.batch_side, rows.boxes, rows.classes)


def _yolov5(graph: Graph, rows: Rows) -> None:
    graph.set_output(_listed(rows.tensor), "output0", graph.batch_side, rows.boxes, BEFORE_CLASSES + rows.classes)


def _yolov8(graph: Graph, rows: Rows) -> None:
    graph.set_output(join(rows.scored(), axis=1), "output0", graph.batch_side, 4 + rows.classes, rows.boxes)


FORMATS: dict[str, Callable[[Graph, Rows], None]] = {"boxes": _boxes, "yolov5": _yolov5, "yolov8": _yolov8}
RAW_OUTPUTS = ExportOptions()


# --- after non-maximum suppression ---


def _found(graph: Graph, corners: Tensor, scores: Tensor, kept: Tensor) -> None:
    """`detections` (m, 7): picture of the batch, left, top, right, bottom, class, score."""
    picture, kind, box = kept.split([1, 1, 1], axis=1)
    places = corners.node("GatherND", join([picture, box], axis=1))
    score = scores.node("GatherND", kept).unsqueezed(1)
    picture, kind = picture.cast(np.float32), kind.cast(np.float32)
    graph.set_output(join([picture, places, kind, score], axis=1), "detections", "detections", 7)


def _padded(graph: Graph, corners: Tensor, scores: Tensor, kept: Tensor, rows: Rows) -> None:
    """`output0` (n, k, 6): left, top, right, bottom, score, class, best first, padded with zeros."""
    zero = graph.tensor(0.0)
    none = scores.node("Clip", zero, zero)  # instead of ConstantOfShape, which OpenCV cannot read here
    alive = none.node("ScatterND", kept, scores.node("GatherND", kept)).node("Reshape", [0, -1])
    largest: Side = "detections"
    if isinstance(rows.boxes, int):
        largest = min(MOST_DETECTIONS, rows.boxes * rows.classes)
        boxes, count = graph.tensor([rows.boxes]), graph.tensor([largest])
    else:
        boxes = scores.side(2)
        count = graph.tensor([MOST_DETECTIONS]).node("Min", alive.side(1))
    score, index = graph.add("TopK", alive, count, count=2, axis=1)
    box = index.node("Mod", boxes).unsqueezed(2)
    kind = (index / boxes).cast(np.float32).unsqueezed(2)
    score = score.unsqueezed(2)
    found = join([corners.node("GatherND", box, batch_dims=1), score, kind], axis=2)
    is_real = score.node("Greater", zero)
    graph.set_output(is_real.node("Where", found, zero), "output0", graph.batch_side, largest, 6)
