"""The pictures of a command: files, folders, patterns, or paths from standard input, one at a time."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ImageError, ShapeError
from .console import note, progress, say
from .loading import exists

if TYPE_CHECKING:
    from ..images.image import Picture

EXTENSIONS = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
PROMPT = "Enter Image Path: "
LONGEST_PATH = 1 << 16  # bytes

Action = Callable[[str, "Picture"], None]


def for_each_picture(arguments: Sequence[str], action: Action, quiet: bool = False) -> bool:
    """Call `action` with the path and the pixels of each picture; True if all of them could be read.

    A picture that cannot be read is reported, and the next one follows. quiet: do not print darknet's prompt on
    standard output.
    """
    good = True
    for path, image in _loaded(paths_of(arguments)) if arguments else map(_load, paths_from_input(quiet)):
        try:
            if isinstance(image, ImageError):
                raise image
            action(path, image)
        except (ImageError, ShapeError) as error:
            text = str(error)
            note(text if str(path) in text else f'Cannot use image "{path}": {text}')
            good = False
    return good


def _load(path: str | ImageError) -> tuple[str, Picture | ImageError]:
    """A path with its picture, or with the error of reading it."""
    from ..images.image import load_image

    if isinstance(path, ImageError):
        return str(path), path
    try:
        return path, load_image(path)
    except ImageError as error:
        return path, error


def _loaded(paths: Sequence[str | ImageError]) -> Iterator[tuple[str, Picture | ImageError]]:
    """The pictures of all paths; the next ones are read while the caller works on one.

    Paths from standard input are not read ahead: the next line may come only after the answer to the current one.
    """
    if len(paths) == 1:
        return map(_load, paths)
    from ..utils.prefetch import prefetch

    return progress(prefetch(_load, paths, threads=1, count=2), len(paths))


def paths_of(arguments: Sequence[str]) -> list[str | ImageError]:
    """The files that the arguments name, in their order; the content of folders and patterns is sorted by name.

    An argument that names nothing stays as it is, and a folder without pictures becomes its error; both are reported
    in their turn.
    """
    paths: list[str | ImageError] = []
    for argument in arguments:
        if exists(argument) and Path(argument).is_dir():
            try:
                paths += _in_folder(argument)
            except ImageError as error:
                paths.append(error)
        elif not exists(argument) and glob.has_magic(argument):
            paths += sorted(glob.glob(argument, recursive=True)) or [argument]  # noqa: PTH207
        else:
            paths.append(argument)
    return paths


def _in_folder(folder: str) -> list[str]:
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    except OSError as error:
        raise ImageError(f"{folder}: cannot read the folder: {error.strerror or error}") from error
    pictures = [name for name in names if Path(name).suffix.lower() in EXTENSIONS]
    if not pictures:
        raise ImageError(f"{folder}: no pictures in this folder (looked for {', '.join(sorted(EXTENSIONS))})")
    return [str(Path(folder) / name) for name in pictures]


def paths_from_input(quiet: bool) -> Iterator[str | ImageError]:
    """Paths from standard input, one a line, with darknet's prompt at a terminal.

    Binary data, such as a picture itself, gives one error and ends the list.
    """
    if sys.stdin is None:  # closed by the parent process
        return
    stream, prompts = sys.stdin.buffer, sys.stdin.isatty()
    while True:
        if prompts and quiet:
            note(PROMPT, newline=False)
        elif prompts:
            say(PROMPT, newline=False)
        line = stream.readline(LONGEST_PATH)
        if not line:
            return
        if b"\0" in line:
            yield ImageError("standard input: expected the paths of pictures, one a line, and found binary data")
            return
        path = os.fsdecode(line.rstrip(b"\r\n"))
        if path.strip():
            yield path
