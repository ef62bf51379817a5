"""A training run in the browser: what a run's folder holds, as a page and a stream of events. Standard library only.

The server reads files alone (`train.jsonl` and the folder `live`), so it shows runs of this process, of another one,
and of last week in the same way.
"""

from __future__ import annotations

import json
import mimetypes
import re
import shutil
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ..errors import DataError
from ..utils.files import to_json
from ..utils.http_server import LOOPBACK, BoundedHandler, BoundedServer

PAGE = Path(__file__).with_name("live.html")
LOG, STATE = "train.jsonl", "live/state.json"
POINTS = 3000  # lines of the log that a new viewer gets; of a longer one every second, third, ...
POLL = 1.0  # seconds between two looks at the files
ANYWAY = 10  # looks, after which the weights are listed though their folder seems as before: its time is coarse
ALIVE = 15.0  # seconds after which a silent stream says that it is alive
MEASURED = re.compile(rb'"(map|accuracy)":')
FILES = re.compile(r"live/(batch|worst_\d+)\.jpg|chart\.png|[^/]+\.weights|[^/]+\.cfg|train\.jsonl|report/[^/]+")


def find_run(folder: str | Path) -> Path:
    """The folder that holds train.jsonl: this one or one directly in it. Raises DataError."""
    path = Path(folder)
    found = [each for each in (path / LOG, *sorted(path.glob(f"*/{LOG}"))) if each.is_file()]
    if not found:
        raise DataError(f"{folder}: no {LOG} here or in a folder directly below; expected the folder of a training run")
    return found[0].parent


class LiveServer:
    """Serves the page of one run from `start` until `close`; never waits for a viewer. `url` is for a browser."""

    def __init__(self, run: Path, port: int, address: str = LOOPBACK, token: str | None = None) -> None:
        """port: 0 lets the system choose. token: what viewers have to know. Raises OptionError."""
        self._server = BoundedServer(address, port, lambda *arguments: _Handler(run, *arguments), token)
        self.port = self._server.port
        self.url = self._server.url + (f"?token={token}" if token else "")

    def start(self) -> None:
        """Answer viewers, those among them that have come before."""
        self._server.start()

    def close(self) -> None:
        """Take no more viewers."""
        self._server.close()


class _Handler(BoundedHandler):
    def __init__(self, run: Path, *arguments: Any) -> None:
        self.run = run
        super().__init__(*arguments)

    def answer(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/":
            page = PAGE.read_bytes()
            self.send_headers(200, "text/html; charset=utf-8", Content_Length=str(len(page)))
            self.wfile.write(page)
        elif url.path == "/events":
            self._events()
        elif FILES.fullmatch(name := unquote(url.path[1:])) and (self.run / name).is_file():
            self._file(self.run / name)
        else:
            self.send_text(404, "no such page")

    def _file(self, path: Path) -> None:
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        with path.open("rb") as stream:
            self.send_headers(200, kind, Content_Length=str(path.stat().st_size))
            shutil.copyfileobj(stream, self.wfile)

    def _events(self) -> None:
        """Server-sent events until the viewer goes: `log`, an array of lines of the log; `state`; `weights`."""
        self.send_headers(200, "text/event-stream")
        sent = time.monotonic()
        for kind, data in changes(self.run):
            now = time.monotonic()
            if kind:
                self.wfile.write(b"event: %s\ndata: %s\n\n" % (kind.encode(), data))
                sent = now
            elif now - sent > ALIVE:
                self.wfile.write(b": alive\n\n")
                sent = now


def changes(run: Path) -> Iterator[tuple[str, bytes]]:
    """(event, JSON) whenever a file of the run has changed, and ("", b"") after each look at them, for ever.

    The first `log` has the whole history, thinned out; a file that was cut or replaced is a `reset` and a new history.
    """
    log = _Log(run / LOG)
    seen: dict[str, bytes] = {}
    changed = None  # when a file came into the folder or went
    for look in count():
        yield from log.new()
        before, changed = changed, _changed(run)
        listed = [("weights", _weights)] if changed != before or look % ANYWAY == 0 else []
        for kind, read in (("state", _state), *listed):
            if (data := read(run)) != seen.get(kind):
                seen[kind] = data
                yield kind, data
        yield "", b""
        time.sleep(POLL)


def _changed(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


class _Log:
    """The lines of train.jsonl that have come since the last look."""

    def __init__(self, path: Path) -> None:
        self._path, self._file, self._at = path, 0, 0

    def new(self) -> Iterator[tuple[str, bytes]]:
        if not self._path.is_file():
            return
        try:
            with self._path.open("rb") as stream:
                status = self._path.stat()
                if status.st_ino != self._file or status.st_size < self._at:
                    yield "reset", b"{}"
                    self._file, self._at = status.st_ino, 0
                stream.seek(self._at)
                content = stream.read()
        except OSError:  # it is moved aside or not there yet
            return
        lines = content[: content.rfind(b"\n") + 1].splitlines()
        self._at += sum(map(len, lines)) + len(lines)
        if lines:
            yield "log", b"[" + b",".join(_thinned(lines)) + b"]"


def _thinned(lines: list[bytes]) -> list[bytes]:
    """At most POINTS of many lines: the last one, those with a measurement, and every so many of the others."""
    every = len(lines) // POINTS + 1
    last = len(lines) - 1
    return [line for i, line in enumerate(lines) if i % every == 0 or i == last or MEASURED.search(line)]


def _state(run: Path) -> bytes:
    try:
        return (run / STATE).read_bytes()
    except OSError:  # a run without --live
        return json.dumps({"name": run.name, "status": "unknown", "max_batches": 0}).encode()


def _weights(run: Path) -> bytes:
    """Names and sizes of the weights, newest first."""
    found = []
    for path in run.glob("*.weights"):
        try:
            status = path.stat()
        except OSError:
            continue
        found.append((status.st_mtime, {"name": path.name, "size": status.st_size}))
    return to_json([entry for _, entry in sorted(found, key=lambda each: each[0], reverse=True)]).encode()
