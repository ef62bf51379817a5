"""Pictures in every form that programs hold them in become the same (h, w, 3) uint8 RGB."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest

from pydarknet.errors import ImageError, OptionError
from pydarknet.images.image import as_picture, is_image

RGB = np.random.default_rng(5).integers(0, 256, (6, 9, 3), np.uint8)
GREY = RGB[:, :, 0]


@pytest.fixture
def png(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), RGB[:, :, ::-1])
    return path


def test_paths_and_bytes(png):
    for form in (png, str(png), png.read_bytes(), bytearray(png.read_bytes()), memoryview(png.read_bytes())):
        assert is_image(form)
        assert np.array_equal(as_picture(form), RGB)
        assert np.array_equal(as_picture(form, bgr=True), RGB)  # a file knows its order


def test_arrays():
    grey = np.stack([GREY] * 3, axis=2)
    alpha = np.concatenate([RGB, RGB[:, :, :1]], axis=2)
    assert as_picture(RGB) is not None and np.array_equal(as_picture(RGB), RGB)
    assert np.array_equal(as_picture(RGB[:, :, ::-1], bgr=True), RGB)
    assert np.array_equal(as_picture(alpha), RGB)
    assert np.array_equal(as_picture(alpha[:, :, [2, 1, 0, 3]], bgr=True), RGB)
    for form in (GREY, GREY[:, :, None]):
        assert np.array_equal(as_picture(form), grey)
        assert np.array_equal(as_picture(form, bgr=True), grey)
    for dtype in (np.float32, np.float64):
        assert np.array_equal(as_picture(RGB.astype(dtype) / 255), RGB)


def test_pillow():
    image = pytest.importorskip("PIL.Image")
    assert np.array_equal(as_picture(image.fromarray(RGB)), RGB)
    assert np.array_equal(as_picture(image.fromarray(GREY)), np.stack([GREY] * 3, axis=2))
    assert np.array_equal(as_picture(image.fromarray(RGB).convert("RGBA")), RGB)


def test_pillow_of_16_bits(tmp_path):
    """As OpenCV reads the same file; Pillow's own conversion would make nearly everything white."""
    image = pytest.importorskip("PIL.Image")
    deep = GREY.astype(np.uint16) * 256 + 77
    assert cv2.imwrite(str(tmp_path / "deep.png"), deep)
    expected = as_picture(tmp_path / "deep.png")
    assert np.array_equal(expected, np.stack([GREY] * 3, axis=2))
    assert np.array_equal(as_picture(image.open(tmp_path / "deep.png")), expected)
    assert np.array_equal(as_picture(image.fromarray(deep.astype(np.int32))), expected)
    with pytest.raises(OptionError, match=r"mode F with values from 0 to 1; expected 8 or 16 bits"):
        as_picture(image.fromarray(np.array([[0, 1]], np.float32)))
    with pytest.raises(OptionError, match=r"mode I with values from -1 to 1;"):
        as_picture(image.fromarray(np.array([[-1, 1]], np.int32)))


def test_open_files(png):
    expected = as_picture(png)
    with png.open("rb") as stream:
        assert is_image(stream)
        assert np.array_equal(as_picture(stream), expected)
    with png.open("rb") as stream:
        assert np.array_equal(as_picture(io.BytesIO(stream.read())), expected)
    with pytest.raises(OptionError, match="must be opened in binary mode; reading it gave str"):
        as_picture(io.StringIO("abc"))


def test_what_is_refused(tmp_path):
    with pytest.raises(ImageError, match="Cannot load image from 3 bytes: unknown or damaged format"):
        as_picture(b"abc")
    with pytest.raises(ImageError, match="the file is empty"):
        as_picture(b"")
    with pytest.raises(OptionError, match="floats from 0 to 1; found float32 from 0 to 200"):
        as_picture(np.array([[[0, 100, 200]]], np.float32))
    with pytest.raises(OptionError, match=r"found \(2, 2, 5\) uint8"):
        as_picture(np.zeros((2, 2, 5), np.uint8))
    assert not is_image([RGB]) and not is_image(iter([RGB])) and not is_image(3)
