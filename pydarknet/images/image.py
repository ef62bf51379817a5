"""Pictures: load, resize to a network's input, write, show; convert a caller's.

A *picture* is a (height, width, 3) uint8 RGB array. A *CHW* array is a network's input: (channels, height,
width) float32, RGB, in 0..1, C-contiguous. Sizes and positions are in pixels.
"""

import functools
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from ..boxes import letterbox_size
from ..errors import ImageError, OptionError, OutputError
from ..utils.files import StrPath, kind_of, read_bytes, write_file
from ..utils.resources import bundled
from ..version import __version__
from .header import VARIABLE, image_size, max_pixels, orientation

if TYPE_CHECKING:
    from http.client import HTTPResponse

Picture = NDArray[np.uint8]
CHW = NDArray[np.float32]
Size = tuple[int, int]  # width, height
# Linear interpolation along one axis, in float32 as in darknet's `resize_image`; the first and last pixels of source
# and result coincide: (2, n) the two source pixels of each of the n outputs, (n,) the weights of the first and second.
_Grid = tuple[NDArray[np.uintp], CHW, CHW]

EXTENSIONS = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
LARGEST = 1 << 26  # bytes of a picture behind an address
SILENCE = 10.0  # seconds that a server may be silent
MAX_SECONDS = 60.0  # of the whole download
BLOCK = 1 << 16  # bytes read at a time
# Content types that have frames: videos, playlists, MJPEG.
_VIDEO = ("video/", "multipart/x-mixed-replace", "application/vnd.apple.mpegurl", "application/x-mpegurl",
          "application/dash+xml")  # fmt: skip
BEGINNING = 1 << 18  # bytes of a file in which its EXIF data are

DECODE = ("whole", "scaled")  # how JPEG files are decoded; scaled: at a size at which libjpeg needs less time
_JPEG = b"\xff\xd8\xff"
_REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}
# OpenCV 4.11's, which spare a copy each: of the channels; and of imdecode's result, which takes as long as decoding.
_RGB: int = getattr(cv2, "IMREAD_COLOR_RGB", 0)
_READS_INTO_ARRAY = "dst" in (cv2.imread.__doc__ or "")

_LEVELS = np.arange(256, dtype=np.float32) / np.float32(255)
_MAX_PIXELS = 2**27  # of a resized picture, 1.5 GiB of floats; scaling a narrow picture by its shorter side needs more

# OpenCV also logs to stderr the errors that are raised here; its variable enables that. (OpenCV 4, else 5.)
if "OPENCV_LOG_LEVEL" not in os.environ:
    (getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel)(0)


def load_image(path: StrPath) -> Picture:
    """The picture at `path`, (h, w, 3) uint8 RGB for files of any depth. Alpha and EXIF orientation are ignored.

    Raises ImageError; for more than `header.max_pixels()` pixels before decoding.
    """
    return picture_of_size(path)[0]


def least_size(decode: str, input_shape: tuple[int, int, int], columns: int = 1, rows: int = 1) -> Size | None:
    """The size below which pictures are not decoded for a network, or its tiles; None: whole. Raises OptionError."""
    if decode not in DECODE:
        raise OptionError(f"decode {decode!r}: expected {' or '.join(DECODE)}")
    return (input_shape[2] * columns, input_shape[1] * rows) if decode == "scaled" else None


def decode_image(content: bytes, name: str | None = None) -> Picture:
    """The picture in the bytes of a file, see `load_image`; `name` stands for it in messages. Raises ImageError."""
    return _decode(content, name)[0]


def _decode(
    content: bytes, name: str | None = None, least: Size | None = None, path: StrPath = ""
) -> tuple[Picture, Size]:
    """The picture, and the size of the file; that of a JPEG file by 8, 4 or 2, where both sides stay at `least`.
    path: of the file, if it has one."""
    try:
        if not content:
            raise ValueError("the file is empty")
        size, most = image_size(content), max_pixels()
        if size is not None and size[0] * size[1] > most:
            raise ValueError(f"{size[0]}x{size[1]} pixels; expected at most {most} ({VARIABLE} raises the bound)")
        is_jpeg, flags = content.startswith(_JPEG), cv2.IMREAD_COLOR
        if is_jpeg and size is not None and least is not None:
            fits = (k for k in _REDUCED if size[0] >= k * least[0] and size[1] >= k * least[1])
            flags = _REDUCED.get(next(fits, 1), flags)
        rgb = _RGB and is_jpeg
        how = (flags - cv2.IMREAD_COLOR + _RGB if rgb else flags) | cv2.IMREAD_IGNORE_ORIENTATION
        again = rgb and _READS_INTO_ARRAY and _can_be_read_again(path)
        decoded = cv2.imread(os.fspath(path), None, how) if again else None
        if decoded is None:
            decoded = cv2.imdecode(np.frombuffer(content, np.uint8), how)
        if decoded is None:
            kind = kind_of(content)
            what = f": this is {kind}" if kind and not kind.endswith(" picture") else ""
            raise ValueError(f"unknown or damaged format{what}")
        picture = np.asarray(decoded if rgb else cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)
        return picture, (size if size is not None and flags in _REDUCED.values() else _size(picture))
    except (ValueError, MemoryError, cv2.error) as error:
        raise ImageError(f"Cannot load image {name or f'from {len(content)} bytes'}: {_reason(error)}") from error


