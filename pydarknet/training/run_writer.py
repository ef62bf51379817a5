"""What a training run writes into its folder: weights when they are due, the best ones, the journal, the chart."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DivergedError, OutputError
from ..network.weights import Header
from . import checkpoint
from .best_checkpoint import BestWeights
from .chart import Chart
from .checkpoint import Progress
from .learner import Learner
from .metrics_log import METRICS_LOG, IterationRecord, Measurement, MetricsLog
from .setup import TrainingSetup

CHART = "chart.png"


class RunWriter:
    """The folder of a run. last_saved: the newest checkpoint."""

    def __init__(self, plan: TrainingSetup, training: Learner, pictures: int) -> None:
        """Make the folder and see that it can be written to. Raises OutputError."""
        self.plan, self.training, self.folder = plan, training, plan.folder
        self.naming = plan.naming(pictures)
        self.last_saved = plan.resumed.weights if plan.resumed else None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot make the folder: {error.strerror or error}") from error
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise OutputError(f"{self.folder}: cannot write to this folder")
        self.journal = MetricsLog(self.folder / METRICS_LOG)
        self._best = BestWeights(self.folder, plan.base)
        top = plan.net.real("max_chart_loss", 0.0) or None
        self._chart = Chart(self.folder / CHART, self.journal.path, plan.base, plan.max_batches, top)

    def begin(self, iteration: int) -> None:
        """Tidy up after runs that were killed; the journal goes on after `iteration`."""
        checkpoint.clean(self.folder, self.plan.base)
        self.journal.start(iteration, keep=self.plan.resumed is not None or iteration > 0)

    def keep(self, record: IterationRecord, progress: Progress) -> list[Path]:
        """Write all that is due after an iteration; the weights among it. Raises DivergedError and OutputError."""
        self.journal.append(record.entry())
        saved = self._save_best(record.iteration, record.measurement)
        names = self.naming.due(record.iteration, self.training.seen)
        if names:
            saved += [self.save(name, progress) for name in names] + self._save_average()
            self.draw()
        return saved

    def save(self, name: str, progress: Progress) -> Path:
        """Write a checkpoint. Raises DivergedError and OutputError."""
        self._check_parameters(progress.iteration)
        progress = Progress(**{**vars(progress), "saved": dict(self.naming.saved)})
        try:
            self.last_saved = checkpoint.save(self.folder, name, self.training, progress)
        except OutputError as error:
            raise OutputError(f"{error}; {self._last_good()}") from error
        return self.last_saved

    def save_final(self, progress: Progress) -> None:
        """Write the weights of the end, unless they are what the run went on from."""
        if self.last_saved is None or self.last_saved.name != self.naming.final:
            self.save(self.naming.final, progress)

    def _save_best(self, iteration: int, measurement: Measurement | None) -> list[Path]:
        if measurement is None or not measurement.is_best:
            return []
        self._check_parameters(iteration)
        model = self.plan.model
        model.header = Header(*model.dialect.version, self.training.seen)
        about: dict[str, Any] = {"kind": measurement.kind, "iteration": iteration, "seed": self.plan.seed}
        if measurement.report is not None:
            about["iou_thresh"] = measurement.report.iou_thresh
        path = self._best.offer(model, measurement.value, about)
        return [path] if path else []

    def _save_average(self) -> list[Path]:
        average = self.training.average
        if average is None or not average.begun:
            return []
        path = self.folder / f"{self.plan.base}_ema.weights"
        average.save(path)
        return [path]

    def draw(self) -> None:
        """Draw the chart."""
        if self.plan.options.chart:
            self._chart.draw()

    def _check_parameters(self, iteration: int) -> None:
        """Raise DivergedError rather than write what is no finite number."""
        for index, layer in enumerate(self.plan.model.layers):
            if not all(np.isfinite(record.array).all() for record in layer.named_parameters()):
                raise self.diverged(iteration, f"layer {index} [{layer.kind}] has parameters that are not finite")

    def _last_good(self) -> str:
        return f"the last checkpoint is {self.last_saved}" if self.last_saved else "no checkpoint was written before"

    def diverged(self, iteration: int, what: str) -> DivergedError:
        """The error that ends a run in which `what` happened."""
        return DivergedError(
            f"iteration {iteration}: {what}, at a learning rate of {self.training.rate:g}; "
            f"{self._last_good()}. Try a lower learning_rate, a longer burn_in or more pictures in a batch, and look "
            "for wrong labels"
        )
