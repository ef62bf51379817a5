"""The size of a picture is read before it is decoded, and bounded."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from support.picture_folders import turned

from pydarknet.errors import ImageError, OptionError
from pydarknet.images.header import image_size, max_pixels, orientation
from pydarknet.images.image import header_of_file, load_image, size_of_file

FORMATS = (".png", ".jpg", ".bmp", ".webp", ".tiff", ".ppm", ".pgm", ".pbm", ".pam", ".ras")


def encoded(extension, width, height):
    pixels = np.zeros((height, width, 3) if extension not in (".pgm", ".pbm") else (height, width), np.uint8)
    return cv2.imencode(extension, pixels)[1].tobytes()


def png(width, height):
    """A PNG file of black pixels that claims a size; a few kilobytes whatever the size."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(3 * width + 1) * 3, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("extension", FORMATS)
def test_the_size_stands_in_the_first_bytes(extension):
    content = encoded(extension, 53, 37)
    assert image_size(content) == (53, 37)
    for end in range(min(len(content), 200)):
        assert image_size(content[:end]) in (None, (53, 37), (5, 37), (53, 3))  # text headers cut within a number


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("number", range(1, 9))
def test_exif_orientation(tmp_path, order, number):
    content = turned(number, order)
    assert orientation(content) == number
    for end in range(100):
        assert orientation(content[:end]) in (1, number)
    (tmp_path / "a.jpg").write_bytes(content)
    assert header_of_file(tmp_path / "a.jpg") == ((53, 37), number)
    assert load_image(tmp_path / "a.jpg").shape == (37, 53, 3)  # as stored


def test_no_exif_orientation(tmp_path):
    for content in (b"", b"abc", encoded(".jpg", 5, 3), encoded(".png", 5, 3), turned(0), turned(9)):
        assert orientation(content) == 1
    assert header_of_file(tmp_path / "none.jpg") == (None, 1)


def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(32000, 32000))
    with pytest.raises(ImageError, match=r"bomb.png\": 32000x32000 pixels; expected at most 268435456"):
        load_image(path)


def test_a_variable_changes_the_bound(tmp_path, monkeypatch):
    path = tmp_path / "small.png"
    path.write_bytes(encoded(".png", 10, 11))
    monkeypatch.setenv("PYDARKNET_MAX_PIXELS", "109")
    with pytest.raises(ImageError, match="10x11 pixels; expected at most 109"):
        load_image(path)
    monkeypatch.setenv("PYDARKNET_MAX_PIXELS", "110")
    assert load_image(path).shape == (11, 10, 3)
    monkeypatch.setenv("PYDARKNET_MAX_PIXELS", "many")
    with pytest.raises(OptionError, match="PYDARKNET_MAX_PIXELS='many': expected a number of pixels above 0"):
        max_pixels()


def test_the_size_of_a_file_needs_no_decoding(tmp_path):
    path = tmp_path / "claims.png"
    path.write_bytes(png(300, 200))
    assert size_of_file(path) == (300, 200)
    path.write_bytes(b"secret")
    with pytest.raises(ImageError, match="unknown or damaged format"):
        size_of_file(path)
