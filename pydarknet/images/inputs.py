"""Conversion of a caller's pictures: paths, encoded bytes, open files, NumPy arrays, Pillow images, HTTP addresses."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError, OptionError
from ..version import __version__
from .image import Picture, check_image, decode_image, load_image

if TYPE_CHECKING:
    from http.client import HTTPResponse

LARGEST = 1 << 26  # bytes of a picture behind an address
SILENCE = 10.0  # seconds that a server may be silent
MAX_SECONDS = 60.0  # of the whole download
BLOCK = 1 << 16  # bytes read at a time
# Content types that have frames: videos, playlists, MJPEG.
_VIDEO = ("video/", "multipart/x-mixed-replace", "application/vnd.apple.mpegurl", "application/x-mpegurl",
          "application/dash+xml")  # fmt: skip


class PillowImage(Protocol):
    """The members of `PIL.Image.Image` that are used."""

    mode: str

    def convert(self, mode: str) -> Any: ...


class OpenFile(Protocol):
    """The member of a binary file that is used: an open file, `io.BytesIO`, an upload of a web framework."""

    def read(self) -> bytes: ...


Image = str | os.PathLike[str] | bytes | bytearray | memoryview | OpenFile | NDArray[Any] | PillowImage


def is_image(value: object) -> bool:
    """Whether `value` is one picture, not an iterable of several."""
    return isinstance(value, (str, os.PathLike, bytes, bytearray, memoryview, np.ndarray)) or (
        hasattr(value, "convert") or callable(getattr(value, "read", None))
    )


def as_picture(image: Image, bgr: bool = False) -> Picture:
    """The picture, (height, width, 3) uint8 RGB.

    image  a path; the bytes of a picture file, or the open file; a Pillow image, of 8 or 16 bits a channel; or an array
           (h, w), (h, w, 1), (h, w, 3) or (h, w, 4) of uint8, or of floats in 0..1. A fourth channel, alpha, is
           ignored, as in picture files.
    bgr    the channels of an array are blue, green, red, as in OpenCV; it has no effect on other types

    Raises ImageError for an unreadable picture, OptionError for other types, shapes and values.
    """
    if isinstance(image, (str, os.PathLike)):
        return load_image(image)
    if isinstance(image, np.ndarray):
        return _from_array(image, bgr)
    if hasattr(image, "convert"):
        return _from_pillow(cast(PillowImage, image))
    content = image.read() if hasattr(image, "read") else image
    if isinstance(content, (bytes, bytearray, memoryview)):
        return decode_image(bytes(content))
    if content is not image:
        kind = type(content).__name__
        raise OptionError(f"a picture's file must be opened in binary mode; reading it gave {kind}, expected bytes")
    return check_image(image)  # raises


def _from_pillow(image: PillowImage) -> Picture:
    """A Pillow image as a picture. Of 16 bits the upper 8 are used, as for picture files; Pillow's own conversion clips
    values above 255."""
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
    """The picture at an HTTP address, (h, w, 3) uint8 RGB; None if the content type is that of a video or stream.

    Raises ImageError with the address and the reason, also for more than LARGEST bytes, a server that is silent for
    SILENCE seconds, and a download that takes more than MAX_SECONDS.
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


def _read(reply: HTTPResponse) -> bytes:
    """The body of a reply. Raises ValueError and OSError."""
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
