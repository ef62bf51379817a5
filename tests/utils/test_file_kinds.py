"""Files named by their first bytes."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile

import cv2
import numpy as np
import pytest

from pydarknet.utils.file_kinds import kind_of


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", "x")
    return stream.getvalue()


def encoded(extension: str) -> bytes:
    return cv2.imencode(extension, np.zeros((4, 4, 3), np.uint8))[1].tobytes()


@pytest.mark.parametrize(("content", "kind"), [
    (b"", ""),
    (b"\n <!DOCTYPE HTML>\n<html>", "an HTML page (a failed download?)"),
    (b"\xef\xbb\xbf<html>", "an HTML page (a failed download?)"),
    (b"<?xml version='1.0'?><Error/>", "an XML document (a failed download?)"),
    (b'{"message":"Not Found"}', "JSON (a failed download?)"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer (fetch the real file with "
     "`git lfs pull`)"),
    (b"[net]\nwidth=8\n", "a .cfg file"),
    ("Löwe\n".encode() * 999, "a text file"),
    (zipped(), "a zip archive or a PyTorch model"),
    (pickle.dumps([1.5] * 99), "a pickle or a PyTorch model"),
    (b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 (Keras) model"),
    (b"\x08\x07\x12\x07pytorch\x1a\x031.9" + bytes(99), "an ONNX model"),
    (struct.pack("<Q", 64) + b'{"a":' + bytes(99), "a safetensors file"),
    (encoded(".jpg"), "a JPEG picture"),
    (encoded(".png"), "a PNG picture"),
    (struct.pack("<iiiQ", 0, 2, 5, 32013312) + bytes(99), "a .weights file"),
    (struct.pack("<iiiI", 0, 1, 0, 0) + bytes(99), "a .weights file"),
    (struct.pack("<iiiQ", 1 << 30, 2, 5, 0) + bytes(99), ""),
    (bytes(99), ""),
    (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "a HEIC picture; convert it to JPEG"),
    (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(99), "a video"),
    (b"RIFF\0\1\2\3AVI LIST" + bytes(99), "a video"),
    (b"RIFF\0\1\2\3WEBPVP8 " + bytes(99), ""),
])  # fmt: skip
def test_kinds(content, kind):
    assert kind_of(content) == kind


def test_a_character_cut_in_two_is_still_text():
    for length in range(1020, 1030):
        assert kind_of(b"x" * length + "ü".encode() * 9) == "a text file"
