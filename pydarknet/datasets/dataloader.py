"""Training sets, and mini-batches of them, prepared by threads ahead of their use. The result does not depend on the
number of threads.

Sample k of a run has its own random generator, seeded by the run's seed and k, which draws and augments the picture. A
resumed run therefore only needs the number of samples delivered.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..config.dialect import PJREDDIE, Dialect
from ..config.sections import Section
from ..errors import DataError, ImageError, OptionError
from ..images.image import Picture, in_channels, load_image
from ..images.operations import Canvas, one_thread_per_call
from ..utils.arrays import Array
from .augment import AffineCrop, Colour, Rng, coin, render
from .labels import listed

log = logging.getLogger("pydarknet")

# The number of its first sample, its memory, and the futures of the samples' truths.
_MiniBatch = tuple[int, Array, list[Future[Array]]]
AHEAD = 2  # mini-batches that are prepared while the network computes another one
PICTURES_IN_MEMORY = 1 << 28  # bytes of decoded pictures that are kept
UNREADABLE = 20  # unreadable pictures in a row that end the run


class Data(Protocol):
    """What the loader needs of a training set."""

    channels: int

    def __len__(self) -> int: ...

    def load(self, index: int, rng: np.random.Generator, width: int, height: int) -> tuple[Array, Array]: ...


@dataclass
class TrainingSet:
    """Pictures, and the options of `[net]` for their augmentation that all training sets have.

    source, lines: the list, and the line of each picture in it, for messages.
    """

    paths: Sequence[Path]
    classes: int
    source: Path | None = None
    lines: Sequence[int] = ()
    dialect: Dialect = PJREDDIE
    channels: int = 3
    colour: Colour = field(default_factory=Colour)
    flip: bool = True
    blur: int = 0
    mix: int = 0  # 0 none, 1 mixup, 2 cutmix, 3 mosaic, 4 cutmix or mosaic

    def __post_init__(self) -> None:
        self.pictures = ImageCache(self.paths, self.channels)

    def __len__(self) -> int:
        return len(self.paths)

    @staticmethod
    def options(data: Section, net: Section, dialect: Dialect) -> dict[str, Any]:
        """The keyword arguments that `[net]` gives, and the list that `train` of a .data file names. Raises
        ConfigError, DataError."""
        net.foreign = dialect.foreign_keys("net")
        channels = net.integer("channels", 3)
        if channels not in (1, 3):
            raise net.error(f"channels={channels}: expected 3 or 1, the channels of a picture", "channels")
        cutmix, mosaic = net.flag("cutmix"), net.flag("mosaic")
        shared = {
            "dialect": dialect,
            "channels": channels,
            "colour": Colour.from_section(net),
            "flip": net.flag("flip", True),
            "blur": net.natural("blur", 0, 1 << 10),
            "mix": {(True, True): 4, (True, False): 2, (False, True): 3}.get((cutmix, mosaic), net.integer("mixup", 0)),
        }
        path = data.file("train")
        if path is None:
            raise data.error("train= is missing: the list of training pictures")
        lines, _, paths = zip(*listed(path), strict=True)
        return {"source": path, "lines": lines, "paths": paths, **shared}

    def view(
        self, picture: Picture, crop: AffineCrop, rng: Rng, size: tuple[int, int]
    ) -> tuple[Canvas, bool]:  # fmt: skip
        """The input that a crop makes of a picture, with random colours and perhaps mirrored, and whether it is."""
        mirror = self.flip and coin(rng)
        canvas = self.colour.change(render(picture, crop, size), rng)
        return canvas[:, ::-1] if mirror else canvas, mirror


@dataclass
class ImageCache:
    """Decoded pictures by index. They are kept until `PICTURES_IN_MEMORY` is full. Safe for threads."""

    paths: Sequence[Path]
    channels: int
    _kept: dict[int, Picture] = field(default_factory=dict)
    _bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __getitem__(self, index: int) -> Picture:
        picture = self._kept.get(index)
        if picture is None:
            picture = in_channels(load_image(self.paths[index]), self.channels)
            with self._lock:
                if index not in self._kept and self._bytes + picture.nbytes <= PICTURES_IN_MEMORY:
                    self._kept[index] = picture
                    self._bytes += picture.nbytes
        return picture


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
