"""The training set of a recurrent network: streams of symbols; the network predicts each from those before it.

A symbol is a byte, or a number of a tokenised file.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..utils.arrays import Array
from ..utils.files import read_bytes

Symbols = NDArray[np.int64]

_STREAMS = 0x7E87  # distinguishes the random numbers of streams from others of the same seed


class Text:
    """A file of symbols below `alphabet`: bytes other than NUL or, if `tokenized`, numbers separated by spaces.

    `len` is the number of symbols.
    """

    def __init__(self, path: str | os.PathLike[str], alphabet: int, tokenized: bool = False) -> None:
        """Read the file. Raises DataError with the line of a wrong symbol."""
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
            raise DataError(
                f"{self.path}:{line}: Bad char {symbols[wrong[0]]}; expected bytes from 1 to {self.alphabet - 1}, as "
                "many as the network has inputs"
            )
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
        different = len(np.unique(self.symbols))
        return f"{self.path}: {len(self)} symbols, {different} different ones"


class TextStreams:
    """Mini-batches from `streams` positions in a text; each mini-batch advances every stream by `steps` symbols.

    After a mini-batch, a stream jumps to a random position with probability 1 / restart, and `forget` is called with
    its number. The positions depend only on the seed and the number of mini-batches, so a resumed run continues them.
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
        """position: symbols delivered so far, over all streams."""
        self.text, self.streams, self.steps, self.restart, self.forget = text, streams, steps, restart, forget
        self.position, self.mini_batch = position, streams * steps
        self._seed = seed % (1 << 64)

    def next(self, width: int, height: int) -> tuple[Array, list[Array]]:
        """The next mini-batch: the symbols as one-hot vectors, (steps x streams, alphabet) float32 ordered by time, and
        one such vector for each symbol that follows. Width and height have no effect."""
        number = self.position // self.mini_batch
        if number:
            for stream in np.flatnonzero(self._jumps(number)[0]):
                self.forget(int(stream))
        at = self.offsets(number)[None, :] + np.arange(self.steps + 1)[:, None]
        symbols = self.text.symbols[at % len(self.text)]
        self.position += self.mini_batch
        return self._one_hot(symbols[:-1]), list(self._one_hot(symbols[1:]))

    def offsets(self, number: int) -> Symbols:
        """(streams,) int64: the position in the text at which each stream begins mini-batch `number`, from 0."""
        offsets = np.full(self.streams, -1, np.int64)
        for since in range(number, -1, -1):
            jumps, places = self._jumps(since)
            fresh = (jumps | (since == 0)) & (offsets < 0)
            offsets[fresh] = places[fresh] + (number - since) * self.steps
            if (offsets >= 0).all():
                break
        return offsets % len(self.text)

    def _jumps(self, number: int) -> tuple[NDArray[np.bool_], Symbols]:
        """(streams,) bool and int64: which streams jump before mini-batch `number`, and where to."""
        rng = np.random.default_rng([self._seed, _STREAMS, number])
        return rng.integers(self.restart, size=self.streams) == 0, rng.integers(len(self.text), size=self.streams)

    def _one_hot(self, symbols: Symbols) -> Array:
        flat = symbols.reshape(-1)
        vectors = np.zeros((len(flat), self.text.alphabet), np.float32)
        vectors[np.arange(len(flat)), flat] = 1
        return vectors

    def close(self) -> None:
        """Release nothing: there are no threads and no open files."""
