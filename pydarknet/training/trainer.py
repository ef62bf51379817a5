"""A training run: a loop over iterations, each of which yields a record; hooks do everything else."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from ..config.sections import Section
from ..datasets.dataloader import DataLoader, Text, TextStreams
from ..datasets.training_sets import ClassificationDataset, DetectionDataset
from ..errors import DivergedError, OptionError, OutputError
from ..layers.heads.base import Head
from ..runtime.compile_time import clock
from ..utils.arrays import Array
from ..utils.files import make_folder
from . import checkpoint
from .checkpoint import Progress
from .checkpoint_schedule import BestWeights, Checkpointer, CheckpointSchedule
from .hooks import Hook
from .learner import Learner
from .metrics_log import CHART, METRICS_LOG, HeadReport, IterationRecord
from .run_folder import Chart, EarlierResults, MetricsLog
from .setup import File, TrainingSetup, TrainOptions, open_pictures
from .validation import Validator, choose_metric


class Trainer:
    """A training run. Create it, then iterate over `run()` once.

    hooks: the user's own, see hooks.Hook. options: the fields of TrainOptions. The constructor checks all that can be
    checked before the first iteration: sizes, memory, labels, write access to the folder. Raises DarknetError.

    iteration: the last finished one. average: the moving average of the loss. seconds: the time of all iterations,
    including waiting for pictures, without compilation. finished, interrupted: how the run ended; both are False before
    the end and after an error. finish_reason: why a hook ended the run, else "".
    """

    is_text = False  # whether the run learns a text

    def __init__(
        self,
        data: File | Section,
        cfg: File,
        weights: File | None = None,
        *,
        hooks: Sequence[Hook] = (),
        **options: Any,
    ) -> None:
        setup = self.setup = TrainingSetup(data, cfg, weights, TrainOptions(**options), self.is_text)
        self.model = setup.model
        self.dataset = self._open_dataset()
        self.summary = self.dataset.check() if setup.options.checks else ""
        self.validator = self._make_validator()  # copies the network, before training memory is added to it
        self.learner = self.model.training = Learner(setup.model)
        self.iteration, self.average = setup.progress.iteration, setup.progress.average
        if setup.resumed is not None:
            width, height = setup.sizes.at(max(self.iteration - 1, setup.start), setup.start)
            self.learner.resize(width, height, setup.sizes.batch_at(width, height))
            checkpoint.restore(setup.resumed, self.learner)
        make_folder(setup.folder)
        self.checkpointer = Checkpointer(setup, CheckpointSchedule.of(setup, len(self.dataset)))
        self.best = BestWeights(setup.folder, setup.base)
        self.hooks = self._all_hooks(hooks)
        self._load_hooks()
        self.source = self._open_source()
        self.seconds = 0.0
        self.last_batch: tuple[Array, Sequence[Array]] | None = None
        self.finished = self.interrupted = self._stop = False
        self.finish_reason = ""

    def _open_dataset(self) -> DetectionDataset | ClassificationDataset | Text:
        return open_pictures(self.setup.data, self.setup.model)

    def _open_source(self) -> DataLoader | TextStreams:
        """The source of mini-batches, which depend only on its position."""
        setup, pictures = self.setup, self.dataset
        assert not isinstance(pictures, Text)
        threads, position = setup.options.threads or 2, setup.progress.position
        return DataLoader(pictures, self.model.batch, setup.seed, threads=threads, position=position)

    def _make_validator(self) -> Validator | None:
        setup = self.setup
        if not setup.options.measure:
            return None
        labels = getattr(self.dataset, "labels", ())
        metric = choose_metric(setup.model, setup.data, labels, setup.options.measuring, setup.options.threads or 2)
        return Validator(setup.model, metric, metric.interval(len(self.dataset), setup.imgs), setup.start)

    def _all_hooks(self, hooks: Sequence[Hook]) -> list[Hook]:
        """The user's hooks and the run's own, in the order that `hooks.py` describes."""
        setup, log = self.setup, MetricsLog(self.setup.folder / METRICS_LOG)
        measuring = [self.validator] if self.validator else []
        found = [
            EarlierResults(self.checkpointer.schedule.final),
            *measuring,
            *hooks,
            log,
            self.best,
            self.checkpointer,
        ]
        if setup.options.chart:
            top = setup.net.real("max_chart_loss", 0.0) or None
            found.append(Chart(setup.folder / CHART, log.path, setup.base, setup.max_batches, top))
        return found

    def _load_hooks(self) -> None:
        """Restore the hooks' states from the checkpoint. Raises WeightsError, and OptionError for a repeated key."""
        resumed, states = self.setup.resumed, self.setup.progress.hooks
        keys = [hook.key for hook in self.hooks if hook.has_state]
        for key in keys:
            if keys.count(key) > 1:
                raise OptionError(f"{keys.count(key)} hooks are called {key}; expected different names")
        for hook in self.hooks:
            if resumed is not None and hook.key in states:
                with checkpoint.naming_file(resumed, self.model):
                    hook.load_state_dict(states[hook.key])

    @property
    def waited(self) -> float:
        """The seconds that training has waited for pictures."""
        return self.source.waited

    def stop(self) -> None:
        """End after the iteration in progress, with a checkpoint. May be called from a signal handler."""
        self._stop = True

    def finish(self, reason: str) -> None:
        """End after the iteration in progress, with the final weights. reason: why, for `finish_reason`."""
        self.finish_reason = reason

    def run(self) -> Iterator[IterationRecord]:
        """Train, and yield a record after each iteration and its checkpoints. Raises DarknetError."""
        try:
            for hook in self.hooks:
                hook.before_run(self)
            while self._has_more() and not self._stop:
                for hook in self.hooks:
                    hook.before_step(self)
                record = self._run_iteration()
                with self._naming_last_checkpoint():
                    for hook in self.hooks:
                        hook.after_step(self, record)
                yield record
            self.interrupted = self._has_more()
            with self._naming_last_checkpoint():
                for hook in self.hooks:
                    hook.after_run(self)
            self.finished = not self.interrupted
        finally:
            self.source.close()

    @contextmanager
    def _naming_last_checkpoint(self) -> Iterator[None]:
        """Within the block, the message of an OutputError also names the last checkpoint."""
        try:
            yield
        except OutputError as error:
            raise OutputError(f"{error}; {self.checkpointer.last_good()}") from error

    def _has_more(self) -> bool:
        """Whether iterations are left. A classifier without max_batches trains until it is stopped, as in darknet."""
        most = self.setup.max_batches
        return not self.finish_reason and (self.iteration < most or (not most and not self.model.heads))

    def _run_iteration(self) -> IterationRecord:
        """Train on the mini-batches of one iteration, at its input size, and update the parameters."""
        setup = self.setup
        sizes, subdivisions = setup.sizes, setup.subdivisions
        width, height = sizes.at(self.iteration, setup.start)
        batch = self.source.mini_batch = sizes.batch_at(width, height)
        resized = sizes.vary and (self.iteration - setup.start) % sizes.period == 0
        self.learner.resize(width, height, batch)
        total, loading, began, reports = 0.0, 0.0, clock(), []
        for _ in range(subdivisions):
            before = clock()
            images, truth = self.source.next(width, height)
            loading += clock() - before
            self.last_batch = images, truth
            with np.errstate(all="ignore"):  # the loss shows overflows
                loss = float(self.learner.step(images, truth))
            if not math.isfinite(loss):
                raise self.diverged(self.iteration + 1, f"the loss is {loss}")
            total += loss
            reports += [
                HeadReport(i, layer.kind, layer.training_line(i), layer.statistics)
                for i, layer in enumerate(self.model.layers)
                if isinstance(layer, Head)
            ]
        elapsed = clock() - began
        self.seconds += elapsed
        self.iteration += 1
        loss = total / (batch * subdivisions)
        # AlexeyAB's darknet restarts the average if it is negative.
        before = loss if self.average is None or (setup.alexeyab and self.average < 0) else self.average
        self.average = 0.9 * before + 0.1 * loss
        return IterationRecord(
            iteration=self.iteration,
            loss=loss,
            average=self.average,
            rate=self.learner.lr,
            images=self.iteration * setup.imgs,
            seconds=elapsed - loading,
            load_seconds=loading,
            width=width,
            height=height,
            batch=batch,
            heads=tuple(reports),
            resized=resized,
        )

    def progress(self) -> Progress:
        """The state of the run for a checkpoint. It keeps the states of hooks that only the resumed run had."""
        states = {hook.key: state for hook in self.hooks if (state := hook.state_dict())}
        return replace(
            self.setup.progress,
            iteration=self.iteration,
            average=self.average,
            position=self.source.position,
            hooks={**self.setup.progress.hooks, **states},
        )

    def diverged(self, iteration: int, what: str) -> DivergedError:
        """The error for a run that diverged; `what` is its symptom."""
        return DivergedError(
            f"iteration {iteration}: {what}, at a learning rate of {self.learner.lr:g}; "
            f"{self.checkpointer.last_good()}. Try a lower learning_rate, a longer burn_in or a larger batch, and "
            "check the labels"
        )


def train(
    data: File, cfg: File, weights: File | None = None, *, hooks: Sequence[Hook] = (), **options: Any
) -> Iterator[IterationRecord]:
    """Train the network of a .cfg file on the pictures of a .data file and yield a record after each iteration.

    weights: initial weights; a file may hold only the first layers. hooks: see hooks.Hook. options: the fields of
    TrainOptions. Raises DarknetError.
    """
    return Trainer(data, cfg, weights, hooks=hooks, **options).run()
