"""The files in the folder of a training run besides weights: results of earlier runs, train.jsonl, chart.png.

A run overwrites files with darknet's names, and `resume` takes the checkpoint of the highest iteration. Results
of an earlier run are therefore moved to a folder NAME.old1, NAME.old2, ... inside.
"""

import csv
import io
import json
import math
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import OptionError, OutputError, WeightsError, needed_package
from ..network.weights import Header
from ..utils.figure import new_figure, save_figure
from ..utils.files import flush, is_same, log, output_errors, read_bytes, read_text, to_json, write_file
from .checkpoint import NEW, STATE
from .hooks import Hook, IterationRecord, Run

METRICS_LOG, CHART = "train.jsonl", "chart.png"
TOP = 20.0  # of the loss axis; AlexeyAB's `max_chart_loss`
MARGIN = 2.5  # the loss axis ends at least at this multiple of the last average
MEASURES = {"map": "mAP", "accuracy": "accuracy"}  # keys of train.jsonl, and their names in the chart


def set_aside(folder: Path, base: str, final: str, begins_with: Path | None, seen: int) -> Path | None:
    """Move results of earlier runs of the network `base` to a new folder inside, and return it if there are any.

    begins_with: the initial weights of the new run, which have seen `seen` images; they stay. If they are in
    this folder, weights that have not seen more stay too; so do best weights, whose sidecar records their
    measurement. final: the name of the weights at a run's end. Raises OutputError.
    """
    aside = next(path for n in range(1, 1 << 30) if not (path := folder / f"{base}.old{n}").exists())
    with output_errors(aside, "cannot move earlier results here"):
        continues = seen > 0 and _is_in(folder, begins_with)
        found = [path for path in _weights(folder, base, final) if not continues or _seen(path) > seen]
        if not found:
            return None
        aside.mkdir()
        for path in found:
            # The state goes first, because weights without a state are not taken for a checkpoint.
            for state in (path.with_name(path.name + STATE), path.with_name(path.name + STATE + NEW)):
                if state.exists():
                    state.replace(aside / state.name)
            _move(path, aside, keep=begins_with is not None and is_same(path, begins_with))
        for name in (METRICS_LOG, CHART):
            if (folder / name).exists():
                _move(folder / name, aside, keep=continues)
        flush(aside)
        flush(folder)
    what = found[0].name if len(found) == 1 else f"{found[0].name} and {len(found) - 1} more"
    log.warning(
        "%s: weights of an earlier run (%s) are now in %s; to continue that run, resume it there", folder, what, aside
    )
    return aside


def _is_in(folder: Path, path: Path | None) -> bool:
    return path is not None and is_same(path.parent, folder)


def _weights(folder: Path, base: str, final: str) -> list[Path]:
    name = re.escape(base)
    pattern = rf"{re.escape(final)}|{name}(\.backup|_final\.weights|_last\.weights|_ema\.weights|_\d+\.weights)"
    return sorted(path for path in folder.iterdir() if re.fullmatch(pattern, path.name) and path.is_file())


def _seen(path: Path) -> float:
    try:
        with path.open("rb") as stream:
            return Header.parse(str(path), stream.read(512))[0].seen
    except WeightsError:
        return math.inf


def _move(path: Path, aside: Path, keep: bool) -> None:
    shutil.copy2(path, aside / path.name) if keep else path.replace(aside / path.name)


class MetricsLog(Hook):
    """Writes train.jsonl: a line with a JSON object for each iteration."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def before_run(self, run: Run) -> None:
        weights = run.setup.weights
        continues = run.iteration > 0 and weights is not None and _is_in(run.setup.folder, Path(weights))
        self.start(run.iteration, keep=run.setup.resumed is not None or continues)

    def after_step(self, run: Run, record: IterationRecord) -> None:
        self.append(record.entry())

    def start(self, iteration: int, keep: bool) -> None:
        """Truncate the file after `iteration`; if it is of another run (not `keep`), rename it. Raises OutputError."""
        if not self.path.exists():
            return
        if not keep:
            with output_errors(self.path):
                self.path.replace(self.path.with_suffix(".old.jsonl"))
            return
        kept = []
        for line in read_bytes(self.path, OutputError).splitlines(keepends=True):
            if not line.endswith(b"\n") or not _is_up_to(line, iteration):
                break
            kept.append(line)
        write_file(self.path, b"".join(kept))

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add a line. Raises OutputError."""
        with output_errors(self.path), self.path.open("ab") as stream:
            stream.write(to_json(entry).encode() + b"\n")


