"""The setup of a training run: options, the network with parameters, progress, input sizes, pictures."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from ..config.dialect import Dialect
from ..config.sections import Option, Section, read_config, read_data
from ..datasets.training_sets import ClassificationDataset, DetectionDataset
from ..errors import OptionError
from ..evaluation.evaluate import check_finite
from ..layers.heads.base import Head
from ..layers.heads.detection import DetectionHead
from ..model import Model, load_model
from ..network.weights import Header
from ..utils.arrays import check_memory
from . import checkpoint
from .checkpoint import Progress, base_name
from .learner import mini_batch
from .multiscale import MultiScaleSchedule, training_bytes

log = logging.getLogger("pydarknet")

File = str | os.PathLike[str]


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

    seed: of all random numbers. threads: that compute, and that load pictures. max_batches: instead of the cfg's.
    clear: count iterations from 0, not from the weights' images seen. dialect: auto, pjreddie or alexeyab. backup: the
    folder for weights, instead of the .data file's. resume: continue from the newest checkpoint there, if it has one.
    checks: of all labels, before the run. save_every: iterations between further checkpoints. allow_partial: accept
    weights with more numbers than the network has. measure: mAP (classifiers: accuracy) on the list `valid`, and keep
    the best weights. min_size: the smallest side of pjreddie's multi-scale training, instead of 320 pixels.
    chart: draw chart.png.
    """

    seed: int | None = None
    threads: int | None = None
    max_batches: int | None = None
    clear: bool = False
    dialect: str = "auto"
    backup: File | None = None
    resume: bool = False
    checks: bool = True
    save_every: int | None = None
    allow_partial: bool = False
    measure: bool = False
    measuring: MeasuringOptions = MeasuringOptions()
    min_size: int | None = None
    chart: bool = True

    def __post_init__(self) -> None:
        for name in ("max_batches", "save_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name} {value}: expected at least 1")


class TrainingSetup:
    """The network of a run with its parameters, before a learner is created.

    kind: detector, classifier, or text. imgs: pictures of an iteration. start: the iteration after which the run began.
    """

    def __init__(
        self, data: File | Section, cfg: File, weights: File | None, options: TrainOptions, is_text: bool
    ) -> None:  # fmt: skip
        """data: a .data file, or its content. Raises DarknetError."""
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

    def _build(self, cfg: File) -> Model:
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
    """The training set: with boxes for a network with heads, else with classes. Raises DataError, ConfigError."""
    net = model.config.net
    heads = [layer for layer in model.layers if isinstance(layer, Head)]
    if heads:
        return detection_set(data, net, heads[-1], model.dialect)
    tree = next((tree for layer in model.layers if (tree := getattr(layer, "tree", None)) is not None), None)
    return ClassificationDataset.from_config(data, net, model.classes, tree, model.dialect)


def detection_set(data: Section, net: Section, head: Head, dialect: Dialect) -> DetectionDataset:
    """The detection training set, with the options of a head. Raises DataError, ConfigError."""
    wanted = head.pictures
    return DetectionDataset.from_config(
        data, net, dialect, classes=head.classes, jitter=wanted.jitter, resize=wanted.resize,
        max_boxes=wanted.max_boxes, grid=isinstance(head, DetectionHead),
    )  # fmt: skip
