"""A small HTTP server whose clients cannot use up its threads.

A connection that has not sent its whole request within TIMEOUT is closed, and there are at most CONNECTIONS. A client
that does not take what it is sent within TIMEOUT is disconnected.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ..errors import OptionError
from .http_access import LOOPBACK, knows, refusal

CONNECTIONS = 64  # at a time, those whose request has not been read yet among them
TIMEOUT = 5.0  # seconds in which a client must take a message, or send its whole request


class BoundedServer(ThreadingHTTPServer):
    """A server for IPv4 or IPv6, in threads that do not keep the process alive.

    It listens from the start. Clients that come before `start` wait for it.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = CONNECTIONS

    def __init__(
        self, address: str, port: int, handler: Callable[..., BaseHTTPRequestHandler], token: str | None = None
    ) -> None:
        """port: 0 lets the system choose. address: of the interface to listen on. token: what clients have to give as
        `?token=TOKEN`. Raises OptionError.

        An empty address, which for sockets means all interfaces, is refused: 0.0.0.0 says so openly.
        """
        if not address.strip():
            raise OptionError(
                f'address "{address}" to listen on: expected one such as {LOOPBACK}, or 0.0.0.0 for all interfaces'
            )
        self.address, self.token = address, token
        self.address_family = socket.AF_INET6 if _is_version_6(address) else socket.AF_INET
        self.requests: dict[socket.socket, float | None] = {}  # when each must have been read; None: it has
        try:
            super().__init__((address, port), handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OptionError(f"port {port}: cannot listen on {address}: {reason}") from error
        self.port: int = self.server_address[1]
        self.url = f"http://{f'[{address}]' if ':' in address else address}:{self.port}/"
        self._has_started = False

    def start(self) -> None:
        """Answer requests, in threads, until `close`."""
        self._has_started = True
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        """Take no more requests."""
        if self._has_started:
            self.shutdown()
        self.server_close()

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
        """Called every 50 ms: shut down connections whose request is overdue; their threads then end."""
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
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # a client that disconnects is no error
            super().handle_error(request, client_address)


class BoundedHandler(BaseHTTPRequestHandler):
    """A handler of GET: a subclass writes `answer`, which may raise OSError where the client has gone."""

    timeout = TIMEOUT
    server: BoundedServer

    def do_GET(self) -> None:
        self.server.requests[self.request] = None
        with contextlib.suppress(OSError):
            if self._is_allowed():
                self.answer()

    def _is_allowed(self) -> bool:
        """Whether the client may have an answer; sends the refusal where not."""
        server = self.server
        why = refusal(server.address, server.token, self.headers.get("Host"))
        if why is not None:
            self.send_text(403, why)
        elif not knows(server.token, parse_qs(urlsplit(self.path).query).get("token", [""])[0]):
            self.send_text(401, "expected ?token=... in the address")
        else:
            return True
        return False

    def send_text(self, status: int, line: str) -> None:
        """An answer of one line."""
        body = f"{line}\n".encode()
        self.send_headers(status, "text/plain; charset=utf-8", Content_Length=str(len(body)))
        self.wfile.write(body)

    def answer(self) -> None:
        """Send headers and body of the answer to `self.path`."""
        raise NotImplementedError

    def send_headers(self, status: int, content_type: str, **headers: str) -> None:
        """The head of an answer that nobody keeps; underscores in names of `headers` stand for hyphens."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Cache-Control", "no-cache, private")
        self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Print nothing."""


def _is_version_6(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).version == 6
    except ValueError:
        return False
