"""Hooks of a training run, its tasks besides learning; and the record of an iteration, which they get.

The order is fixed: earlier results are moved aside; validation, the user's hooks, train.jsonl, the best weights,
checkpoints, chart.png.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Protocol

from ..errors import DivergedError, OptionError
from ..evaluation import Report
from ..layers.heads.base import Statistics
from ..model import Model
from ..utils.arrays import Array
from .checkpoint import Progress
from .learner import Learner
from .setup import TrainingSetup
from .state import COUNT, FINITE, Kind, check_values


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
    best: float = -1.0  # of this run, this measurement included
    seconds: float = 0.0
    report: Report | None = None  # detectors
    missing: Sequence[Path] = ()  # label files that do not exist

    @property
    def is_best(self) -> bool:
        return self.value >= self.best


@dataclass
class IterationRecord:
    """Hooks fill in `measurement` and `saved`; a user's hook may add to `metrics`."""

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


class Run(Protocol):
    """A training run (Trainer) as its hooks know it.

    iteration: the last finished one. average: the moving average of the loss; None before the first.
    """

    setup: TrainingSetup
    model: Model
    learner: Learner
    iteration: int
    average: float | None
    interrupted: bool

    @property
    def last_batch(self) -> tuple[Array, Sequence[Array]] | None:
        """The images and truth of the last mini-batch, as for `Model.train_step`; None before the first."""

    @property
    def validator(self) -> "Hook | None":
        """The hook that measures, if there is one."""

    def stop(self) -> None:
        """End after this iteration, with a checkpoint from which `resume` continues."""

    def finish(self, reason: str) -> None:
        """End after this iteration, with the final weights, as if it were the last one."""

    def progress(self) -> Progress:
        """For a checkpoint."""

    def diverged(self, iteration: int, what: str) -> DivergedError:
        """The error for a loss or parameters that are not finite."""


class Hook:
    """One task of a training run. Every method does nothing unless a subclass overrides it.

    name: its key in checkpoints, by default that of the class. state: the attributes in checkpoints, and what
    each must be there; a hook may write `state_dict` and `load_state_dict` itself instead.
    """

    name = ""
    state: ClassVar[Mapping[str, Kind]] = {}

    def before_run(self, run: Run) -> None:
        """Called once, before the first iteration."""

    def before_step(self, run: Run) -> None:
        """Called before each iteration."""

    def after_step(self, run: Run, record: IterationRecord) -> None:
        """Called after each iteration with its record, which the hook may change."""

    def after_run(self, run: Run) -> None:
        """Called once, after the last iteration or `stop`; not when an error ends the run."""

    def state_dict(self) -> dict[str, Any]:
        """What the hook needs after `resume`, as values for JSON."""
        return {name: getattr(self, name) for name in self.state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises WeightsError for what is no result of `state_dict`."""
        if self.state:
            check_values(state, self.state, self.key)
        for name in self.state:
            setattr(self, name, state[name])

    @property
    def key(self) -> str:
        """In checkpoints."""
        return self.name or type(self).__name__


class EarlyStopping(Hook):
    """Ends the run after `patience` (at least 1) validations without an improvement."""

    state: ClassVar[Mapping[str, Kind]] = {"best": FINITE, "best_iteration": COUNT, "waited": COUNT}

    def __init__(self, patience: int) -> None:
        if patience < 1:
            raise OptionError(f"patience {patience}: expected at least 1")
        self.patience, self.best, self.best_iteration, self.waited = patience, -1.0, 0, 0

    def before_run(self, run: Run) -> None:
        self._finish_if_due(run)

    def after_step(self, run: Run, record: IterationRecord) -> None:
        measurement = record.measurement
        if measurement is None:
            return
        if measurement.value > self.best:
            self.best, self.best_iteration, self.waited = measurement.value, record.iteration, 0
        else:
            self.waited += 1
        self._finish_if_due(run)

    def _finish_if_due(self, run: Run) -> None:
        if self.waited >= self.patience:
            run.finish(
                f"the best measurement, {self.best:.4f}, is of iteration {self.best_iteration}, and the {self.waited} "
                "since were no better"
            )
