"""`serve` and `live`: a network as a service over HTTP; a training run in the browser, or its metrics as a
table.
"""

import contextlib
import threading
from typing import Any

import click

from ...errors import OptionError
from ...inference.video.mjpeg_server import Format, Stream
from ...utils.http_server import is_loopback, listen, url_of
from ..console import note
from ..loading import load_model


def open_stream(port: int, format_: Format, address: str, title: str) -> Stream:
    """A stream of messages over HTTP, and a line that says where it is. Raises OptionError."""
    stream = Stream(port, format_, address)
    note_open(address, None, "there is no password")
    note(f"{title} {stream.url}")
    return stream


def note_open(address: str, token: str | None, remedy: str = "--token TOKEN requires a token") -> None:
    """Tell who can use a server that listens on `address`, where that is everybody."""
    if not token and not is_loopback(address):
        note(f"{address}: everyone who can reach this port can use it; {remedy}")


def run_serve(cfg: str, weights: str, **options: Any) -> None:
    try:
        from ...server.app import Limits, Service, run
        from ...server.engine import Engine
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn", "python_multipart"):
            raise
        raise OptionError(f"serve needs the package {error.name}: pip install 'pydarknet[serve]'") from None
    listening = listen(options["bind"], options["port"])
    model = load_model(cfg, weights, options)
    engine = Engine(
        model, copies=options["copies"], batch=options["batch"], capacity=options["queue"],
        max_pixels=int(1e6 * options["max_pixels"]),
    )  # fmt: skip
    note_open(options["bind"], options["token"])
    app = Service(
        engine, address=options["bind"], token=options["token"], limits=Limits(body=int(1e6 * options["max_body"]))
    )
    try:
        # uvicorn finishes, then raises the signal again. A requested end is not a failure.
        with contextlib.suppress(click.exceptions.Exit, KeyboardInterrupt):
            run(app, listening, lambda: note(f"{cfg}: listening on {url_of(*listening.getsockname()[:2])}"))
    finally:
        engine.close()


def run_live(run: str, **options: Any) -> None:
    from ...server.live import LiveServer, find_run

    folder = find_run(run)
    if options["csv_file"] or options["tensorboard"]:
        from ...training.run_folder import METRICS_LOG, read_entries, write_csv, write_tensorboard

        entries = read_entries(folder / METRICS_LOG)
        if options["csv_file"]:
            write_csv(entries, options["csv_file"])
        if options["tensorboard"]:
            write_tensorboard(entries, options["tensorboard"])
        return
    server = LiveServer(folder, options["port"], options["bind"], options["token"])
    note_open(options["bind"], options["token"])
    server.start()
    note(f"{folder}: {server.url}")
    with server, contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
