"""When and under which names a run writes weights: checkpoints on darknet's schedules, and the best weights.

NAME_best.json belongs to NAME_best.weights and holds its hash and its measurement.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..network.network import Network
from ..network.weights import Header
from ..utils.files import hash_of, log, to_json, write_file
from . import checkpoint
from .checkpoint import NEW
from .hooks import Hook, IterationRecord, Run
from .setup import TrainingSetup
from .state import COUNT, check_values


@dataclass
class CheckpointSchedule:
    """The checkpoints that are due after an iteration, by dialect and kind of run.

    kind: detector, classifier or text. batch: pictures of an iteration. pictures: in the training list.
    intervals: in iterations, unless the kind of run has others. saved: when AlexeyAB's checkpoints of each kind
    were last saved.
    """

    base: str
    alexeyab: bool
    kind: str
    batch: int = 1
    pictures: int = 1
    weights_interval: int = 1000  # AlexeyAB's keys saveweights and savelast of the .data file
    last_interval: int = 100
    every: int | None = None
    saved: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, setup: TrainingSetup, pictures: int) -> "CheckpointSchedule":
        """pictures: in the training list."""
        data, is_text = setup.data, setup.kind == "text"
        intervals = 10000 if setup.max_batches >= 10000 else 1000, 100
        weights, last = setup.model.dialect.rnn_saves if is_text else intervals
        weights, last = data.positive("saveweights", weights), data.positive("savelast", last)
        saved = {} if is_text else dict.fromkeys(("weights", "last"), setup.progress.iteration)
        run = setup.base, setup.alexeyab, setup.kind, setup.imgs, pictures
        return cls(*run, weights, last, setup.options.save_every, saved)

    @property
    def rolling(self) -> str:
        """The checkpoint that each save overwrites."""
        return f"{self.base}_last.weights" if self.alexeyab and self.kind != "text" else f"{self.base}.backup"

    @property
    def final(self) -> str:
        """The weights at a run's end."""
        return f"{self.base}_final.weights" if self.alexeyab or self.kind != "classifier" else f"{self.base}.weights"

    def due(self, iteration: int, seen: int) -> list[str]:
        """The file names that are due now, the rolling one last."""
        number = iteration
        if self.kind == "text":
            numbered, rolls = iteration % self.weights_interval == 0, iteration % self.last_interval == 0
        elif self.alexeyab:
            numbered, rolls = self._alexeyab(iteration)
        elif self.kind == "detector":
            numbered, rolls = iteration % (100 if iteration < 1000 else 10000) == 0, iteration % 100 == 0
        else:
            number = seen // self.pictures  # epochs
            numbered, rolls = number > (seen - self.batch) // self.pictures, iteration % 1000 == 0
        rolls = rolls or (self.every is not None and iteration % self.every == 0)
        names = [f"{self.base}_{number}.weights"] if numbered else []
        return [*names, self.rolling] if rolls else names

    def _alexeyab(self, iteration: int) -> tuple[bool, bool]:
        is_detector = self.kind == "detector"
        weights, last = (self.weights_interval, self.last_interval) if is_detector else (1000, 100)
        numbered = self._is_due("weights", iteration, weights, multiples=is_detector)
        rolls = weights > last and self._is_due("last", iteration, last, multiples=is_detector and iteration > 1)
        return numbered, rolls

    def _is_due(self, kind: str, iteration: int, interval: int, multiples: bool) -> bool:
        due = iteration >= self.saved[kind] + interval or (multiples and iteration % interval == 0)
        if due:
            self.saved[kind] = iteration
        return due


class Checkpointer(Hook):
    """Writes checkpoints, and the final weights. last_saved: the newest."""

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
        if names and average is not None and average.averages:
            path = self.folder / f"{self.base}_ema.weights"
            average.save(path)
            record.saved += (path,)

    def after_run(self, run: Run) -> None:
        """Nothing is written if the run has resumed from that very file."""
        name = self.schedule.rolling if run.interrupted else self.schedule.final
        if (self.last_saved, self._saved_at) != (self.folder / name, run.iteration):
            self.save(run, name)

    def save(self, run: Run, name: str) -> Path:
        """Raises DivergedError and OutputError."""
        check_parameters(run)
        path = checkpoint.save(self.folder, name, run.learner, run.progress())
        self.last_saved, self._saved_at = path, run.iteration
        return path

    def last_good(self) -> str:
        """The newest checkpoint, as the end of a message."""
        if self.last_saved is None:
            return "no checkpoint was written before"
        return f"the last checkpoint is {self.last_saved}" if self.last_saved.exists() else "no checkpoint is left"

    def state_dict(self) -> dict[str, int]:
        return dict(self.schedule.saved)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        check_values(state, dict.fromkeys(self.schedule.saved, COUNT), self.name)
        self.schedule.saved.update(state)


class BestWeights(Hook):
    """NAME_best.weights, of the best measurement of all runs, and its sidecar."""

    def __init__(self, folder: Path, base: str) -> None:
        self.path = folder / f"{base}_best.weights"
        self.sidecar = folder / f"{base}_best.json"

    def after_step(self, run: Run, record: IterationRecord) -> None:
        measurement = record.measurement
        if measurement is None or not measurement.is_best:
            return
        check_parameters(run)
        run.model.header = Header(*run.model.dialect.version, run.learner.seen)
        about: dict[str, Any] = {"kind": measurement.kind, "iteration": record.iteration, "seed": run.setup.seed}
        if measurement.report is not None:
            about["iou_thresh"] = measurement.report.iou_thresh
        path = self.save_if_best(run.model, measurement.value, about)
        record.saved += (path,) if path else ()

    def record(self) -> dict[str, Any] | None:
        """The sidecar's content; None if there is none that belongs to the weights."""
        if not self.path.is_file():
            return None
        for candidate in (self.sidecar, self.sidecar.with_name(self.sidecar.name + NEW)):
            try:
                content = json.loads(candidate.read_text(encoding="utf-8"))
                if content["hash"] == hash_of(self.path):
                    return {**content, "value": float(content["value"])}
            except (OSError, ValueError, KeyError, TypeError):
                continue
        return None

    def save_if_best(self, network: Network, value: float, about: dict[str, Any]) -> Path | None:
        """Write the network's parameters, and return their path, unless the weights in the folder are better.

        about: further content of the sidecar. Weights without one, such as darknet's own, are renamed to
        NAME_best.old.weights. Raises OutputError.
        """
        known = self.record()
        if known is not None and known["value"] > value:
            what = f"{known.get('kind', 'value')} = {known['value']:f} of iteration {known.get('iteration', '?')}"
            log.warning("%s has %s, better than %f; it is kept", self.path, what, value)
            return None
        with checkpoint.writing_pair(network, self.path, self.sidecar) as (hash_, sidecar):
            if known is None and self.path.exists():
                aside = self.path.with_name(f"{self.path.stem}.old.weights")
                log.warning("%s: these weights have no record of their value; they are renamed to %s", self.path, aside)
                self.path.replace(aside)
            content = {**about, "value": value, "weights": self.path.name, "hash": hash_}
            write_file(sidecar, to_json(content, indent=1).encode() + b"\n")
        return self.path


def check_parameters(run: Run) -> None:
    """Raise DivergedError for one that is not finite, so that it is never written."""
    for index, layer in enumerate(run.model.layers):
        if not all(np.isfinite(array).all() for array in layer.parameters()):
            raise run.diverged(run.iteration, f"layer {index} [{layer.kind}] has parameters that are not finite")
