"""An HTTP server of one stream: each client gets the messages that are published after it has connected.

Publishing never waits. Each client has a thread and a bounded queue; a client that reads too slowly loses messages or
is disconnected.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from ...utils.http_server import LOOPBACK, BoundedHandler, BoundedServer

CLIENTS = 32  # at a time, at most


@dataclass(frozen=True)
class Format:
    """The format of a body: `opening`, the first message, `between` and each further message, `closing`."""

    content_type: str
    opening: bytes = b""
    between: bytes = b""
    closing: bytes = b""
    queue: int = 64  # messages that wait for one client, at most
    may_skip: bool = False  # whether a slow client loses its oldest message; otherwise it is disconnected


JSON = Format("application/json", opening=b"[\n", between=b", \n", closing=b"\n]", queue=4096)
MJPEG = Format(
    "multipart/x-mixed-replace; boundary=mjpegstream", closing=b"--mjpegstream--\r\n", queue=16, may_skip=True
)


def jpeg_part(jpeg: bytes) -> bytes:
    """A JPEG file as a message of an MJPEG stream."""
    return b"--mjpegstream\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(jpeg), jpeg)


class _Client:
    """The queue of one client. ended: no message follows. lost: the client was too slow."""

    def __init__(self, format_: Format) -> None:
        self._format = format_
        self._messages: deque[bytes] = deque()
        self._changed = threading.Condition()
        self.ended = self.lost = False

    def put(self, message: bytes) -> None:
        with self._changed:
            if len(self._messages) >= self._format.queue:
                if not self._format.may_skip:
                    self.lost = True
                self._messages.popleft()
            self._messages.append(message)
            self._changed.notify()

    def end(self) -> None:
        with self._changed:
            self.ended = True
            self._changed.notify()

    def get(self) -> bytes | None:
        """Wait for the next message; None after the last."""
        with self._changed:
            self._changed.wait_for(lambda: self._messages or self.ended or self.lost)
            return self._messages.popleft() if self._messages and not self.lost else None


class Stream:
    """A server on a port of this machine; `publish` sends a message to all clients."""

    def __init__(self, port: int, format_: Format, address: str = LOOPBACK) -> None:
        """port: 0 for any free one. address: that of the interface to listen on. Raises OptionError."""
        self._format = format_
        self._clients: set[_Client] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._server = BoundedServer(address, port, lambda *arguments: _Handler(self, format_, *arguments))
        self._server.start()
        self.port, self.url = self._server.port, self._server.url

    @property
    def has_clients(self) -> bool:
        return bool(self._clients)

    def publish(self, message: bytes) -> None:
        """Queue `message` for all clients, without waiting for any."""
        with self._lock:
            for client in self._clients:
                client.put(message)

    def close(self, seconds: float = 2.0) -> None:
        """Let clients read their queues, for at most `seconds`, and end."""
        with self._lock:
            self._closed = True
            for client in self._clients:
                client.end()
        self._server.close()
        deadline = time.monotonic() + seconds
        while self._clients and time.monotonic() < deadline:
            time.sleep(0.01)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def add_client(self) -> _Client | None:
        """The queue of a new client; None if there are CLIENTS already."""
        client = _Client(self._format)
        with self._lock:
            if len(self._clients) >= CLIENTS:
                return None
            self._clients.add(client)
            if self._closed:
                client.end()
        return client

    def remove_client(self, client: _Client) -> None:
        with self._lock:
            self._clients.discard(client)


class _Handler(BoundedHandler):
    """Every path is the stream, except the icon that browsers request."""

    def __init__(self, stream: Stream, format_: Format, *arguments: Any) -> None:
        self.stream, self.format = stream, format_
        super().__init__(*arguments)

    def answer(self) -> None:
        client = None if self.path == "/favicon.ico" else self.stream.add_client()
        if client is None:
            self.send_error(404 if self.path == "/favicon.ico" else 503)
            return
        try:
            self.do_HEAD()
            self._body(client)
        finally:
            self.stream.remove_client(client)

    def do_HEAD(self) -> None:  # noqa: N802
        self.send_headers(200, self.format.content_type)

    def _body(self, client: _Client) -> None:
        format_, separator = self.format, b""
        self.wfile.write(format_.opening)
        while (message := client.get()) is not None:
            self.wfile.write(separator + message)
            separator = format_.between
        if not client.lost:
            self.wfile.write(format_.closing)
