"""Validation during training: mAP of detectors, accuracy of classifiers, on the list `valid`.

A second network at the cfg's size gets a copy of the parameters, so that validation does not change the run.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from ..config.sections import Section
from ..evaluation import GroundTruth, evaluate
from ..evaluation.classification import BatchClassifier, ConfusionCounts, read_list
from ..evaluation.evaluate import Worst
from ..inference.classifier import middle
from ..model import Model
from ..network.network import Network
from ..runtime.compile_time import clock
from ..utils.prefetch import THREADS
from .hooks import Hook, IterationRecord, Measurement, Run
from .setup import MeasuringOptions, TrainingSetup
from .state import COUNT, FINITE, Kind

LEAST_INTERVAL = 100  # iterations between two validations, at least
ACCURACY_EPOCHS = 2  # between two validations of a classifier
WORST = 8  # pictures with most missed objects that a validation keeps


class ValidationMetric:
    """A metric and its schedule.

    epochs, least_interval (in iterations): between two validations. earliest: the first iteration that may have
    one.
    """

    kind, epochs, least_interval, earliest = "", 0, 0, 0

    def interval(self, pictures: int, batch: int) -> int:
        """In iterations. pictures: in the training list. batch: per iteration."""
        return max(self.least_interval, self.epochs * pictures // batch)

    def next(self, last: int, interval: int, burn_in: int) -> int:
        """The next iteration with a validation, after one at iteration `last`."""
        return max(last + interval, burn_in, self.earliest)

    def run(self, network: Network) -> Measurement:
        """Measure a network."""
        raise NotImplementedError


class AveragePrecision(ValidationMetric):
    """mAP on the list `valid`, or else `train`, as with `-map`. Raises DataError."""

    kind = "map"

    def __init__(self, model: Model, data: Section, options: MeasuringOptions, threads: int) -> None:
        self.options, self.threads = options, threads
        self.epochs, self.least_interval = options.epochs, LEAST_INTERVAL
        self.worst = Worst(WORST)  # of the last measurement
        self.truth = GroundTruth.from_data(data, model.classes, model.dialect, "valid", "train")

    def run(self, network: Network) -> Measurement:
        o = self.options
        self.worst = Worst(WORST)
        result = evaluate(
            network, self.truth, thresh=o.thresh, iou_thresh=o.iou_thresh, points=o.points, threads=self.threads,
            each=self.worst.add,
        )  # fmt: skip
        report = result.report
        return Measurement(self.kind, report.mean_average_precision, report=report, missing=self.truth.missing)


class Accuracy(ValidationMetric):
    """Top-k accuracy on the same list, as with `-topk`. Raises DataError and ConfigError."""

    kind, epochs = "accuracy", ACCURACY_EPOCHS

    def __init__(self, data: Section, labels: Sequence[str], threads: int) -> None:
        self.top, self.labels, self.threads = data.positive("top", 5), labels, threads
        self.earliest = LEAST_INTERVAL
        path = data.file("valid", "train")
        if path is None:
            raise data.error("valid= is missing: the list of validation pictures")
        self.pictures = read_list(path)

    def run(self, network: Network) -> Measurement:
        tally = ConfusionCounts(self.labels, self.top)
        for answer in BatchClassifier(network, self.pictures, middle, threads=self.threads):
            tally.add(answer)
        return Measurement(self.kind, tally.top_accuracy)


class Validator(Hook):
    """The validations of a run. last, value: of the last one. best: the best value.

    model: before a learner is made for it.
    """

    name = "validation"
    state: ClassVar[Mapping[str, Kind]] = {"last": COUNT, "value": FINITE, "best": FINITE}

    def __init__(self, model: Model, metric: ValidationMetric, interval: int, start: int) -> None:
        self.metric, self.interval = metric, interval
        self.model, self._copy = model, copy.deepcopy(model)
        self._burn_in = model.config.net.natural("burn_in", 0, 1 << 40)
        self.last, self.value, self.best = start, -1.0, -1.0

    @property
    def next(self) -> int:
        """When the next validation is due; the last iteration always has one."""
        return self.metric.next(self.last, self.interval, self._burn_in)

    def after_step(self, run: Run, record: IterationRecord) -> None:
        if record.iteration >= self.next or record.iteration == run.setup.max_batches:
            record.measurement = self.measure(record.iteration)

    def measure(self, iteration: int) -> Measurement:
        """Validate a copy of the parameters."""
        began = clock()
        for mine, its in zip(self._copy.layers, self.model.layers, strict=True):
            for array, other in zip(mine.parameters(), its.parameters(), strict=True):
                array[:] = other
        self._copy.parameters_changed()
        result = self.metric.run(self._copy)
        self.last, self.value, self.best = iteration, result.value, max(self.best, result.value)
        return replace(result, best=self.best, seconds=clock() - began)


def make_validator(setup: TrainingSetup, pictures: int, labels: Sequence[str]) -> Validator:
    """Of mAP for a network with heads, else of accuracy. pictures: in the training list. labels: of a
    classifier.

    Raises DataError and ConfigError before anything is computed.
    """
    model, data, options = setup.model, setup.data, setup.options.measuring
    threads = setup.options.threads or THREADS
    metric: ValidationMetric
    if model.heads:
        model.names_path = data.file("names")
        _ = model.names
        metric = AveragePrecision(model, data, options, threads)
    else:
        metric = Accuracy(data, labels, threads)
    return Validator(model, metric, metric.interval(pictures, setup.imgs), setup.start)
