"""The service: addresses, limits, counts, what each answer looks like, and listening (extra `serve`).

`openapi.json` describes the addresses to clients, and the options of each to this module, which reads them by
it.
"""

import asyncio
import contextlib
import io
import json
import math
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
from python_multipart import parse_form
from python_multipart.exceptions import ParseError
from starlette.datastructures import URL
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from ..errors import DivergedError, ImageError, OptionError
from ..utils.http_server import LOOPBACK, knows, refusal
from ..version import __version__
from .engine import BusyError, Engine, StoppedError

PAGE, OPENAPI = (Path(__file__).with_name(name) for name in ("page.html", "openapi.json"))
CONNECTIONS = 256  # at a time, those that have sent nothing yet among them; more are answered with 503
HEADER = 10.0  # seconds in which the header of a request must arrive
LATE = "late"  # said to the task whose request did not arrive in time
STOPPING = 30  # seconds in which requests under way are finished
READ: dict[str, Callable[[str], Any]] = {
    "number": float,
    "integer": int,
    "boolean": lambda text: {"true": True, "1": True, "false": False, "0": False}[text],
}
NAMED = {"number": "a number", "integer": "a whole number"}
STATUS: dict[type[Exception], int] = {
    BusyError: 429,
    StoppedError: 503,
    ImageError: 400,
    OptionError: 400,
    DivergedError: 500,
}
REFUSED: tuple[type[Exception], ...] = (HTTPException, *STATUS)
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds: the buckets of the histogram
Result = TypeVar("Result")
Answer = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True)
class Limits:
    """What a client may ask for."""

    body: int = 20_000_000  # bytes of one request
    bodies: int = 500_000_000  # bytes of all requests under way together
    reading: float = 20.0  # seconds in which a request must arrive


