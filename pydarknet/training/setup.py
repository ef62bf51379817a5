"""The setup of a training run: options, the network with parameters, progress, pictures; the size of each
iteration.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..config.sections import Option, Section, read_config, read_data
from ..datasets.training_sets import ClassificationDataset, DetectionDataset
from ..errors import OptionError
from ..evaluation.evaluate import check_finite
from ..inference.classifier import tree_of_network
from ..inference.detector import heads_of
from ..layers.heads.base import Head
from ..layers.heads.detection import DetectionHead
from ..model import Model, load_model
from ..network.weights import Header
from ..tensor import Layout, Shape
from ..utils.arrays import check_memory
from ..utils.files import StrPath, log
from . import checkpoint
from .checkpoint import Progress, base_name
from .learner import mini_batch

CLASSIFIER_PERIOD, DETECTOR_PERIOD = 40, 10  # iterations at one size
SMALLEST, LARGEST = 320, 608  # pixels, sides of pjreddie's detectors
LAST_AT_LARGEST = 200  # iterations at the end of a run, which have the largest size
_SIZES = 0x517E  # part of the seed, so that sizes do not repeat the random numbers of other draws


@dataclass(frozen=True)
class MeasuringOptions:
    """Options of `detector train -map`. epochs: between validations."""

    thresh: float = 0.25
    iou_thresh: float = 0.5
    points: int = 0
    epochs: int = 4

    def __post_init__(self) -> None:
        check_finite(thresh=self.thresh, iou_thresh=self.iou_thresh)


@dataclass(frozen=True)
class TrainOptions:
    """Options of a training run.

    seed: of all random numbers. threads: that compute, and that load pictures. max_batches: instead of the
    cfg's. clear: count iterations from 0. dialect: auto, pjreddie or alexeyab. backup: the folder for weights.
    resume: from the newest checkpoint there. checks: of all labels, before the run. save_every: iterations
    between further checkpoints. allow_partial: accept weights with too many numbers. measure: on the list
    `valid`, and keep the best weights. min_size: of pjreddie's multi-scale training, instead of 320 pixels.
    decode: "scaled": JPEG files at half of their size or less, where that is twice the network's largest size.
    """

    seed: int | None = None
    threads: int | None = None
    max_batches: int | None = None
    clear: bool = False
    dialect: str = "auto"
    backup: StrPath | None = None
    resume: bool = False
    checks: bool = True
    save_every: int | None = None
    allow_partial: bool = False
    measure: bool = False
    measuring: MeasuringOptions = MeasuringOptions()
    min_size: int | None = None
    chart: bool = True
    decode: str = "whole"

    def __post_init__(self) -> None:
        for name in ("max_batches", "save_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name} {value}: expected at least 1")


class TrainingSetup:
    """The network of a run with its parameters, before a learner is created. Raises DarknetError.

    data: a .data file, or its content. kind: detector, classifier, or text. imgs: pictures of an iteration.
    start: the iteration after which the run began.
    """

    def __init__(
        self, data: StrPath | Section, cfg: StrPath, weights: StrPath | None, options: TrainOptions, is_text: bool
    ) -> None:  # fmt: skip
        self.options, self.weights = options, weights
        self.data = data if isinstance(data, Section) else read_data(data)
        self.model = self._build(cfg)
        self.net = net = self.model.config.net
        self.kind = "text" if is_text else "detector" if self.model.heads else "classifier"
        self.alexeyab = self.model.dialect.name == "alexeyab"
        self.subdivisions = net.positive("subdivisions", 1)
        self.imgs = self.model.batch * self.subdivisions
        self.max_batches = net.natural("max_batches", 0, 1 << 40)
        if self.model.heads and not self.max_batches:
            raise net.error("max_batches is missing; expected the number of iterations", "max_batches")
        self.folder = Path(options.backup or self.data.named_path("backup") or "backup")
        self.base = base_name(cfg, backslashes=self.alexeyab)
        self.resumed = checkpoint.newest(self.folder, self.base) if options.resume else None
        self.progress = self._begin() if self.resumed is None else self._resume(self.resumed)
        self.start, self.seed = self.progress.start, self.progress.seed
        self.model.seed = self.seed
        self.sizes = MultiScaleSchedule.of(self.model, self.seed, self.max_batches, self.progress.min_size)
        self._check_classes()
        width, height = self.sizes.largest
        what = f"{self.model.path}: training mini-batches of {self.model.batch} at {width} x {height}"
        check_memory(training_bytes(self.model, width, height, options.measure), what)

    def _build(self, cfg: StrPath) -> Model:
        options, config = self.options, read_config(cfg)
        net, seed = config.net, options.seed or 0
        model = load_model(config, dialect=options.dialect, batch=mini_batch(net), threads=options.threads, seed=seed)
        if options.max_batches is not None:
            net.options.insert(0, Option("max_batches", str(options.max_batches), net.line))
        return model

    def _begin(self) -> Progress:
        model, options, weights = self.model, self.options, self.weights
        if weights is not None:
            model.loaded = model.load_weights(weights, allow_partial=True)
            if model.loaded.left_over and not options.allow_partial:
                model.load_weights(weights)  # raises, with what was expected and found
        if options.clear:
            model.header = Header(*model.dialect.version, 0)
        seen = model.header.seen
        start = seen // self.imgs
        if self.max_batches and start >= self.max_batches:
            raise OptionError(
                f"{weights}: has seen {seen} pictures, {start} iterations of {self.imgs}; "
                f"max_batches={self.max_batches} leaves no iterations. To count from 0, use clear (-clear)"
            )
        return Progress(start, start, None, 0, options.seed or 0, min_size=options.min_size)

    def _resume(self, found: checkpoint.Checkpoint) -> Progress:
        checkpoint.check_fits(found, self.model, self.subdivisions)
        checkpoint.load_parameters(found, self.model)
        progress = found.progress
        for name, kept in (("seed", progress.seed), ("min_size", progress.min_size)):
            if getattr(self.options, name) not in (None, kept):
                log.warning("the run was started with %s %s, which it keeps", name, kept)
        return progress

    def _check_classes(self) -> None:
        data, has = self.data, self.model.classes
        if data.has("classes") and (said := data.positive("classes", has)) != has:
            layer = self.model.layers[self.model.heads[-1] if self.model.heads else -1]
            raise data.error(
                f"classes={said}, but the network has {has} ({layer.section.path}:{layer.section.line}, "
                f"[{layer.kind}]); expected the same number",
                "classes",
            )


def open_pictures(data: Section, model: Model) -> DetectionDataset | ClassificationDataset:
    """Of a detector or classifier, by the layers. Raises DataError, ConfigError."""
    net, dialect = model.config.net, model.dialect
    if not model.heads:
        return ClassificationDataset.from_config(data, net, model.classes, tree_of_network(model), dialect)
    head = heads_of(model)[-1]
    wanted = head.pictures
    return DetectionDataset.from_config(
        data, net, dialect, classes=head.classes, jitter=wanted.jitter, resize=wanted.resize,
        max_boxes=wanted.max_boxes, grid=isinstance(head, DetectionHead),
    )  # fmt: skip


# --- multi-scale training ---


@dataclass(frozen=True)
class MultiScaleSchedule:
    """The input size of each iteration: every `period` iterations one is drawn, from the seed alone."""

    width: int
    height: int
    period: int = 0  # 0: always the cfg's size
    rule: str = ""  # square, classifier, coefficient
    coefficient: float = 0.0
    step: int = 32
    seed: int = 0
    max_batches: int = 0
    smallest: int = SMALLEST  # side, of the rule "square"
    mini_batch: int = 1
    grows_batch: bool = False  # mini-batches are larger at smaller sizes

    @classmethod
    def of(cls, model: Model, seed: int, max_batches: int, smallest: int | None = None) -> "MultiScaleSchedule":
        """Read `random` of the last head, or of [net] for pjreddie's classifiers. smallest: instead of 320
        pixels.

        Raises OptionError for networks without that rule.
        """
        net, alexeyab = model.config.net, model.dialect.name == "alexeyab"
        rule: dict[str, Any] = {}
        head = model.layers[model.heads[-1]] if alexeyab and model.heads else model.layers[-1]
        random = head.pictures.random if isinstance(head, Head) else 0.0
        if not model.heads and not alexeyab and net.flag("random"):
            rule = {"rule": "classifier", "period": CLASSIFIER_PERIOD}
        elif random and not alexeyab:
            rule = {"rule": "square", "period": DETECTOR_PERIOD, "smallest": smallest or SMALLEST}
        elif random:
            rule = {
                "rule": "coefficient",
                "period": DETECTOR_PERIOD,
                "coefficient": 1.4 if random == 1 else random,
                "step": net.positive("resize_step", 32),
                "grows_batch": net.flag("dynamic_minibatch"),
            }
        if smallest is not None and "smallest" not in rule:
            raise OptionError(
                f"min_size {smallest}: only pjreddie's detectors with random=1 in the last layer change between "
                f"{SMALLEST} and {LARGEST}"
            )
        if smallest is not None and (smallest % 32 or not 32 <= smallest <= LARGEST):
            raise OptionError(f"min_size {smallest}: expected a multiple of 32 from 32 to {LARGEST}")
        width, height = model.input.width, model.input.height
        return cls(width, height, seed=seed, max_batches=max_batches, mini_batch=model.batch, **rule)

    @property
    def vary(self) -> bool:
        return self.period > 0

    @property
    def largest(self) -> tuple[int, int]:
        """(width, height)"""
        if self.rule == "coefficient":
            return self._scaled(max(self.coefficient, 1 / self.coefficient))
        side = {"square": LARGEST, "classifier": 448}.get(self.rule)
        return (side, side) if side else (self.width, self.height)

    def at(self, done: int, start: int) -> tuple[int, int]:
        """(width, height) after `done` iterations, in a run that started after `start`."""
        if not self.vary:
            return self.width, self.height
        done = start + (done - start) // self.period * self.period
        rng = np.random.default_rng([self.seed, _SIZES, done])
        if self.rule == "classifier":
            side = 32 * int(rng.integers(4, 15))
            return side, side
        if self.rule == "square":
            side = 32 * int(rng.integers(self.smallest // 32, LARGEST // 32 + 1))
            side = LARGEST if done + LAST_AT_LARGEST > self.max_batches else side
            return side, side
        if done == start or done > self.max_batches - 100:
            return self._scaled(self.coefficient)
        factor = 1 + (self.coefficient - 1) * rng.random()
        factor = 1 / factor if rng.random() < 0.5 else factor
        width, height = self._scaled(factor)
        if factor < 1 and (width > self.width or height > self.height):
            return self.width, self.height
        return width, height

    def batch_at(self, width: int, height: int) -> int:
        """With `dynamic_minibatch`, about 0.8 times the pictures that take as much memory as at the largest size."""
        if not self.grows_batch:
            return self.mini_batch
        fits = self.mini_batch * math.prod(self._scaled(self.coefficient)) // (width * height)
        return int(fits * 0.8) if int(fits * 0.8) > self.mini_batch else max(1, fits)

    def _scaled(self, factor: float) -> tuple[int, int]:
        sides = (math.floor(factor * side / self.step + 1 + 0.5) for side in (self.width, self.height))
        width, height = (max(1, steps) * self.step for steps in sides)
        return width, height


def training_bytes(model: Model, width: int, height: int, validates: bool = False) -> int:
    """An estimate of the memory for training: layers' outputs, deltas and arrays kept for backward passes;
    parameters, updates, packed for both passes, Adam's moments and averages. validates: with a second network."""
    given = Shape(model.input.channels, height, width)
    total = 4 * Layout(1, given, halo=1).size
    for layer, shape in zip(model.layers, model.shapes_at(given), strict=True):
        kept = 2 + layer.section.flag("batch_normalize")
        activation = getattr(layer, "activation", None)
        kept += activation is not None and activation.needs_input
        kept += layer.kind in ("convolutional", "conv", "deconvolutional")
        total += kept * 4 * Layout(1, shape, halo=1).size
    net = model.config.net
    copies = 5 + 2 * net.flag("adam") + bool(net.real("ema_alpha", 0.0)) + 2 * validates
    return total * model.batch + 4 * copies * model.parameter_count
