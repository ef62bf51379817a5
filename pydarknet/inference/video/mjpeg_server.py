"""An HTTP server of one stream: each client gets the messages that are published after it has connected.

Publishing never waits. Each client has a thread and a bounded queue; a client that reads too slowly loses
messages or is disconnected.
"""

import threading
import time
from collections import deque
from dataclasses import dataclass, field

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


@dataclass(eq=False)
class _Client:
    """What waits for one client."""

    ended: bool  # no message follows
    lost: bool = False  # the client was too slow
    messages: deque[bytes] = field(default_factory=deque)


class Stream(BoundedServer):
    """A server on a port of this machine; `publish` sends a message to all clients.

    port: 0 for any free one. address: that of the interface to listen on. Raises OptionError.
    """

    def __init__(self, port: int, format_: Format, address: str = LOOPBACK) -> None:
        super().__init__(address, port, _Handler)
        self.format = format_
        self.clients: set[_Client] = set()
        self.changed = threading.Condition()  # guards all clients
        self.closed = False
        self.start()

    @property
    def has_clients(self) -> bool:
        return bool(self.clients)

    def publish(self, message: bytes) -> None:
        """Queue `message` for all clients, without waiting for any."""
        with self.changed:
            for client in self.clients:
                if len(client.messages) >= self.format.queue:
                    client.lost = not self.format.may_skip
                    client.messages.popleft()
                client.messages.append(message)
            self.changed.notify_all()

    def close(self, seconds: float = 2.0) -> None:
        """Let clients read their queues, for at most `seconds`, and end."""
        with self.changed:
            self.closed = True
            for client in self.clients:
                client.ended = True
            self.changed.notify_all()
        super().close()
        deadline = time.monotonic() + seconds
        while self.clients and time.monotonic() < deadline:
            time.sleep(0.01)


class _Handler(BoundedHandler):
    """Every path is the stream, except the icon that browsers request."""

    server: Stream

    def answer(self) -> None:
        stream = self.server
        if self.path == "/favicon.ico":
            return self.send_error(404)
        with stream.changed:
            client = _Client(stream.closed)
            is_full = len(stream.clients) >= CLIENTS
            if not is_full:
                stream.clients.add(client)
        if is_full:
            return self.send_error(503)
        try:
            self.do_HEAD()
            self._send_messages(client, stream.format)
        finally:
            with stream.changed:
                stream.clients.discard(client)

    def do_HEAD(self) -> None:  # noqa: N802
        self.send_headers(200, self.server.format.content_type)

    def _send_messages(self, client: _Client, format_: Format) -> None:
        self.wfile.write(format_.opening)
        separator = b""
        while True:
            with self.server.changed:
                self.server.changed.wait_for(lambda: client.messages or client.ended or client.lost)
                if client.lost:
                    return
                message = client.messages.popleft() if client.messages else None
            if message is None:
                break
            self.wfile.write(separator + message)
            separator = format_.between
        self.wfile.write(format_.closing)
