"""The service: addresses, limits, and what each answer looks like. Needs FastAPI (extra `serve`)."""

from __future__ import annotations

import asyncio
import hmac
import io
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from python_multipart import parse_form
from python_multipart.exceptions import ParseError
from starlette.requests import ClientDisconnect

from ..errors import DivergedError, ImageError, OptionError
from ..version import __version__
from .engine import BusyError, Engine, StoppedError
from .metrics import Metrics

PAGE = Path(__file__).with_name("page.html")
Result = TypeVar("Result")
Fraction = Annotated[float, Query(ge=0, le=1)]

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FORM = {"schema": {"type": "object", "properties": {"image": {"type": "string", "format": "binary"}}}}
PICTURE_BODY = {
    "requestBody": {"required": True, "content": {"application/octet-stream": _BINARY, "multipart/form-data": _FORM}}
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "No picture that can be read, or an option that makes no sense."},
    401: {"description": "The token is missing or wrong."},
    404: {"description": "The network does the other thing: it classifies, or it detects."},
    408: {"description": "The request did not arrive in time."},
    413: {"description": "The body is too large."},
    429: {"description": "Too many requests are under way; try again later."},
    503: {"description": "The service stops, or its memory for bodies is full."},
}


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


class RefusalError(Exception):
    """An answer other than 200: status and one line."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Service:
    """What the addresses share: the engine, the limits, the token, the counts."""

    def __init__(self, engine: Engine, token: str | None, limits: Limits) -> None:
        self.engine, self.limits, self.metrics = engine, limits, Metrics(engine)
        self._token = token
        self._bytes = 0  # of all bodies under way

    def check_token(self, request: Request) -> None:
        """Raise RefusalError 401 where a token is asked for and the header `Authorization` has another."""
        given = request.headers.get("authorization", "")
        if self._token is not None and not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            raise RefusalError(401, "expected the header Authorization: Bearer TOKEN")

    async def answer(self, request: Request, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of `work`, which is cancelled when the client goes."""
        task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(request))
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise RefusalError(499, "the client has gone")
            return task.result()
        except BusyError:
            raise RefusalError(429, f"{self.engine.capacity} requests are under way") from None
        except StoppedError:
            raise RefusalError(503, "the service stops") from None
        except (ImageError, OptionError) as error:
            raise RefusalError(400, str(error)) from error
        except DivergedError as error:
            raise RefusalError(500, str(error)) from error
        finally:
            task.cancel()
            gone.cancel()

    @asynccontextmanager
    async def picture(self, request: Request) -> AsyncIterator[tuple[bytes, str | None]]:
        """The picture file of a request, raw or as a part of a form, and its name. Raises RefusalError.

        The body counts towards the bound of all bodies as long as the block runs.
        """
        body = bytearray()
        try:
            await asyncio.wait_for(self._read(request, body), self.limits.reading)
            is_form = request.headers.get("content-type", "").startswith("multipart/form-data")
            yield _file_of_form(request, body) if is_form else (bytes(body), None)
        except asyncio.TimeoutError:
            raise RefusalError(408, f"the request did not arrive within {self.limits.reading:g} s") from None
        except ClientDisconnect:
            raise RefusalError(499, "the client has gone") from None
        finally:
            self._bytes -= len(body)

    async def _read(self, request: Request, body: bytearray) -> None:
        async for chunk in request.stream():
            body += chunk
            self._bytes += len(chunk)
            if len(body) > self.limits.body:
                raise RefusalError(413, f"the body is longer than {self.limits.body} bytes")
            if self._bytes > self.limits.bodies:
                raise RefusalError(503, f"bodies of more than {self.limits.bodies} bytes are under way")


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
        raise RefusalError(400, f"the form cannot be read: {error}") from error
    if not files:
        raise RefusalError(400, "the form has no file; expected one, the picture")
    files[0].file_object.seek(0)
    name = files[0].file_name
    return files[0].file_object.read(), name.decode("utf-8", "replace") if name else None