def _can_be_read_again(path: StrPath) -> bool:
    """Whether it is a file, not a pipe, with a name that OpenCV takes: UTF-8 (a surrogate is not printable)."""
    name = os.fspath(path)
    return bool(name) and isinstance(name, str) and name.isprintable() and os.path.isfile(name)  # noqa: PTH113


def _size(picture: Picture) -> Size:
    return picture.shape[1], picture.shape[0]


def size_of_file(path: StrPath) -> Size:
    """(width, height) in pixels of the picture at `path`, from its header if possible. Raises ImageError."""
    size = image_size(_content(path))
    if size is not None and min(size) > 0:
        return size
    return _size(load_image(path))


def header_of_file(path: StrPath) -> tuple[Size | None, int]:
    """((width, height), EXIF orientation) of the picture at `path`; without decoding it. The size is None if the
    beginning of the file does not contain it, or the file cannot be read."""
    try:
        with open(path, "rb") as stream:  # noqa: PTH123
            content = stream.read(BEGINNING)
    except (OSError, ValueError):
        return None, 1
    return image_size(content), orientation(content)


def _content(path: StrPath) -> bytes:
    """The bytes of the file at `path`, which may be the bare name of the bundled picture (`sample.jpg`)."""
    name, found = os.fspath(path), None
    if isinstance(name, str) and not os.path.lexists(name):
        found = bundled(name) or bundled(f"data/{name}")
    try:
        return read_bytes(found or path, ImageError)
    except ImageError as error:
        raise ImageError(f'Cannot load image "{path}": {_reason(error.__cause__ or error)}') from error


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error).split(" error: ")[-1] or "out of memory"
    return " ".join(text.split())


def check_image(array: Any) -> Picture:
    """`array` itself if it is a picture. Raises OptionError with its shape and type."""
    if not isinstance(array, np.ndarray):
        raise OptionError(f"a picture must be a (height, width, 3) uint8 array; found {type(array).__name__}")
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise OptionError(f"a picture must be (height, width, 3) uint8; found {array.shape} {array.dtype}")
    return array


def as_chw(image: Picture) -> CHW:
    """(h, w, c) uint8 -> (c, h, w) float32, divided by 255; equal to darknet's quotient in double precision."""
    height, width, channels = image.shape
    chw = np.empty((channels, height, width), np.float32)
    return np.divide(image.transpose(2, 0, 1), np.float32(255), out=chw)


@functools.lru_cache(maxsize=16)  # pictures of one camera have one size
def _grids(source_width: int, source_height: int, width: int, height: int) -> list[_Grid]:
    """The interpolation of columns and of rows, which callers only read. Raises ImageError for a size of 0 or above
    `_MAX_PIXELS` in all."""
    if min(width, height) < 1 or width * height > _MAX_PIXELS:
        raise ImageError(f"cannot resize a picture of {source_width}x{source_height} to {width}x{height}")
    grids = []
    for source, size in ((source_width, width), (source_height, height)):
        scale = np.float32(source - 1) / np.float32(size - 1) if size > 1 else np.float32(0)
        position = np.arange(size, dtype=np.float32) * scale
        low = np.minimum(position.astype(np.uintp), source - 1)
        share = position - low.astype(np.float32)
        pixels = np.stack([low, np.minimum(low + 1, source - 1)]).astype(np.uintp)
        grids.append((pixels, np.float32(1) - share, share))
    # As in darknet: the last column is exactly the source's; the last row only loses its lower neighbour's share.
    (columns, near, far), (_, _, below) = grids
    columns[0, -1], near[-1], far[-1], below[-1] = source_width - 1, 1, 0, 0
    return grids


