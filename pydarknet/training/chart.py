"""`chart.png`: loss and mAP over the iterations of `train.jsonl`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OptionError, OutputError
from ..utils.figure import new_figure, save_figure
from .metrics_log import read_entries

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger("pydarknet")

TOP = 20.0  # of the loss axis; AlexeyAB's `max_chart_loss`
MARGIN = 2.5  # the loss axis ends at least at this multiple of the last average
MEASURES = {"map": "mAP", "accuracy": "accuracy"}  # keys of train.jsonl, and their names in the chart


class Chart:
    """A chart that is redrawn from train.jsonl each time, so that the curve of a resumed run has no gap.

    top: the end of the loss axis; None: by the average loss. Without matplotlib, or if the file cannot be written,
    there is one warning and no chart; the run continues.
    """

    def __init__(self, path: Path, log_path: Path, title: str, max_batches: int, top: float | None = None) -> None:
        self.path, self.log_path, self.max_batches, self.top = path, log_path, max_batches, top
        self.title = title.replace("$", r"\$")  # matplotlib would parse a formula
        self._is_off = False

    def draw(self) -> None:
        """Write chart.png."""
        if self._is_off:
            return
        try:
            save_figure(self._figure(read_entries(self.log_path)), self.path)
        except (OptionError, OutputError) as error:
            self._is_off = True
            log.warning("%s is not drawn: %s", self.path.name, error)

    def _figure(self, entries: list[dict[str, Any]]) -> Figure:
        figure = new_figure()
        figure.set_size_inches(10, 7)
        axes = figure.subplots()
        iterations = [entry["iteration"] for entry in entries]
        axes.plot(iterations, [entry["loss"] for entry in entries], ".", color="tab:blue", markersize=2, alpha=0.3)
        averages = [entry["average"] for entry in entries]
        axes.plot(iterations, averages, color="tab:blue", label="average loss")
        axes.set_xlim(0, max([self.max_batches, *iterations[-1:], 1]))
        axes.set_ylim(0, self._top(averages))
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
        if self.top is not None:
            return self.top
        if not averages:
            return 1.0
        return min(1.05 * max(averages), max(TOP, MARGIN * averages[-1]))

    def _title(self, entries: list[dict[str, Any]]) -> str:
        if not entries:
            return self.title
        last = entries[-1]
        of = f" of {self.max_batches}" if self.max_batches else ""
        measured = [f", {name} {100 * e[key]:.1f} %" for e in entries for key, name in MEASURES.items() if key in e]
        now = f"iteration {last['iteration']}{of}, average loss {last['average']:.4f}"
        return f"{self.title}: {now}{''.join(measured[-1:])}"
