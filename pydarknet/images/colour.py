"""Operations on training pictures that use OpenCV: affine warps, blur, colour distortion.

A *canvas* is a (height, width, channels) float32 array, RGB or grey, in 0..1.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from .image import Picture

Canvas = NDArray[np.float32]
Matrix = NDArray[np.float64]


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
    """Affine warp with bilinear interpolation, (H, W, c) uint8 -> (height, width, c) float32 in 0..1: pixel (x, y) of
    the result is the source at matrix (2, 3) times (x, y, 1).

    outside: the colour (0 to 255) beyond the edges of the source; None repeats the pixels of the edge. Raises
    ImageError for a picture too large for OpenCV.
    """
    mode = cv2.BORDER_REPLICATE if outside is None else cv2.BORDER_CONSTANT
    try:
        warped = cv2.warpAffine(
            image,
            matrix,
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=mode,
            borderValue=(0.0 if outside is None else outside),
        )
    except cv2.error as error:
        raise ImageError(f"cannot resize a picture of {image.shape[1]}x{image.shape[0]}: {error}") from error
    return np.divide(warped.reshape(height, width, -1), np.float32(255), dtype=np.float32)


def mean_colour(image: Picture) -> tuple[float, ...]:
    """The mean of each channel, 0.0 to 255.0."""
    return tuple(cv2.mean(image)[: image.shape[2]])


def distort(canvas: Canvas, hue: float, saturation: float, exposure: float) -> Canvas:
    """darknet's colour distortion in HSV: `hue` (fraction of the circle) is added, the others are factors; clipped to
    0..1.

    Of a grey canvas only the exposure changes. Returns a new array, or the canvas itself if nothing changes.
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
    """Gaussian blur with a kernel of `kernel` (odd) pixels a side. A new array."""
    return np.asarray(cv2.GaussianBlur(canvas, (kernel, kernel), 0), np.float32).reshape(canvas.shape)
