"""The size of a picture and its EXIF orientation, read from the header of its file, without decoding it.

A compressed file of a hundred kilobytes can claim a billion pixels, which is checked here. Each reader maps the
content of a file to (width, height). Sources: the specifications of the formats.
"""

import os
import re
import struct
from collections.abc import Callable, Iterator

from ..errors import OptionError

VARIABLE = "PYDARKNET_MAX_PIXELS"
MAX_PIXELS = 1 << 28  # default limit: decoding takes six bytes per pixel, 1.6 GB
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers of JPEG that hold the size
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xDA)})  # markers of JPEG without a segment

Size = tuple[int, int] | None


def max_pixels() -> int:
    """The largest number of pixels of a picture: `$PYDARKNET_MAX_PIXELS`, else `MAX_PIXELS`. Raises OptionError."""
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return MAX_PIXELS
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and int(text)):
        raise OptionError(f"{VARIABLE}={text[:40]!r}: expected a number of pixels above 0")
    return int(text)


def image_size(content: bytes) -> Size:
    """(width, height) in pixels of a picture file; None for a format not in `_READERS` and for a damaged header."""
    read = next((read for signature, read in _READERS if re.match(signature, content)), None)
    try:
        return read(content) if read else None
    except (struct.error, IndexError):
        return None


def orientation(content: bytes) -> int:
    """The EXIF orientation in the beginning of a JPEG file, 1 (as stored, or none) to 8; from 5 on, the sides
    are swapped."""
    try:
        for marker, at in _segments(content) if content.startswith(b"\xff\xd8\xff") else ():
            if marker == 0xE1 and content[at + 2 : at + 8] == b"Exif\0\0":
                (length,) = struct.unpack_from(">H", content, at)
                tags = _tags(content[at + 8 : at + length])
                value = next((value for tag, kind, value in tags if (tag, kind) == (0x0112, 3)), 1)
                return value if 1 <= value <= 8 else 1
            if marker in _START_OF_FRAME:
                break
    except (struct.error, IndexError):
        pass
    return 1


def _at(form: str, place: int) -> Callable[[bytes], Size]:
    """The reader of a width and a height at a fixed place. (Those of BMP may be negative.)"""

    def read(content: bytes) -> Size:
        width, height = struct.unpack_from(form, content, place)
        return abs(width), abs(height)

    return read


def _gif(content: bytes) -> Size:
    """The larger of the screen and the first frame."""
    screen = struct.unpack_from("<HH", content, 6)
    at = 13 + (3 << (content[10] & 7) + 1 if content[10] & 0x80 else 0)
    while content[at] == 0x21:  # extensions: sub-blocks up to an empty one
        at += 2
        while content[at]:
            at += content[at] + 1
        at += 1
    if content[at] != 0x2C:
        return screen
    width, height = struct.unpack_from("<HH", content, at + 5)
    return max(screen[0], width), max(screen[1], height)


def _segments(content: bytes) -> Iterator[tuple[int, int]]:
    """Each segment of a JPEG file that has a length: its marker, and the place of the length."""
    at = 2
    while (at := content.find(b"\xff", at)) >= 0:
        while content[at] == 0xFF:  # any number of fill bytes
            at += 1
        marker, at = content[at], at + 1
        if marker and marker not in _WITHOUT_LENGTH:
            yield marker, at
            at += struct.unpack_from(">H", content, at)[0]


def _jpeg(content: bytes) -> Size:
    at = next((at for marker, at in _segments(content) if marker in _START_OF_FRAME), None)
    return None if at is None else struct.unpack_from(">HH", content, at + 3)[::-1]


def _webp(content: bytes) -> Size:
    kind = content[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", content, 26)
    return width & 0x3FFF, height & 0x3FFF


def _tags(content: bytes) -> Iterator[tuple[int, int, int]]:
    """(tag, kind, value) of the numbers in the first directory of a TIFF file: of 16, 32 and 64 bits (3, 4, 16)."""
    order = "<" if content[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", content, 2)[0] == 43
    (at,) = struct.unpack_from(order + ("Q" if big else "I"), content, 8 if big else 4)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), content, at)
    at += 8 if big else 2
    for _ in range(min(count, 1 << 16)):
        tag, kind = struct.unpack_from(order + "HH", content, at)
        if code := {3: "H", 4: "I", 16: "Q"}.get(kind):
            yield tag, kind, struct.unpack_from(order + code, content, at + (12 if big else 8))[0]
        at += 20 if big else 12


def _tiff(content: bytes) -> Size:
    """The largest width and height: tags 256 and 257."""
    size = {256: 0, 257: 0}
    for tag, _, value in _tags(content):
        if tag in size:
            size[tag] = max(size[tag], value)
    return (size[256], size[257]) if all(size.values()) else None


def _pnm(content: bytes) -> Size:
    """PNM and PFM: two numbers after the magic, separated by blanks and comments."""
    head = re.sub(rb"#[^\n]*", b"", content[2:65536])
    found = re.match(rb"\s*(\d{1,18})\s+(\d{1,18})", head)
    return (int(found[1]), int(found[2])) if found else None


def _pam(content: bytes) -> Size:
    found = dict(re.findall(rb"(?m)^(WIDTH|HEIGHT)\s+(\d{1,18})", content[:4096]))
    return (int(found[b"WIDTH"]), int(found[b"HEIGHT"])) if len(found) == 2 else None


def _hdr(content: bytes) -> Size:
    found = re.search(rb"(?m)^[-+]([XY])\s+(\d{1,18})\s+[-+][XY]\s+(\d{1,18})", content[:65536])
    if not found:
        return None
    first, second = int(found[2]), int(found[3])
    return (second, first) if found[1] == b"Y" else (first, second)


def _jpeg2000(content: bytes) -> Size:
    """The box `ihdr`, or the marker SIZ of a bare code stream: the size of the grid."""
    at = content.find(b"ihdr")
    if at >= 0:
        return struct.unpack_from(">II", content, at + 4)[::-1]
    at = content.find(b"\xff\x51")
    return struct.unpack_from(">II", content, at + 6) if at >= 0 else None


def _avif(content: bytes) -> Size:
    """The largest of all `ispe` properties, since a picture may be a grid of others."""
    sizes = [struct.unpack_from(">II", content, found.end() + 4) for found in re.finditer(b"ispe", content[: 1 << 20])]
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


_READERS: tuple[tuple[bytes, Callable[[bytes], Size]], ...] = (
    (rb"\x89PNG\r\n\x1a\n", _at(">II", 16)),
    (rb"\xff\xd8\xff", _jpeg),
    (rb"GIF8[79]a", _gif),
    (rb"(?s)BM.{12}\x0c\0\0\0", _at("<HH", 18)),  # of OS/2
    (rb"BM", _at("<ii", 18)),
    (rb"(?s)RIFF....WEBP", _webp),
    (rb"II[*+]\0|MM\0[*+]", _tiff),
    (rb"P[1-6Ff]\s", _pnm),
    (rb"P7\s", _pam),
    (rb"#\?(RADIANCE|RGBE)", _hdr),
    (rb"\x59\xa6\x6a\x95", _at(">II", 4)),  # Sun raster
    (rb"(?s)....jP  |\xff\x4f\xff\x51", _jpeg2000),
    (rb"(?s)....ftypavi[fs]", _avif),
)
