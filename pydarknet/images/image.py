"""Pictures: load, bring to a network's input, write, show.

A picture is a (height, width, 3) uint8 RGB array. A network's input is *planar*: (channels, height, width)
float32, RGB, 0 to 1, C-contiguous. Sizes and positions are in pixels.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..boxes import letterbox_size
from ..errors import ImageError, OptionError, OutputError
from ..utils.files import atomic_write, read_bytes
from .header import check_size, image_size

Picture = NDArray[np.uint8]
Planar = NDArray[np.float32]

_LEVELS = np.arange(256, dtype=np.float32) / np.float32(255)
_MAX_PIXELS = 2**27  # 1.5 GiB of floats: enlarging the shorter side of a sliver would soon need more

# OpenCV logs to stderr what we raise as an error; who wants to see it sets its variable. (OpenCV 4, else 5.)
if "OPENCV_LOG_LEVEL" not in os.environ:
    (getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel)(0)


def load_image(path: str | os.PathLike[str]) -> Picture:
    """The picture at `path`, (h, w, 3) uint8 RGB whatever its depth; alpha and EXIF orientation are ignored.

    That is what darknet's own decoder does. Raises ImageError with the path and the reason, and before anything is
    decoded for a picture of more than `header.max_pixels()`.
    """
    try:
        return _decode(_content(path))
    except (ValueError, MemoryError, cv2.error) as error:
        raise ImageError(f'Cannot load image "{path}": {_reason(error)}') from error


def decode_image(content: bytes) -> Picture:
    """The same of the bytes of a picture file. Raises ImageError with the reason."""
    try:
        return _decode(content)
    except (ValueError, MemoryError, cv2.error) as error:
        raise ImageError(f"Cannot load image from {len(content)} bytes: {_reason(error)}") from error


def size_of_file(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(width, height) in pixels of the picture at `path`, from its first bytes where its format is known.

    Raises ImageError where it is no picture.
    """
    size = image_size(_content(path))
    if size is not None and min(size) > 0:
        return size
    height, width, _ = load_image(path).shape
    return width, height


def _content(path: str | os.PathLike[str]) -> bytes:
    try:
        return read_bytes(path, ImageError)
    except ImageError as error:
        raise ImageError(f'Cannot load image "{path}": {_reason(error.__cause__ or error)}') from error


def _decode(content: bytes) -> Picture:
    if not content:
        raise ValueError("the file is empty")
    check_size(content)
    data = np.frombuffer(content, np.uint8)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if decoded is None:
        raise ValueError("unknown or damaged format")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def _reason(error: BaseException) -> str:
    """One line that says what is wrong, from an error of the system, of OpenCV or of ours."""
    text = getattr(error, "strerror", None) or str(error).split(" error: ")[-1] or "out of memory"
    return " ".join(text.split())


def check_image(array: Any) -> Picture:
    """`array` itself if it is a picture. Raises OptionError naming the shape and the type that it has."""
    if not isinstance(array, np.ndarray):
        raise OptionError(f"a picture must be a (height, width, 3) uint8 array, not {type(array).__name__}")
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise OptionError(f"a picture must be (height, width, 3) uint8, not {array.shape} {array.dtype}")
    return array


def as_planar(image: Picture) -> Planar:
    """(h, w, c) uint8 -> (c, h, w) float32, value / 255, rounded as darknet's quotient in double is."""
    height, width, channels = image.shape
    planar = np.empty((channels, height, width), np.float32)
    return np.divide(image.transpose(2, 0, 1), np.float32(255), out=planar)


@dataclass(frozen=True)
class _Grid:
    """Between which source pixels (2, n) the n outputs along one axis lie, and the shares of the nearer and the
    farther one. Corners lie on corners; float32 as in darknet's `resize_image`. A size of 1 takes the scale 0."""

    places: NDArray[np.uintp]
    near: Planar
    far: Planar

    @classmethod
    def between(cls, source: int, size: int) -> _Grid:
        scale = np.float32(source - 1) / np.float32(size - 1) if size > 1 else np.float32(0)
        position = np.arange(size, dtype=np.float32) * scale
        low = np.minimum(position.astype(np.uintp), source - 1)
        far = position - low.astype(np.float32)
        return cls(np.stack([low, np.minimum(low + 1, source - 1)]).astype(np.uintp), np.float32(1) - far, far)


