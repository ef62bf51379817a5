"""A training run in the browser: what a run's folder holds, as a page and a stream of events. Standard library
only.

The server reads files alone (`train.jsonl` and the folder `live`), so it shows runs of this process, of another
one, and of last week in the same way.
"""

import contextlib
import json
import mimetypes
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
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


class LiveServer(BoundedServer):
    """Serves the page of one run from `start` until `close`; never waits for a viewer. `url` is for a browser.

    port: 0 lets the system choose. token: what viewers have to know. Raises OptionError.
    """

    def __init__(self, run: Path, port: int, address: str = LOOPBACK, token: str | None = None) -> None:
        super().__init__(address, port, _Handler, token)
        self.run = run
        self.url += f"?token={token}" if token else ""


class _Handler(BoundedHandler):
    server: LiveServer

    def answer(self) -> None:
        name = unquote(urlsplit(self.path).path[1:])
        path = self.server.run / name
        if not name:
            self._send_file(PAGE, "text/html; charset=utf-8")
        elif name == "events":
            self._send_events()
        elif FILES.fullmatch(name) and path.is_file():
            self._send_file(path, mimetypes.guess_type(path.name)[0] or "application/octet-stream")
        else:
            self.send_text(404, "no such page")

    def _send_file(self, path: Path, kind: str) -> None:
        with path.open("rb") as stream:
            self.send_headers(200, kind, Content_Length=str(path.stat().st_size))
            shutil.copyfileobj(stream, self.wfile)

    def _send_events(self) -> None:
        """Server-sent events until the viewer goes: `log`, an array of lines of the log; `state`; `weights`."""
        self.send_headers(200, "text/event-stream")
        sent = time.monotonic()
        for kind, data in changes(self.server.run):
            now = time.monotonic()
            if kind or now - sent > ALIVE:
                self.wfile.write(b"event: %s\ndata: %s\n\n" % (kind.encode(), data) if kind else b": alive\n\n")
                sent = now


def changes(run: Path) -> Iterator[tuple[str, bytes]]:
    """(event, JSON) whenever a file of the run has changed, and ("", b"") after each look at them, for ever.

    The first `log` has the whole history, thinned out; a file that was cut or replaced is a `reset` and a new
    history.
    """
    seen: dict[str, bytes] = {}
    changed = 0  # when a file came into the folder or went
    for look, events in enumerate(_log_events(run / LOG)):
        yield from events
        before = changed
        with contextlib.suppress(OSError):
            changed = run.stat().st_mtime_ns
        listed = [("weights", _weights)] if changed != before or look % ANYWAY == 0 else []
        for kind, read in (("state", _state), *listed):
            if (data := read(run)) != seen.get(kind):
                seen[kind] = data
                yield kind, data
        yield "", b""
        time.sleep(POLL)


def _log_events(path: Path) -> Iterator[list[tuple[str, bytes]]]:
    file = at = 0
    while True:
        events = []
        with contextlib.suppress(OSError), path.open("rb") as stream:  # it is moved aside or not there yet
            status = os.fstat(stream.fileno())
            if status.st_ino != file or status.st_size < at:
                events.append(("reset", b"{}"))
                file, at = status.st_ino, 0
            stream.seek(at)
            content = stream.read()
            lines = content[: content.rfind(b"\n") + 1].splitlines()
            at += sum(map(len, lines)) + len(lines)
            if lines:
                events.append(("log", b"[" + b",".join(_thinned(lines)) + b"]"))
        yield events


def _thinned(lines: list[bytes]) -> list[bytes]:
    """At most POINTS of many lines: the last one, those with a measurement, and every so many of the others."""
    every, last = len(lines) // POINTS + 1, len(lines) - 1
    return [line for i, line in enumerate(lines) if i % every == 0 or i == last or MEASURED.search(line)]


def _state(run: Path) -> bytes:
    with contextlib.suppress(OSError):
        return (run / STATE).read_bytes()
    return json.dumps({"name": run.name, "status": "unknown", "max_batches": 0}).encode()  # a run without --live


def _weights(run: Path) -> bytes:
    found = []
    for path in run.glob("*.weights"):
        with contextlib.suppress(OSError):
            status = path.stat()
            found.append((status.st_mtime, {"name": path.name, "size": status.st_size}))
    return to_json([entry for _, entry in sorted(found, key=lambda each: each[0], reverse=True)]).encode()
