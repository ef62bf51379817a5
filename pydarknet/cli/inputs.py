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
    """Whether `name` is an address of the network, such as `rtsp://...`."""
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
    if camera_number(name) is not None or (is_address(name) and not is_web_address(name)):
        return True
    return not is_address(name) and Path(name).suffix.lower() in VIDEOS


def expand_inputs(arguments: Sequence[str]) -> list[Name]:
    """The pictures and videos that the arguments name, in their order. List files are read; the content of folders
    and patterns is sorted by name.

    An argument that matches nothing is returned unchanged, and one that cannot be read (a folder without pictures, an
    empty list) is replaced by its error, so that both are reported in their turn.
    """
    return [name for argument in arguments for name in _expand_input(argument)]


def _expand_input(argument: str) -> list[Name]:
    try:
        if is_address(argument) or camera_number(argument) is not None:
            return [argument]
        if Path(argument).suffix.lower() in LISTS and not (exists(argument) and Path(argument).is_dir()):
            lists = [argument] if exists(argument) else sorted(glob.glob(argument, recursive=True)) or [argument]  # noqa: PTH207
            return [name for path in lists for name in _in_list(path)]
        if "%" in argument and not exists(argument):
            return list(_numbered(argument))
        return expand_paths([argument], EXTENSIONS | VIDEOS)
    except ImageError as error:
        return [error]


def _in_list(path: str) -> list[str]:
    """The lines of a list file; paths are resolved as in training lists. Raises ImageError."""
    from ..datasets.labels import listed

    try:
        return [text if is_address(text) else str(found) for _, text, found in listed(path)]
    except DataError as error:
        raise ImageError(str(error)) from error


def _numbered(pattern: str) -> list[str]:
    """The files of `frames/%05d.jpg`; any other name with a percent sign is returned unchanged."""
    from ..inference.video.capture import is_pattern, numbered_paths

    return [str(path) for path in numbered_paths(pattern)] if is_pattern(pattern) else [pattern]


def expand_paths(arguments: Sequence[str], extensions: frozenset[str] = EXTENSIONS) -> list[Name]:
    """The files of names, folders and patterns; see `expand_inputs`. extensions: of the files to take from folders."""
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
    """The matches of a pattern, as a shell expands it.

    Folders that `**` matches are left out, because it also matches the files in them. If a pattern has no extension and
    some matches are pictures or videos, all other files, such as labels, are left out.
    """
    found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
    if glob.has_magic(Path(pattern).suffix) or not Path(pattern).suffix:
        found = [path for path in found if Path(path).suffix.lower() in extensions or Path(path).is_dir()] or found
    if "**" in pattern:
        return [path for path in found if not Path(path).is_dir()]
    paths: list[Name] = []
    for path in found:
        paths += expand_paths([path], extensions) if Path(path).is_dir() else [path]
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


def names_from_stdin(quiet: bool, prompts: bool = False) -> Iterator[Name]:
    """Names from standard input, one per line, with darknet's prompt at a terminal; or the bytes of one picture file.

    Other binary data gives one error and ends the list. quiet: print the prompt on standard error. prompts: print it
    also if standard input is not a terminal, unless `quiet`, as darknet does.
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
            yield ImageError("standard input: found binary data; expected paths of pictures, one per line")
            return
        path = os.fsdecode(line.rstrip(b"\r\n"))
        if path.strip():
            yield path
