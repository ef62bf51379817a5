"""Operations on pictures beyond those of `image`: on the canvases of training, darknet's on CHW pictures,
and the drawing of detections.

A *canvas* is a (height, width, channels) float32 array, RGB or grey, in 0..1; a CHW picture is (channels,
height, width) float32 in 0..1. All operations but `over` return new arrays.
"""

import contextlib
import math
import unicodedata
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ..boxes import Box, Detection
from ..errors import ImageError
from .image import CHW, Picture, check_image

Canvas = NDArray[np.float32]
Matrix = NDArray[np.float64]
Colour = tuple[int, int, int]

# Red, green and blue of darknet's six colours, between which class colours are interpolated.
_RAINBOW = ((1, 1, 1, 0, 0, 0), (0, 0, 1, 1, 1, 0), (1, 0, 0, 0, 1, 1))

GREY_WEIGHTS = (0.299, 0.587, 0.114)
FLAT = 1e-9  # a picture with a smaller range of values is not scaled


# --- canvases ---


@contextlib.contextmanager
def one_thread_per_call() -> Iterator[None]:
    """Within the block, OpenCV uses only the calling thread, because many threads call it already."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def warp(
    image: Picture, matrix: Matrix, width: int, height: int, outside: tuple[float, ...] | float | None = 0.0
) -> Canvas:
    """Affine warp with bilinear interpolation, (H, W, c) uint8 -> (height, width, c) float32 in 0..1: pixel (x,
    y) of the result is the source at matrix (2, 3) times (x, y, 1).

    outside: the colour (0 to 255) beyond the edges of the source; None repeats the pixels of the edge.
    Raises ImageError for a picture too large for OpenCV.
    """
    mode = cv2.BORDER_REPLICATE if outside is None else cv2.BORDER_CONSTANT
    colour, flags = 0.0 if outside is None else outside, cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    try:
        warped = cv2.warpAffine(image, matrix, (width, height), flags=flags, borderMode=mode, borderValue=colour)
    except cv2.error as error:
        raise ImageError(f"cannot resize a picture of {image.shape[1]}x{image.shape[0]}: {error}") from error
    return np.divide(warped.reshape(height, width, -1), np.float32(255), dtype=np.float32)


def mean_colour(image: Picture) -> tuple[float, ...]:
    """The mean of each channel, 0.0 to 255.0."""
    return tuple(cv2.mean(image)[: image.shape[2]])


def distort(canvas: Canvas, hue: float, saturation: float, exposure: float) -> Canvas:
    """darknet's colour distortion in HSV: `hue` (fraction of the circle) is added, the others are factors.

    Of a grey canvas only the exposure changes. Returns a new array in 0..1, or the canvas itself if nothing
    changes.
    """
    if hue == 0 and saturation == 1 and exposure == 1:
        return canvas
    if canvas.shape[2] == 1:
        return np.clip(canvas * np.float32(exposure), 0, 1)
    hsv = np.asarray(cv2.cvtColor(canvas, cv2.COLOR_RGB2HSV), np.float32)
    if hue:
        h = hsv[..., 0]  # in degrees
        h += np.float32(360 * hue)
        h[h > 360] -= 360
        h[h < 0] += 360
    hsv[..., 1] *= np.float32(saturation)
    hsv[..., 2] *= np.float32(exposure)
    rgb = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.float32)
    return np.clip(rgb, 0, 1, out=rgb)


def blur(canvas: Canvas, kernel: int) -> Canvas:
    """Gaussian blur with a kernel of `kernel` pixels a side, or one more if that is even. A new array."""
    kernel = kernel // 2 * 2 + 1
    return np.asarray(cv2.GaussianBlur(canvas, (kernel, kernel), 0), np.float32).reshape(canvas.shape)


# --- CHW pictures ---


def as_input(canvas: Canvas) -> CHW:
    """(h, w, c) -> (c, h, w), C-contiguous."""
    return np.ascontiguousarray(canvas.transpose(2, 0, 1))


def as_canvas(chw: CHW) -> Canvas:
    """(c, h, w) -> (h, w, c), C-contiguous."""
    return np.ascontiguousarray(chw.transpose(1, 2, 0))


def as_picture(chw: CHW) -> Picture:
    """(3, h, w) or (1, h, w) -> (h, w, 3) uint8: clipped to 0..1 and rounded down, as darknet writes files."""
    levels = (255 * np.clip(np.nan_to_num(chw), 0, 1)).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(levels, (3, *chw.shape[1:])).transpose(1, 2, 0))


def grey(chw: CHW) -> CHW:
    """(3, h, w) -> (1, h, w) luminance."""
    return np.tensordot(np.array(GREY_WEIGHTS, np.float32), chw, 1)[None]


def distorted(chw: CHW, hue: float, saturation: float, exposure: float) -> CHW:
    """(3, h, w) with distorted colours, see `distort`."""
    return as_input(distort(as_canvas(chw), hue, saturation, exposure))


def mirrored(chw: CHW) -> CHW:
    """The picture mirrored horizontally."""
    return np.ascontiguousarray(chw[:, :, ::-1])


def rotated_by_quarters(chw: CHW, times: int) -> CHW:
    """The picture rotated anticlockwise by `times` quarters, as by darknet's `rotate_image_cw`."""
    return np.ascontiguousarray(np.rot90(chw, times, axes=(1, 2)))