def make_app(engine: Engine, *, token: str | None = None, limits: Limits | None = None) -> FastAPI:
    """The ASGI application that answers with `engine`. The caller closes the engine when the application has ended."""
    service = Service(engine, token, limits or Limits())
    app = FastAPI(title="pydarknet", version=__version__, docs_url=None, redoc_url=None)
    app.add_middleware(service.metrics.middleware)

    @app.exception_handler(RefusalError)
    async def refuse(_: Request, refusal: RefusalError) -> Response:
        headers = {"Retry-After": "1"} if refusal.status in (429, 503) else {}
        headers |= {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {}
        return JSONResponse({"error": refusal.reason}, refusal.status, headers)

    @app.exception_handler(RequestValidationError)
    async def refuse_options(_: Request, error: RequestValidationError) -> Response:
        reasons = [f"{each['loc'][-1]}={str(each['input'])[:40]!r}: {each['msg']}" for each in error.errors()]
        return JSONResponse({"error": "; ".join(reasons)}, 400)

    _add_answers(app, service)
    _add_state(app, service)
    return app


def _add_answers(app: FastAPI, service: Service) -> None:
    engine = service.engine
    options: dict[str, Any] = {
        "dependencies": [Depends(service.check_token)], "openapi_extra": PICTURE_BODY, "responses": REFUSALS,
        "response_class": Response,
    }  # fmt: skip

    @app.post("/v1/detect", summary="Objects in a picture", **options)
    async def detect(
        request: Request, thresh: Fraction | None = None, nms: Fraction = 0.45, hier: Fraction = 0.5,
        annotated: bool = False,
    ) -> Response:  # fmt: skip
        """The JSON of `pydarknet detect --json`; with annotated=true the picture with boxes, as JPEG."""
        if not engine.detects:
            raise RefusalError(404, "this network classifies; use /v1/classify")
        async with service.picture(request) as (content, name):
            found = await service.answer(request, engine.detect(content, engine.options(thresh, nms, hier)))
        if annotated:
            return Response(await service.answer(request, engine.annotated(found)), media_type="image/jpeg")
        return Response(found.to_json(name), media_type="application/json")

    @app.post("/v1/classify", summary="The best classes of a picture", **options)
    async def classify(request: Request, top: Annotated[int, Query(ge=1, le=1000)] = 5) -> Response:
        """The JSON of `pydarknet classify --json`."""
        if engine.detects:
            raise RefusalError(404, "this network detects objects; use /v1/detect")
        async with service.picture(request) as (content, name):
            best = await service.answer(request, engine.classify(content, top))
        return Response(best.to_json(name), media_type="application/json")

    @app.get("/v1/model", summary="The network", dependencies=[Depends(service.check_token)])
    async def model() -> dict[str, Any]:
        """What the network is, and the names of its classes."""
        network = engine.model
        channels, height, width = network.input_shape
        return {
            "cfg": Path(network.path).name,
            "task": "detect" if engine.detects else "classify",
            "dialect": network.dialect.name,
            "input": {"width": width, "height": height, "channels": channels},
            "parameters": network.parameter_count,
            "thresh": network.dialect.detector_thresh if engine.detects else None,
            "names": network.names,
            "version": __version__,
        }


def _add_state(app: FastAPI, service: Service) -> None:
    page = PAGE.read_text(encoding="utf-8")

    @app.get("/healthz", response_class=PlainTextResponse, summary="Whether requests are taken")
    async def health() -> Response:
        alive = service.engine.is_alive
        return PlainTextResponse("ok\n" if alive else "stopping\n", 200 if alive else 503)

    @app.get("/metrics", response_class=PlainTextResponse, summary="Counts in the text form of Prometheus",
             dependencies=[Depends(service.check_token)])  # fmt: skip
    async def metrics() -> Response:
        return PlainTextResponse(service.metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def index() -> Response:
        policy = "default-src 'self' 'unsafe-inline'; img-src blob: data:; media-src blob:"
        return HTMLResponse(page, headers={"Content-Security-Policy": policy})