def _grids(source_width: int, source_height: int, width: int, height: int) -> tuple[_Grid, _Grid]:
    """For the columns and the rows of a resized picture. Raises ImageError for a size of 0 and for an absurd one."""
    if min(width, height) < 1 or width * height > _MAX_PIXELS:
        raise ImageError(f"cannot resize a picture of {source_width}x{source_height} to {width}x{height}")
    x, y = _Grid.between(source_width, width), _Grid.between(source_height, height)
    x.places[0, -1], x.near[-1], x.far[-1] = source_width - 1, 1, 0  # the last column is the last of the source
    y.far[-1] = 0  # the last row is its upper neighbour, dimmed where rounding left its share below 1
    return x, y


def resize(planar: Planar, width: int, height: int) -> Planar:
    """(c, H, W) -> (c, height, width), a copy: bilinear, corner on corner, bit for bit darknet's.

    OpenCV maps pixels otherwise. Raises ImageError for a size of 0 and for an absurd one.
    """
    _, rows, columns = planar.shape
    x, y = _grids(columns, rows, width, height)
    upper, lower = planar.take(y.places[0], 1), planar.take(y.places[1], 1)
    upper = x.near * upper.take(x.places[0], 2) + x.far * upper.take(x.places[1], 2)
    lower = x.near * lower.take(x.places[0], 2) + x.far * lower.take(x.places[1], 2)
    return upper * y.near[:, None] + lower * y.far[:, None]


def _resize_picture(image: Picture, width: int, height: int) -> Planar:
    """`resize(as_planar(image), width, height)`, converting only the pixels that take part."""
    from ..kernels.resize import resample  # commands that look at no picture need no compiler

    rows, columns, channels = image.shape
    x, y = _grids(columns, rows, width, height)
    out = np.empty((channels, height, width), np.float32)
    scratch = np.empty((2, channels, width), np.float32)
    pixels = np.ascontiguousarray(image)
    resample(pixels, _LEVELS, x.places, x.far, x.near, y.places, y.far, y.near, scratch[0], scratch[1], out)
    return out


def resize_shorter(planar: Planar, size: int) -> Planar:
    """(c, H, W) scaled, proportions kept and rounded down: the shorter side becomes `size`."""
    return resize(planar, *_shorter_size(planar.shape[2], planar.shape[1], size))


