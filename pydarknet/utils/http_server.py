"""A small HTTP server whose clients cannot use up its threads, and who may use a server: the rules of `serve`,
`live`, `train --live` and the streams.

A connection that has not sent its whole request within TIMEOUT is closed, and there are at most CONNECTIONS. A
client that does not take what it is sent within TIMEOUT is disconnected.

A server on 127.0.0.1 is reached by every page that the machine's browser shows. Two headers, which a page cannot
forge, tell such requests. `Host` is the name that the browser asked for: one that was made to point here (DNS
rebinding) is not a name of this machine. `Origin` is the site of the page: another site's must not start work
here. Where a token is needed, it decides alone. On another address, a server is open to the network by the
user's choice.
"""

import contextlib
import hmac
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

LOOPBACK = "127.0.0.1"
CONNECTIONS = 64  # at a time, those whose request has not been read yet among them
TIMEOUT = 5.0  # seconds in which a client must take a message, or send its whole request


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches a server that listens on `address`."""
    return address.lower() == "localhost" or getattr(_number(address), "is_loopback", False)


def knows(token: str | None, given: str) -> bool:
    """Whether a client has given the token, or none is needed."""
    return token is None or hmac.compare_digest(given.encode(), token.encode())


def refusal(address: str, token: str | None, host: str | None, origin: str | None = None) -> str | None:
    """Why a request is refused, in one line; None where it is not.

    host, origin: headers of the request, None where it has none; `origin` only of one that costs or changes
    something.
    """
    if token is not None or host is None:  # browsers always send `Host`
        return None
    name = _name_of(host)
    if is_loopback(address) and name != "localhost" and _number(name) is None:
        return f"host {host[:80]!r}: expected localhost or the number of an address"
    if origin is not None and origin.partition("://")[2].lower() != host.lower():
        return f"origin {origin[:80]!r}: expected {host[:80]!r}, as pages of other sites are refused"
    return None


def _name_of(host: str) -> str:
    """The name of NAME, NAME:PORT or [NUMBER]:PORT; empty for other forms."""
    try:
        return urlsplit(f"//{host}").hostname or "" if not set(host) & set("@/?#") else ""
    except ValueError:
        return ""


def _number(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def listen(address: str, port: int) -> socket.socket:
    """A socket of IPv4 or IPv6 on an address; port 0 lets the system choose. Raises OptionError.

    An empty address, which for sockets means all interfaces, is refused: 0.0.0.0 says so openly.
    """
    if not address.strip():
        raise OptionError(f'address "{address}": expected one such as {LOOPBACK}, or 0.0.0.0 for all interfaces')
    # Only for sockets with a protocol does asyncio switch off the delay of small packets, 40 ms an answer.
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((address, port))
    except (OSError, OverflowError) as error:
        found.close()
        reason = getattr(error, "strerror", None) or error
        raise OptionError(f"port {port}: cannot listen on {address}: {reason}") from error
    return found


def url_of(address: str, port: int) -> str:
    """The address of a server for a browser."""
    return f"http://{f'[{address}]' if ':' in address else address}:{port}/"


class BoundedServer(ThreadingHTTPServer):
    """A server in threads that do not keep the process alive. Clients that come before `start` wait for it.

    address, port: see `listen`. token: what clients have to give as `?token=TOKEN`. Raises OptionError.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = CONNECTIONS

    def __init__(
        self, address: str, port: int, handler: Callable[..., BaseHTTPRequestHandler], token: str | None = None
    ) -> None:
        listening = listen(address, port)
        super().__init__((address, port), handler, bind_and_activate=False)
        self.socket.close()
        self.socket, self.server_address = listening, listening.getsockname()
        self.server_activate()
        self.address, self.token, self.port = address, token, self.server_address[1]
        self.url = url_of(address, self.port)
        self.requests: dict[socket.socket, float | None] = {}  # when each must have been read; None: it has
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

    def __exit__(self, *_: object) -> None:
        self.close()

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
        server, query = self.server, parse_qs(urlsplit(self.path).query)
        if why := refusal(server.address, server.token, self.headers.get("Host")):
            self.send_text(403, why)
        elif not knows(server.token, query.get("token", [""])[0]):
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
