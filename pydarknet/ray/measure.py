"""The detections in the pictures of a data set, computed on a cluster, as `evaluate` takes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from ..archive.store import Store
from ..boxes import Candidates
from ..evaluation import BatchDetector, ImageResult, InferenceOptions
from ..evaluation.evaluate import ListRun
from ..inference.detector import heads_of
from ..network.network import Network
from ..runtime.compile_time import clock
from .spread import Spread

BLOCK = 64  # pictures that an actor is given at a time


@dataclass(frozen=True)
class _Work:
    network: Network
    options: InferenceOptions
    batch: int
    threads: int

    def check(self, name: str) -> None:
        Store("").check(name)

    def __call__(self, names: Sequence[str]) -> list[ImageResult]:
        return list(BatchDetector(self.network, [Path(name) for name in names], self.options, self.batch, self.threads))


class SpreadDetector(ListRun):
    """As `BatchDetector`, on a cluster: the same results in the same order, also where nodes are killed. waiting: a
    context for each wait."""

    def __init__(
        self, spread: Spread, network: Network, paths: Sequence[Path], options: InferenceOptions, batch: int,
        threads: int, waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:  # fmt: skip
        super().__init__(network, batch, threads)
        self.spread, self.waiting, self.paths = spread, waiting, paths
        self.timing.forward = math.nan  # passes of several machines at the same time
        self.scaled = True  # what the actors do not say
        self._work = _Work(network, options, batch, threads)
        self._none = Candidates.empty(heads_of(network)[-1].classes)

    def __iter__(self) -> Iterator[ImageResult]:
        start, names = clock(), [str(path) for path in self.paths]
        blocks = {first: names[first : first + BLOCK] for first in range(0, len(names), BLOCK)}
        ready: dict[int, list[ImageResult]] = {}
        with closing(self.spread.run(self._work, blocks, self._lost, 4 * self.network.parameter_count)) as found:
            for first in blocks:
                with self.waiting():
                    while first not in ready:
                        ready.update([next(found)])
                for index, result in enumerate(ready.pop(first), start=first):
                    self.unreadable += not result.is_readable
                    self.timing.pictures, self.timing.total = index + 1, clock() - start
                    yield replace(result, index=index)

    def _lost(self, name: str) -> ImageResult:
        return ImageResult(0, Path(name), 0, 0, self._none)
