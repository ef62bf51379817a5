"""The record of an iteration, and `train.jsonl`, the file of these records beside the weights, read again."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..errors import OptionError, OutputError
from ..evaluation import Report
from ..layers.heads.base import Statistics
from ..utils.files import read_text, write_file

METRICS_LOG, CHART = "train.jsonl", "chart.png"  # files in the folder of a run


@dataclass(frozen=True)
class HeadReport:
    """The statistics of one head for one mini-batch."""

    index: int
    kind: str
    line: str  # darknet's, without the line end
    statistics: Statistics


@dataclass(frozen=True)
class Measurement:
    """The result of one validation."""

    kind: str  # map, or accuracy of a classifier
    value: float  # 0 to 1
    best: float  # of this run, this measurement included
    seconds: float
    report: Report | None = None  # detectors
    missing: Sequence[Path] = ()  # label files that do not exist

    @property
    def is_best(self) -> bool:
        return self.value >= self.best


@dataclass
class IterationRecord:
    """One iteration. Hooks fill in `measurement` and `saved`, and a user's hook may add to `metrics`."""

    iteration: int  # counted from 1
    loss: float  # mean over the pictures
    average: float  # 0.9 of the previous average and 0.1 of the loss
    rate: float  # the learning rate
    images: int  # the number of iterations times the pictures of an iteration
    seconds: float  # of computing
    load_seconds: float  # of waiting for pictures
    width: int
    height: int
    batch: int  # pictures of a mini-batch
    heads: tuple[HeadReport, ...] = ()  # mini-batch by mini-batch
    resized: bool = False  # whether this iteration is the first at a newly drawn size
    measurement: Measurement | None = None  # made after this iteration
    saved: tuple[Path, ...] = ()  # weights written after this iteration
    metrics: dict[str, float] = field(default_factory=dict)  # other numbers for train.jsonl, by name

    def entry(self) -> dict[str, Any]:
        """The iteration's object in train.jsonl."""
        left_out = {"heads", "resized", "measurement", "saved", "metrics"}
        entry = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in left_out}
        if self.measurement is not None:
            entry[self.measurement.kind] = self.measurement.value
        return {**self.metrics, **entry}


def read_entries(log_path: Path) -> list[dict[str, Any]]:
    """The lines of `train.jsonl`, with NaN where it has null. Raises OutputError if it cannot be read."""
    try:
        lines = read_text(log_path, OutputError).splitlines()
        entries = [json.loads(line) for line in lines]
        return [{name: math.nan if value is None else value for name, value in entry.items()} for entry in entries]
    except ValueError as error:
        raise OutputError(f"{log_path}: cannot read: {error}") from error


def write_csv(entries: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Write a CSV table with a line for each iteration and a column for each name in the entries. Raises
    OutputError."""
    columns = list(dict.fromkeys(name for entry in entries for name in entry))
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(entries)
    write_file(path, text.getvalue().encode())


def write_tensorboard(entries: Sequence[Mapping[str, Any]], folder: str | Path) -> None:
    """Write a file of TensorBoard events into a folder, with a scalar for each number of an entry.

    Raises OptionError without the package tensorboardX, OutputError.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise OptionError("this needs the package tensorboardX: pip install 'pydarknet[tensorboard]'") from None
    try:
        with SummaryWriter(str(folder)) as writer:
            for entry in entries:
                for name in entry.keys() - {"iteration"}:
                    writer.add_scalar(name, entry[name], entry["iteration"])
    except OSError as error:
        raise OutputError(f"{folder}: cannot write: {error.strerror or error}") from error
