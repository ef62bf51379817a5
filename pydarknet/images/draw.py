"""Drawing of detections: boxes, labels and class colours."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import cv2
import numpy as np

from ..boxes import Box, Detection
from .image import Picture, check_image

Colour = tuple[int, int, int]

# Red, green and blue of darknet's six colours, between which class colours are interpolated.
_RAINBOW = ((1, 1, 1, 0, 0, 0), (0, 0, 1, 1, 1, 0), (1, 0, 0, 0, 1, 1))


def draw_detections(image: Picture, detections: Sequence[Detection], classes: int) -> Picture:
    """A copy of the picture with a box and a label `name: 87%` for each detection, the most confident on top.

    classes: the number of classes, which decides their colours. Boxes are clipped to the picture.
    """
    ranked = sorted(detections, key=lambda detection: detection.confidence)
    return draw_boxes(image, [(d.box, percent_label(d), class_colour(d.class_id, classes)) for d in ranked])


def percent_label(detection: Detection, number: int | None = None) -> str:
    """`name: 87%`, or with the number of its track `name 3: 87%`."""
    name = detection.name if number is None else f"{detection.name} {number}"
    return f"{name}: {detection.confidence * 100:.0f}%"


def draw_boxes(image: Picture, boxes: Sequence[tuple[Box, str, Colour]]) -> Picture:
    """A copy of the picture with boxes in their colours, and all labels above all boxes; later ones on top."""
    result = np.array(check_image(image), order="C")
    line = max(1, int(0.006 * len(result)))  # pjreddie's line width, but at least one pixel
    for box, _, colour in boxes:
        left, top, right, bottom = _corners(result, box)
        area = result[top : bottom + 1, left : right + 1]
        area[:line] = area[-line:] = area[:, :line] = area[:, -line:] = colour
    for box, label, colour in boxes:
        if label:
            _draw_label(result, box, label, colour)
    return result


def draw_line(image: Picture, start: tuple[int, int], end: tuple[int, int], label: str) -> None:
    """Draw a line between two points (x, y in pixels) into the picture itself, with a label at its middle."""
    thickness = max(1, int(0.006 * image.shape[0]))
    cv2.line(image, start, end, (255, 255, 255), thickness, cv2.LINE_AA)
    middle = Box((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, 1, 1)
    _draw_label(image, middle, label, (255, 255, 255))


def draw_lines(image: Picture, lines: Sequence[str]) -> Picture:
    """A copy of the picture with lines of text in its upper left corner, black on white."""
    result = np.array(check_image(image), order="C")
    step = max(16, int(0.06 * len(result)))  # pixels from line to line
    for number, line in enumerate(lines, start=1):
        _draw_label(result, Box(0, number * step, 0, 0), line, (255, 255, 255))
    return result


def class_colour(class_id: int, classes: int) -> Colour:
    """The RGB colour (0 to 255) of a class out of `classes`, as by darknet's `get_color`."""
    position = 5 * (class_id * 123457 % classes) / classes
    red, green, blue = (int(255 * np.interp(position, range(6), levels)) for levels in _RAINBOW)
    return red, green, blue


def _corners(image: Picture, box: Box) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the box, truncated and clamped to the picture; NaN becomes 0."""
    height, width, _ = image.shape
    left, right = (int(min(max(0.0, x), width - 1)) for x in (box.left, box.right))
    top, bottom = (int(min(max(0.0, y), height - 1)) for y in (box.top, box.bottom))
    return left, top, right, bottom


def _draw_label(image: Picture, box: Box, text: str, colour: Colour) -> None:
    """Draw the label in a filled rectangle above the box's upper left corner, moved to be inside the picture.

    OpenCV's fonts only have printable ASCII: accents are dropped, all else becomes `?`. (Surrogates, which represent
    undecodable bytes of a names file, crash OpenCV 5.)
    """
    letters = (c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    label = "".join(c if " " <= c <= "~" else "?" for c in letters)
    height, width, _ = image.shape
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, max(0.4, 0.0012 * height)
    unshrunk = cv2.getTextSize(label, font, scale, 1)[0][0]
    scale = max(0.3, scale * min(1.0, width / unshrunk))  # below 0.3 it is illegible
    thickness = max(1, round(scale))
    (text_width, text_height), baseline = cv2.getTextSize(label, font, scale, thickness)
    left, top, _, _ = _corners(image, box)
    left, top = max(0, min(left, width - text_width)), max(0, top - text_height - baseline)
    image[top : top + text_height + baseline, left : left + text_width] = colour
    ink = (0, 0, 0) if np.dot(colour, (0.299, 0.587, 0.114)) > 127 else (255, 255, 255)  # by luminance
    cv2.putText(image, label, (left, top + text_height), font, scale, ink, thickness, cv2.LINE_AA)
