"""The pictures and frames of a command line, read and prepared ahead. Inputs that cannot be read are reported."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import click

from ..errors import ImageError, OptionError, ShapeError
from ..utils.resources import exists
from .console import note, progress
from .inputs import (
    STANDARD_INPUT,
    STDIN_PICTURE,
    Name,
    camera_number,
    expand_inputs,
    is_video,
    is_web_address,
    names_from_stdin,
)
from .loading import Options

if TYPE_CHECKING:
    from ..images.image import Picture
    from ..inference.video.capture import Capture

AHEAD = 2  # batches that are read while the network computes one
PREPARING = 2  # threads that read and prepare pictures, for batches of more than one

Prepared = TypeVar("Prepared")
Result = TypeVar("Result")
Thing = TypeVar("Thing")


class Video(NamedTuple):
    """The source of frames. rate: frames per second. live: a camera or stream, which does not wait for its reader."""

    path: str
    rate: float
    live: bool


class Item(Generic[Prepared]):
    """A picture or frame, and the result of `prepare` for it. frame: its number in the video, from 1."""

    def __init__(
        self, path: str, picture: Picture, prepared: Prepared, video: Video | None = None, frame: int | None = None
    ) -> None:
        self.path, self.picture, self.prepared, self.video, self.frame = path, picture, prepared, video, frame

    @property
    def title(self) -> str:
        """Its name in printed lines."""
        return self.path if self.frame is None else f"{self.path} frame {self.frame}"


class _Problem(NamedTuple):
    """An input that cannot be read."""

    path: str
    error: Exception


class _VideoInput(NamedTuple):
    """An input that has frames: a video file, a stream, a camera."""

    path: str


class Source(Generic[Prepared]):
    """An iterable of the items of a command line, in order. `good` becomes False when one cannot be read.

    prepare: makes the network's input from a picture, in the threads that read. every: use every Nth frame of a video.
    limit: the largest number of items. batch: the number computed at a time; twice as many are read ahead. quiet: print
    the prompt on standard error. silent: show no progress bar. prompts: print darknet's prompt for each line of
    standard input, also if it is not a terminal.
    """

    def __init__(
        self, arguments: Sequence[str], prepare: Callable[[Picture], Prepared], *, every: int = 1,
        limit: int | None = None, batch: int = 1, quiet: bool = False, silent: bool = False, prompts: bool = False,
    ) -> None:  # fmt: skip
        self._arguments, self._prepare, self._every = arguments, prepare, every
        self._limit, self._batch, self._quiet, self._silent = limit, batch, quiet, silent
        self._prompts = prompts and not arguments and batch == 1
        self.good = True
        self._has_frames = False

    @classmethod
    def from_options(
        cls, arguments: Sequence[str], prepare: Callable[[Picture], Prepared], options: Options
    ) -> Source[Prepared]:
        """From the options of the rows "input" of `options.SHARED`."""
        return cls(arguments, prepare, every=options["every"], limit=options["limit"], batch=options["batch"],
                   quiet=options["as_json"] or options["quiet"], silent=options["quiet"],
                   prompts=options.get("prompts", False))  # fmt: skip

    def report(self, path: str, error: Exception) -> None:
        """Print why an input could not be used."""
        text, what = str(error), "" if is_video(path) else "image "
        if path.isdecimal() and len(path) <= 4 and not exists(path):
            text = f"{text}; the camera of that number is camera:{path}"
        note(text if path in text else f'Cannot use {what}"{path}": {text}')
        self.good = False

    def __iter__(self) -> Iterator[Item[Prepared]]:
        waits = not self._arguments or STANDARD_INPUT in self._arguments
        with closing(self._items(self._names_on_demand() if waits else expand_inputs(self._arguments))) as items:
            yield from islice(items, self._limit)
        if self._every > 1 and not self._has_frames:
            note("--every has no effect on pictures")

    def _names_on_demand(self) -> Iterator[Name]:
        """Names, some from standard input: a program may send the next one only after the result for the last."""
        for argument in self._arguments or (STANDARD_INPUT,):
            if argument == STANDARD_INPUT:
                yield from names_from_stdin(self._quiet, self._prompts)
            else:
                yield from expand_inputs([argument])

    def _items(self, names: Iterable[Name]) -> Generator[Item[Prepared], None, None]:
        only_input = isinstance(names, list) and len(names) == 1
        for loaded in self._load_all(names):
            if isinstance(loaded, _Problem):
                self.report(loaded.path, loaded.error)
            elif isinstance(loaded, _VideoInput):
                yield from self._frames(loaded.path, only_input)
            else:
                yield loaded

    def _load_all(self, names: Iterable[Name]) -> Iterator[Item[Prepared] | _Problem | _VideoInput]:
        if not isinstance(names, list) or len(names) == 1:
            return map(self._load, names)
        from ..utils.prefetch import prefetch

        threads = 1 if self._batch == 1 else PREPARING
        total = len(names) if self._limit is None else min(len(names), self._limit)
        return self._with_bar(prefetch(self._load, names, threads, AHEAD * self._batch), total, "pictures")

    def _with_bar(self, things: Iterator[Thing], total: int, label: str) -> Iterator[Thing]:
        return things if self._silent else progress(things, total, label)

    def _load(self, name: Name) -> Item[Prepared] | _Problem | _VideoInput:
        from ..images.image import decode_image, load_image

        path = STDIN_PICTURE if isinstance(name, bytes) else str(name)
        try:
            if isinstance(name, ImageError):
                raise name
            if isinstance(name, bytes):
                picture = decode_image(name)
            elif is_video(name):
                return _VideoInput(name)
            elif is_web_address(name):
                from ..images.image import load_remote_image

                found = load_remote_image(name)
                if found is None:
                    return _VideoInput(name)
                picture = found
            else:
                picture = load_image(name)
            return Item(path, picture, self._prepare(picture))
        except (ImageError, ShapeError, OptionError) as error:  # the network itself was checked before
            return _Problem(path, error)

    def _frames(self, path: str, only_input: bool) -> Iterator[Item[Prepared]]:
        """The frames of a video, read ahead; of a live one, the newest frame."""
        from ..inference.video.capture import Capture, Reader

        number = camera_number(path)
        try:
            capture = Capture(path if number is None else number, every=self._every)
        except ImageError as error:
            self.report(path, error)
            return
        self._has_frames = True
        video = Video(path, capture.rate / self._every, capture.live)

        def prepare(picture: Picture) -> tuple[int, Prepared]:
            return capture.count, self._prepare(picture)  # in the thread that has just read it

        with closing(Reader(capture, prepare)) as reader:
            frames: Iterator[Any] = iter(reader)
            total = self._length(capture)
            if only_input and total is not None:
                frames = self._with_bar(frames, total, "frames")
            for frame in frames:
                yield Item(path, frame.picture, frame.x[1], video, frame.x[0])

    def _length(self, capture: Capture) -> int | None:
        """The number of frames that will be used, if it is known."""
        if capture.frames is None:
            return None
        total = -(-capture.frames // self._every)
        return total if self._limit is None else min(total, self._limit)


def process(
    source: Source[Prepared], stop: Interruption, batch: int,
    compute: Callable[[Sequence[Prepared]], Sequence[Result]], act: Callable[[Item[Prepared], Result], None],
) -> None:  # fmt: skip
    """Compute the items of a source, `batch` at a time, and call `act` with each item and its result, in order.

    An item that cannot be computed or written (ImageError, ShapeError) is reported and skipped.
    """
    with closing(stop.until(source)) as items:
        while ready := list(islice(items, batch)):
            for item, result in _results(source, ready, compute):
                try:
                    act(item, result)
                except (ImageError, ShapeError) as error:
                    source.report(item.path, error)


def _results(
    source: Source[Prepared], ready: list[Item[Prepared]], compute: Callable[[Sequence[Prepared]], Sequence[Result]]
) -> list[tuple[Item[Prepared], Result]]:
    """The items that could be computed, with their results. If a batch fails, each of its items is tried alone."""
    try:
        return list(zip(ready, compute([item.prepared for item in ready]), strict=True))
    except (ImageError, ShapeError) as error:
        if len(ready) > 1:
            return [pair for item in ready for pair in _results(source, [item], compute)]
        source.report(ready[0].path, error)
        return []


class Interruption:
    """A context in which Ctrl-C and SIGTERM end the iterator of `until`, so that output files can be completed.

    number: the signal's, or None. A second signal ends the process at once, as it would without this context.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._waiting = False
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():  # elsewhere no handler can be set
            self._former = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        while self._former:
            signal.signal(*self._former.popitem())

    def _stop(self, number: int, frame: Any) -> None:
        self.__exit__()
        self.number = number
        if self._waiting:
            raise KeyboardInterrupt

    def until(self, items: Iterable[Thing]) -> Generator[Thing, None, None]:
        """The items, until a signal comes. A signal also ends the wait for the next item."""
        iterator = iter(items)
        try:
            while self.number is None:
                self._waiting = True
                item = next(iterator)
                self._waiting = False
                yield item
        except StopIteration:
            return
        except KeyboardInterrupt:
            if self.number is None:  # a caller's own
                raise
        finally:
            self._waiting = False

    def exit(self, good: bool) -> None:
        """End the command: exit code 128 + the signal's number after a signal, 1 if not `good`."""
        if self.number is not None:
            sys.stdout.flush()
            raise click.exceptions.Exit(128 + self.number)
        if not good:
            raise click.exceptions.Exit(1)