def resize(chw: CHW, width: int, height: int) -> CHW:
    """(c, H, W) -> (c, height, width), a copy. Bilinear with aligned corners, bit for bit as in darknet. Raises
    ImageError for a size of 0 or above `_MAX_PIXELS` in all."""
    (columns, near, far), (rows, upper, lower) = _grids(chw.shape[2], chw.shape[1], width, height)
    left, right = columns.astype(np.intp)  # NumPy 1 takes no unsigned ones
    lines = (chw.take(row, 1) for row in rows.astype(np.intp))
    above, below = (near * line.take(left, 2) + far * line.take(right, 2) for line in lines)
    return above * upper[:, None] + below * lower[:, None]


def _resize_picture(image: Picture, width: int, height: int) -> CHW:
    """`resize(as_chw(image), width, height)` in one kernel, which converts only the pixels that it reads."""
    from ..kernels.reorder import resample  # late: commands without pictures need no compiled kernels

    rows, columns, channels = image.shape
    (x, near, far), (y, upper, lower) = _grids(columns, rows, width, height)
    out = np.empty((channels, height, width), np.float32)
    scratch = np.empty((2, channels, width), np.float32)
    resample(np.ascontiguousarray(image), _LEVELS, x, far, near, y, lower, upper, *scratch, out)
    return out


def resize_shorter(chw: CHW, size: int) -> CHW:
    """(c, H, W) scaled so that its shorter side is `size`; the other side is rounded down."""
    return resize(chw, *_shorter_size(chw.shape[2], chw.shape[1], size))


