"""A whole training run: pictures from a list, one record an iteration, checkpoints that a killed run goes on from."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..config.sections import Section
from ..layers.heads.base import Head
from . import checkpoint
from .checkpoint import Progress
from .data import BatchSource, ListedImages, open_pictures, open_source
from .learner import Learner
from .metrics_log import HeadReport, IterationRecord, Measurement
from .run_writer import RunWriter
from .setup import File, TrainingSetup, TrainOptions
from .validation import Validator, examination_of


class Trainer:
    """A training run, set up but not yet begun: iterate over `run()` once.

    `options` are the fields of TrainOptions. Everything that can be found out before the first iteration is: sizes,
    memory, labels, the folder for the weights.
    """

    plan_class: type[TrainingSetup] = TrainingSetup

    def __init__(self, data: File | Section, cfg: File, weights: File | None = None, **options: Any) -> None:
        plan = self.plan = self.plan_class(data, cfg, weights, TrainOptions(**options))
        self.model = plan.model
        self.pictures = self._open_pictures()
        self.summary = self.pictures.check() if plan.options.checks else ""
        self.measuring = self._measuring()
        self.training = self.model.training = Learner(plan.model)
        self.iteration, self.average = plan.progress.iteration, plan.progress.average
        if plan.resumed is not None:
            width, height = plan.sizes.at(max(self.iteration - 1, plan.start), plan.start)
            self.training.resize(width, height, plan.sizes.batch_at(width, height))
            checkpoint.restore(plan.resumed, self.training)
        self.keeper = RunWriter(plan, self.training, len(self.pictures))
        self.source = self._open_source()
        self.seconds = 0.0  # that iterations took, waiting for pictures included
        self.finished = self.interrupted = self._stop = False

    def _open_pictures(self) -> ListedImages:
        return open_pictures(self.plan.data, self.plan.model)

    def _open_source(self) -> BatchSource:
        plan = self.plan
        threads = plan.options.threads or 2
        return open_source(self.pictures, self.model.batch, plan.seed, threads, plan.progress.position)

    def _measuring(self) -> Validator | None:
        """What measures the network, made before it is set up to learn."""
        plan = self.plan
        if not plan.options.measure:
            return None
        labels = getattr(self.pictures, "labels", ())
        examination = examination_of(plan.model, plan.data, labels, plan.options.measuring, plan.options.threads or 2)
        interval = examination.interval(len(self.pictures), plan.imgs)
        measuring = Validator(plan.model, examination, interval, plan.start)
        measuring.restore(plan.progress.measured)
        return measuring

    @property
    def waited(self) -> float:
        """Seconds in which the loader kept training waiting."""
        return self.source.waited

    def stop(self) -> None:
        """End after the iteration in progress, with a checkpoint. May be called from a signal handler."""
        self._stop = True

    def run(self) -> Iterator[IterationRecord]:
        """One record an iteration, given when its checkpoints are written. Raises DarknetError's children."""
        keeper = self.keeper
        try:
            keeper.begin(self.iteration)
            while not self._stop and self._goes_on():
                record = replace(self._learn(), measurement=self._measure_if_due())
                yield replace(record, saved=tuple(keeper.keep(record, self._progress())))
            if self._goes_on():
                self.interrupted = True
                keeper.save(keeper.naming.rolling, self._progress())
            else:
                keeper.save_final(self._progress())
            keeper.draw()
            self.finished = not self.interrupted
        finally:
            self.source.close()

    def _goes_on(self) -> bool:
        most = self.plan.max_batches
        return self.iteration < most or (not most and not self.model.heads)

    def _learn(self) -> IterationRecord:
        """One iteration's mini-batches and the update."""
        plan = self.plan
        sizes, subdivisions = plan.sizes, plan.subdivisions
        width, height = sizes.at(self.iteration, plan.start)
        batch = self.source.mini_batch = sizes.batch_at(width, height)
        resized = sizes.vary and (self.iteration - plan.start) % sizes.period == 0
        self.training.resize(width, height, batch)
        total, loading, began, reports = 0.0, 0.0, time.perf_counter(), []
        for _ in range(subdivisions):
            before = time.perf_counter()
            images, truth = self.source.next(width, height)
            loading += time.perf_counter() - before
            with np.errstate(all="ignore"):  # what is no number shows in the loss
                loss = float(self.training.step(images, truth))
            if not math.isfinite(loss):
                raise self.keeper.diverged(self.iteration + 1, f"the loss is {loss}")
            total += loss
            reports += self._reports()
        elapsed = time.perf_counter() - began
        self.seconds += elapsed
        self.iteration += 1
        return IterationRecord(
            iteration=self.iteration,
            loss=total / (batch * subdivisions),
            average=self._averaged(total / (batch * subdivisions)),
            rate=self.training.rate,
            images=self.iteration * plan.imgs,
            seconds=elapsed - loading,
            load_seconds=loading,
            width=width,
            height=height,
            batch=batch,
            heads=tuple(reports),
            resized=resized,
        )

    def _averaged(self, loss: float) -> float:
        before = loss if self.average is None or (self.plan.alexeyab and self.average < 0) else self.average
        self.average = 0.9 * before + 0.1 * loss
        return self.average

    def _reports(self) -> list[HeadReport]:
        heads = [(i, layer) for i, layer in enumerate(self.model.layers) if isinstance(layer, Head)]
        return [HeadReport(i, layer.kind, layer.training_line(i), layer.statistics) for i, layer in heads]

    def _measure_if_due(self) -> Measurement | None:
        measuring = self.measuring
        if measuring is None or not (self.iteration >= measuring.next or self.iteration == self.plan.max_batches):
            return None
        return measuring.measure(self.iteration)

    def _progress(self) -> Progress:
        """Where the run stands, for a checkpoint."""
        plan, measuring = self.plan, self.measuring
        return replace(
            plan.progress,
            iteration=self.iteration,
            average=self.average,
            position=self.source.position,
            measured=measuring.state() if measuring else plan.progress.measured,
        )


def train(data: File, cfg: File, weights: File | None = None, **options: Any) -> Iterator[IterationRecord]:
    """Train the network of a .cfg file on the pictures of a .data file and yield one record an iteration.

    weights: what to start from; a file that holds only the first layers gives only those. Options: the fields of
    TrainOptions. Raises the children of DarknetError.
    """
    return Trainer(data, cfg, weights, **options).run()
