"""Files: written whole or not at all, read with a bound and one clear error, named by their first bytes."""

import codecs
import contextlib
import hashlib
import json
import logging
import math
import os
import re
import secrets
import select
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import DarknetError, OutputError

log = logging.getLogger("pydarknet")

StrPath = str | os.PathLike[str]
LARGEST_FILE = 1 << 36  # bytes that `read_bytes` takes: a sparse or endless file must not fill the memory
LARGEST_TEXT = 1 << 30  # bytes of a text file
SPARE = 1 << 16  # bytes that a disk with space takes
PATIENCE = 10.0  # seconds that a pipe may be silent


@contextlib.contextmanager
def output_errors(path: StrPath, what: str = "cannot write", kind: type[DarknetError] = OutputError) -> Iterator[None]:
    """What the system refuses while the block uses `path`, as an error with the path, `what` failed, and the reason."""
    try:
        yield
    except BrokenPipeError:  # of standard output, not of a file
        raise
    except OSError as error:
        raise kind(f"{path}: {what}: {error.strerror or error}") from error


@contextlib.contextmanager
def atomic_write(path: StrPath) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; when the block ends well, flush it to the disk and rename it to
    `path`.

    Whatever happens before that (an exception, a full disk, a kill), `path` keeps its former content.
    Devices and pipes (`/dev/stdout`) are written directly. Raises OutputError.
    """
    target = Path(path)
    if target.exists() and not target.is_file() and not target.is_dir():
        with output_errors(path), target.open("wb") as stream:
            yield stream
        return
    with part_of(target) as part, part.open("wb") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())


def write_file(path: StrPath, content: bytes) -> None:
    """Write a file completely or not at all, see `atomic_write`. Raises OutputError."""
    with atomic_write(path) as stream:
        stream.write(content)


def make_folder(folder: Path) -> None:
    """Create a folder if it does not exist. Raises OutputError, also if files cannot be created in it."""
    with output_errors(folder, "cannot make the folder"):
        folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{folder}: cannot write to this folder")


@contextlib.contextmanager
def part_of(path: StrPath, suffix: str = ".part") -> Iterator[Path]:
    """An empty temporary file beside `path`, for code that writes by name; its name ends in `suffix`.

    When the block ends well, the file is renamed to `path`; otherwise it is deleted. It has the permissions of
    the former `path`, or those of any new file. Raises OutputError.
    """
    target = Path(os.path.realpath(path))
    with output_errors(path):
        if target.is_dir():
            raise IsADirectoryError(21, "Is a directory")
        former = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
        mode = 0o666 if former is None else 0o600
        part = _unused_name(target, suffix, lambda name: name.touch(mode, exist_ok=False))
        try:
            yield part
            if former is not None:
                part.chmod(former)
            part.replace(target)
        finally:
            with contextlib.suppress(OSError):  # the folder may be gone
                part.unlink(missing_ok=True)


@contextlib.contextmanager
def write_folder_whole(path: StrPath) -> Iterator[Path]:
    """A temporary folder beside `path`; when the block ends well, it is renamed to `path`, otherwise it is
    removed.

    Raises OutputError where `path` exists and is not an empty folder, and for what the system refuses.
    """
    target = Path(path)
    with output_errors(path):
        if target.exists() and not (target.is_dir() and not any(target.iterdir())):
            raise OutputError(f"{path}: is there already; expected a new or empty folder")
        temporary = _unused_name(target.absolute(), ".part", Path.mkdir)
        try:
            yield temporary
            if target.exists():
                target.rmdir()
            temporary.replace(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _unused_name(target: Path, suffix: str, create: Callable[[Path], None]) -> Path:
    """What `create` made under a hidden name beside `target`, with the user's umask: to read it is to set it."""
    while True:
        name = target.parent / f".{target.name[:50]}.{secrets.token_hex(4)}{suffix}"
        with contextlib.suppress(FileExistsError):
            create(name)
            return name


