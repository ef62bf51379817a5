"""A training run: a loop over iterations, each of which yields a record; hooks do everything else."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..config.sections import Section
from ..datasets.dataloader import DataLoader, Text, TextStreams
from ..datasets.training_sets import ClassificationDataset, DetectionDataset
from ..errors import DivergedError, OptionError, OutputError
from ..images.image import least_size
from ..layers.heads.base import Head
from ..model import Model
from ..runtime.compile_time import clock
from ..utils.arrays import Array
from ..utils.files import StrPath, make_folder
from ..utils.prefetch import THREADS
from . import checkpoint
from .checkpoint import Progress
from .checkpoint_schedule import BestWeights, Checkpointer, CheckpointSchedule
from .hooks import HeadReport, Hook, IterationRecord
from .learner import Learner
from .run_folder import CHART, METRICS_LOG, Chart, MetricsLog, set_aside
from .setup import TrainingSetup, TrainOptions, open_pictures
from .validation import make_validator

ROOM_TO_CROP = 2, 2  # scaled pictures have twice the network's size, since augmentation enlarges parts of them


@dataclass(frozen=True)
class MiniBatchResult:
    """waited: seconds, for its pictures."""

    loss: float
    waited: float
    heads: list[HeadReport]


def head_reports(model: Model) -> list[HeadReport]:
    """On the mini-batch that the network's heads have compared last."""
    heads = ((i, layer) for i, layer in enumerate(model.layers) if isinstance(layer, Head))
    return [HeadReport(i, layer.kind, layer.training_line(i), layer.statistics) for i, layer in heads]