def rotated(chw: CHW, radians: float) -> CHW:
    """The picture rotated about its centre, bilinear, black outside the source."""
    _, height, width = chw.shape
    y, x = np.mgrid[:height, :width].astype(np.float64)
    x, y, cos, sin = x - width / 2, y - height / 2, math.cos(radians), math.sin(radians)
    at_x, at_y = cos * x - sin * y + width / 2, sin * x + cos * y + height / 2
    left, top = np.floor(at_x).astype(np.intp), np.floor(at_y).astype(np.intp)
    right_share, lower_share = (at_x - left).astype(np.float32), (at_y - top).astype(np.float32)
    result = np.zeros_like(chw)
    for dy, vertical in ((0, 1 - lower_share), (1, lower_share)):
        for dx, horizontal in ((0, 1 - right_share), (1, right_share)):
            column, row = left + dx, top + dy
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            share = np.where(inside, vertical * horizontal, np.float32(0))
            result += share * chw[:, row.clip(0, height - 1), column.clip(0, width - 1)]
    return result


def normalised(chw: CHW) -> CHW:
    """The values scaled so that the smallest is 0 and the largest 1; a flat picture is copied."""
    low, high = chw.min(), chw.max()
    return chw.copy() if high - low < FLAT else (chw - low) / (high - low)


def over(source: CHW, target: CHW, dx: int, dy: int) -> None:
    """Blend `source` over `target` at column dx, row dy, in place: opaque in its centre, fading to a circle."""
    _, height, width = source.shape
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(x - width / 2 + 0.5, y - height / 2 + 0.5)
    radius = abs(width / 2 - 0.5)
    opacity = np.maximum(0, 1 - distance / radius) if radius else np.where(distance > 0, 0.0, 1.0)
    part = target[:, dy : dy + height, dx : dx + width]
    part += opacity.astype(np.float32) * (source - part)


def stacked(pictures: Sequence[CHW], columns: int = 1) -> CHW:
    """A sheet of pictures of one shape, in `columns` columns, separated by one black pixel."""
    channels, height, width = pictures[0].shape
    rows = -(-len(pictures) // columns)
    sheet = np.zeros((channels, rows, height + 1, columns, width + 1), np.float32)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        sheet[:, row, :-1, column, :-1] = picture
    return sheet.reshape(channels, rows * (height + 1), -1)[:, :-1, :-1]


def enlarged(chw: CHW, times: int) -> CHW:
    """Every pixel repeated `times` x `times`."""
    return chw.repeat(times, axis=1).repeat(times, axis=2)


def standardised(values: CHW) -> CHW:
    """The values shifted and scaled to mean 0 and variance 1; a flat picture becomes 0."""
    centred = values - values.mean(dtype=np.float64).astype(np.float32)
    deviation = np.sqrt(np.square(centred, dtype=np.float64).mean())
    return (centred / deviation).astype(np.float32) if deviation else centred


# --- drawing ---


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
    _draw_label(image, Box((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, 1, 1), label, (255, 255, 255))


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

    OpenCV's fonts only have printable ASCII: accents are dropped, all else becomes `?`. (Surrogates, which
    represent undecodable bytes of a names file, crash OpenCV 5.)
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
    ink = (0, 0, 0) if np.dot(colour, GREY_WEIGHTS) > 127 else (255, 255, 255)  # by luminance
    cv2.putText(image, label, (left, top + text_height), font, scale, ink, thickness, cv2.LINE_AA)
