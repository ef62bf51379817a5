"""Sends the objects of frames by HTTP POST, as AlexeyAB's `-http_post_host` does."""

from __future__ import annotations

import logging
import time
from functools import partial
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from ...errors import OptionError
from ...utils.prefetch import BackgroundWriter
from ..detector import DetectionResult

log = logging.getLogger("pydarknet")

TIMEOUT = 3.0  # seconds, as in darknet


class HttpPost:
    """Sends the objects of frames to an address, in a thread. A context manager, which waits for the last request.

    The text has a line `name, id: 3` for each box (its first class), the time and the source. A frame without objects
    is not sent. A text that cannot be sent is dropped; the first failure is a warning.
    """

    def __init__(self, url: str, source: str, once: bool = False) -> None:
        """url: darknet's `host/path`, or `http://host:port/path`. source: the name of the video. once: send only
        one frame. Raises OptionError for an invalid URL."""
        self._url = url if "://" in url else f"http://{url}"
        parts = urlsplit(self._url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise OptionError(f"http_post_host {url}: expected HOST/PATH or http://HOST:PORT/PATH")
        self._source, self._once = source, once
        self._sent = self._failed = False
        self._writer = BackgroundWriter()

    def send(self, found: DetectionResult) -> None:
        """Queue the objects of a frame."""
        lines = [f"{objects[0].name}, id: {objects[0].class_id}\n" for objects in found.by_box()]
        if not lines or (self._once and self._sent):
            return
        self._sent = True
        text = "".join(lines) + f"\ntime:\n{time.strftime('%Y-%m-%d %H:%M:%S')}\nvideosource:\n{self._source}"
        self._writer.do(partial(self._post, text.encode("utf-8", "surrogateescape")))

    def _post(self, content: bytes) -> None:
        request = Request(self._url, content, {"Content-Type": "text/plain"})
        try:
            with urlopen(request, timeout=TIMEOUT):
                pass
        except (URLError, OSError, ValueError) as error:
            if not self._failed:
                log.warning("%s: cannot post: %s; the demo continues", self._url, getattr(error, "reason", error))
            self._failed = True

    def __enter__(self) -> HttpPost:
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.__exit__(*error)
