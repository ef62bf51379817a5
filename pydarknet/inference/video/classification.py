"""Classification of video: the best classes of each frame, while a thread reads the next ones."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np

from ...images.draw import draw_lines
from ...images.image import Picture, fit_for_classify
from ...network.network import Network
from ...runtime.compile_time import clock
from ...utils.arrays import Array
from ..classifier import Classification, rank, tree_of_network
from ..finite import require_finite
from .capture import Frames
from .demo import Rate
from .pipeline import Reader


class ClassifierDemo:
    """The best classes of each frame of a source. As in darknet, only the leaves of a word tree are reported."""

    def __init__(
        self,
        network: Network,
        names: Sequence[str],
        frames: Frames,
        *,
        top: int = 1,
        repeat_first: bool = False,
        limit: float | None = None,
    ) -> None:
        """top: the number of classes per frame. repeat_first: repeat the first frame without end, to measure the speed.
        limit: seconds after which to end."""
        self.rate = Rate()
        self._network, self._names, self._top = network, names, top
        self._repeats, self._limit = repeat_first, limit
        self._tree = tree_of_network(network)
        self._reader = Reader(frames, self._prepare)

    def _prepare(self, picture: Picture) -> Array:
        channels, height, width = self._network.input_shape
        fit = "letterbox" if self._network.dialect.classifier_demo_letterboxes else "stretch"
        return fit_for_classify(picture, fit, width, height, channels)

    def run(self) -> Iterator[tuple[Picture, Classification]]:
        """Yield each frame with its classes. Raises the errors of the source, and DivergedError for outputs that are
        not finite."""
        start = time.perf_counter()
        try:
            for frame in self._reader:
                while True:
                    yield frame.picture, self._classify(frame.x[None])
                    self.rate.tick()
                    if self._limit is not None and time.perf_counter() - start > self._limit:
                        return
                    if not self._repeats or self._reader.stopped:
                        break
        finally:
            self._reader.close()

    def _classify(self, x: Array) -> Classification:
        with self._network.lock:
            start = clock()
            output = self._network.forward(x)[0]
            seconds = clock() - start
        require_finite(self._network, x, [output])
        probabilities = output[0].reshape(-1)
        if self._tree is not None:
            probabilities = np.where(self._tree.leaves, self._tree.absolute(probabilities), np.float32(0))
        return Classification(rank(probabilities, self._names, self._top), seconds, x.shape[3], x.shape[2])

    def stop(self) -> None:
        """End after the current frame. May be called from a signal handler."""
        self._reader.stop()


def draw_classes(picture: Picture, found: Classification) -> Picture:
    """A copy of the picture with a line `87.1%: name` for each class."""
    return draw_lines(picture, [f"{100 * each.probability:.1f}%: {each.name}" for each in found.predictions])