def read_bytes(path: StrPath, error: type[DarknetError], largest: int = LARGEST_FILE) -> bytes:
    """The content of the file at `path`, or of a pipe: at most `largest` bytes.

    Raises `error` with darknet's first words, the path and the reason, also for a device, for a pipe that stays
    silent for `PATIENCE` seconds, and for what is larger than `largest` or than the free memory.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as stream:
            found = os.fstat(stream.fileno())
            if stat.S_ISFIFO(found.st_mode) or stat.S_ISSOCK(found.st_mode):
                return _read_pipe(stream.fileno(), largest)
            if not stat.S_ISREG(found.st_mode):
                raise OSError("it is a device; expected a file")
            if found.st_size > largest:
                raise OSError(f"it has {found.st_size} bytes; expected at most {largest}")
            return stream.read()
    except (OSError, ValueError, MemoryError) as reason:
        text = getattr(reason, "strerror", None) or str(reason) or "out of memory"
        raise error(f"Couldn't open file: {path} ({text})") from reason


def check_readable(path: StrPath) -> None:
    """For libraries that open files by name, and may seek in them or wait for ever: raise OSError or ValueError
    with the reason why they could not, also for a pipe or a device that is no camera."""
    with open(path, "rb", buffering=0, opener=_open_at_once) as stream:  # not a folder
        mode = os.fstat(stream.fileno()).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        raise OSError("it is a pipe; expected a file")
    if not stat.S_ISREG(mode) and not Path(os.path.realpath(path)).name.startswith("video"):
        raise OSError("it is a device; expected a file")


def check_space(path: Path) -> None:
    """After a library that tells of no errors has written the file: flush it, and see whether it can still grow,
    as it cannot on a full disk. Raises OSError."""
    with path.open("r+b") as stream:
        size = stream.seek(0, os.SEEK_END)
        try:
            stream.write(bytes(SPARE))
            stream.flush()
        finally:
            os.ftruncate(stream.fileno(), size)
        os.fsync(stream.fileno())


def _open_at_once(path: str, flags: int) -> int:  # a pipe that nobody writes to, without waiting for a writer
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _read_pipe(handle: int, largest: int) -> bytes:
    content, deadline = bytearray(), time.monotonic() + PATIENCE
    while len(content) <= largest:
        if not select.select([handle], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise OSError(f"the pipe has been silent for {PATIENCE:g} seconds")
        try:
            block = os.read(handle, 1 << 20)
        except BlockingIOError:
            continue
        if block:
            content += block
            deadline = time.monotonic() + PATIENCE
        elif content or time.monotonic() >= deadline:
            return bytes(content)
        else:
            time.sleep(0.01)  # no writer yet, or one that wrote nothing
    raise OSError(f"the pipe gave more than {largest} bytes")


def read_text(path: StrPath, error: type[DarknetError]) -> str:
    """The content of the text file at `path`, as UTF-8 with undecodable bytes kept as surrogates; as UTF-16 if
    it begins with that byte order mark, as PowerShell writes. Raises `error` with the path and the reason."""
    return decode_text(path, read_bytes(path, error, LARGEST_TEXT), error)


def decode_text(name: StrPath, content: bytes, error: type[DarknetError]) -> str:
    """The text in the content of a file, see `read_text`; `name` stands for it in messages."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return content.decode("utf-16")
        except UnicodeDecodeError as fault:
            raise error(
                f"{name}: not a text file (it has the byte order mark of UTF-16, but is invalid: {fault.reason})"
            ) from fault
    if b"\0" in content:
        kind = kind_of(content)
        raise error(f"{name}: not a text file ({f'this is {kind}' if kind else 'it contains NUL bytes'})")
    return content.decode("utf-8-sig", errors="surrogateescape")


def is_same(path: StrPath, other: StrPath) -> bool:
    """Whether both are there and one file or folder."""
    with contextlib.suppress(OSError):
        return Path(path).samefile(other)
    return False


