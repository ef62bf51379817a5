"""Detection in a list of pictures, in batches: threads load pictures while the network computes."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from ..boxes import Candidates, suppress
from ..errors import ImageError, OptionError
from ..images.image import fit_for_detect, load_image
from ..images.operations import one_thread_per_call
from ..inference.detector import decode, heads_of, letterboxes
from ..network.network import Network
from ..runtime.compile_time import clock
from ..runtime.threads import set_threads, threads
from ..utils.arrays import Array
from ..utils.files import LimitedLog
from ..utils.prefetch import prefetch

log = logging.getLogger("pydarknet")

BATCHES_AHEAD = 2  # batches that are loaded while the network computes another


@dataclass(frozen=True)
class InferenceOptions:
    """Options of detection.

    thresh: the lowest probability of a class. nms: IoU above which boxes are suppressed; 0 keeps all. hier: threshold
    of word trees. letterbox: keep the aspect ratio of pictures; None: as darknet's own command does. nms_kind: None:
    that of the last head. pixels: convert boxes to pixels before suppression; the unit changes the result of
    kinds that compare distances, such as greedynms.
    """

    thresh: float = 0.005
    nms: float = 0.45
    hier: float = 0.5
    letterbox: bool | None = None
    nms_kind: str | None = None
    pixels: bool = False

    def __post_init__(self) -> None:
        check_finite(thresh=self.thresh, nms=self.nms, hier=self.hier)


@dataclass(frozen=True, eq=False)
class ImageResult:
    """The candidates of picture `index` after suppression, boxes in fractions of the picture or, with the option
    `pixels`, in pixels.

    width, height: of the picture in pixels; 0 for an unreadable one, which has no candidates.
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
    """Seconds of the forward passes (`forward`) and of the whole run (`total`), and pictures done."""

    forward: float = 0.0
    total: float = 0.0
    pictures: int = 0

    @property
    def rate(self) -> float:
        """Pictures per second."""
        return self.pictures / self.total if self.total else 0.0

    @property
    def forward_rate(self) -> float:
        """Pictures per second of the forward passes alone."""
        return self.pictures / self.forward if self.forward else 0.0


Prepared = tuple[Array, int, int] | ImageError


def check_finite(**options: float) -> None:
    """Raise OptionError for an option that is NaN or infinite."""
    for name, value in options.items():
        if not math.isfinite(value):
            raise OptionError(f"{name} is {value}; expected a finite number")


class BatchDetector:
    """An iterable of the results for a list of pictures, in order.

    timing: seconds so far. unreadable: the number of pictures that cannot be read, which are logged. Raises OptionError
    for a network without a detection head.
    """

    def __init__(
        self, network: Network, paths: Sequence[Path], options: InferenceOptions, batch: int = 1, threads: int = 2
    ) -> None:
        self.network, self.paths, self.options, self.batch, self.threads = network, paths, options, batch, threads
        self.timing = Timing()
        self.unreadable = 0
        self._warnings = LimitedLog()
        net, last = network.config.net, heads_of(network)[-1]
        self._letterbox = letterboxes(network, net) if options.letterbox is None else options.letterbox
        self._kind = options.nms_kind or last.nms_kind
        self._beta, self._classes = last.beta_nms, last.classes

    def __iter__(self) -> Iterator[ImageResult]:
        """One result per picture. The network computes the next batch while the caller uses a result."""
        start, count = clock(), threads()

        def keep_threads() -> None:  # the number of kernel threads is a property of the calling thread
            set_threads(count)

        decoded = prefetch(self._prepare, self.paths, self.threads, self.batch * (1 + BATCHES_AHEAD))
        firsts = range(0, len(self.paths), self.batch)
        batches = ((first, list(islice(decoded, self.batch))) for first in firsts)
        computed = prefetch(self._detect_batch, batches, threads=1, count=2, at_start=keep_threads)
        with one_thread_per_call(), closing(decoded), closing(computed):
            for results in computed:
                yield from self._add_time(results, start)

    def _add_time(self, results: list[ImageResult], start: float) -> list[ImageResult]:
        self.timing.pictures += len(results)
        self.timing.total = clock() - start
        return results

    def _prepare(self, path: Path) -> Prepared:
        """(input of the network, width, height) of a picture, or the error of an unreadable one."""
        try:
            image = load_image(path)
        except ImageError as error:
            return error
        channels, height, width = self.network.input_shape
        rows, columns, _ = image.shape
        return fit_for_detect(image, width, height, self._letterbox, channels), columns, rows

    def _detect_batch(self, batch: tuple[int, Sequence[Prepared]]) -> list[ImageResult]:
        """The results of one batch, (index of its first picture, prepared pictures)."""
        first, ready = batch
        readable = [item for item in ready if not isinstance(item, ImageError)]
        with self.network.lock:
            if readable:
                x = np.stack([pixels for pixels, _, _ in readable])
                self.network.prepare(x.shape)
                start = clock()
                self.network.forward(x)
                self.timing.forward += clock() - start
            return self._results(first, ready)

    def _results(self, first: int, ready: Sequence[Prepared]) -> list[ImageResult]:
        """The results of the last pass, which did not contain the unreadable pictures."""
        results, sample = [], 0
        for index, prepared in enumerate(ready, start=first):
            if isinstance(prepared, ImageError):
                self.unreadable += 1
                self._warnings.add(f"{prepared}; it counts as a picture without detections")
                results.append(ImageResult(index, self.paths[index], 0, 0, Candidates.empty(self._classes)))
            else:
                _, width, height = prepared
                candidates = self._candidates(sample, width, height)
                results.append(ImageResult(index, self.paths[index], width, height, candidates))
                sample += 1
        return results

    def _candidates(self, sample: int, width: int, height: int) -> Candidates:
        """The candidates of a sample of the last pass, after suppression."""
        options = self.options
        found = decode(self.network, sample, width, height, options.thresh, options.hier, self._letterbox)
        if options.pixels:
            found = replace(found, boxes=found.boxes * np.array([width, height, width, height], np.float32))
        return suppress(found, options.nms, self._kind, self._beta) if options.nms else found
