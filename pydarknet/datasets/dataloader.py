"""Mini-batches prepared by threads ahead of their use. The result does not depend on the number of threads.

Sample k of a run has its own random generator, seeded by the run's seed and k, which draws and augments the picture. A
resumed run therefore only needs the number of samples delivered.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Protocol

import numpy as np

from ..errors import DataError, ImageError, OptionError
from ..images.operations import one_thread_per_call
from ..utils.arrays import Array

log = logging.getLogger("pydarknet")

# The number of its first sample, its memory, and the futures of the samples' truths.
_MiniBatch = tuple[int, Array, list[Future[Array]]]
AHEAD = 2  # mini-batches that are prepared while the network computes another one
UNREADABLE = 20  # unreadable pictures in a row that end the run


class Data(Protocol):
    """What the loader needs of a training set."""

    channels: int

    def __len__(self) -> int: ...

    def load(self, index: int, rng: np.random.Generator, width: int, height: int) -> tuple[Array, Array]: ...


class DataLoader:
    """Mini-batches of pictures drawn uniformly with replacement.

    position: samples delivered so far; a resumed run starts there. waited: seconds that `next` has waited for pictures.
    """

    def __init__(
        self,
        data: Data,
        mini_batch: int,
        seed: int,
        threads: int = 2,
        position: int = 0,
        size_at: Callable[[int], tuple[int, int]] | None = None,
    ) -> None:
        """Create the loader. Its threads start at the first call of `next`.

        size_at: the (width, height) of the mini-batch at a position, for runs whose size changes. By default the size
        of the last call is assumed, and mini-batches of a wrong size are discarded. Raises DataError for an empty set,
        OptionError for invalid numbers.
        """
        if not len(data):
            raise DataError("the training set has no pictures")
        if mini_batch < 1 or threads < 1 or position < 0:
            found = f"mini_batch {mini_batch}, threads {threads}, position {position}"
            raise OptionError(f"{found}: expected at least 1, 1 and 0")
        self.data, self.mini_batch, self.position, self.waited = data, mini_batch, position, 0.0
        self.size_at = size_at
        self._seed = seed % (1 << 64)
        self._ready: deque[_MiniBatch] = deque()
        self._unreadable: set[str] = set()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="loader")
        self._stack = ExitStack()
        self._stack.enter_context(one_thread_per_call())

    def next(self, width: int, height: int) -> tuple[Array, list[Array]]:
        """The next mini-batch: (n, c, height, width) float32 in 0..1, and the truth of each sample.

        Raises DataError after UNREADABLE unreadable pictures in a row.
        """
        wanted = self.position, (self.mini_batch, self.data.channels, height, width)
        if self._ready and (self._ready[0][0], self._ready[0][1].shape) != wanted:
            self._discard()
        if not self._ready:
            self._start(self.position, width, height)
        batch = self._ready.popleft()
        while len(self._ready) < AHEAD:
            last, images, _ = self._ready[-1] if self._ready else batch
            first = last + len(images)
            self._start(first, *(self.size_at(first) if self.size_at else (width, height)))
        start = time.perf_counter()
        truth = [future.result() for future in batch[2]]
        self.waited += time.perf_counter() - start
        self.position += len(batch[1])
        return batch[1], truth

    def close(self) -> None:
        """Stop the threads and discard what they have prepared."""
        self._discard()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._stack.close()

    def __enter__(self) -> DataLoader:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _discard(self) -> None:
        for future in (future for _, _, futures in self._ready for future in futures):
            future.cancel()
        self._ready.clear()

    def _start(self, first: int, width: int, height: int) -> None:
        """Queue a mini-batch from sample `first` of the run on."""
        images = np.empty((self.mini_batch, self.data.channels, height, width), np.float32)
        futures = [self._pool.submit(self._fill, image, first + i) for i, image in enumerate(images)]
        self._ready.append((first, images, futures))

    def _fill(self, image: Array, number: int) -> Array:
        """Write sample `number` of the run to `image`; returns its truth."""
        _, height, width = image.shape
        rng = np.random.default_rng([self._seed, number])
        for _ in range(UNREADABLE):
            index = int(rng.integers(len(self.data)))
            try:
                image[:], truth = self.data.load(index, rng, width, height)
                return truth
            except ImageError as error:
                with self._lock:
                    is_known = str(error) in self._unreadable
                    self._unreadable.add(str(error))
                if not is_known:
                    log.warning("%s; another picture is used instead", error)
        raise DataError(f"{UNREADABLE} pictures in a row cannot be read; expected a list of pictures that exist")
