"""The service: addresses, limits, and what each answer looks like. Needs Starlette (extra `serve`).

`openapi.json` describes the addresses to clients, and the options of each to this module, which reads them by it.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from python_multipart import parse_form
from python_multipart.exceptions import ParseError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ..errors import DivergedError, ImageError, OptionError
from ..utils.http_server import LOOPBACK, knows, refusal
from ..version import __version__
from .engine import BusyError, Engine, StoppedError
from .metrics import Metrics

PAGE, OPENAPI = (Path(__file__).with_name(name) for name in ("page.html", "openapi.json"))
READ: dict[str, Callable[[str], Any]] = {
    "number": float,
    "integer": int,
    "boolean": lambda text: {"true": True, "1": True, "false": False, "0": False}[text],
}
NAMED = {"number": "a number", "integer": "a whole number"}
Result = TypeVar("Result")
Answer = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True)
class Limits:
    """What a client may ask for.

    body     bytes of one request
    bodies   bytes of all requests under way together
    reading  seconds in which a request must arrive
    """

    body: int = 20_000_000
    bodies: int = 500_000_000
    reading: float = 20.0


class Service:
    """What the addresses share: the engine, the limits, the token, the counts."""

    def __init__(self, engine: Engine, address: str, token: str | None, limits: Limits) -> None:
        self.engine, self.limits, self.metrics = engine, limits, Metrics(engine)
        self._address, self._token = address, token
        self._bytes = 0  # of all bodies under way

    def check_token(self, request: Request) -> None:
        """Raise HTTPException 401 where a token is asked for and the header `Authorization` has another."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if not knows(self._token, given if scheme == "Bearer" else ""):
            raise HTTPException(401, "expected the header Authorization: Bearer TOKEN")

    def guarded(self, answer: Answer) -> Answer:
        """`answer`, which pages of other sites do not get: HTTPException 403, by the headers `Host` and `Origin`."""

        async def guarded(request: Request) -> Response:
            headers = request.headers
            origin = headers.get("origin") if request.method == "POST" else None
            if why := refusal(self._address, self._token, headers.get("host"), origin):
                raise HTTPException(403, why)
            return await answer(request)

        return guarded

    async def answer(self, request: Request, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of `work`, which is cancelled when the client goes."""
        task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(request))
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise HTTPException(499, "the client has gone")
            return task.result()
        except BusyError:
            raise HTTPException(429, f"{self.engine.capacity} requests are under way") from None
        except StoppedError:
            raise HTTPException(503, "the service stops") from None
        except (ImageError, OptionError) as error:
            raise HTTPException(400, str(error)) from error
        except DivergedError as error:
            raise HTTPException(500, str(error)) from error
        finally:
            task.cancel()
            gone.cancel()

    @asynccontextmanager
    async def picture(self, request: Request) -> AsyncIterator[tuple[bytes, str | None]]:
        """The picture file of a request, raw or as a part of a form, and its name. Raises HTTPException.

        The body counts towards the bound of all bodies as long as the block runs.
        """
        body = bytearray()
        try:
            await asyncio.wait_for(self._read(request, body), self.limits.reading)
            is_form = request.headers.get("content-type", "").startswith("multipart/form-data")
            yield _file_of_form(request, body) if is_form else (bytes(body), None)
        except asyncio.TimeoutError:
            raise HTTPException(408, f"the request did not arrive within {self.limits.reading:g} s") from None
        except ClientDisconnect:
            raise HTTPException(499, "the client has gone") from None
        finally:
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


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _file_of_form(request: Request, body: bytearray) -> tuple[bytes, str | None]:
    """The first file of a form."""
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


def _options(request: Request, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    """The options after an address's question mark, by the parameters of OpenAPI. Raises HTTPException 400."""
    known = {each["name"]: each["schema"] for each in parameters}
    found = {name: schema.get("default") for name, schema in known.items()}
    for name, text in request.query_params.items():
        if name not in known:
            raise HTTPException(400, f"{name[:40]!r}: no such option; expected one of {', '.join(known)}")
        schema = known[name]
        low, high = schema.get("minimum", 0), schema.get("maximum", 1)
        try:
            found[name] = READ[schema["type"]](text)
            is_right = low <= found[name] <= high  # NaN is not
        except (ValueError, KeyError):
            is_right = False
        if not is_right:
            expected = (
                "true or false" if schema["type"] == "boolean" else f"{NAMED[schema['type']]} from {low} to {high}"
            )
            raise HTTPException(400, f"{name}={text[:40]!r}: expected {expected}")
    return found


async def _refuse(_: Request, error: Exception) -> Response:
    """JSON of one line, also for addresses and methods that do not exist."""
    assert isinstance(error, HTTPException)
    headers = {"Retry-After": "1"} if error.status_code in (429, 503) else {}
    headers |= {"WWW-Authenticate": "Bearer"} if error.status_code == 401 else {}
    return JSONResponse({"error": error.detail}, error.status_code, headers | dict(error.headers or {}))


def make_app(
    engine: Engine, *, address: str = LOOPBACK, token: str | None = None, limits: Limits | None = None
) -> Starlette:
    """The ASGI application that answers with `engine`. The caller closes the engine when the application has ended.

    address: what it listens on, which decides with `token` whose requests are refused (`utils/http_server.py`).
    """
    service = Service(engine, address, token, limits or Limits())
    return Starlette(
        routes=[
            Route(route.path, service.guarded(route.endpoint), methods=route.methods)
            for route in (*_answers(service), *_state(service))
        ],
        exception_handlers={HTTPException: _refuse},
        middleware=[Middleware(service.metrics.middleware)],
    )


def _answers(service: Service) -> list[Route]:
    engine = service.engine
    paths = json.loads(OPENAPI.read_text(encoding="utf-8"))["paths"]

    async def detect(request: Request) -> Response:
        service.check_token(request)
        if not engine.detects:
            raise HTTPException(404, "this network classifies; use /v1/classify")
        asked = _options(request, paths["/v1/detect"]["post"]["parameters"])
        options = engine.options(asked["thresh"], asked["nms"], asked["hier"])
        async with service.picture(request) as (content, name):
            if asked["annotated"]:
                picture = await service.answer(request, engine.annotated(content, options))
                return Response(picture, media_type="image/jpeg")
            found = await service.answer(request, engine.detect(content, options, name))
        return Response(found, media_type="application/json")

    async def classify(request: Request) -> Response:
        service.check_token(request)
        if engine.detects:
            raise HTTPException(404, "this network detects objects; use /v1/detect")
        asked = _options(request, paths["/v1/classify"]["post"]["parameters"])
        async with service.picture(request) as (content, name):
            best = await service.answer(request, engine.classify(content, asked["top"], name))
        return Response(best, media_type="application/json")

    return [Route("/v1/detect", detect, methods=["POST"]), Route("/v1/classify", classify, methods=["POST"])]


def _state(service: Service) -> list[Route]:
    page, openapi = PAGE.read_text(encoding="utf-8"), json.loads(OPENAPI.read_text(encoding="utf-8"))
    openapi["info"]["version"] = __version__

    async def model(request: Request) -> Response:
        service.check_token(request)
        network = service.engine.model
        channels, height, width = network.input_shape
        return JSONResponse(
            {
                "cfg": Path(network.path).name,
                "task": "detect" if service.engine.detects else "classify",
                "dialect": network.dialect.name,
                "input": {"width": width, "height": height, "channels": channels},
                "parameters": network.parameter_count,
                "thresh": network.dialect.detector_thresh if service.engine.detects else None,
                "names": network.names,
                "version": __version__,
            }
        )

    async def health(_: Request) -> Response:
        alive = service.engine.is_alive
        return PlainTextResponse("ok\n" if alive else "stopping\n", 200 if alive else 503)

    async def metrics(request: Request) -> Response:
        service.check_token(request)
        return PlainTextResponse(service.metrics.text(), media_type="text/plain; version=0.0.4")

    async def description(_: Request) -> Response:
        return JSONResponse(openapi)

    async def index(_: Request) -> Response:
        policy = "default-src 'self' 'unsafe-inline'; img-src blob: data:; media-src blob:"
        return HTMLResponse(page, headers={"Content-Security-Policy": policy})

    answers = {
        "/": index, "/v1/model": model, "/healthz": health, "/metrics": metrics, "/openapi.json": description,
    }  # fmt: skip
    return [Route(path, answer) for path, answer in answers.items()]
