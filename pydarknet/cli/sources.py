"""The inputs that a command's arguments name: files, folders, patterns, lists, addresses, cameras, standard
input. Their pictures and frames are read and prepared ahead; inputs that cannot be read are reported."""

import codecs
import glob
import os
import re
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from ..archive.work import compute_each
from ..errors import DarknetError, DataError, ImageError, OptionError, ShapeError
from ..images.image import EXTENSIONS, Picture, Size, load_remote_image, picture_of_size
from ..inference.video.capture import Capture, Reader, is_pattern, numbered_paths
from ..utils.prefetch import BATCHES_AHEAD, THREADS, prefetch
from ..utils.resources import exists
from .console import Interruption, note, progress, say

VIDEOS = frozenset({
    ".3gp", ".avi", ".flv", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv",
})  # fmt: skip
LISTS = frozenset({".list", ".lst", ".txt"})  # files with one path per line
STANDARD_INPUT = "-"
STDIN_PICTURE = "standard input"  # the printed name of a picture that was read from there
PROMPT = "Enter Image Path: "
LONGEST_PATH = 1 << 16  # bytes
_ADDRESS = re.compile(r"(https?|rtsps?|rtmps?|rtp|udp|tcp|srt)://", re.IGNORECASE)
_CAMERA = re.compile(r"camera:(\d{1,4})")

LARGEST_PICTURE = 1 << 28  # bytes of a picture on standard input
_SIGNATURES = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"RIFF", b"BM", b"II*\0", b"MM\0*", b"P5", b"P6", b"GIF8")

Name = str | bytes | ImageError  # a path or address, a picture file's bytes, or why an input cannot be used


def is_address(name: str) -> bool:
    """Whether `name` is an address, such as `rtsp://...`."""
    return bool(_ADDRESS.match(name))


def is_web_address(name: str) -> bool:
    """Whether `name` is an HTTP address, of a picture or a video."""
    return name[:8].lower().startswith(("http://", "https://"))


def camera_number(name: str) -> int | None:
    """The number in `camera:0`; None for any other name."""
    found = _CAMERA.fullmatch(name)
    return int(found[1]) if found else None


def is_video(name: str) -> bool:
    """Whether `name` is that of a video: a camera, a stream, or a file with the extension of a video."""
    if is_address(name):
        return not is_web_address(name)
    return camera_number(name) is not None or Path(name).suffix.lower() in VIDEOS


def expand_inputs(arguments: Sequence[str]) -> list[Name]:
    """The pictures and videos that the arguments name, in their order; those of folders and patterns sorted by
    name.

    An argument that matches nothing is returned unchanged. One that cannot be read (a folder without pictures,
    an empty list) is replaced by its error, so that it is reported in its turn.
    """
    return [name for argument in arguments for name in _expand_input(argument)]


def _expand_input(argument: str) -> list[Name]:
    try:
        if is_address(argument) or camera_number(argument) is not None:
            return [argument]
        if Path(argument).suffix.lower() in LISTS and not (exists(argument) and Path(argument).is_dir()):
            from ..datasets.labels import listed  # with what training needs

            lists = [argument] if exists(argument) else sorted(glob.glob(argument, recursive=True)) or [argument]  # noqa: PTH207
            named = [each for path in lists for each in listed(path)]  # paths are resolved as in training lists
            return [text if is_address(text) else str(found) for _, text, found in named]
        if "%" in argument and not exists(argument):
            return [str(path) for path in numbered_paths(argument)] if is_pattern(argument) else [argument]
    except (DataError, ImageError) as error:
        return [ImageError(str(error))]
    return expand_path(argument, EXTENSIONS | VIDEOS)


def expand_path(argument: str, extensions: frozenset[str] = EXTENSIONS) -> list[Name]:
    """The files of a name, folder or pattern; see `expand_inputs`. extensions: of the files to take from folders."""
    if exists(argument):
        return _in_folder(argument, extensions) if Path(argument).is_dir() else [argument]
    return (_matching(argument, extensions) if glob.has_magic(argument) else []) or [argument]


def _matching(pattern: str, extensions: frozenset[str]) -> list[Name]:
    """The matches of a pattern, as a shell expands it, except folders that `**` matches beside the files in
    them, and labels and the like where a pattern without extension matches pictures or videos."""
    found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
    if glob.has_magic(Path(pattern).suffix) or not Path(pattern).suffix:
        found = [path for path in found if Path(path).suffix.lower() in extensions or Path(path).is_dir()] or found
    if "**" in pattern:
        return [path for path in found if not Path(path).is_dir()]
    return [name for path in found for name in expand_path(path, extensions)]


def _in_folder(folder: str, extensions: frozenset[str]) -> list[Name]:
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    except OSError as error:
        return [ImageError(f"{folder}: cannot read the folder: {error.strerror or error}")]
    pictures = [name for name in names if Path(name).suffix.lower() in extensions]
    if not pictures:
        return [ImageError(f"{folder}: no pictures in this folder (looked for {', '.join(sorted(EXTENSIONS))})")]
    return [str(Path(folder) / name) for name in pictures]