def hash_of(path: Path) -> str:
    """The SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def flush(folder: Path) -> None:
    """Write the entries of a folder to the disk now, so that they survive a power failure in this order."""
    with contextlib.suppress(OSError):  # of systems on which folders cannot be opened or flushed
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# --- what a file is, by its first bytes ---

EXAMINED = 1024  # bytes at the beginning of a file

WEIGHTS = "a .weights file"
_FAILED = "(a failed download?)"
_TEXTS = {  # by the beginning of the text, in lower case
    "<!doctype html": f"an HTML page {_FAILED}",
    "<html": f"an HTML page {_FAILED}",
    "<?xml": f"an XML document {_FAILED}",
    "<!doctype": f"an XML document {_FAILED}",
    "version https://git-lfs": "a Git LFS pointer (fetch the real file with `git lfs pull`)",
    "[net": "a .cfg file",
    "{": f"JSON {_FAILED}",
}
_CONTENTS = {  # by a pattern of the first bytes
    rb"\0{4}[\x01\x02]\0{3}[\0-\x0a]\0{3}.{4}": WEIGHTS,  # version 0.1.x or 0.2.x
    rb"PK\x03\x04": "a zip archive or a PyTorch model",
    rb"\x1f\x8b": "a gzip archive (unpack it first)",
    rb"Rar!": "a RAR archive (unpack it first)",
    rb"7z\xbc\xaf": "a 7z archive (unpack it first)",
    rb"\x89HDF": "an HDF5 (Keras) model",
    rb"\xff\xd8\xff": "a JPEG picture",
    rb"\x89PNG": "a PNG picture",
    rb"GIF8": "a GIF picture",
    rb"BM": "a BMP picture",
    rb"%PDF": "a PDF document",
    rb".{4}ftyp(heic|heix|heim|heis|hevc|mif1|msf1)": "a HEIC picture; convert it to JPEG",
    rb".{4}ftyp(isom|iso[2-9]|mp4|avc1|qt  |M4V|3gp)|\x1aE\xdf\xa3|RIFF....AVI ": "a video",
    rb"\x80[\x02-\x05]": "a pickle or a PyTorch model",  # the protocol, at the beginning of Python's pickles
    rb".{5}\0\0\0\{\"": "a safetensors file",  # the length of the JSON that follows
    rb"\x08[\x01-\x20](\x12.|:)": "an ONNX model",  # ir_version, then producer_name or the graph
}


def kind_of(content: bytes) -> str:
    """The kind of a file with this content: `a JPEG picture`, `a text file`; empty for others."""
    start = content[:EXAMINED]
    text = None if b"\0" in start else _text_of(start)
    if text is not None:
        begin = text.lstrip().lower()
        return next((kind for mark, kind in _TEXTS.items() if begin.startswith(mark)), "a text file")
    return next((kind for pattern, kind in _CONTENTS.items() if re.match(pattern, start, re.DOTALL)), "")


def _text_of(start: bytes) -> str | None:
    try:
        text = start.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3:
            return None
        text = start[: error.start].decode("utf-8-sig")
    return text if text.strip() and not re.search(r"[\x00-\x08\x0e-\x1f]", text) else None


# --- JSON that every reader takes: no NaN or Infinity, which the standard has no numbers for, and UTF-8 ---


def to_json(content: Any, **options: Any) -> str:
    """`json.dumps(content, **options)` with null in the place of NaN and infinity."""
    try:
        return json.dumps(content, allow_nan=False, **options)
    except ValueError:
        return json.dumps(_with_nulls(content), allow_nan=False, **options)


def _with_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_nulls(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_nulls(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_text(text: str) -> str:
    """Text that JSON can hold: bytes that are not UTF-8 become the replacement character."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def shortened(text: str) -> str:
    """A text in an error message: at most 60 characters."""
    return text if len(text) <= 60 else f"{text[:57]}..."


# --- warnings about many files ---

SHOWN = 20  # warnings of one kind that are logged one by one


class LimitedLog:
    """Logs the first `SHOWN` warnings and counts them all in `count`."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, text: str) -> None:
        """Count a warning, and log it if it is one of the first."""
        self.count += 1
        if self.count <= SHOWN:
            log.warning("%s", text)
        elif self.count == SHOWN + 1:
            log.warning("there are more warnings like these; only the first %d are shown", SHOWN)
