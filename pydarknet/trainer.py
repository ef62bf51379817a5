"""A whole training run: pictures from a list, one record an iteration, checkpoints that a killed run goes on from."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from . import checkpoint
from .checkpoint import Naming, Progress, base_name
from .config import Option, Section, read_config, read_data
from .errors import DivergedError, OptionError, OutputError
from .journal import Journal
from .layers.head import Head
from .layers.head_training import Statistics
from .memory import check_memory
from .model import Model, load
from .sizes import Sizes, training_bytes
from .tensor import Array
from .training import Training, mini_batch
from .weights import Header

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger("pydarknet")

CLASSIFIER_PERIOD, DETECTOR_PERIOD = 40, 10  # iterations at one size
JOURNAL = "train.jsonl"
_SIZES = 0x517E  # sets the random numbers of sizes apart from others of the same seed


@dataclass(frozen=True)
class HeadReport:
    """What a head has to say about one mini-batch."""

    index: int
    kind: str
    line: str  # darknet's, without the end of the line
    statistics: Statistics


@dataclass(frozen=True)
class Record:
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
    heads: tuple[HeadReport, ...] = ()  # mini-batch by mini-batch
    resized: bool = False  # whether this iteration is the first at a newly drawn size
    saved: tuple[Path, ...] = ()  # checkpoints written after it

    def entry(self) -> dict[str, Any]:
        """What train.jsonl says about it."""
        left_out = {"heads", "resized", "saved"}
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in left_out}


class Pictures(Protocol):
    """A training list."""

    channels: int

    def __len__(self) -> int: ...

    def check(self, share: float = 0.5) -> str: ...

    def load(self, index: int, rng: np.random.Generator, width: int, height: int) -> tuple[Array, Array]: ...


class Source(Protocol):
    """What gives mini-batches; two that begin at one position give the same."""

    position: int
    waited: float

    def next(self, width: int, height: int) -> tuple[Array, Sequence[Array]]: ...

    def close(self) -> None: ...


def open_pictures(data: Section, model: Model) -> Pictures:
    """The training list of a .data file, as the network's last layer wants it."""
    from .class_dataset import ClassificationSet
    from .dataset import DetectionSet

    net = model.config.net
    heads = [layer for layer in model.layers if isinstance(layer, Head)]
    if heads:
        return DetectionSet.from_config(data, net, heads[-1], model.dialect)
    tree = next((tree for layer in model.layers if (tree := getattr(layer, "tree", None)) is not None), None)
    return ClassificationSet.from_config(data, net, model.classes, tree, model.dialect)


def open_source(pictures: Pictures, batch: int, seed: int, threads: int, position: int) -> Source:
    """Threads that prepare mini-batches of these pictures."""
    from .loader import Loader

    return Loader(pictures, batch, seed, threads=threads, position=position)