class Metrics:
    """Requests by address and status, and a histogram of the seconds that they took, in the form of Prometheus."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._requests: Counter[tuple[str, int]] = Counter()
        self._buckets: Counter[float] = Counter()
        self._seconds = 0.0

    def count(self, path: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests[path, status] += 1
        self._seconds += seconds
        self._buckets[next((bound for bound in BOUNDS if seconds <= bound), math.inf)] += 1

    def text(self) -> str:
        """All of them."""
        totals = list(accumulate(self._buckets[bound] for bound in (*BOUNDS, math.inf)))
        names = [*(f"{bound:g}" for bound in BOUNDS), "+Inf"]
        lines = [
            "# TYPE pydarknet_requests_total counter",
            *(
                f'pydarknet_requests_total{{path="{path}",status="{status}"}} {number}'
                for (path, status), number in sorted(self._requests.items())
            ),
            "# TYPE pydarknet_request_seconds histogram",
            *(
                f'pydarknet_request_seconds_bucket{{le="{name}"}} {total}'
                for name, total in zip(names, totals, strict=True)
            ),
            f"pydarknet_request_seconds_sum {self._seconds:.6f}",
            f"pydarknet_request_seconds_count {totals[-1]}",
            "# TYPE pydarknet_requests_under_way gauge",
            f"pydarknet_requests_under_way {self._engine.under_way}",
        ]
        return "\n".join([*lines, ""])


class Service:
    """The ASGI application that answers with `engine`, which the caller closes when the application has ended.

    It has no framework around it: a request passes no routes and no middleware.

    address: what it listens on; it decides with `token` whose requests are refused (`utils/http_server.py`).
    """

    def __init__(
        self, engine: Engine, *, address: str = LOOPBACK, token: str | None = None, limits: Limits | None = None
    ) -> None:
        self.engine, self.limits, self.metrics = engine, limits or Limits(), Metrics(engine)
        self._address, self._token = address, token
        self._bytes = 0  # of all bodies under way
        self._page, openapi = (path.read_text(encoding="utf-8") for path in (PAGE, OPENAPI))
        self._openapi = json.loads(openapi)
        self._openapi["info"]["version"] = __version__
        # Of each address: the answer, the method, whether the token is asked for.
        self._answers: dict[str, tuple[Answer, str, bool]] = {
            "/v1/detect": (self.detect, "POST", True),
            "/v1/classify": (self.classify, "POST", True),
            "/v1/model": (self.model, "GET", True),
            "/metrics": (self.counts, "GET", True),
            "/healthz": (self.health, "GET", False),
            "/openapi.json": (self.description, "GET", False),
            "/": (self.index, "GET", False),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request and count it.

        Addresses that do not exist are counted together, so that clients cannot fill memory.
        """
        path, start, status = scope["path"], time.perf_counter(), 500
        try:
            try:
                response = await self._answered(Request(scope, receive))
            except REFUSED as error:
                response = _refused(error)
            status = response.status_code
            await response(scope, receive, send)
        finally:
            self.metrics.count(path if path in self._answers else "other", status, time.perf_counter() - start)

    async def _answered(self, request: Request) -> Response:
        """The answer. Raises HTTPException 403 for pages of other sites, 401 without the token."""
        path, method, headers = request.scope["path"], request.method, request.headers
        if path not in self._answers:
            other = path.rstrip("/") if path.endswith("/") else f"{path}/"
            if other in self._answers:
                return RedirectResponse(str(URL(scope={**request.scope, "path": other})))
            raise HTTPException(404)
        answer, expected, asks_for_token = self._answers[path]
        if method != expected and (method, expected) != ("HEAD", "GET"):
            raise HTTPException(405, headers={"Allow": "GET, HEAD" if expected == "GET" else expected})
        origin = headers.get("origin") if method == "POST" else None
        if why := refusal(self._address, self._token, headers.get("host"), origin):
            raise HTTPException(403, why)
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if asks_for_token and not knows(self._token, given if scheme == "Bearer" else ""):
            raise HTTPException(401, "expected the header Authorization: Bearer TOKEN")
        return await answer(request)

    # --- addresses ---

    async def detect(self, request: Request) -> Response:
        if not self.engine.detects:
            raise HTTPException(404, "this network classifies; use /v1/classify")
        asked = self._options(request)
        options = self.engine.options(asked["thresh"], asked["nms"], asked["hier"])
        async with self._picture(request) as (content, name):
            if asked["annotated"]:
                picture = await self._result(request, self.engine.annotated(content, options))
                return Response(picture, media_type="image/jpeg")
            found = await self._result(request, self.engine.detect(content, options, name))
        return Response(found, media_type="application/json")

    async def classify(self, request: Request) -> Response:
        if self.engine.detects:
            raise HTTPException(404, "this network detects objects; use /v1/detect")
        asked = self._options(request)
        async with self._picture(request) as (content, name):
            best = await self._result(request, self.engine.classify(content, asked["top"], name))
        return Response(best, media_type="application/json")

    async def model(self, _: Request) -> Response:
        network, detects = self.engine.model, self.engine.detects
        channels, height, width = network.input_shape
        return JSONResponse(
            {
                "cfg": Path(network.path).name,
                "task": "detect" if detects else "classify",
                "dialect": network.dialect.name,
                "input": {"width": width, "height": height, "channels": channels},
                "parameters": network.parameter_count,
                "thresh": network.dialect.detector_thresh if detects else None,
                "names": network.names,
                "version": __version__,
            }
        )

    async def health(self, _: Request) -> Response:
        alive = self.engine.is_alive
        return PlainTextResponse("ok\n" if alive else "stopping\n", 200 if alive else 503)

    async def counts(self, _: Request) -> Response:
        return PlainTextResponse(self.metrics.text(), media_type="text/plain; version=0.0.4")

    async def description(self, _: Request) -> Response:
        return JSONResponse(self._openapi)

    async def index(self, _: Request) -> Response:
        policy = "default-src 'self' 'unsafe-inline'; img-src blob: data:; media-src blob:"
        return HTMLResponse(self._page, headers={"Content-Security-Policy": policy})

    # --- what they share ---

    async def _result(self, request: Request, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of `work`, which is cancelled when the client goes."""
        here, gone = asyncio.current_task(), asyncio.ensure_future(_disconnected(request))
        assert here is not None
        gone.add_done_callback(lambda task: task.cancelled() or here.cancel())
        try:
            return await work
        except asyncio.CancelledError:
            if not gone.done():
                raise
            raise HTTPException(499, "the client has gone") from None
        finally:
            gone.cancel()

    @contextlib.asynccontextmanager
    async def _picture(self, request: Request) -> AsyncIterator[tuple[bytes, str | None]]:
        """The picture file of a request, raw or as a part of a form, and its name. Raises HTTPException.

        The body counts towards the bound of all bodies as long as the block runs.
        """
        here, body, loop = asyncio.current_task(), bytearray(), asyncio.get_running_loop()
        assert here is not None
        overdue = loop.call_later(self.limits.reading, here.cancel, LATE)  # cheaper than `asyncio.wait_for`
        try:
            await self._read(request, body)
            overdue.cancel()
            is_form = request.headers.get("content-type", "").startswith("multipart/form-data")
            yield _file_of_form(request, body) if is_form else (bytes(body), None)
        except asyncio.CancelledError as error:
            if error.args != (LATE,):
                raise
            raise HTTPException(408, f"the request did not arrive within {self.limits.reading:g} s") from None
        except ClientDisconnect:
            raise HTTPException(499, "the client has gone") from None
        finally:
            overdue.cancel()
            self._bytes -= len(body)

    async def _read(self, request: Request, body: bytearray) -> None:
        announced = request.headers.get("content-length", "")  # uvicorn has refused what is no number
        async for chunk in request.stream():
            body += chunk
            self._bytes += len(chunk)
            if max(len(body), int(announced or 0)) > self.limits.body:
                raise HTTPException(413, f"the body is longer than {self.limits.body} bytes")
            if self._bytes > self.limits.bodies:
                raise HTTPException(503, f"bodies of more than {self.limits.bodies} bytes are under way")

    def _options(self, request: Request) -> dict[str, Any]:
        """The options after an address's question mark, by the parameters of OpenAPI. Raises HTTPException 400."""
        parameters = self._openapi["paths"][request.scope["path"]]["post"]["parameters"]
        known = {each["name"]: each["schema"] for each in parameters}
        found = {name: schema.get("default") for name, schema in known.items()}
        for name, text in request.query_params.items():
            if name not in known:
                raise HTTPException(400, f"{name[:40]!r}: no such option; expected one of {', '.join(known)}")
            schema = known[name]
            low, high = schema.get("minimum", 0), schema.get("maximum", 1)
            with contextlib.suppress(ValueError, KeyError):
                found[name] = READ[schema["type"]](text)
                if low <= found[name] <= high:  # NaN is not
                    continue
            is_flag = schema["type"] == "boolean"
            expected = "true or false" if is_flag else f"{NAMED[schema['type']]} from {low} to {high}"
            raise HTTPException(400, f"{name}={text[:40]!r}: expected {expected}")
        return found


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _file_of_form(request: Request, body: bytearray) -> tuple[bytes, str | None]:
    files: list[Any] = []
    headers: dict[str, Any] = {"Content-Type": request.headers["content-type"].encode("latin-1")}
    try:
        parse_form(headers, io.BytesIO(body), None, files.append)
    except (ParseError, ValueError) as error:
        raise HTTPException(400, f"the form cannot be read: {error}") from error
    if not files:
        raise HTTPException(400, "the form has no file; expected one, the picture")
    files[0].file_object.seek(0)
    name = files[0].file_name
    return files[0].file_object.read(), name.decode("utf-8", "replace") if name else None


def _refused(error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        error = HTTPException(next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), str(error))
    headers = {"Retry-After": "1"} if error.status_code in (429, 503) else {}
    headers |= {"WWW-Authenticate": "Bearer"} if error.status_code == 401 else {}
    return JSONResponse({"error": error.detail}, error.status_code, headers | dict(error.headers or {}))


def run(app: Service, listening: socket.socket, started: Callable[[], None]) -> None:
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

    The time starts with the connection, and later with the first byte after an answer; between the two,
    uvicorn's own `timeout_keep_alive` counts. `Limits.reading` bounds the time of the body.
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
    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._told = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._told()
