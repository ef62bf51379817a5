"""Detection in the pictures of a list, in batches, compared with the ground truth: the metrics of `detector
map`.
"""

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..boxes import Box, Candidates
from ..config.dialect import ALEXEYAB, Dialect
from ..config.sections import Section
from ..datasets.labels import find_labels, label_path, parse_labels, read_list
from ..errors import DataError, ImageError, OptionError
from ..images.image import Picture, least_size, load_image, picture_of_size
from ..images.operations import Colour, draw_boxes, one_thread_per_call, percent_label
from ..inference.detector import (
    DetectionResult,
    DetectorInput,
    DetectorOptions,
    find_candidates,
    heads_of,
    letterboxes,
    prepare_input,
    result_of,
)
from ..network.network import Network
from ..runtime.compile_time import clock
from ..runtime.threads import set_threads, threads
from ..utils.arrays import Array
from ..utils.files import LimitedLog
from ..utils.prefetch import BATCHES_AHEAD, THREADS, prefetch
from .average_precision import NOTHING, MeanAveragePrecision, Report
from .coco import CocoAveragePrecision, CocoReport

P = TypeVar("P")
T = TypeVar("T")
GREEN: Colour = (0, 200, 0)
RED: Colour = (230, 0, 0)


@dataclass(frozen=True)
class InferenceOptions:
    """Options of detection.

    thresh: the lowest probability of a class. nms: IoU above which boxes are suppressed; 0 keeps all. hier:
    threshold of word trees. letterbox, nms_kind: None: as darknet's own command, that of the last head. pixels:
    convert boxes before suppression; the unit matters to kinds that compare distances. decode: see
    `images.image.least_size`.
    """

    thresh: float = 0.005
    nms: float = 0.45
    hier: float = 0.5
    letterbox: bool | None = None
    nms_kind: str | None = None
    pixels: bool = False
    decode: str = "whole"

    def __post_init__(self) -> None:
        check_finite(thresh=self.thresh, nms=self.nms, hier=self.hier)


@dataclass(frozen=True, eq=False)
class ImageResult:
    """The candidates after suppression, in fractions of the picture or, with the option `pixels`, in pixels.

    width, height: in pixels; 0 for an unreadable picture, which has no candidates.
    """

    index: int
    path: Path
    width: int
    height: int
    candidates: Candidates

    @property
    def is_readable(self) -> bool:
        return self.width > 0


@dataclass
class Timing:
    """Seconds of the forward passes, and of the whole run; pictures done."""

    forward: float = 0.0
    total: float = 0.0
    pictures: int = 0

    @property
    def rate(self) -> float:
        """Pictures per second."""
        return self.pictures / self.total if self.total else 0.0

    @property
    def forward_rate(self) -> float:
        """Likewise, of the forward passes alone."""
        return self.pictures / self.forward if self.forward else 0.0


def check_finite(**options: float) -> None:
    """Raise OptionError for an option that is not finite."""
    for name, value in options.items():
        if not math.isfinite(value):
            raise OptionError(f"{name} is {value}; expected a finite number")


class ListRun:
    """Over a list of pictures. unreadable: the number of pictures, which are logged. scaled: whether any was
    decoded at a reduced size."""

    counts_as = ""  # what a picture that cannot be read counts as

    def __init__(self, network: Network, batch: int, threads: int) -> None:
        self.network, self.batch, self.threads = network, batch, threads
        self.timing, self.unreadable, self._warnings = Timing(), 0, LimitedLog()
        self.scaled = False

    def loaded(self, load: Callable[[P], T], pictures: Sequence[P]) -> Generator[T | ImageError, None, None]:
        """What `load`, called by threads, gives for each picture, or its error."""

        def load_or_error(picture: P) -> T | ImageError:
            try:
                return load(picture)
            except ImageError as error:
                return error

        return prefetch(load_or_error, pictures, self.threads, self.batch * (1 + BATCHES_AHEAD))

    def count(self, pictures: Sequence[object], start: float) -> None:
        """Count a batch of a run that began at `start`, and log its errors."""
        for error in pictures:
            if isinstance(error, ImageError):
                self.unreadable += 1
                self._warnings.add(f"{error}; it counts as {self.counts_as}")
        self.timing.pictures += len(pictures)
        self.timing.total = clock() - start


