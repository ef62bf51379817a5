"""Hooks of a training run: its tasks besides learning, called before and after the run and each iteration.

The order of calls is fixed: earlier results are moved aside; validation, the user's hooks, train.jsonl, the best
weights, checkpoints, chart.png. A user's hook therefore sees the iteration's measurement, can add numbers to its line
in train.jsonl, and has its state in the iteration's checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import DivergedError, OptionError
from ..model import Model
from ..network.weights import Header
from ..utils.arrays import Array
from . import checkpoint
from .best_checkpoint import BestWeights
from .chart import Chart
from .checkpoint import Progress
from .checkpoint_schedule import CheckpointSchedule
from .learner import Learner
from .metrics_log import IterationRecord, MetricsLog
from .run_folder import is_in, set_aside
from .setup import TrainingSetup
from .state import COUNT, FINITE, check_values
from .validation import Validator


class Run(Protocol):
    """The interface of a training run (Trainer) for its hooks.

    iteration: the last finished one, 0 at first. average: the moving average of the loss; None before the first
    iteration. last_batch: the images and truth of the last mini-batch, as for `Model.train_step`; None before the
    first.
    """

    setup: TrainingSetup
    model: Model
    learner: Learner
    validator: Validator | None
    iteration: int
    average: float | None
    last_batch: tuple[Array, Sequence[Array]] | None
    interrupted: bool

    def stop(self) -> None:
        """End after the iteration in progress; `resume` can continue the run."""

    def finish(self, reason: str) -> None:
        """End after the iteration in progress, with the final weights, as if it were the last one."""

    def progress(self) -> Progress:
        """The state of the run, for a checkpoint."""

    def diverged(self, iteration: int, what: str) -> DivergedError:
        """The error for a loss or parameters that are not finite."""


class Hook:
    """One task of a training run. Every method does nothing unless a subclass overrides it.

    name: the hook's key in checkpoints, if it has a state; by default the name of the class.
    """

    name = ""

    def before_run(self, run: Run) -> None:
        """Called once, before the first iteration; not for a Trainer whose `run` is never iterated."""

    def before_step(self, run: Run) -> None:
        """Called before each iteration."""

    def after_step(self, run: Run, record: IterationRecord) -> None:
        """Called after each iteration with its record, which the hook may change."""

    def after_run(self, run: Run) -> None:
        """Called once, after the last iteration or after `stop`; not when an error ends the run."""

    def state_dict(self) -> dict[str, Any]:
        """The state that the hook needs after `resume`, as values for JSON; empty by default."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state of `state_dict`. Raises WeightsError for any other content."""

    @property
    def key(self) -> str:
        """The hook's key in checkpoints."""
        return self.name or type(self).__name__


class EarlierResults(Hook):
    """Moves results of an earlier run of the network to another folder, unless the run is resumed."""

    def __init__(self, final: str) -> None:
        """final: the name of the weights at a run's end."""
        self.final = final

    def before_run(self, run: Run) -> None:
        setup = run.setup
        if setup.resumed is None:
            weights = Path(setup.weights) if setup.weights is not None else None
            set_aside(setup.folder, setup.base, self.final, weights, run.model.header.seen)


class ValidationHook(Hook):
    """Validates the network when the validator requires it, and after the last iteration."""

    name = "validation"

    def __init__(self, validator: Validator) -> None:
        self.validator = validator

    def after_step(self, run: Run, record: IterationRecord) -> None:
        if record.iteration >= self.validator.next or record.iteration == run.setup.max_batches:
            record.measurement = self.validator.measure(record.iteration)

    def state_dict(self) -> dict[str, Any]:
        return self.validator.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        check_values(state, {"last": COUNT, "value": FINITE, "best": FINITE}, "validation")
        self.validator.load_state_dict(state)


class EarlyStopping(Hook):
    """Ends the run after `patience` consecutive validations without an improvement on the best one."""

    def __init__(self, patience: int) -> None:
        """Raises OptionError if patience is below 1."""
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

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_iteration": self.best_iteration, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        check_values(state, {"best": FINITE, "best_iteration": COUNT, "waited": COUNT}, self.key)
        self.best, self.best_iteration, self.waited = state["best"], state["best_iteration"], state["waited"]


