"""Mini-batches of pictures, prepared by threads ahead of their use; and of a text, for recurrent networks.

Sample k of a run has its own random generator, seeded by the run's seed and k. The result thus does not depend
on the number of threads, and a resumed run only needs the number of samples delivered.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, ImageError, OptionError
from ..images.operations import one_thread_per_call
from ..utils.arrays import Array
from ..utils.files import StrPath, log, read_bytes
from .training_sets import ClassificationDataset, DetectionDataset

# The number of its first sample, its memory, and the futures of the samples' truths.
_MiniBatch = tuple[int, Array, list[Future[Array]]]
AHEAD = 2  # mini-batches that are prepared while the network computes another one
UNREADABLE = 20  # unreadable pictures in a row that end the run


class DataLoader:
    """Mini-batches of pictures drawn uniformly with replacement.

    waited: seconds that `next` has waited. position: samples delivered so far. size_at: (width, height) at a position.
    stride: of so many mini-batches, which share a run, one is prepared here. Raises DataError, OptionError.
    """

    def __init__(
        self,
        data: DetectionDataset | ClassificationDataset,
        mini_batch: int,
        seed: int,
        threads: int = 2,
        position: int = 0,
        size_at: Callable[[int], tuple[int, int]] | None = None,
    ) -> None:
        if not len(data):
            raise DataError("the training set has no pictures")
        if mini_batch < 1 or threads < 1 or position < 0:
            found = f"mini_batch {mini_batch}, threads {threads}, position {position}"
            raise OptionError(f"{found}: expected at least 1, 1 and 0")
        self.data, self.mini_batch, self.position, self.waited = data, mini_batch, position, 0.0
        self.size_at, self.stride = size_at, 1
        self._seed = seed % (1 << 64)
        self._ready: deque[_MiniBatch] = deque()
        self._unreadable: set[str] = set()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="loader")
        self._stack = ExitStack()
        self._stack.enter_context(one_thread_per_call())

    def next(self, width: int, height: int) -> tuple[Array, list[Array]]:
        """The next mini-batch: (n, c, height, width) float32 in 0..1, and the truth of each sample."""
        wanted = self.position, (self.mini_batch, self.data.channels, height, width)
        if self._ready and (self._ready[0][0], self._ready[0][1].shape) != wanted:
            self._discard()
        if not self._ready:
            self._start(self.position, width, height)
        batch = self._ready.popleft()
        while len(self._ready) < AHEAD:
            last, images, _ = self._ready[-1] if self._ready else batch
            first = last + len(images) * self.stride
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

    def __enter__(self) -> "DataLoader":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _discard(self) -> None:
        for future in (future for _, _, futures in self._ready for future in futures):
            future.cancel()
        self._ready.clear()

    def _start(self, first: int, width: int, height: int) -> None:
        images = np.empty((self.mini_batch, self.data.channels, height, width), np.float32)
        futures = [self._pool.submit(self._fill, image, first + i) for i, image in enumerate(images)]
        self._ready.append((first, images, futures))

    def _fill(self, image: Array, number: int) -> Array:
        _, height, width = image.shape
        rng = np.random.default_rng([self._seed, number])
        for _ in range(UNREADABLE):
            index = int(rng.integers(len(self.data)))
            try:
                image[:], truth = self.data.load(index, rng, width, height)
                return truth
            except ImageError as error:
                with self._lock:
                    if str(error) not in self._unreadable:
                        log.warning("%s; another picture is used instead", error)
                    self._unreadable.add(str(error))
        raise DataError(f"{UNREADABLE} pictures in a row cannot be read; expected a list of pictures that exist")


Symbols = NDArray[np.int64]  # bytes, or the numbers of a tokenised file

_STREAMS = 0x7E87  # distinguishes the random numbers of streams from others of the same seed


class Text:
    """A file of symbols below `alphabet`: bytes except NUL, or numbers if `tokenized`. Raises DataError with
    the line of a wrong symbol."""

    def __init__(self, path: StrPath, alphabet: int, tokenized: bool = False) -> None:
        self.path, self.alphabet = os.fspath(path), alphabet
        self.symbols = (self._numbers if tokenized else self._bytes)(read_bytes(path, DataError))
        if len(self.symbols) < 2:
            raise DataError(f"{path}: {len(self.symbols)} symbols; expected at least 2")

    def __len__(self) -> int:
        return len(self.symbols)

    def _bytes(self, content: bytes) -> Symbols:
        symbols = np.frombuffer(content, np.uint8).astype(np.int64)
        wrong = np.flatnonzero((symbols == 0) | (symbols >= self.alphabet))
        if wrong.size:
            line = content.count(b"\n", 0, int(wrong[0])) + 1
            expected = f"bytes from 1 to {self.alphabet - 1}, as many as the network has inputs"
            raise DataError(f"{self.path}:{line}: Bad char {symbols[wrong[0]]}; expected {expected}")
        return symbols

    def _numbers(self, content: bytes) -> Symbols:
        numbers: list[int] = []
        for line, text in enumerate(content.splitlines(), start=1):
            for word in text.split():
                if not word.isdigit() or len(word) > 18 or int(word) >= self.alphabet:
                    found = word.decode("utf-8", "replace")[:40]
                    raise DataError(f"{self.path}:{line}: {found}: expected numbers from 0 to {self.alphabet - 1}")
                numbers.append(int(word))
        return np.array(numbers, np.int64)

    def check(self, share: float = 0.5) -> str:
        """A summary of the text in one line."""
        return f"{self.path}: {len(self)} symbols, {len(np.unique(self.symbols))} different ones"


class TextStreams:
    """Mini-batches from `streams` positions in a text; each advances every stream by `steps` symbols.

    After a mini-batch, a stream jumps to a random position with probability 1 / restart, and `forget` is called
    with its number.

    position: symbols delivered so far, over all streams.
    """

    waited = 0.0  # seconds that `next` has waited for data

    def __init__(
        self,
        text: Text,
        streams: int,
        steps: int,
        seed: int,
        restart: int,
        forget: Callable[[int], None],
        position: int = 0,
    ) -> None:
        self.text, self.streams, self.steps, self.restart, self.forget = text, streams, steps, restart, forget
        self.position, self.mini_batch = position, streams * steps
        self._seed = seed % (1 << 64)

    def next(self, width: int, height: int) -> tuple[Array, list[Array]]:
        """(steps x streams, alphabet) float32 one-hot symbols, ordered by time, and those that follow."""
        number = self.position // self.mini_batch
        for stream in np.flatnonzero(self._jumps(number)[0]) if number else ():
            self.forget(int(stream))
        at = self.offsets(number)[None, :] + np.arange(self.steps + 1)[:, None]
        symbols = self.text.symbols[at % len(self.text)]
        self.position += self.mini_batch
        return self._one_hot(symbols[:-1]), list(self._one_hot(symbols[1:]))

    def offsets(self, number: int) -> Symbols:
        """(streams,) int64: where each stream begins mini-batch `number`, from 0."""
        offsets = np.full(self.streams, -1, np.int64)
        for since in range(number, -1, -1):
            jumps, places = self._jumps(since)
            fresh = (jumps | (since == 0)) & (offsets < 0)
            offsets[fresh] = places[fresh] + (number - since) * self.steps
            if (offsets >= 0).all():
                break
        return offsets % len(self.text)

    def _jumps(self, number: int) -> tuple[NDArray[np.bool_], Symbols]:
        rng = np.random.default_rng([self._seed, _STREAMS, number])
        return rng.integers(self.restart, size=self.streams) == 0, rng.integers(len(self.text), size=self.streams)

    def _one_hot(self, symbols: Symbols) -> Array:
        flat = symbols.reshape(-1)
        vectors = np.zeros((len(flat), self.text.alphabet), np.float32)
        vectors[np.arange(len(flat)), flat] = 1
        return vectors

    def close(self) -> None:
        """Release nothing: there are no threads and no open files."""
