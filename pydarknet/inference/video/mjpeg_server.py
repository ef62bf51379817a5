"""A stream over HTTP to whoever connects: every client gets what is published from then on.

Publishing never waits. Each client has a thread and a queue of its own; one that reads too slowly loses messages or is
disconnected, one that is gone is forgotten.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ...errors import OptionError

LOOPBACK = "127.0.0.1"
CLIENTS = 32  # at a time
PATIENCE = 5.0  # seconds in which a client must take a message, or send its request


@dataclass(frozen=True)
class Format:
    """How messages become a body: `opening`, the first message, `between` before each further one, `closing`."""

    content_type: str
    opening: bytes = b""
    between: bytes = b""
    closing: bytes = b""
    queue: int = 64  # messages that wait for a client
    may_skip: bool = False  # whether a slow client loses the oldest of them; else it is disconnected


JSON = Format("application/json", opening=b"[\n", between=b", \n", closing=b"\n]", queue=4096)
MJPEG = Format(
    "multipart/x-mixed-replace; boundary=mjpegstream", closing=b"--mjpegstream--\r\n", queue=16, may_skip=True
)


def jpeg_part(jpeg: bytes) -> bytes:
    """A picture as a message of an MJPEG stream."""
    return b"--mjpegstream\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(jpeg), jpeg)


class _Client:
    """The messages that wait for one client. `ended`: nothing follows; `lost`: it was too slow."""

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
        """The next message, or None where none follows."""
        with self._changed:
            self._changed.wait_for(lambda: self._messages or self.ended or self.lost)
            return self._messages.popleft() if self._messages and not self.lost else None


class Stream:
    """A server on a port of this machine; `publish` gives a message to all clients."""

    def __init__(self, port: int, format_: Format, address: str = LOOPBACK) -> None:
        """port: 0 lets the system choose. address: of the interface to listen on. Raises OptionError."""
        self._format = format_
        self._clients: set[_Client] = set()
        self._lock = threading.Lock()
        self._closed = False
        try:
            self._server = _server_class(address)((address, port), _handler_class(self, format_))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OptionError(f"port {port}: cannot listen on {address}: {reason}") from error
        self.port: int = self._server.server_address[1]
        host = f"[{address}]" if ":" in address else address
        self.url = f"http://{host}:{self.port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def has_clients(self) -> bool:
        return bool(self._clients)

    def publish(self, message: bytes) -> None:
        """Have all clients get `message`, without waiting for any."""
        with self._lock:
            for client in self._clients:
                client.put(message)

    def close(self, seconds: float = 2.0) -> None:
        """Send clients what waits for them and end, after so many seconds at the latest."""
        with self._lock:
            self._closed = True
            for client in self._clients:
                client.end()
        self._server.shutdown()
        self._server.server_close()
        deadline = time.monotonic() + seconds
        while self._clients and time.monotonic() < deadline:
            time.sleep(0.01)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def join(self) -> _Client | None:
        """A new client's queue; None where there are too many."""
        client = _Client(self._format)
        with self._lock:
            if len(self._clients) >= CLIENTS:
                return None
            self._clients.add(client)
            if self._closed:
                client.end()
        return client

    def leave(self, client: _Client) -> None:
        with self._lock:
            self._clients.discard(client)


def _server_class(address: str) -> type[ThreadingHTTPServer]:
    """A server whose threads do not keep the process alive, for IPv4 or IPv6."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = CLIENTS
        address_family = socket.AF_INET6 if _is_version_6(address) else socket.AF_INET

        def server_bind(self) -> None:
            # Without the name of the host, which HTTPServer asks the network for.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind(self.server_address)
            self.server_address = self.socket.getsockname()
            self.server_name, self.server_port = address, self.server_address[1]

        def handle_error(self, request: Any, client_address: Any) -> None:
            if not isinstance(sys.exc_info()[1], OSError):  # a client that vanishes is nobody's error
                super().handle_error(request, client_address)

    return Server


def _is_version_6(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).version == 6
    except ValueError:
        return False


def _handler_class(stream: Stream, format_: Format) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Any path gets the stream, save the icon that browsers ask for."""

        timeout = PATIENCE

        def do_GET(self) -> None:
            client = None if self.path == "/favicon.ico" else stream.join()
            if client is None:
                self.send_error(404 if self.path == "/favicon.ico" else 503)
                return
            try:
                self._headers()
                self._body(client)
            except OSError:  # it has gone, or takes nothing any more
                pass
            finally:
                stream.leave(client)

        def do_HEAD(self) -> None:
            self._headers()

        def _headers(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", format_.content_type)
            self.send_header("Cache-Control", "no-cache, private")
            self.send_header("Connection", "close")
            self.end_headers()

        def _body(self, client: _Client) -> None:
            self.wfile.write(format_.opening)
            separator = b""
            while (message := client.get()) is not None:
                self.wfile.write(separator + message)
                separator = format_.between
            if not client.lost:
                self.wfile.write(format_.closing)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Nothing is printed."""

    return Handler