class MetricsLogHook(Hook):
    """Writes a line of train.jsonl after each iteration."""

    def __init__(self, log: MetricsLog) -> None:
        self.log = log

    def before_run(self, run: Run) -> None:
        weights = run.setup.weights
        continues = run.iteration > 0 and weights is not None and is_in(run.setup.folder, Path(weights))
        self.log.start(run.iteration, keep=run.setup.resumed is not None or continues)

    def after_step(self, run: Run, record: IterationRecord) -> None:
        self.log.append(record.entry())


class BestCheckpointer(Hook):
    """Writes the weights of the best measurement."""

    def __init__(self, best: BestWeights) -> None:
        self.best = best

    def after_step(self, run: Run, record: IterationRecord) -> None:
        measurement = record.measurement
        if measurement is None or not measurement.is_best:
            return
        check_parameters(run)
        run.model.header = Header(*run.model.dialect.version, run.learner.seen)
        about: dict[str, Any] = {"kind": measurement.kind, "iteration": record.iteration, "seed": run.setup.seed}
        if measurement.report is not None:
            about["iou_thresh"] = measurement.report.iou_thresh
        path = self.best.save_if_best(run.model, measurement.value, about)
        record.saved += (path,) if path else ()


class Checkpointer(Hook):
    """Writes checkpoints on a schedule, and the final weights.

    last_saved: the newest checkpoint; None before the first.
    """

    name = "checkpoints"

    def __init__(self, setup: TrainingSetup, schedule: CheckpointSchedule) -> None:
        self.folder, self.base, self.schedule = setup.folder, setup.base, schedule
        self.last_saved = setup.resumed.weights if setup.resumed else None
        self._saved_at = setup.progress.iteration  # the iteration of last_saved

    def before_run(self, run: Run) -> None:
        checkpoint.clean(self.folder, self.base)

    def after_step(self, run: Run, record: IterationRecord) -> None:
        names = self.schedule.due(record.iteration, run.learner.seen)
        record.saved += tuple(self.save(run, name) for name in names)
        average = run.learner.ema
        if names and average is not None and average.begun:
            path = self.folder / f"{self.base}_ema.weights"
            average.save(path)
            record.saved += (path,)

    def after_run(self, run: Run) -> None:
        """Write the checkpoint to resume from, or the final weights, unless the run has resumed from that very file."""
        name = self.schedule.rolling if run.interrupted else self.schedule.final
        if (self.last_saved, self._saved_at) != (self.folder / name, run.iteration):
            self.save(run, name)

    def save(self, run: Run, name: str) -> Path:
        """Write a checkpoint and return its path. Raises DivergedError and OutputError."""
        check_parameters(run)
        path = checkpoint.save(self.folder, name, run.learner, run.progress())
        self.last_saved, self._saved_at = path, run.iteration
        return path

    def last_good(self) -> str:
        """The newest checkpoint, as the end of a message."""
        if self.last_saved is None:
            return "no checkpoint was written before"
        return f"the last checkpoint is {self.last_saved}" if self.last_saved.exists() else "no checkpoint is left"

    def state_dict(self) -> dict[str, Any]:
        return dict(self.schedule.saved)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        check_values(state, dict.fromkeys(self.schedule.saved, COUNT), self.name)
        self.schedule.saved.update(state)


class ChartHook(Hook):
    """Draws chart.png whenever weights are written, and at the end."""

    def __init__(self, chart: Chart) -> None:
        self.chart = chart

    def after_step(self, run: Run, record: IterationRecord) -> None:
        if record.saved:
            self.chart.draw()

    def after_run(self, run: Run) -> None:
        self.chart.draw()


def check_parameters(run: Run) -> None:
    """Raise DivergedError if a parameter is not finite, so that such weights are never written."""
    for index, layer in enumerate(run.model.layers):
        if not all(np.isfinite(record.array).all() for record in layer.named_parameters()):
            raise run.diverged(run.iteration, f"layer {index} [{layer.kind}] has parameters that are not finite")
