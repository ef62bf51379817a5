"""An HTTP server of one stream: every client gets what is published after it has connected.

Publishing never waits. Each client has a thread and a bounded queue; a client that reads too slowly loses messages or
is disconnected. A connection that has not sent its whole request within TIMEOUT is closed, and there are at most
CONNECTIONS of all kinds, so that slow or silent clients cannot use up threads.
"""

from __future__ import annotations

import contextlib
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
CLIENTS = 32  # that get the stream at a time
CONNECTIONS = 2 * CLIENTS  # with those whose request has not been read yet
TIMEOUT = 5.0  # seconds in which a client must take a message, or send its whole request


@dataclass(frozen=True)
class Format:
    """How messages form a body: `opening`, the first message, `between` and each further message, `closing`."""

    content_type: str
    opening: bytes = b""
    between: bytes = b""
    closing: bytes = b""
    queue: int = 64  # messages that wait for one client at most
    may_skip: bool = False  # whether a slow client loses its oldest message; otherwise it is disconnected


JSON = Format("application/json", opening=b"[\n", between=b", \n", closing=b"\n]", queue=4096)
MJPEG = Format(
    "multipart/x-mixed-replace; boundary=mjpegstream", closing=b"--mjpegstream--\r\n", queue=16, may_skip=True
)


def jpeg_part(jpeg: bytes) -> bytes:
    """A JPEG file as a message of an MJPEG stream."""
    return b"--mjpegstream\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(jpeg), jpeg)


class _Client:
    """The queue of one client. `ended`: no message follows; `lost`: the client was too slow."""

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
        """port: 0 lets the system choose. address: of the interface to listen on. Raises OptionError.

        An empty address, which for sockets means all interfaces, is refused: 0.0.0.0 says so openly.
        """
        if not address.strip():
            raise OptionError(
                f'address "{address}" to listen on: expected one such as {LOOPBACK}, or 0.0.0.0 for all interfaces'
            )
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
        """Queue `message` for all clients, without waiting for any."""
        with self._lock:
            for client in self._clients:
                client.put(message)

    def close(self, seconds: float = 2.0) -> None:
        """Let clients take what is queued for them, `seconds` at most, and end."""
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

    def add_client(self) -> _Client | None:
        """The queue of a new client; None where there are CLIENTS already."""
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


def _server_class(address: str) -> type[ThreadingHTTPServer]:
    """A server for IPv4 or IPv6, whose threads do not keep the process alive."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = CLIENTS
        address_family = socket.AF_INET6 if _is_version_6(address) else socket.AF_INET

        def __init__(self, *arguments: Any) -> None:
            self.requests: dict[socket.socket, float | None] = {}  # when each must be read; None: it has been read
            super().__init__(*arguments)

        def process_request(self, request: Any, client_address: Any) -> None:
            if len(self.requests) >= CONNECTIONS:
                self.shutdown_request(request)
                return
            self.requests[request] = time.monotonic() + TIMEOUT
            super().process_request(request, client_address)

        def shutdown_request(self, request: Any) -> None:
            self.requests.pop(request, None)
            super().shutdown_request(request)

        def service_actions(self) -> None:
            """Called every 50 ms: wake the threads whose request is overdue; they find its end and close it."""
            now = time.monotonic()
            for request, deadline in list(self.requests.items()):
                if deadline is not None and now > deadline:
                    with contextlib.suppress(OSError):
                        request.shutdown(socket.SHUT_RDWR)

        def server_bind(self) -> None:
            # HTTPServer's own would ask the network for the name of the host.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind(self.server_address)
            self.server_address = self.socket.getsockname()
            self.server_name, self.server_port = address, self.server_address[1]

        def handle_error(self, request: Any, client_address: Any) -> None:
            if not isinstance(sys.exc_info()[1], OSError):  # a client that disconnects is no error
                super().handle_error(request, client_address)

    return Server


def _is_version_6(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).version == 6
    except ValueError:
        return False


def _handler_class(stream: Stream, format_: Format) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Every path is the stream, except the icon that browsers ask for."""

        timeout = TIMEOUT

        def do_GET(self) -> None:
            self.server.requests[self.request] = None  # type: ignore[attr-defined]
            client = None if self.path == "/favicon.ico" else stream.add_client()
            if client is None:
                self.send_error(404 if self.path == "/favicon.ico" else 503)
                return
            try:
                self._headers()
                self._body(client)
            except OSError:  # it has disconnected, or reads no more
                pass
            finally:
                stream.remove_client(client)

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
            """Print nothing."""

    return Handler