class Trainer:
    """A training run, as hooks know it (hooks.Run). Create it, then iterate over `run()` once.

    options: the fields of TrainOptions. The constructor checks all that can be checked before the first
    iteration: sizes, memory, labels, write access to the folder. Raises DarknetError.

    seconds: of all iterations, with waiting for pictures, without compilation. finished, interrupted: how the
    run ended; both are False after an error. finish_reason: why a hook ended it, else "".
    """

    is_text = False
    learner_class: type[Learner] = Learner

    def __init__(
        self,
        data: StrPath | Section,
        cfg: StrPath,
        weights: StrPath | None = None,
        *,
        hooks: Sequence[Hook] = (),
        **options: Any,
    ) -> None:
        setup = self.setup = TrainingSetup(data, cfg, weights, TrainOptions(**options), self.is_text)
        self.model = setup.model
        self.dataset = self._open_dataset()
        self.summary = self.dataset.check() if setup.options.checks else ""
        labels = getattr(self.dataset, "labels", ())
        # It copies the network, before training memory is added to it.
        self.validator = make_validator(setup, len(self.dataset), labels) if setup.options.measure else None
        self.learner = self.model.training = self.learner_class(setup.model)
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
        self.seconds, self.finish_reason = 0.0, ""
        self._last_batch: tuple[Array, Sequence[Array]] | None = None
        self.finished = self.interrupted = self._stop = False

    def _open_dataset(self) -> DetectionDataset | ClassificationDataset | Text:
        setup = self.setup
        found, (width, height) = open_pictures(setup.data, setup.model), setup.sizes.largest
        found.pictures.least = least_size(setup.options.decode, (0, height, width), *ROOM_TO_CROP)
        return found

    def _open_source(self) -> DataLoader | TextStreams:
        setup, pictures = self.setup, self.dataset
        assert not isinstance(pictures, Text)
        threads, position = setup.options.threads or THREADS, setup.progress.position
        return DataLoader(pictures, self.model.batch, setup.seed, threads=threads, position=position)

    def _all_hooks(self, hooks: Sequence[Hook]) -> list[Hook]:
        setup, log = self.setup, MetricsLog(self.setup.folder / METRICS_LOG)
        measuring = [self.validator] if self.validator else []
        found: list[Hook] = [*measuring, *hooks, log, self.best, self.checkpointer]
        if setup.options.chart:
            top = setup.net.real("max_chart_loss", 0.0) or None
            found.append(Chart(setup.folder / CHART, log.path, setup.base, setup.max_batches, top))
        return found

    def _load_hooks(self) -> None:
        resumed, states = self.setup.resumed, self.setup.progress.hooks
        stateful = (hook for hook in self.hooks if hook.state or type(hook).state_dict is not Hook.state_dict)
        for key, count in Counter(hook.key for hook in stateful).items():
            if count > 1:
                raise OptionError(f"{count} hooks are called {key}; expected different names")
        for hook in self.hooks:
            if resumed is not None and hook.key in states:
                with checkpoint.naming_run(resumed, self.model):
                    hook.load_state_dict(states[hook.key])

    @property
    def last_batch(self) -> tuple[Array, Sequence[Array]] | None:
        """See hooks.Run."""
        return self._last_batch

    @property
    def waited(self) -> float:
        """Seconds, for pictures."""
        return self.source.waited

    def stop(self) -> None:
        """See hooks.Run. May be called from a signal handler."""
        self._stop = True

    def finish(self, reason: str) -> None:
        """See hooks.Run. reason: for `finish_reason`."""
        self.finish_reason = reason

    def run(self) -> Iterator[IterationRecord]:
        """Yield a record after each iteration and its checkpoints. Raises DarknetError."""
        setup = self.setup
        try:
            if setup.resumed is None:
                begins_with = None if setup.weights is None else Path(setup.weights)
                set_aside(
                    setup.folder, setup.base, self.checkpointer.schedule.final, begins_with, self.model.header.seen
                )
            self._call("before_run")
            while self._has_more() and not self._stop:
                self._call("before_step")
                record = self._run_iteration()
                with self._naming_last_checkpoint():
                    self._call("after_step", record)
                yield record
            self.interrupted = self._has_more()
            with self._naming_last_checkpoint():
                self._call("after_run")
            self.finished = not self.interrupted
        finally:
            self.source.close()

    def _call(self, when: str, *record: IterationRecord) -> None:
        for hook in self.hooks:
            getattr(hook, when)(self, *record)

    @contextmanager
    def _naming_last_checkpoint(self) -> Iterator[None]:
        try:
            yield
        except OutputError as error:
            raise OutputError(f"{error}; {self.checkpointer.last_good()}") from error

    def _has_more(self) -> bool:
        """A classifier without max_batches trains until it is stopped, as in darknet."""
        most = self.setup.max_batches
        return not self.finish_reason and (self.iteration < most or (not most and not self.model.heads))

    def _run_iteration(self) -> IterationRecord:
        setup, sizes = self.setup, self.setup.sizes
        width, height = sizes.at(self.iteration, setup.start)
        batch = self.source.mini_batch = sizes.batch_at(width, height)
        total, loading, began, reports = 0.0, 0.0, clock(), []
        for result in self._learn(width, height, batch):
            if not math.isfinite(result.loss):
                raise self.diverged(self.iteration + 1, f"the loss is {result.loss}")
            total += result.loss
            loading += result.waited
            reports += result.heads
        elapsed = clock() - began
        resized = sizes.vary and (self.iteration - setup.start) % sizes.period == 0
        self.seconds += elapsed
        self.iteration += 1
        loss = total / (batch * setup.subdivisions)
        # AlexeyAB's darknet restarts the average if it is negative.
        before = loss if self.average is None or (setup.alexeyab and self.average < 0) else self.average
        self.average = 0.9 * before + 0.1 * loss
        return IterationRecord(
            self.iteration, loss, self.average, self.learner.lr, images=self.iteration * setup.imgs,
            seconds=elapsed - loading, load_seconds=loading, width=width, height=height, batch=batch,
            heads=tuple(reports), resized=resized,
        )  # fmt: skip

    def _learn(self, width: int, height: int, batch: int) -> Iterator[MiniBatchResult]:
        """Train on the mini-batches of an iteration."""
        self.learner.resize(width, height, batch)
        for _ in range(self.setup.subdivisions):
            before = clock()
            images, truth = self._last_batch = self.source.next(width, height)
            waited = clock() - before
            with np.errstate(all="ignore"):  # the loss shows overflows
                loss = float(self.learner.step(images, truth))
            yield MiniBatchResult(loss, waited, head_reports(self.model))

    def progress(self) -> Progress:
        """See hooks.Run. It keeps the states of hooks that only the resumed run had."""
        states = {hook.key: state for hook in self.hooks if (state := hook.state_dict())}
        before = self.setup.progress
        hooks, at = {**before.hooks, **states}, self.source.position
        return replace(before, iteration=self.iteration, average=self.average, position=at, hooks=hooks)

    def diverged(self, iteration: int, what: str) -> DivergedError:
        """See hooks.Run."""
        return DivergedError(
            f"iteration {iteration}: {what}, at a learning rate of {self.learner.lr:g}; "
            f"{self.checkpointer.last_good()}. Try a lower learning_rate, a longer burn_in or a larger batch, and "
            "check the labels"
        )


def train(
    data: StrPath, cfg: StrPath, weights: StrPath | None = None, *, hooks: Sequence[Hook] = (), **options: Any
) -> Iterator[IterationRecord]:
    """Train the network of a .cfg file on the pictures of a .data file, and yield a record after each iteration.

    weights: initial ones; a file may hold only the first layers. hooks: see hooks.Hook. options: the fields of
    TrainOptions. Raises DarknetError.
    """
    return Trainer(data, cfg, weights, hooks=hooks, **options).run()
