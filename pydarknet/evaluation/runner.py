"""Pictures through a network, one after another: decoded by a few threads while the engine computes."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from ..boxes import Candidates, suppress
from ..errors import ImageError, OptionError
from ..images.colour import one_thread_per_call
from ..images.image import fit_for_detect, load_image
from ..inference.detector import decode, heads_of, letterboxes
from ..network.network import Network
from ..runtime.threads import set_threads, threads
from ..utils.arrays import Array
from ..utils.limited_log import LimitedLog
from ..utils.prefetch import ahead

log = logging.getLogger("pydarknet")

AHEAD = 2  # batches that are prepared while the network works on another


@dataclass(frozen=True)
class InferenceOptions:
    """How pictures are looked at: the thresholds of boxes and word trees, the overlap from which boxes are suppressed
    (0: none is).

    letterbox: None does as darknet's own command for the network does. nms_kind: None is that of the last head.
    pixels: boxes are in pixels of the picture, before suppression already: where that compares distances, as greedynms
    does, the result depends on the unit.
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
    """What a network found in picture `index`: candidates after suppression, boxes in fractions of the picture or, if
    its manner says so, in pixels.

    width, height: pixels; 0 for a picture that cannot be read, in which nothing is found.
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
    """Seconds of the forward passes alone, and of all from the first picture to the last; pictures seen."""

    forward: float = 0.0
    total: float = 0.0
    pictures: int = 0

    @property
    def rate(self) -> float:
        """Pictures a second."""
        return self.pictures / self.total if self.total else 0.0

    @property
    def forward_rate(self) -> float:
        """Pictures a second that the network alone would do."""
        return self.pictures / self.forward if self.forward else 0.0


Prepared = tuple[Array, int, int] | ImageError


def check_finite(**options: float) -> None:
    """Raise OptionError for an option that is NaN or infinite: nothing compares with it."""
    for name, value in options.items():
        if not math.isfinite(value):
            raise OptionError(f"{name} is {value}; expected a finite number")


class BatchDetector:
    """Looks at pictures in batches. `clock` tells how long it took, `unreadable` how many could not be read."""

    def __init__(
        self, network: Network, paths: Sequence[Path], manner: InferenceOptions, batch: int = 1, threads: int = 2
    ) -> None:
        self.network, self.paths, self.manner, self.batch, self.threads = network, paths, manner, batch, threads
        self.clock = Timing()
        self.unreadable = 0
        self._complaints = LimitedLog()
        net, last = network.config.net, heads_of(network)[-1]
        self._letterbox = letterboxes(network, net) if manner.letterbox is None else manner.letterbox
        self._kind = manner.nms_kind or last.nms_kind
        self._beta, self._classes = last.beta_nms, last.classes

    def __iter__(self) -> Iterator[ImageResult]:
        """One look a picture, in their order. The network works on the next batch while the caller uses a look."""
        start, count = time.perf_counter(), threads()

        def keep_threads() -> None:  # how many kernels spread over is a property of the thread that calls them
            set_threads(count)

        decoded = ahead(self._prepare, self.paths, self.threads, self.batch * (1 + AHEAD))
        firsts = range(0, len(self.paths), self.batch)
        batches = ((first, list(islice(decoded, self.batch))) for first in firsts)
        computed = ahead(self._look, batches, threads=1, count=2, at_start=keep_threads)
        with one_thread_per_call(), closing(decoded), closing(computed):
            for looks in computed:
                yield from self._counted(looks, start)

    def _counted(self, looks: list[ImageResult], start: float) -> list[ImageResult]:
        self.clock.pictures += len(looks)
        self.clock.total = time.perf_counter() - start
        return looks

    def _prepare(self, path: Path) -> Prepared:
        """The input for a picture and its width and height; the error of one that cannot be read."""
        try:
            image = load_image(path)
        except ImageError as error:
            return error
        channels, height, width = self.network.input_shape
        rows, columns, _ = image.shape
        return fit_for_detect(image, width, height, self._letterbox, channels), columns, rows

    def _look(self, batch: tuple[int, Sequence[Prepared]]) -> list[ImageResult]:
        """One batch, from picture `first` on, through the network."""
        first, ready = batch
        readable = [item for item in ready if not isinstance(item, ImageError)]
        with self.network.lock:
            if readable:
                x = np.stack([pixels for pixels, _, _ in readable])
                self.network.prepare(x.shape)
                start = time.perf_counter()
                self.network.forward(x)
                self.clock.forward += time.perf_counter() - start
            return self._results(first, ready)

    def _results(self, first: int, ready: Sequence[Prepared]) -> list[ImageResult]:
        """What the last pass found."""
        looks, item = [], 0
        for index, prepared in enumerate(ready, start=first):
            if isinstance(prepared, ImageError):
                self.unreadable += 1
                self._complaints.add(f"{prepared}; it counts as a picture in which nothing is found")
                looks.append(ImageResult(index, self.paths[index], 0, 0, Candidates.empty(self._classes)))
            else:
                _, width, height = prepared
                looks.append(ImageResult(index, self.paths[index], width, height, self._found(item, width, height)))
                item += 1
        return looks

    def _found(self, item: int, width: int, height: int) -> Candidates:
        m = self.manner
        found = decode(self.network, item, width, height, m.thresh, m.hier, self._letterbox)
        if m.pixels:
            found = replace(found, boxes=found.boxes * np.array([width, height, width, height], np.float32))
        return suppress(found, m.nms, self._kind, self._beta) if m.nms else found
