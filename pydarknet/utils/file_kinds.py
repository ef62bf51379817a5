"""The kind of a file, detected from its first bytes, for messages about files of another kind than expected."""

from __future__ import annotations

import re
import struct

EXAMINED = 1024  # bytes at the beginning of a file

WEIGHTS = "a .weights file"
_HTML = "an HTML page (a failed download?)"
_XML = "an XML document (a failed download?)"
_TEXTS = {  # by the beginning of the text, in lower case
    "<!doctype html": _HTML,
    "<html": _HTML,
    "<?xml": _XML,
    "<!doctype": _XML,
    "version https://git-lfs": "a Git LFS pointer (fetch the real file with `git lfs pull`)",
    "[net": "a .cfg file",
    "{": "JSON (a failed download?)",
}
_SIGNATURES = {
    b"PK\x03\x04": "a zip archive or a PyTorch model",
    b"\x1f\x8b": "a gzip archive (unpack it first)",
    b"Rar!": "a RAR archive (unpack it first)",
    b"7z\xbc\xaf": "a 7z archive (unpack it first)",
    b"\x89HDF": "an HDF5 (Keras) model",
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x89PNG": "a PNG picture",
    b"GIF8": "a GIF picture",
    b"BM": "a BMP picture",
    b"%PDF": "a PDF document",
}
_PATTERNS = {  # compiled when they are needed, which is for wrong files alone
    rb".{4}ftyp(heic|heix|heim|heis|hevc|mif1|msf1)": "a HEIC picture; convert it to JPEG",
    rb".{4}ftyp(isom|iso[2-9]|mp4|avc1|qt  |M4V|3gp)|\x1aE\xdf\xa3|RIFF....AVI ": "a video",
    rb"\x80[\x02-\x05]": "a pickle or a PyTorch model",  # the protocol, at the beginning of Python's pickles
    rb".{5}\0\0\0\{\"": "a safetensors file",  # the length of the JSON that follows
    rb"\x08[\x01-\x20](\x12.|:)": "an ONNX model",  # ir_version, then producer_name or the graph
}
_CONTROLS = r"[\x00-\x08\x0e-\x1f]"


def kind_of(content: bytes) -> str:
    """The kind of a file with this content, with its article: `a JPEG picture`; empty for others.

    A text of no known kind is `a text file`.
    """
    start = content[:EXAMINED]
    if b"\0" not in start:
        text = _text_of(start)
        if text is not None:
            begin = text.lstrip().lower()
            return next((kind for mark, kind in _TEXTS.items() if begin.startswith(mark)), "a text file")
    if _is_weights(start):
        return WEIGHTS
    named = next((kind for mark, kind in _SIGNATURES.items() if start.startswith(mark)), "")
    return named or next((kind for mark, kind in _PATTERNS.items() if re.match(mark, start, re.DOTALL)), "")


def _text_of(start: bytes) -> str | None:
    """The beginning of a file as text; None if it is not text. The last character may be cut in two."""
    try:
        text = start.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3:
            return None
        text = start[: error.start].decode("utf-8-sig")
    return text if text.strip() and not re.search(_CONTROLS, text) else None


def _is_weights(start: bytes) -> bool:
    """Whether a file begins like a .weights file: version 0.1.x or 0.2.x."""
    if len(start) < 16:
        return False
    major, minor, revision = struct.unpack_from("<iii", start)
    return major == 0 and minor in (1, 2) and 0 <= revision <= 10
