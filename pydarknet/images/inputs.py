"""Conversion of a caller's pictures: paths, encoded bytes, open files, NumPy arrays, Pillow images."""

from __future__ import annotations

import os
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError
from .image import Picture, check_image, decode_image, load_image


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
    if isinstance(image, (bytes, bytearray, memoryview)):
        return decode_image(bytes(image))
    if isinstance(image, np.ndarray):
        return _from_array(image, bgr)
    if hasattr(image, "convert"):
        return _from_pillow(cast(PillowImage, image))
    if hasattr(image, "read"):
        content = image.read()
        if not isinstance(content, (bytes, bytearray, memoryview)):
            kind = type(content).__name__
            raise OptionError(f"a picture's file must be opened in binary mode; reading it gave {kind}, expected bytes")
        return decode_image(bytes(content))
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
    planes = array[:, :, None] if array.ndim == 2 else array
    if planes.ndim != 3 or planes.shape[2] not in (1, 3, 4) or not planes.size:
        raise _array_error(array)
    if planes.dtype.kind == "f":
        if not (planes.min() >= 0 and planes.max() <= 1):  # false for NaN as well
            low, high = float(planes.min()), float(planes.max())
            raise OptionError(
                f"a picture must be uint8, or floats from 0 to 1; found {planes.dtype} from {low:g} to {high:g}"
            )
        planes = np.rint(planes * 255).astype(np.uint8)
    elif planes.dtype != np.uint8:
        raise _array_error(array)
    if planes.shape[2] == 1:
        return np.ascontiguousarray(np.broadcast_to(planes, (*planes.shape[:2], 3)))
    return planes[:, :, 2::-1] if bgr else planes[:, :, :3]


def _array_error(array: NDArray[Any]) -> OptionError:
    return OptionError(
        "a picture must be (height, width[, 1, 3 or 4]), uint8 or floats from 0 to 1; found "
        f"{array.shape} {array.dtype}"
    )