def names_from_stdin(quiet: bool, prompts: bool = False) -> Iterator[Name]:
    """Names from standard input, one per line, with darknet's prompt at a terminal; or the bytes of one picture
    file.

    Other binary data gives one error and ends the list. quiet: print the prompt on standard error. prompts:
    print it also if standard input is not a terminal, unless `quiet`, as darknet does.
    """
    if sys.stdin is None:  # closed by the parent process
        return
    stream, terminal, first = sys.stdin.buffer, sys.stdin.isatty(), True
    while True:
        if terminal or (prompts and not quiet):
            (note if quiet else say)(PROMPT, newline=False)
        line = stream.readline(LONGEST_PATH)
        if not line:
            return
        line = line.removeprefix(codecs.BOM_UTF8) if first else line
        if first and line.startswith(_SIGNATURES) and not exists(os.fsdecode(line.rstrip(b"\r\n"))):
            yield line + stream.read(LARGEST_PICTURE)
            return
        first = False
        if b"\0" in line:
            yield ImageError("standard input: found binary data; expected paths of pictures, one per line")
            return
        path = os.fsdecode(line.rstrip(b"\r\n"))
        if path.strip():
            yield path


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
        return self.path if self.frame is None else f"{self.path} frame {self.frame}"


# An input that has been looked at: a picture; the path of one that has frames; a path and why it cannot be read.
Loaded = Item[Prepared] | str | tuple[str, Exception]


class Source(Generic[Prepared]):
    """An iterable of the items of a command line, in order. `good` becomes False when one cannot be read.

    prepare: makes the network's input from a picture, in the threads that read. batch: the number computed at a
    time; twice as many are read ahead. as_json, quiet: print the prompt on standard error. prompts: print it
    also if standard input is not a terminal. least: see `picture_of_size`; `prepare` gets the `size` of the file of
    a scaled picture, too. others: options that do not matter here.
    """

    def __init__(
        self, arguments: Sequence[str], prepare: Callable[..., Prepared], *, every: int = 1,
        limit: int | None = None, batch: int = 1, as_json: bool = False, quiet: bool = False, prompts: bool = False,
        least: Size | None = None, **others: Any,
    ) -> None:  # fmt: skip
        self._arguments, self._prepare, self._every = arguments, prepare, every
        self._limit, self._batch, self._quiet, self._silent = limit, batch, as_json or quiet, quiet
        self._prompts = prompts and not arguments and batch == 1
        self.good = True
        self._has_frames = self.scaled = False  # scaled: whether any picture was decoded at a reduced size
        self._least = least

    def report(self, path: str, error: Exception) -> None:
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
            is_stdin = argument == STANDARD_INPUT
            yield from names_from_stdin(self._quiet, self._prompts) if is_stdin else _expand_input(argument)

    def _items(self, names: Iterable[Name]) -> Generator[Item[Prepared], None, None]:
        only_input = isinstance(names, list) and len(names) == 1
        for loaded in self._load_all(names):
            if isinstance(loaded, tuple):
                self.report(*loaded)
            elif isinstance(loaded, str):
                yield from self._frames(loaded, only_input)
            else:
                yield loaded

    def _load_all(self, names: Iterable[Name]) -> Iterator[Loaded[Prepared]]:
        if not isinstance(names, list) or len(names) == 1:
            return map(self._load, names)
        ahead = max(BATCHES_AHEAD * self._batch, THREADS)
        return self._with_bar(prefetch(self._load, names, count=ahead), len(names), "pictures")

    def _with_bar(self, things: Iterator[Thing], total: int, label: str) -> Iterator[Thing]:
        return things if self._silent else progress(things, min(total, self._limit or total), label)

    def _load(self, name: Name) -> Loaded[Prepared]:
        path = STDIN_PICTURE if isinstance(name, bytes) else str(name)
        try:
            if isinstance(name, ImageError):
                raise name
            if isinstance(name, str) and is_video(name):
                return name
            if isinstance(name, str) and is_web_address(name):
                found = load_remote_image(name)
                return name if found is None else Item(path, found, self._prepare(found))
            picture, size = picture_of_size(name, least=self._least)
            of_file = {} if picture.shape[1] == size[0] else {"size": size}
            self.scaled |= bool(of_file)
            return Item(path, picture, self._prepare(picture, **of_file))
        except (ImageError, ShapeError, OptionError) as error:  # the network itself was checked before
            return path, error

    def _frames(self, path: str, only_input: bool) -> Iterator[Item[Prepared]]:
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
            if only_input and capture.frames is not None:
                frames = self._with_bar(frames, -(-capture.frames // self._every), "frames")
            for frame in frames:
                yield Item(path, frame.picture, frame.x[1], video, frame.x[0])


def process(
    source: Source[Prepared], stop: Interruption, batch: int,
    compute: Callable[[Sequence[Prepared]], Sequence[Result]], act: Callable[[Item[Prepared], Result], None],
) -> None:  # fmt: skip
    """Compute the items of a source, `batch` at a time, and call `act` with each item and its result, in order.
    An item that cannot be computed or written is reported and skipped."""
    with closing(stop.until(source)) as items:
        while ready := list(islice(items, batch)):
            results = compute_each(compute, [item.prepared for item in ready])
            for item, result in zip(ready, results, strict=True):
                try:
                    if isinstance(result, DarknetError):
                        raise result
                    act(item, result)
                except (ImageError, ShapeError) as error:
                    source.report(item.path, error)
