"""`live`: a training run in the browser, or its metrics as a table."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import click

from ..console import note
from ..options import FILE, Command, address_options, flag, note_open


@click.command("live", cls=Command)
@click.argument("run", type=FILE)
@address_options(default_port=8090)
@flag("token", envvar="PYDARKNET_TOKEN", metavar="TOKEN",
      help="Viewers need ?token=TOKEN in the address; also in $PYDARKNET_TOKEN.")  # fmt: skip
@flag(
    "csv", "csv_file", type=FILE, metavar="FILE", help="Write the metrics of all iterations as a CSV table, and exit."
)
@flag("tensorboard", type=FILE, metavar="DIR",
      help="Write the metrics for TensorBoard (extra `tensorboard`), and exit.")  # fmt: skip
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
        _convert(folder, options["csv_file"], options["tensorboard"])
        return
    server = LiveServer(folder, options["port"], options["bind"], options["token"])
    note_open(options["bind"], options["token"])
    server.start()
    note(f"{folder}: {server.url}")
    with contextlib.closing(server), contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


def _convert(folder: Any, csv_file: str | None, tensorboard: str | None) -> None:
    from ...training.metrics_log import METRICS_LOG, read_entries, write_csv, write_tensorboard

    entries = read_entries(folder / METRICS_LOG)
    if csv_file:
        write_csv(entries, csv_file)
    if tensorboard:
        write_tensorboard(entries, tensorboard)
