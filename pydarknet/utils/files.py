"""Files written whole or not at all, and small reads with one clear error."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import DarknetError, OutputError


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; when the block ends well, flush it to the disk and rename it to `path`.

    Whatever happens before that (an exception, a full disk, a kill), `path` keeps its former content.
    Devices and pipes (`/dev/stdout`) have no content to keep and are written directly.

    Raises OutputError with the path and the system's reason.
    """
    target = Path(path)
    if target.exists() and not target.is_file() and not target.is_dir():
        with open_for_output(target) as stream:
            yield stream
        return
    with part_of(target) as part, part.open("wb") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())


@contextlib.contextmanager
def part_of(path: str | os.PathLike[str], suffix: str = ".part") -> Iterator[Path]:
    """An empty file beside `path`, for who writes by name; when the block ends well it is renamed to `path`, else it
    is deleted. `suffix`: how its name ends. Raises OutputError with the path and the system's reason."""
    target = Path(os.path.realpath(path))
    part = None
    try:
        if target.is_dir():
            raise IsADirectoryError(21, "Is a directory")
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=suffix, dir=target.parent)
        os.close(handle)
        part = Path(name)
        yield part
        part.chmod(_mode_of_new_file(target))
        part.replace(target)
    except BrokenPipeError:  # of standard output, not of a file
        raise
    except OSError as error:
        raise OutputError(f"{path}: cannot write: {error.strerror or error}") from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def write_folder_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary folder beside `path`; when the block ends well, it becomes `path`, else it is removed.

    Raises OutputError where `path` is there already and not an empty folder, and for what the system refuses.
    """
    target = Path(path)
    temporary = None
    try:
        if target.exists() and not (target.is_dir() and not any(target.iterdir())):
            raise OutputError(f"{path}: is there already; expected a new or empty folder")
        name = tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.absolute().parent)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o777 & ~_mask())
        if target.exists():
            target.rmdir()
        temporary.replace(target)
    except OSError as error:
        raise OutputError(f"{path}: cannot write: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def open_for_output(path: Path) -> Iterator[BinaryIO]:
    """`path` opened for writing in place. Raises OutputError."""
    try:
        with path.open("wb") as stream:
            yield stream
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"{path}: cannot write: {error.strerror or error}") from error


def _mode_of_new_file(target: Path) -> int:
    """The permissions `target` has, or those that an ordinary `open` would give it."""
    if target.exists():
        return target.stat().st_mode & 0o7777
    return 0o666 & ~_mask()


def _mask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def read_bytes(path: str | os.PathLike[str], error: type[DarknetError]) -> bytes:
    """The content of the file at `path`. Raises `error` with darknet's first words, the path and the reason."""
    try:
        with open(path, "rb") as stream:  # noqa: PTH123 (twice as fast)
            return stream.read()
    except OSError as reason:
        raise error(f"Couldn't open file: {path} ({reason.strerror or reason})") from reason


def read_text(path: str | os.PathLike[str], error: type[DarknetError]) -> str:
    """The content of the text file at `path`, as UTF-8 with undecodable bytes kept as surrogates.

    Raises `error` with the path and the reason; a file with NUL bytes is no text and is named as such.
    """
    content = read_bytes(path, error)
    if b"\0" in content:
        raise error(f"{path}: not a text file (it contains NUL bytes)")
    return content.decode("utf-8-sig", errors="surrogateescape")


def hash_of(path: Path) -> str:
    """The SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def flush(folder: Path) -> None:
    """Have the folder's entries on the disk, in this order, also should the power fail."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # systems on which folders cannot be opened
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