def _is_up_to(line: bytes, iteration: int) -> bool:
    try:
        return int(json.loads(line)["iteration"]) <= iteration
    except (ValueError, KeyError, TypeError):
        return False


def read_entries(log_path: Path) -> list[dict[str, Any]]:
    """The lines of `train.jsonl`, with NaN where it has null. Raises OutputError."""
    try:
        entries = [json.loads(line) for line in read_text(log_path, OutputError).splitlines()]
        return [{name: math.nan if value is None else value for name, value in entry.items()} for entry in entries]
    except ValueError as error:
        raise OutputError(f"{log_path}: cannot read: {error}") from error


def write_csv(entries: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """A line for each iteration, a column for each name. Raises OutputError."""
    columns = list(dict.fromkeys(name for entry in entries for name in entry))
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(entries)
    write_file(path, text.getvalue().encode())


def write_tensorboard(entries: Sequence[Mapping[str, Any]], folder: str | Path) -> None:
    """A scalar for each number of an entry. Raises OptionError without tensorboardX, OutputError."""
    with needed_package("this needs the package tensorboardX", "'pydarknet[tensorboard]'"):
        from tensorboardX import SummaryWriter
    with output_errors(folder), SummaryWriter(str(folder)) as writer:
        for entry in entries:
            for name in entry.keys() - {"iteration"}:
                writer.add_scalar(name, entry[name], entry["iteration"])


class Chart(Hook):
    """Draws chart.png whenever weights are written, and at the end.

    It is made from train.jsonl each time, so that the curve of a resumed run has no gap. top: the end of the
    loss axis; None: by the average loss. If it cannot be drawn, there is one warning, and the run continues.
    """

    def __init__(self, path: Path, log_path: Path, title: str, max_batches: int, top: float | None = None) -> None:
        self.path, self.log_path, self.max_batches, self.top = path, log_path, max_batches, top
        self.title = title.replace("$", r"\$")  # matplotlib would parse a formula
        self._is_off = False

    def after_step(self, run: Run, record: IterationRecord) -> None:
        if record.saved:
            self.draw()

    def after_run(self, run: Run) -> None:
        self.draw()

    def draw(self) -> None:
        """Write chart.png, or say once why not."""
        if self._is_off:
            return
        try:
            save_figure(self._figure(read_entries(self.log_path)), self.path)
        except (OptionError, OutputError) as error:
            self._is_off = True
            log.warning("%s is not drawn: %s", self.path.name, error)

    def _figure(self, entries: list[dict[str, Any]]) -> Any:
        figure = new_figure()
        figure.set_size_inches(10, 7)
        axes = figure.subplots()
        iterations = [entry["iteration"] for entry in entries]
        axes.plot(iterations, [entry["loss"] for entry in entries], ".", color="tab:blue", markersize=2, alpha=0.3)
        averages = [entry["average"] for entry in entries]
        axes.plot(iterations, averages, color="tab:blue", label="average loss")
        axes.set(xlim=(0, max([self.max_batches, *iterations[-1:], 1])), ylim=(0, self._top(averages)))
        axes.set(xlabel="iteration", ylabel="loss", title=self._title(entries))
        axes.grid(alpha=0.3)
        handles = axes.get_legend_handles_labels()[0]
        for key, name in MEASURES.items():
            measured = [(entry["iteration"], 100 * entry[key]) for entry in entries if key in entry]
            if measured:
                other = axes.twinx()
                handles += other.plot(*zip(*measured, strict=True), color="tab:red", marker="o", label=f"{name}, %")
                other.set(ylabel=f"{name}, %", ylim=(0, 100))
        axes.legend(handles=handles, loc="upper right")
        return figure

    def _top(self, averages: list[float]) -> float:
        if self.top or not averages:
            return self.top or 1.0
        return min(1.05 * max(averages), max(TOP, MARGIN * averages[-1]))

    def _title(self, entries: list[dict[str, Any]]) -> str:
        if not entries:
            return self.title
        last = entries[-1]
        of = f" of {self.max_batches}" if self.max_batches else ""
        measured = [f", {name} {100 * e[key]:.1f} %" for e in entries for key, name in MEASURES.items() if key in e]
        now = f"iteration {last['iteration']}{of}, average loss {last['average']:.4f}"
        return f"{self.title}: {now}{''.join(measured[-1:])}"