def _shorter_size(width: int, height: int, size: int) -> tuple[int, int]:
    return (size, height * size // width) if width < height else (width * size // height, size)


def resize_longer(chw: CHW, size: int) -> CHW:
    """(c, H, W) scaled so that its longer side is `size`; the other side is rounded down, but at least 1."""
    return resize(chw, *letterbox_size(chw.shape[2], chw.shape[1], size, size))


def letterbox(chw: CHW, width: int, height: int) -> CHW:
    """(c, H, W) -> (c, height, width): scaled to fit, centred on grey (0.5)."""
    inner = letterbox_size(chw.shape[2], chw.shape[1], width, height)
    return _on_grey(resize(chw, *inner), width, height)


def _on_grey(chw: CHW, width: int, height: int) -> CHW:
    channels, h, w = chw.shape
    left, top = (width - w) // 2, (height - h) // 2
    canvas = np.full((channels, height, width), 0.5, np.float32)
    canvas[:, top : top + h, left : left + w] = chw
    return canvas


def crop(chw: CHW, dx: int, dy: int, width: int, height: int) -> CHW:
    """A copy (c, height, width) of the part at column dx, row dy; outside, pixels of the edge are repeated."""
    columns = np.clip(np.arange(dx, dx + width), 0, chw.shape[2] - 1)
    rows = np.clip(np.arange(dy, dy + height), 0, chw.shape[1] - 1)
    return chw.take(rows, 1).take(columns, 2)


def centre_crop(chw: CHW, width: int, height: int) -> CHW:
    """The largest centred square, resized to (c, height, width): pjreddie's `center_crop_image`."""
    side = min(chw.shape[1:])
    top, left = ((length - side) // 2 for length in chw.shape[1:])
    return resize(chw[:, top : top + side, left : left + side], width, height)


def fit_for_classify(
    image: Picture, mode: str, width: int, height: int, channels: int = 3, size: Size | None = None
) -> CHW:
    """A picture -> the input (channels, h, w) of a classifier of `width` x `height`, by one of four modes.

    shorter    the whole picture, scaled so that its shorter side is `width`; the network is resized to it
    crop       the central `width` x `height` of that
    letterbox  scaled to fit, on grey
    stretch    scaled to `width` x `height`, whatever its aspect ratio

    size: of the file, where the picture is a scaled one, see `picture_of_size`.
    Raises OptionError, also for channels other than 1 and 3.
    """
    pixels = in_channels(check_image(image), channels)
    columns, rows = size or _size(pixels)
    sizes = {"stretch": (width, height), "letterbox": letterbox_size(columns, rows, width, height)}
    sizes["shorter"] = sizes["crop"] = _shorter_size(columns, rows, width)
    if mode not in sizes:
        raise OptionError(f'cannot fit a picture by "{mode}": choose {", ".join(sizes)}')
    resized = _resize_picture(pixels, *sizes[mode])
    if mode == "letterbox":
        return _on_grey(resized, width, height)
    if mode == "crop":
        # Division rounds towards 0, as in C; this matters for a resized picture lower than the network.
        dx, dy = int((resized.shape[2] - width) / 2), int((resized.shape[1] - height) / 2)
        return crop(resized, dx, dy, width, height)
    return resized


def fit_for_detect(
    image: Picture, width: int, height: int, letterbox: bool, channels: int = 3, size: Size | None = None
) -> CHW:
    """A picture -> the input (channels, height, width) of a detector: scaled to fit on grey, or stretched."""
    return fit_for_classify(image, "letterbox" if letterbox else "stretch", width, height, channels, size)


def in_channels(image: Picture, channels: int) -> Picture:
    """The picture itself for 3 channels; for 1 its grey values (h, w, 1), as darknet's. Raises OptionError."""
    if channels not in (1, 3):
        raise OptionError(f"a picture gives a network 3 channels or 1, not {channels}")
    if channels == 3:
        return image
    red, green, blue = (image[..., i : i + 1].astype(np.uint16) for i in range(3))
    return ((77 * red + 150 * green + 29 * blue) >> 8).astype(np.uint8)


def shrink(image: Picture, longest: int) -> Picture:
    """The picture itself, or a smaller copy whose longer side has `longest` pixels."""
    height, width, _ = check_image(image).shape
    scale = longest / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def encode_image(image: Picture, extension: str = ".jpg", quality: int = 90) -> bytes:
    """A picture file in the format of the extension; quality: of JPEG, 0 to 100. Raises OutputError."""
    bgr = cv2.cvtColor(check_image(image), cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if extension.lower() in (".jpg", ".jpeg") else []
    try:
        return cv2.imencode(extension, bgr, options)[1].tobytes()
    except cv2.error as error:
        unknown = "could not find encoder" in str(error)
        reason = f"OpenCV has no format with the extension {extension}" if unknown else _reason(error)
        raise OutputError(f"cannot write a picture: {reason}") from error


def write_image(path: StrPath, image: Picture) -> Path:
    """Write the picture in the format of the path's extension; a path without one gets `.jpg`.

    Returns the path written. Raises OutputError, also for an unknown format.
    """
    target = Path(path) if Path(path).suffix else Path(f"{path}.jpg")
    try:
        content = encode_image(image, target.suffix)
    except OutputError as error:
        raise OutputError(f"{target}: {error}") from error.__cause__
    write_file(target, content)
    return target


def show_image(title: str, image: Picture, milliseconds: int = 0) -> int:
    """Show the picture in a window until a key is pressed or the time (0: unlimited) is over. Returns the key,
    or -1.

    Raises OptionError without a display, and for an OpenCV that was built without windows.
    """
    bgr = cv2.cvtColor(check_image(image), cv2.COLOR_RGB2BGR)
    check_display()
    try:
        cv2.imshow(title, bgr)
        return cv2.waitKey(milliseconds)
    except cv2.error as error:
        raise OptionError(f"cannot show a picture: {_reason(error)}") from error


def check_display() -> None:
    """Raise OptionError if there is no display, since OpenCV would then end the process."""
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        raise OptionError("cannot show a picture: no display")


# --- a caller's pictures ---


class PillowImage(Protocol):
    """The members of `PIL.Image.Image` that are used."""

    mode: str

    def convert(self, mode: str) -> Any: ...


class OpenFile(Protocol):
    """A binary file: an open one, `io.BytesIO`, an upload of a web framework."""

    def read(self) -> bytes: ...


Image = StrPath | bytes | bytearray | memoryview | OpenFile | NDArray[Any] | PillowImage


def is_image(value: object) -> bool:
    """Whether `value` is one picture, not an iterable of several."""
    return isinstance(value, (str, os.PathLike, bytes, bytearray, memoryview, np.ndarray)) or (
        hasattr(value, "convert") or callable(getattr(value, "read", None))
    )


def as_picture(image: Image, bgr: bool = False) -> Picture:
    """The picture, (height, width, 3) uint8 RGB.

    image  a path; the bytes of a picture file, or the open file; a Pillow image, of 8 or 16 bits a channel; or an array
           (h, w), (h, w, 1), (h, w, 3) or (h, w, 4) of uint8, or of floats in 0..1. Alpha is ignored.
    bgr    the channels of an array are blue, green, red, as in OpenCV; it has no effect on other types

    Raises ImageError for an unreadable picture, OptionError for other types, shapes and values.
    """
    return picture_of_size(image, bgr)[0]


def picture_of_size(image: Image, bgr: bool = False, least: Size | None = None) -> tuple[Picture, Size]:
    """Like `as_picture`; with it the (width, height) of the file, in pixels.

    A JPEG file is decoded at an eighth, a quarter or a half of its size, if neither side becomes less than that
    of `least`; every other picture is whole.
    """
    if isinstance(image, (str, os.PathLike)):
        return _decode(_content(image), f'"{image}"', least, image)
    if isinstance(image, np.ndarray):
        picture = _from_array(image, bgr)
    elif hasattr(image, "convert"):
        picture = _from_pillow(cast(PillowImage, image))
    else:
        content = image.read() if hasattr(image, "read") else image
        if isinstance(content, (bytes, bytearray, memoryview)):
            return _decode(bytes(content), least=least)
        if content is not image:
            kind = type(content).__name__
            raise OptionError(f"a picture's file must be opened in binary mode; reading it gave {kind}, expected bytes")
        picture = check_image(image)  # raises
    return picture, _size(picture)


def _from_pillow(image: PillowImage) -> Picture:
    """Of 16 bits the upper 8 are used, as for picture files; Pillow's own conversion clips values above 255."""
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return np.asarray(image.convert("RGB"), np.uint8)
    pixels = np.asarray(image)
    low, high = (float(pixels.min()), float(pixels.max())) if pixels.size else (0.0, 0.0)
    if image.mode == "F" or not 0 <= low <= high <= 65535:
        raise OptionError(
            f"a Pillow image of mode {image.mode} with values from {low:g} to {high:g}; expected 8 or 16 bits"
        )
    return _from_array((pixels.astype(np.uint16) >> 8).astype(np.uint8), False)


def _from_array(array: NDArray[Any], bgr: bool) -> Picture:
    planes, is_real = array[:, :, None] if array.ndim == 2 else array, array.dtype.kind == "f"
    fits = planes.ndim == 3 and planes.shape[2] in (1, 3, 4) and planes.size
    if not (fits and (is_real or planes.dtype == np.uint8)):
        raise OptionError(
            "a picture must be (height, width[, 1, 3 or 4]), uint8 or floats from 0 to 1; found "
            f"{array.shape} {array.dtype}"
        )
    if is_real:
        if not (planes.min() >= 0 and planes.max() <= 1):  # false for NaN as well
            low, high = float(planes.min()), float(planes.max())
            raise OptionError(
                f"a picture must be uint8, or floats from 0 to 1; found {planes.dtype} from {low:g} to {high:g}"
            )
        planes = np.rint(planes * 255).astype(np.uint8)
    if planes.shape[2] == 1:
        return np.ascontiguousarray(np.broadcast_to(planes, (*planes.shape[:2], 3)))
    return planes[:, :, 2::-1] if bgr else planes[:, :, :3]


def load_remote_image(address: str) -> Picture | None:
    """The picture at an HTTP address, (h, w, 3) uint8 RGB; None if the content type is that of a video or
    stream.

    Raises ImageError, also for more than LARGEST bytes, after SILENCE seconds without any, and after
    MAX_SECONDS.
    """
    from http.client import HTTPException  # late: few programs read pictures from servers
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    try:
        request = Request(address, headers={"User-Agent": f"pydarknet/{__version__}", "Accept": "*/*"})
        with urlopen(request, timeout=SILENCE) as reply:
            kind = reply.headers.get_content_type()
            if (kind or "").startswith(_VIDEO):
                return None
            content = _read(reply)
    except (OSError, ValueError, HTTPException) as error:
        reason: object = error.reason if isinstance(error, URLError) else error
        if isinstance(error, HTTPError):
            reason = f"the server answers {error.code} {error.reason}"
        text = " ".join(str(getattr(reason, "strerror", None) or reason or type(reason).__name__).split())
        raise ImageError(f'Cannot load image "{address}": {text}') from error
    try:
        return decode_image(content, f'"{address}"')
    except ImageError as error:
        raise ImageError(f"{error} ({len(content)} bytes of {kind})") from error


def _read(reply: "HTTPResponse") -> bytes:
    stated, deadline, content = reply.length, time.monotonic() + MAX_SECONDS, bytearray()
    if stated is not None and stated > LARGEST:
        raise ValueError(f"it has {stated} bytes; expected at most {LARGEST}")
    while block := reply.read1(BLOCK):
        content += block
        if len(content) > LARGEST:
            raise ValueError(f"it has more than {LARGEST} bytes")
        if time.monotonic() > deadline:
            raise ValueError(f"received {len(content)} bytes in {MAX_SECONDS:g} seconds; expected the whole picture")
    if stated is not None and len(content) < stated:
        raise ValueError(f"received {len(content)} bytes; expected {stated}")
    return bytes(content)