def _shorter_size(width: int, height: int, size: int) -> tuple[int, int]:
    return (size, height * size // width) if width < height else (width * size // height, size)


def resize_longer(planar: Planar, size: int) -> Planar:
    """(c, H, W) scaled, proportions kept and rounded down (at least 1): the longer side becomes `size`."""
    return resize(planar, *letterbox_size(planar.shape[2], planar.shape[1], size, size))


def letterbox(planar: Planar, width: int, height: int) -> Planar:
    """(c, H, W) -> (c, height, width): scaled to fit with its proportions, in the middle of grey (0.5)."""
    inner = letterbox_size(planar.shape[2], planar.shape[1], width, height)
    return _on_grey(resize(planar, *inner), width, height)


def _on_grey(planar: Planar, width: int, height: int) -> Planar:
    channels, inner_height, inner_width = planar.shape
    left, top = (width - inner_width) // 2, (height - inner_height) // 2
    canvas = np.full((channels, height, width), 0.5, np.float32)
    canvas[:, top : top + inner_height, left : left + inner_width] = planar
    return canvas


def crop(planar: Planar, dx: int, dy: int, width: int, height: int) -> Planar:
    """A copy (c, height, width) of the part at column dx, row dy; outside, the nearest pixel of the edge."""
    columns = np.clip(np.arange(dx, dx + width), 0, planar.shape[2] - 1)
    rows = np.clip(np.arange(dy, dy + height), 0, planar.shape[1] - 1)
    return planar.take(rows, 1).take(columns, 2)


def centre_crop(planar: Planar, width: int, height: int) -> Planar:
    """The largest square in the middle, resized to (c, height, width): pjreddie's `center_crop_image`."""
    side = min(planar.shape[1:])
    left, top = (planar.shape[2] - side) // 2, (planar.shape[1] - side) // 2
    return resize(planar[:, top : top + side, left : left + side], width, height)


def fit_for_classify(image: Picture, mode: str, width: int, height: int, channels: int = 3) -> Planar:
    """A picture -> the input (channels, h, w) of a classifier of `width` x `height`, by one of four modes.

    shorter    the whole picture with its shorter side at `width`: the network is resized to it
    crop       the middle `width` x `height` of that
    letterbox  scaled to fit, on grey
    stretch    scaled without keeping its proportions

    Raises OptionError for another mode, for channels other than 1 and 3, and for what is no picture.
    """
    pixels = in_channels(check_image(image), channels)
    rows, columns, _ = pixels.shape
    sizes = {"stretch": (width, height), "letterbox": letterbox_size(columns, rows, width, height)}
    sizes["shorter"] = sizes["crop"] = _shorter_size(columns, rows, width)
    if mode not in sizes:
        raise OptionError(f'cannot fit a picture by "{mode}": choose {", ".join(sizes)}')
    resized = _resize_picture(pixels, *sizes[mode])
    if mode == "letterbox":
        return _on_grey(resized, width, height)
    if mode == "crop":
        # C's division rounds towards 0, which shows where the resized picture is lower than the network.
        dx, dy = int((resized.shape[2] - width) / 2), int((resized.shape[1] - height) / 2)
        return crop(resized, dx, dy, width, height)
    return resized


def fit_for_detect(image: Picture, width: int, height: int, letterbox: bool, channels: int = 3) -> Planar:
    """A picture -> the input (channels, height, width) of a detector: scaled to fit on grey, or stretched."""
    return fit_for_classify(image, "letterbox" if letterbox else "stretch", width, height, channels)


def in_channels(image: Picture, channels: int) -> Picture:
    """(h, w, 3) -> itself, or (h, w, 1) by the weights of darknet's decoder."""
    if channels not in (1, 3):
        raise OptionError(f"a picture gives a network 3 channels or 1, not {channels}")
    if channels == 3:
        return image
    red, green, blue = (image[..., i : i + 1].astype(np.uint16) for i in range(3))
    return ((77 * red + 150 * green + 29 * blue) >> 8).astype(np.uint8)


def encode_image(image: Picture, extension: str = ".jpg", quality: int = 90) -> bytes:
    """A picture file in the format of the extension; quality: of JPEG, 0 to 100. Raises OutputError."""
    bgr = cv2.cvtColor(check_image(image), cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if extension.lower() in (".jpg", ".jpeg") else []
    try:
        return cv2.imencode(extension, bgr, options)[1].tobytes()
    except cv2.error as error:
        raise OutputError(f"cannot write a picture: {_reason(error)}") from error


def write_image(path: str | os.PathLike[str], image: Picture) -> Path:
    """Write the picture in the format of the path's extension, `.jpg` being appended to a path without one.

    Returns the path written. Raises OutputError for an unknown format or where it cannot be written.
    """
    target = Path(path) if Path(path).suffix else Path(f"{path}.jpg")
    try:
        content = encode_image(image, target.suffix)
    except OutputError as error:
        raise OutputError(f"{target}: {error}") from error.__cause__
    with atomic_write(target) as stream:
        stream.write(content)
    return target


def show_image(title: str, image: Picture, milliseconds: int = 0) -> int:
    """Show the picture in a window until a key is pressed or the time is over (0: never); the key, or -1.

    Raises OptionError where there is no display or where this OpenCV was built without windows.
    """
    bgr = cv2.cvtColor(check_image(image), cv2.COLOR_RGB2BGR)
    check_display()
    try:
        cv2.imshow(title, bgr)
        return cv2.waitKey(milliseconds)
    except cv2.error as error:
        raise OptionError(f"cannot show a picture: {_reason(error)}") from error


def check_display() -> None:
    """Raise OptionError where there is no display: OpenCV would end the process."""
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        raise OptionError("cannot show a picture: no display")
