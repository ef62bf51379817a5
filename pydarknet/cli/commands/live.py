"""`live`: a training run in the browser, or its metrics as a table."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import click

from ..console import note
from ..options import FILE, address_options, command, flag, note_open


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
        from ...training.metrics_log import METRICS_LOG, read_entries, write_csv, write_tensorboard

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
