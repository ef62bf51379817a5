"""Counts of a service, in the text form that Prometheus reads."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from .engine import Engine

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds: the buckets of the histogram
PATHS = frozenset({"/v1/detect", "/v1/classify", "/v1/model", "/healthz", "/metrics", "/openapi.json", "/"})

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


class Metrics:
    """Requests by address and status, and a histogram of the seconds that they took."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._requests: Counter[tuple[str, int]] = Counter()
        self._buckets: Counter[float] = Counter()
        self._seconds = 0.0

    def count(self, path: str, status: int, seconds: float) -> None:
        """Count one answer. Addresses that do not exist are counted together, so that clients cannot fill memory."""
        self._requests[path if path in PATHS else "other", status] += 1
        self._seconds += seconds
        self._buckets[next((bound for bound in BOUNDS if seconds <= bound), float("inf"))] += 1

    def middleware(self, app: Application) -> Application:
        """The application, with every answer counted."""

        async def counted(scope: Message, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            start, status = time.perf_counter(), 500

            async def noted(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            try:
                await app(scope, receive, noted)
            finally:
                self.count(scope["path"], status, time.perf_counter() - start)

        return counted

    def text(self) -> str:
        """All of them, a line each."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield "# TYPE pydarknet_requests_total counter"
        for (path, status), number in sorted(self._requests.items()):
            yield f'pydarknet_requests_total{{path="{path}",status="{status}"}} {number}'
        yield "# TYPE pydarknet_request_seconds histogram"
        total = 0
        for bound in (*BOUNDS, float("inf")):
            total += self._buckets[bound]
            name = "+Inf" if bound == float("inf") else f"{bound:g}"
            yield f'pydarknet_request_seconds_bucket{{le="{name}"}} {total}'
        yield f"pydarknet_request_seconds_sum {self._seconds:.6f}"
        yield f"pydarknet_request_seconds_count {total}"
        yield "# TYPE pydarknet_requests_under_way gauge"
        yield f"pydarknet_requests_under_way {self._engine.under_way}"
