"""`serve` and `live`: a network as a service over HTTP; a training run in the browser, or its metrics as a table."""

import contextlib
import threading
from typing import Any

import click

from ...errors import OptionError
from ..console import note
from ..loading import load_model
from ..options import FILE, FiniteFloat, address_options, command, flag, note_open


@command(
    "serve", "cfg weights", address_options(default_port=8080),
    flag("token TOKEN", envvar="PYDARKNET_TOKEN", help="Answer only requests with the header Authorization: Bearer "
         "TOKEN; also in $PYDARKNET_TOKEN."),
    flag("copies N", type=click.IntRange(1, 64), help="Copies of the network, each of which computes a picture at the "
         "same time (default: one for each processor, up to 1 GiB)."),
    flag("batch N", type=click.IntRange(1, 64), default=1, help="Up to N waiting pictures share a forward pass."),
    flag("queue N", type=click.IntRange(1, 10_000), default=64, help="Requests in progress at a time; further ones are "
         "answered with 429."),
    flag("max_body MB", type=FiniteFloat(min=0.001), default=20, help="The largest request, in megabytes."),
    flag("max_pixels MP", type=FiniteFloat(min=0.001), default=50, help="The largest picture, in megapixels."),
    "size names network",
)  # fmt: skip
def serve_command(cfg: str, weights: str, **options: Any) -> None:
    """Run a network as an HTTP service: POST /v1/detect or /v1/classify, and a web page.

    Needs the extra `serve`. After SIGTERM or Ctrl-C, the requests in progress are finished first.

    \b
    Examples:
      pydarknet serve cfg/yolov4-tiny.cfg yolov4-tiny.weights
      curl --data-binary @dog.jpg 'http://127.0.0.1:8080/v1/detect?thresh=0.3'
    """
    try:
        from ...server.app import Limits, make_app, run
        from ...server.engine import Engine
        from ...utils.http_server import listen, url_of
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn", "python_multipart"):
            raise
        raise OptionError(f"serve needs the package {error.name}: pip install 'pydarknet[serve]'") from None
    listening = listen(options["bind"], options["port"])
    model = load_model(cfg, weights, options)
    engine = Engine(
        model,
        copies=options["copies"],
        batch=options["batch"],
        capacity=options["queue"],
        max_pixels=int(1e6 * options["max_pixels"]),
    )
    note_open(options["bind"], options["token"])
    limits = Limits(body=int(1e6 * options["max_body"]))
    app = make_app(engine, address=options["bind"], token=options["token"], limits=limits)
    try:
        # uvicorn finishes, then raises the signal again. A requested end is not a failure.
        with contextlib.suppress(click.exceptions.Exit, KeyboardInterrupt):
            run(app, listening, lambda: note(f"{cfg}: listening on {url_of(*listening.getsockname()[:2])}"))
    finally:
        engine.close()


@command(
    "live", click.argument("run", type=FILE), address_options(default_port=8090),
    flag("token TOKEN", envvar="PYDARKNET_TOKEN", help="Viewers need ?token=TOKEN in the address; also in "
         "$PYDARKNET_TOKEN."),
    flag("csv FILE", "csv_file", type=FILE, help="Write the metrics of all iterations as a CSV table, and exit."),
    flag("tensorboard DIR", type=FILE, help="Write the metrics for TensorBoard (extra `tensorboard`), and exit."),
)  # fmt: skip
def live_command(run: str, **options: Any) -> None:
    """Show a training run in the browser, while it runs or after it has ended.

    RUN is the folder of the run's weights and its train.jsonl, or the folder above.

    \b
    Examples:
      pydarknet live backup
      pydarknet live backup --csv figures.csv
    """
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
    with contextlib.closing(server), contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
