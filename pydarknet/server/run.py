"""Listening: an application on a port, until the process is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from ..errors import OptionError

CONNECTIONS = 256  # at a time, those that have sent nothing yet among them; more are answered with 503
HEADER = 10.0  # seconds in which the header of a request must arrive
STOPPING = 30  # seconds in which requests under way are finished


def listen(address: str, port: int) -> socket.socket:
    """A socket that listens; port 0 lets the system choose. Raises OptionError."""
    if not address.strip():  # which for sockets means all interfaces
        raise OptionError(f'address "{address}": expected one such as 127.0.0.1, or 0.0.0.0 for all interfaces')
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # Only for sockets with a protocol does asyncio switch off the delay of small packets, 40 ms an answer.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((address, port))
    except (OSError, OverflowError) as error:
        found.close()
        raise OptionError(f"port {port}: cannot listen on {address}: {getattr(error, 'strerror', error)}") from error
    return found


def url_of(listening: socket.socket) -> str:
    """The address for a browser."""
    address, port = listening.getsockname()[:2]
    return f"http://{f'[{address}]' if ':' in address else address}:{port}/"


def run(app: Starlette, listening: socket.socket, started: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM; requests under way are finished. `started` is called when the port answers."""
    config = uvicorn.Config(
        app,
        http=bounded_protocol(AutoHTTPProtocol),
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=STOPPING,
    )
    server = _Server(config, started)
    with contextlib.closing(listening):
        server.run([listening])


def bounded_protocol(base: Any, seconds: float = HEADER) -> type[asyncio.Protocol]:
    """uvicorn's protocol, which closes connections that do not send the header of a request within `seconds`.

    The time starts with the connection, and later with the first byte after an answer; between the two, uvicorn's own
    `timeout_keep_alive` counts. `Limits.reading` bounds the time of the body.
    """

    class BoundedProtocol(base):
        _overdue: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._expect_header()

        def data_received(self, data: bytes) -> None:
            before = self.cycle
            if self._overdue is None and (before is None or before.response_complete):
                self._expect_header()
            super().data_received(data)
            if self.cycle is not before:
                self._expect_no_more()

        def connection_lost(self, exc: Exception | None) -> None:
            self._expect_no_more()
            super().connection_lost(exc)

        def _expect_header(self) -> None:
            self._overdue = self.loop.call_later(seconds, self.transport.close)

        def _expect_no_more(self) -> None:
            if self._overdue is not None:
                self._overdue.cancel()
                self._overdue = None

    return BoundedProtocol


class _Server(uvicorn.Server):
    """A server that says when it has started."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._told = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._told()