class BatchDetector(ListRun):
    """An iterable of the results, in order. Raises OptionError without a detection head."""

    counts_as = "a picture without detections"

    def __init__(
        self, network: Network, paths: Sequence[Path], options: InferenceOptions, batch: int = 1, threads: int = THREADS
    ) -> None:
        super().__init__(network, batch, threads)
        self.paths, self.options = paths, options
        self._none = Candidates.empty(heads_of(network)[-1].classes)
        letterbox = letterboxes(network) if options.letterbox is None else options.letterbox
        self._how = DetectorOptions(options.thresh, options.hier, options.nms, letterbox, options.nms_kind)
        self._least = least_size(options.decode, network.input_shape)

    def __iter__(self) -> Iterator[ImageResult]:
        """The network computes the next batch while the caller uses a result."""
        start, count = clock(), threads()
        loaded = self.loaded(self._load, self.paths)
        batches = (list(islice(loaded, self.batch)) for _ in range(0, len(self.paths), self.batch))
        # The number of kernel threads is a property of the calling thread.
        computed = prefetch(self._compute, batches, threads=1, count=2, at_start=lambda: set_threads(count))
        with one_thread_per_call(), closing(loaded), closing(computed):
            for first, (pictures, found) in zip(range(0, len(self.paths), self.batch), computed, strict=True):
                self.count(pictures, start)
                for index, picture in enumerate(pictures, start=first):
                    if isinstance(picture, ImageError):
                        yield ImageResult(index, self.paths[index], 0, 0, self._none)
                    else:
                        yield ImageResult(index, self.paths[index], picture.width, picture.height, next(found))

    def _load(self, path: Path) -> DetectorInput:
        picture, size = picture_of_size(path, least=self._least)
        self.scaled |= picture.shape[1] != size[0]
        return prepare_input(self.network, picture, self._how, size)

    def _compute(
        self, pictures: Sequence[DetectorInput | ImageError]
    ) -> tuple[Sequence[DetectorInput | ImageError], Iterator[Candidates]]:
        inputs = [each for each in pictures if isinstance(each, DetectorInput)]
        candidates, seconds = find_candidates(self.network, inputs, check=False) if inputs else ([], 0.0)
        self.timing.forward += seconds * len(inputs)
        return pictures, iter([self._suppressed(*pair) for pair in zip(inputs, candidates, strict=True)])

    def _suppressed(self, picture: DetectorInput, found: Candidates) -> Candidates:
        if self.options.pixels:
            sides = np.array([picture.width, picture.height] * 2, np.float32)
            found = replace(found, boxes=found.boxes * sides)
        return result_of(self.network, picture, found, (), 0.0).candidates


@dataclass(frozen=True)
class GroundTruth:
    """boxes: (t, 5) float32 rows of class, x, y, w, h (fractions) for each picture."""

    paths: Sequence[Path]
    boxes: Sequence[Array]
    missing: Sequence[Path] = ()  # label files that do not exist, by the dialect's rule
    difficult: Sequence[Array] = ()  # one array per picture, or empty

    def __len__(self) -> int:
        return len(self.paths)

    def difficult_in(self, index: int) -> Array:
        """(d, 5): the objects that a detector need not find."""
        return self.difficult[index] if self.difficult else NOTHING

    @classmethod
    def from_data(cls, data: Section, classes: int, dialect: Dialect = ALEXEYAB, *keys: str) -> "GroundTruth":
        """Read the list under the first of `keys` (default: valid) that a .data file has, and `difficult`."""
        keys = keys or ("valid",)
        path = data.file(*keys)
        if path is None:
            raise data.error(f"{keys[0]}= is missing: the list of pictures for evaluation")
        return cls.read(path, classes, dialect, data.file("difficult"))

    @classmethod
    def read(
        cls, path: str | Path, classes: int, dialect: Dialect = ALEXEYAB, difficult: str | Path | None = None
    ) -> "GroundTruth":
        """Read a list of pictures and their label files, found by the dialect's rule, then by the other rules.

        A picture without one has no objects. Objects of unknown classes are kept, with a warning: they count as
        missed. Raises DataError for a wrong line in a label file, and if the lists differ in length.
        """
        paths = read_list(path)
        labels = [_labels(picture, dialect) for picture in paths]
        missing = [where for where, rows in labels if rows is NOTHING]
        warnings = LimitedLog()
        for where, rows in labels:
            for unknown in np.unique(rows[(rows[:, 0] < 0) | (rows[:, 0] >= classes), 0]):
                warnings.add(f"{where}: class {unknown:.0f}; the network has classes 0 to {classes - 1}")
        listed = read_list(difficult) if difficult else []
        if difficult and len(listed) != len(paths):
            what = f"{len(listed)} pictures; expected {len(paths)}, one for each picture of the list"
            raise DataError(f"{difficult}: {what}")
        hard = [_labels(picture, dialect)[1] for picture in listed]
        return cls(paths, [rows for _, rows in labels], missing, hard)


