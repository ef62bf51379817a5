"""What a training run has to say about each of its iterations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..evaluation import Report
from ..layers.heads.targets import Statistics


@dataclass(frozen=True)
class HeadReport:
    """What a head has to say about one mini-batch."""

    index: int
    kind: str
    line: str  # darknet's, without the end of the line
    statistics: Statistics


@dataclass(frozen=True)
class Measurement:
    """How good the network was on the list `valid`."""

    kind: str  # map, or accuracy of a classifier
    value: float  # 0 to 1
    best: float  # of this run, this one included
    seconds: float
    report: Report | None = None  # detectors
    missing: Sequence[Path] = ()  # label files that are not there

    @property
    def is_best(self) -> bool:
        return self.value >= self.best


@dataclass(frozen=True)
class IterationRecord:
    """One iteration."""

    iteration: int  # counted from 1
    loss: float  # of one picture on average
    average: float  # 0.9 of the former one and 0.1 of the loss
    rate: float
    images: int  # seen by this run's counting: iterations times pictures of each
    seconds: float  # computing
    load_seconds: float  # waiting for pictures
    width: int
    height: int
    batch: int  # pictures of a mini-batch
    heads: tuple[HeadReport, ...] = ()  # mini-batch by mini-batch
    resized: bool = False  # whether this iteration is the first at a newly drawn size
    measurement: Measurement | None = None  # where one was due after it
    saved: tuple[Path, ...] = ()  # weights written after it

    def entry(self) -> dict[str, Any]:
        """What train.jsonl says about it."""
        left_out = {"heads", "resized", "measurement", "saved"}
        found = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in left_out}
        if self.measurement is not None:
            found[self.measurement.kind] = self.measurement.value
        return found
