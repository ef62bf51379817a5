"""Pictures from HTTP addresses, with limits on their size and on the time of the download."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request

from ..errors import ImageError
from ..version import __version__
from .image import Picture, decode_image

LARGEST = 1 << 26  # bytes of a picture
SILENCE = 10.0  # seconds that a server may be silent
MAX_SECONDS = 60.0  # of the whole download
BLOCK = 1 << 16  # bytes read at a time
# Content types that have frames: videos, playlists, MJPEG.
_VIDEO = ("video/", "multipart/x-mixed-replace", "application/vnd.apple.mpegurl", "application/x-mpegurl",
          "application/dash+xml")  # fmt: skip


def load_remote_image(address: str) -> Picture | None:
    """The picture at an HTTP address, (h, w, 3) uint8 RGB; None if the content type is that of a video or stream.

    Raises ImageError with the address and the reason, also for more than LARGEST bytes, a server that is silent for
    SILENCE seconds, and a download that takes more than MAX_SECONDS.
    """
    headers = {"User-Agent": f"pydarknet/{__version__}", "Accept": "*/*"}
    try:
        request = urllib.request.Request(address, headers=headers)
        with urllib.request.urlopen(request, timeout=SILENCE) as reply:
            if (reply.headers.get_content_type() or "").startswith(_VIDEO):
                return None
            content = _read(reply)
    except urllib.error.HTTPError as error:
        raise _error(address, f"the server answers {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _error(address, error.reason) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _error(address, error) from error
    try:
        return decode_image(content)
    except ImageError as error:
        reason = str(error).partition(": ")[2]
        raise _error(address, f"{reason} ({len(content)} bytes of {reply.headers.get_content_type()})") from error


def _read(reply: http.client.HTTPResponse) -> bytes:
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


def _error(address: str, reason: object) -> ImageError:
    text = " ".join(str(getattr(reason, "strerror", None) or reason or type(reason).__name__).split())
    return ImageError(f'Cannot load image "{address}": {text}')