def _labels(picture: Path, dialect: Dialect) -> tuple[Path, Array]:
    """(label file, rows) of a picture; without such a file NOTHING, and its path by the dialect."""
    if found := find_labels(picture, dialect):
        _, rows, wrong = parse_labels(found[1])
        if wrong:
            raise DataError(wrong[0])
        if not np.isfinite(rows).all():
            raise DataError(f"{found[1]}: found a number that is not finite; expected fractions of the picture")
        return found[1], rows
    try:
        return label_path(picture, dialect), NOTHING
    except ImageError:
        return picture, NOTHING


MAP = InferenceOptions(thresh=0.005, nms=0.45, hier=0.0)  # those of `detector map`


@dataclass(frozen=True)
class Evaluation:
    """records: from which the report is computed. unreadable: the number of pictures. scaled: whether any was
    decoded at a reduced size."""

    report: Report
    records: MeanAveragePrecision
    timing: Timing
    unreadable: int
    coco: CocoReport | None = None
    scaled: bool = False


def evaluate(
    network: Network,
    truth: GroundTruth,
    *,
    thresh: float = 0.25,
    iou_thresh: float = 0.5,
    points: int = 0,
    options: InferenceOptions = MAP,
    batch: int = 4,
    threads: int = THREADS,
    coco: bool = False,
    each: Callable[[ImageResult, int], None] | None = None,
    detector: Callable[..., BatchDetector] | None = None,
) -> Evaluation:
    """Detect objects in all pictures, at the network's current size, and compare them with the ground truth.

    thresh: records above it count as detections in the report. iou_thresh: a match needs a larger IoU. points:
    see `average_precision`. batch: pictures per forward pass. threads: that load pictures. each: called after
    every picture with its result and the number of missed objects. detector: made in the place of a
    `BatchDetector`, with its arguments. Raises OptionError without a detection head.
    """
    check_finite(thresh=thresh, iou_thresh=iou_thresh)
    heads = heads_of(network)
    records = MeanAveragePrecision(heads[-1].classes, thresh, iou_thresh, points)
    coco_metrics = CocoAveragePrecision(heads[-1].classes) if coco else None
    run = (detector or BatchDetector)(network, truth.paths, options, batch, threads)
    for result in run:
        rows = truth.boxes[result.index]
        missed = records.add(result.candidates, rows, truth.difficult_in(result.index))
        if coco_metrics is not None:
            coco_metrics.add_candidates(result.candidates, rows, result.width, result.height)
        if each is not None:
            each(result, missed)
    coco_report = coco_metrics.report() if coco_metrics is not None else None
    return Evaluation(records.report(), records, run.timing, run.unreadable, coco_report, run.scaled)


@dataclass
class Worst:
    """The `count` pictures with most missed objects; ties go to the earlier picture."""

    count: int = 10
    _kept: list[tuple[int, ImageResult]] = field(default_factory=list, repr=False)

    def add(self, result: ImageResult, missed: int) -> None:
        """A picture without missed objects is never kept."""
        if missed:
            kept = sorted([*self._kept, (missed, result)], key=lambda entry: (-entry[0], entry[1].index))
            self._kept = kept[: self.count]

    def ranked(self) -> list[tuple[int, ImageResult]]:
        """(missed objects, result), worst first."""
        return self._kept


def place_in(image: Picture, box: Sequence[float]) -> Box:
    """A box in fractions of a picture as one in its pixels."""
    (height, width, _), (x, y, w, h) = image.shape, box
    return Box(x * width, y * height, w * width, h * height)


def name_of(names: Sequence[str], number: int) -> str:
    """The name of a class, or its number if it has none."""
    return names[number] if 0 <= number < len(names) else str(number)


def annotated(result: ImageResult, truth: Array, names: Sequence[str], thresh: float, dialect: Dialect) -> Picture:
    """With the objects of `truth` (t, 5) in green, detections in red. Raises ImageError."""
    image = load_image(result.path)
    marks = [(place_in(image, box), name_of(names, int(number)), GREEN) for number, *box in truth.tolist()]
    detected = DetectionResult(result.candidates, names, result.width, result.height, thresh, dialect, 0.0)
    found = sorted(detected.detections(), key=lambda detection: detection.confidence)
    return draw_boxes(image, [*marks, *((d.box, percent_label(d), RED) for d in found)])
