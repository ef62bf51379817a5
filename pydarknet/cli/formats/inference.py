"""Results as text: darknet's lines to the character, JSON, label files. All functions are pure; none prints."""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ...boxes import Detection
from ...inference.classifier import Classification
from ...network.network import Network
from ...utils.files import json_text

if TYPE_CHECKING:
    from ...inference.detector import DetectionResult
    from ...inference.tracking import Track

JSON_START, JSON_SEPARATOR, JSON_END = b"[\n", b", \n", b"\n]"  # before, between and after the pictures of `-out`
JSON_THRESH = 0.005  # the lowest confidence that AlexeyAB's darknet writes, even if -thresh is lower


def classification_lines(path: str, result: Classification) -> Iterator[str]:
    """The time and the classes of one picture, as darknet printed them when its numbers were published."""
    yield predicted_line(path, result.seconds)
    for found in result.predictions:
        if found.parent is None:
            yield f"{found.name}: {found.probability:f}"
        else:
            yield f"{found.class_id}, {found.name}: {found.probability:f}, parent: {found.parent} "


def head_lines(network: Network) -> Iterator[str]:
    """AlexeyAB's lines before each picture: the heads whose type has a number."""
    for index in network.heads:
        if number := network.layers[index].type_number:
            yield f" Detection layer: {index} - type = {number} "


def predicted_line(path: str, seconds: float) -> str:
    """The time of one picture, as in pjreddie's darknet."""
    return f"{path}: Predicted in {seconds:f} seconds."


def detection_lines(path: str, found: "DetectionResult", extended: bool, heads: Network | None) -> Iterator[str]:
    """The time and the objects of one picture. heads: AlexeyAB's network, whose heads are named; None: pjreddie's."""
    if heads is None:
        yield predicted_line(path, found.seconds)
    else:
        yield from head_lines(heads)
        yield f"{path}: Predicted in {1000 * found.seconds:f} milli-seconds."
    for detection in found.detections():
        yield detection_line(detection, found, extended)


def track_lines(path: str, found: "DetectionResult", tracks: "Iterable[Track]", extended: bool) -> Iterator[str]:
    """The lines of one frame: `name 3: 87%`, where 3 is the number of the track."""
    yield predicted_line(path, found.seconds)
    for track in tracks:
        name, line = track.detection.name, detection_line(track.detection, found, extended)
        yield f"{name} {track.track_id}{line.removeprefix(name)}"


def detection_line(detection: Detection, found: "DetectionResult", extended: bool) -> str:
    """`name: 87%`; if extended, a tab and the box in pixels follow."""
    percent = np.float32(detection.confidence) * np.float32(100)
    line = f"{detection.name}: {percent:.0f}%"
    if not extended:
        return line
    x, y, w, h = (np.float32(value) for value in relative_box(detection, found))
    half = np.float32(2)
    left, top = _rounded((x - w / half) * np.float32(found.width)), _rounded((y - h / half) * np.float32(found.height))
    width, height = _rounded(w * np.float32(found.width)), _rounded(h * np.float32(found.height))
    return f"{line}\t(left_x: {left:4.0f}   top_y: {top:4.0f}   width: {width:4.0f}   height: {height:4.0f})"


def _rounded(value: float) -> float:
    """C's round(): halves are rounded away from zero."""
    number = float(value)
    return math.copysign(math.floor(abs(number) + 0.5), number) if math.isfinite(number) else number


def relative_box(detection: Detection, found: "DetectionResult") -> tuple[float, float, float, float]:
    """Centre and size as fractions of the picture: the float32 values of the network, unchanged."""
    box = detection.box
    return box.x / found.width, box.y / found.height, box.w / found.width, box.h / found.height


def json_frame(number: int, path: str | None, found: "DetectionResult") -> str:
    """One picture of `-out FILE.json` in AlexeyAB's format, detections in array order. path: None for a video frame."""
    name = "" if path is None else f'\n "filename":{_quoted(path)}, '
    objects = ", \n".join(_json_object(d, found) for d in replace(found, thresh=JSON_THRESH).in_array_order())
    return f'{{\n "frame_id":{number}, {name}\n "objects": [ \n{objects}\n ] \n}}'


def _json_object(detection: Detection, found: "DetectionResult") -> str:
    x, y, w, h = (_number(value) for value in relative_box(detection, found))
    return (
        f'  {{"class_id":{detection.class_id}, "name":{_quoted(detection.name)}, "relative_coordinates":'
        f'{{"center_x":{x}, "center_y":{y}, "width":{w}, "height":{h}}}, "confidence":{_number(detection.confidence)}}}'
    )


def _number(value: float) -> str:
    """%f; null for NaN and infinity, which JSON cannot express."""
    return f"{value:f}" if math.isfinite(value) else "null"


def _quoted(text: str) -> str:
    return json.dumps(json_text(text), ensure_ascii=False)


def label_lines(found: "DetectionResult") -> Iterator[str]:
    """The lines of a label file: the best class of each box, and the box as fractions of the picture."""
    for detection in found.best_of_each():
        x, y, w, h = relative_box(detection, found)
        yield f"{detection.class_id} {x:2.4f} {y:2.4f} {w:2.4f} {h:2.4f}\n"
