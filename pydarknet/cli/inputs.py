"""The inputs that a command's arguments name: files, folders, patterns, lists, addresses, cameras, standard input."""

from __future__ import annotations

import codecs
import glob
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import DataError, ImageError
from ..utils.resources import exists
from .console import note, say

EXTENSIONS = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
VIDEOS = frozenset({
    ".3gp", ".avi", ".flv", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv",
})  # fmt: skip
LISTS = frozenset({".list", ".lst", ".txt"})  # files with a path in each line
STANDARD_INPUT = "-"
PIPED = "standard input"  # the name of a picture that came through it
PROMPT = "Enter Image Path: "
LONGEST_PATH = 1 << 16  # bytes
_ADDRESS = re.compile(r"(https?|rtsps?|rtmps?|rtp|udp|tcp|srt)://", re.IGNORECASE)
_CAMERA = re.compile(r"camera:(\d{1,4})")

LARGEST_PICTURE = 1 << 28  # bytes of a picture on standard input
_SIGNATURES = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"RIFF", b"BM", b"II*\0", b"MM\0*", b"P5", b"P6", b"GIF8")

Name = str | bytes | ImageError  # an input, the bytes of a picture, or why there is none


def is_address(name: str) -> bool:
    """Whether `name` is an address of the network, such as `rtsp://...`."""
    return bool(_ADDRESS.match(name))


def is_web_address(name: str) -> bool:
    """Whether `name` is an address of HTTP, behind which there may be a picture or a video."""
    return name[:8].lower().startswith(("http://", "https://"))


def camera_number(name: str) -> int | None:
    """0 of `camera:0`; None for what is no camera."""
    found = _CAMERA.fullmatch(name)
    return int(found[1]) if found else None


def is_video(name: str) -> bool:
    """Whether `name` alone tells that it has frames: a camera, a stream, a file with the extension of a video."""
    if camera_number(name) is not None or (is_address(name) and not is_web_address(name)):
        return True
    return not is_address(name) and Path(name).suffix.lower() in VIDEOS


def names_of(arguments: Sequence[str]) -> list[Name]:
    """The pictures and videos that the arguments name, in their order; lists of paths are read, folders and patterns
    sorted by name.

    An argument that names nothing stays as it is, and what cannot be read (a folder without pictures, an empty list)
    becomes its error; both are reported in their turn.
    """
    return [name for argument in arguments for name in _names_of(argument)]


def _names_of(argument: str) -> list[Name]:
    try:
        if is_address(argument) or camera_number(argument) is not None:
            return [argument]
        if Path(argument).suffix.lower() in LISTS and not (exists(argument) and Path(argument).is_dir()):
            lists = [argument] if exists(argument) else sorted(glob.glob(argument, recursive=True)) or [argument]  # noqa: PTH207
            return [name for path in lists for name in _in_list(path)]
        if "%" in argument and not exists(argument):
            return list(_numbered(argument))
        return paths_of([argument], EXTENSIONS | VIDEOS)
    except ImageError as error:
        return [error]


def _in_list(path: str) -> list[str]:
    """The lines of a list file; paths are looked for as those of training lists. Raises ImageError."""
    from ..datasets.labels import listed

    try:
        return [text if is_address(text) else str(found) for _, text, found in listed(path)]
    except DataError as error:
        raise ImageError(str(error)) from error


def _numbered(pattern: str) -> list[str]:
    """The files of `frames/%05d.jpg`; another name with a percent sign stays as it is."""
    from ..inference.video.capture import is_pattern, numbered_paths

    return [str(path) for path in numbered_paths(pattern)] if is_pattern(pattern) else [pattern]


def paths_of(arguments: Sequence[str], extensions: frozenset[str] = EXTENSIONS) -> list[Name]:
    """The files that names, folders and patterns stand for; see `names_of`. extensions: of files in folders."""
    paths: list[Name] = []
    for argument in arguments:
        if exists(argument) and Path(argument).is_dir():
            try:
                paths += _in_folder(argument, extensions)
            except ImageError as error:
                paths.append(error)
        elif not exists(argument) and glob.has_magic(argument):
            paths += _matching(argument, extensions) or [argument]
        else:
            paths.append(argument)
    return paths


def _matching(pattern: str, extensions: frozenset[str]) -> list[Name]:
    """What matches a pattern, as if the shell had spelt it out. `**` matches files in folders by itself, so that the
    folders that it matches are left out. A pattern without an extension leaves out what is no picture or video, such as
    label files, if it matches some that are."""
    found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
    if glob.has_magic(Path(pattern).suffix) or not Path(pattern).suffix:
        found = [path for path in found if Path(path).suffix.lower() in extensions or Path(path).is_dir()] or found
    if "**" in pattern:
        return [path for path in found if not Path(path).is_dir()]
    paths: list[Name] = []
    for path in found:
        paths += paths_of([path], extensions) if Path(path).is_dir() else [path]
    return paths


def _in_folder(folder: str, extensions: frozenset[str]) -> list[str]:
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    except OSError as error:
        raise ImageError(f"{folder}: cannot read the folder: {error.strerror or error}") from error
    pictures = [name for name in names if Path(name).suffix.lower() in extensions]
    if not pictures:
        raise ImageError(f"{folder}: no pictures in this folder (looked for {', '.join(sorted(EXTENSIONS))})")
    return [str(Path(folder) / name) for name in pictures]


def names_from_input(quiet: bool, prompts: bool = False) -> Iterator[Name]:
    """Names from standard input, one a line, with darknet's prompt at a terminal; or the bytes of one picture file.

    Other binary data gives one error and ends the list. quiet: the prompt is no result, thus is printed on standard
    error. prompts: print it also where standard input is no terminal, if not `quiet`, as darknet does.
    """
    if sys.stdin is None:  # closed by the parent process
        return
    stream, terminal, first = sys.stdin.buffer, sys.stdin.isatty(), True
    while True:
        if terminal and quiet:
            note(PROMPT, newline=False)
        elif terminal or (prompts and not quiet):
            say(PROMPT, newline=False)
        line = stream.readline(LONGEST_PATH)
        if not line:
            return
        line = line.removeprefix(codecs.BOM_UTF8) if first else line
        if first and line.startswith(_SIGNATURES) and not exists(os.fsdecode(line.rstrip(b"\r\n"))):
            yield line + stream.read(LARGEST_PICTURE)
            return
        first = False
        if b"\0" in line:
            yield ImageError("standard input: expected the paths of pictures, one a line, and found binary data")
            return
        path = os.fsdecode(line.rstrip(b"\r\n"))
        if path.strip():
            yield path