class Trainer:
    """A training run, set up but not yet begun: iterate over `run()` once.

    Options: see `train`. Everything that can be found out before the first iteration is: sizes, memory, labels,
    the folder for the weights.
    """

    def __init__(
        self,
        data: str | os.PathLike[str],
        cfg: str | os.PathLike[str],
        weights: str | os.PathLike[str] | None = None,
        *,
        seed: int | None = None,
        threads: int | None = None,
        max_batches: int | None = None,
        clear: bool = False,
        dialect: str = "auto",
        backup: str | os.PathLike[str] | None = None,
        resume: bool = False,
        checks: bool = True,
        save_every: int | None = None,
        allow_partial: bool = False,
    ) -> None:
        for name, value in (("max_batches", max_batches), ("save_every", save_every)):
            if value is not None and value < 1:
                raise OptionError(f"{name} {value}: expected at least 1")
        self.data = read_data(data)
        config = read_config(cfg)
        net = config.net
        self.images = net.positive("batch", 1)
        batch = mini_batch(self.images, net.positive("subdivisions", 1), net.positive("time_steps", 1))
        self.model = load(cfg, dialect=dialect, batch=batch, threads=threads, seed=0 if seed is None else seed)
        net = self.model.config.net
        if max_batches is not None:
            net.options.insert(0, Option("max_batches", str(max_batches), net.line))
        self.alexeyab = self.model.dialect.name == "alexeyab"
        self.max_batches = net.natural("max_batches", 0, 1 << 40)
        if self.model.heads and not self.max_batches:
            raise net.error("max_batches is missing; expected how many iterations to train for", "max_batches")
        self.folder = Path(self.data.text("backup", "backup") or "backup") if backup is None else Path(backup)
        self.base = base_name(cfg, backslashes=self.alexeyab)
        self.resumed = checkpoint.newest(self.folder, self.base) if resume else None
        self.last_saved = self.resumed.weights if self.resumed else None
        self.finished = self.interrupted = False
        self.save_every, self._stop = save_every, False
        progress = self._load(weights, seed, clear, allow_partial)
        self.seed, self.start, self.average = progress.seed, progress.start, progress.average
        self.model.seed = self.seed
        self._check_classes()
        self.sizes = Sizes.of(self.model, self.seed, self.max_batches)
        check_memory(
            training_bytes(self.model, *self.sizes.largest),
            f"{config.path}: training mini-batches of {batch} at {self.sizes.largest[0]} x {self.sizes.largest[1]}",
        )
        self.pictures = open_pictures(self.data, self.model)
        self.summary = self.pictures.check() if checks else ""
        self.training = self.model.training = Training(self.model)
        self.imgs = self.model.batch * self.training.subdivisions
        self.iteration = self.training.seen // self.imgs
        if self.resumed is None:
            self.start = self.iteration
            if self.max_batches and self.iteration >= self.max_batches:
                raise OptionError(
                    f"{weights}: has seen {self.training.seen} pictures, {self.iteration} iterations of {self.imgs}; "
                    f"max_batches={self.max_batches} leaves nothing to do. To count from 0, use clear (-clear)"
                )
            progress = Progress(self.start, self.start, None, 0, self.seed)
        else:
            self.iteration = progress.iteration
            self.training.resize(*self.sizes.at(max(self.iteration - 1, self.start), self.start))
            checkpoint.restore(self.resumed, self.training)
        self.naming = self._naming(progress)
        self._prepare_folder()
        self.source = open_source(self.pictures, self.model.batch, self.seed, threads or 2, progress.position)
        self.seconds = 0.0  # that iterations took, waiting for pictures included

    def _load(
        self, weights: str | os.PathLike[str] | None, seed: int | None, clear: bool, allow_partial: bool
    ) -> Progress:
        """Give the network its parameters; where the run stands, as far as that is known without training."""
        model = self.model
        if self.resumed is not None:
            checkpoint.check_fits(self.resumed, model, model.config.net.positive("subdivisions", 1))
            checkpoint.load_parameters(self.resumed, model)
            progress = self.resumed.progress
            if seed is not None and seed != progress.seed:
                log.warning("the run began with seed %d, which it keeps", progress.seed)
            return progress
        if weights is not None:
            model.loaded = model.load_weights(weights, allow_partial=True)
            if model.loaded.left_over and not allow_partial:
                model.load_weights(weights)  # raises, with what was expected and found
        if clear:
            model.header = Header(*model.dialect.version, 0)
        return Progress(0, 0, None, 0, 0 if seed is None else seed)

    def _check_classes(self) -> None:
        data, has = self.data, self.model.classes
        if data.has("classes") and (said := data.positive("classes", has)) != has:
            layer = self.model.layers[self.model.heads[-1] if self.model.heads else -1]
            raise data.error(
                f"classes={said}, but the network has {has} ({layer.section.path}:{layer.section.line}, "
                f"[{layer.kind}]); expected the same number",
                "classes",
            )

    def _naming(self, progress: Progress) -> Naming:
        saved = dict(progress.saved) or {"weights": self.iteration, "last": self.iteration}
        return Naming(
            self.base,
            self.alexeyab,
            bool(self.model.heads),
            self.imgs,
            len(self.pictures),
            weights_interval=self.data.positive("saveweights", 10000 if self.max_batches >= 10000 else 1000),
            last_interval=self.data.positive("savelast", 100),
            every=self.save_every,
            saved=saved,
        )

    def _prepare_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot make the folder: {error.strerror or error}") from error
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise OutputError(f"{self.folder}: cannot write to this folder")
        self.journal = Journal(self.folder / JOURNAL)

    @property
    def waited(self) -> float:
        """Seconds in which the loader kept training waiting."""
        return self.source.waited

    def stop(self) -> None:
        """End after the iteration in progress, with a checkpoint. May be called from a signal handler."""
        self._stop = True

    def run(self) -> Iterator[Record]:
        """One record an iteration, given when its checkpoints are written. Raises DarknetError's children."""
        try:
            checkpoint.clean(self.folder, self.base)
            self.journal.start(self.iteration, keep=self.resumed is not None or self.iteration > 0)
            while not self._stop and self._goes_on():
                yield self._iterate()
            if self._goes_on():
                self.interrupted = True
                self._save(self.naming.rolling)
            elif self.last_saved is None or self.last_saved.name != self.naming.final:
                self._save(self.naming.final)
            self.finished = not self.interrupted
        finally:
            self.source.close()

    def _goes_on(self) -> bool:
        return self.iteration < self.max_batches or (not self.max_batches and not self.model.heads)

    def _iterate(self) -> Record:
        width, height = self.sizes.at(self.iteration, self.start)
        resized = self.sizes.vary and (self.iteration - self.start) % self.sizes.period == 0
        self.training.resize(width, height)
        total, loading, began, reports = 0.0, 0.0, time.perf_counter(), []
        for _ in range(self.training.subdivisions):
            before = time.perf_counter()
            images, truth = self.source.next(width, height)
            loading += time.perf_counter() - before
            with np.errstate(all="ignore"):  # what is no number shows in the loss
                loss = float(self.training.step(images, truth))
            if not math.isfinite(loss):
                raise self._diverged(self.iteration + 1, f"the loss is {loss}")
            total += loss
            reports += self._reports()
        elapsed = time.perf_counter() - began
        self.seconds += elapsed
        self.iteration += 1
        loss = total / self.imgs
        average = loss if self.average is None or (self.alexeyab and self.average < 0) else self.average
        self.average = 0.9 * average + 0.1 * loss
        record = Record(
            iteration=self.iteration,
            loss=loss,
            average=self.average,
            rate=self.training.rate,
            images=self.iteration * self.imgs,
            seconds=elapsed - loading,
            load_seconds=loading,
            width=width,
            height=height,
        )
        self.journal.append(record.entry())
        saved = [self._save(name) for name in self.naming.due(self.iteration, self.training.seen)]
        return Record(**{**vars(record), "heads": tuple(reports), "resized": resized, "saved": tuple(saved)})

    def _reports(self) -> list[HeadReport]:
        heads = [(i, layer) for i, layer in enumerate(self.model.layers) if isinstance(layer, Head)]
        return [HeadReport(i, layer.kind, layer.training_line(i), layer.statistics) for i, layer in heads]

    def _save(self, name: str) -> Path:
        for index, layer in enumerate(self.model.layers):
            if not all(np.isfinite(record.array).all() for record in layer.records()):
                raise self._diverged(self.iteration, f"layer {index} [{layer.kind}] has parameters that are not finite")
        progress = Progress(
            self.iteration, self.start, self.average, self.source.position, self.seed, dict(self.naming.saved)
        )
        try:
            self.last_saved = checkpoint.save(self.folder, name, self.training, progress)
        except OutputError as error:
            raise OutputError(f"{error}; {self._last_good()}") from error
        return self.last_saved

    def _last_good(self) -> str:
        return f"the last checkpoint is {self.last_saved}" if self.last_saved else "no checkpoint was written before"

    def _diverged(self, iteration: int, what: str) -> DivergedError:
        return DivergedError(
            f"iteration {iteration}: {what}, at a learning rate of {self.training.rate:g}; "
            f"{self._last_good()}. Try a lower learning_rate, a longer burn_in or more pictures in a batch, and look "
            "for wrong labels"
        )


def train(
    data: str | os.PathLike[str],
    cfg: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Iterator[Record]:
    """Train the network of a .cfg file on the pictures of a .data file and yield one record an iteration.

    weights: what to start from; a file that holds only the first layers gives only those. Options:
    seed: of everything random; one seed gives one result. threads: to compute with and to load with.
    max_batches: iterations, instead of the cfg's. clear: count iterations from 0 whatever the weights say.
    dialect: auto, pjreddie or alexeyab. backup: the folder for weights, instead of the .data file's.
    resume: go on from the newest checkpoint there; where there is none, begin. checks: whether all labels are looked
    at first. save_every: also write a checkpoint every so many iterations. allow_partial: accept weights that hold
    more than the network takes. Raises the children of DarknetError.
    """
    return Trainer(data, cfg, weights, **options).run()
