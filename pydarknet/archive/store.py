"""Where the pictures of an archive are: files, HTTP addresses, stores that pyarrow opens (s3://, gs://, file://), and
rows of Parquet files."""

from __future__ import annotations

import fnmatch
import glob
import re
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import DarknetError, DataError, ImageError, OptionError, needed_package
from ..images.image import Picture, decode_image, load_image, load_remote_image

TABLE = ".parquet"
LARGEST_GROUP = 1 << 30  # bytes of the pictures in a row group, which is read as a whole
_URI = re.compile(r"(?!https?:)([a-z][a-z0-9+.-]+://)", re.IGNORECASE)


def is_uri(name: str) -> bool:
    """Whether pyarrow opens it: any address but HTTP's."""
    return bool(_URI.match(name))


class Store:
    """Loads pictures by name, in any thread. A copy of it, also one on another machine, opens the store again.

    names: paths, addresses, or, in the store of `source`, its addresses. FILE.parquet#17 is row 17, from 0, of a
    Parquet file whose `column` holds the bytes of picture files; None: its only column of bytes.
    """

    def __init__(self, source: str, column: str | None = None) -> None:
        self.source, self.column = source, column
        self._lock = threading.Lock()
        self._table: _Table | None = None

    def __reduce__(self) -> tuple[Callable[..., Store], tuple[Any, ...]]:
        return Store, (self.source, self.column)

    # --- what there is ---

    def names(self, extensions: frozenset[str], found: Sequence[str] = ()) -> list[str]:
        """The names of all pictures: of `found`, which are paths, or else of what the source's address names.

        extensions: of the files to take from folders. Raises DataError, OptionError.
        """
        files = list(found)
        if is_uri(self.source):
            with self._errors(self.source, DataError):
                listed = self._listed()
            wanted = [each for each in listed if PurePosixPath(each).suffix.lower() in extensions]
            files = wanted or [each for each in listed if each.endswith(TABLE)]
            if not files:
                what = f"no pictures and no {TABLE} files"
                raise DataError(f"{self.source}: {what} (looked for {', '.join(sorted(extensions))})")
        if any(each.endswith(TABLE) for each in files):
            files = [f"{each}#{row}" for each in files for row in range(self._open_table(each).rows)]
        elif self.column:
            raise OptionError(f"--column {self.column}: {self.source} has no {TABLE} files")
        return files

    def _listed(self) -> list[str]:
        from pyarrow.fs import FileSelector, FileType

        system, path = self._system
        (info,) = system.get_file_info([path])
        if info.type == FileType.File:
            return [self._scheme + path]
        pattern, base = "", path
        if info.type == FileType.NotFound and glob.has_magic(path):
            pattern, base = path, re.split(r"[^/]*[*?\[]", path, maxsplit=1)[0]
        found = system.get_file_info(FileSelector(base.rstrip("/"), recursive=True))
        files = sorted(each.path for each in found if each.type == FileType.File)
        return [self._scheme + each for each in files if not pattern or fnmatch.fnmatchcase(each, pattern)]

    def check(self, name: str) -> None:
        """Raise DataError where this machine lacks the folder of `name`, one of the store's."""
        folder = Path(name.rpartition("#")[0] or name).parent
        if "://" not in name and not folder.is_dir():
            raise DataError(f"{folder}: no such folder here; every node needs the pictures under the same path")

    # --- pictures ---

    def load(self, name: str) -> Picture:
        """(height, width, 3) uint8 RGB. Raises ImageError."""
        file, found, row = name.rpartition("#")
        if found and file.endswith(TABLE):
            return decode_image(self._row(file, int(row)), name)
        if is_uri(name):
            with self._errors(name, ImageError), self._open(name) as stream:
                return decode_image(stream.read(), name)
        if "://" not in name:
            return load_image(name)
        picture = load_remote_image(name)
        if picture is None:
            raise ImageError(f"{name}: not a picture")
        return picture

    def _row(self, file: str, row: int) -> bytes:
        with self._lock, self._errors(file, ImageError):
            value = self._open_table(file).value(row)
        if not isinstance(value, bytes):
            raise ImageError(f"{file}#{row}: has no bytes")
        return value

    def _open_table(self, file: str) -> _Table:
        """The file, which is kept open until another is opened."""
        if self._table is None or self._table.file != file:
            with self._errors(file, DataError):
                self._table = _Table(file, self._open(file), self.column)
        return self._table

    @property
    def _scheme(self) -> str:
        return _URI.match(self.source)[1]  # type: ignore[index]

    @cached_property
    def _system(self) -> tuple[Any, str]:
        from pyarrow.fs import FileSystem

        system, path = FileSystem.from_uri(self.source)
        return system, path

    def _open(self, name: str) -> Any:
        from pyarrow.fs import LocalFileSystem

        if is_uri(name):
            return self._system[0].open_input_file(name[len(self._scheme) :])
        return LocalFileSystem().open_input_file(name)

    @contextmanager
    def _errors(self, name: str, kind: type[DarknetError]) -> Iterator[None]:
        """What pyarrow refuses while the block opens `name`, as one line."""
        with needed_package(f"{name}: needs the package pyarrow", "'pydarknet[ray]'"):
            from pyarrow import ArrowException
        try:
            yield
        except (OSError, ValueError, ArrowException) as error:
            reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
            raise kind(f"{name}: cannot read: {reason}") from error


class _Table:
    """A Parquet file of `rows` rows, whose last used row group is kept."""

    def __init__(self, file: str, stream: Any, column: str | None) -> None:
        from pyarrow.parquet import ParquetFile

        self.file, self._file = file, ParquetFile(stream)
        meta = self._file.metadata
        leaves = [self._file.schema.column(index) for index in range(meta.num_columns)]
        binary = [
            each.path for each in leaves if (each.physical_type, each.logical_type.type) == ("BYTE_ARRAY", "NONE")
        ]
        if len(binary) != 1 if column is None else column not in binary:
            what = "expected one; --column chooses it" if column is None else f"--column {column} is none of them"
            raise DataError(f"{file}: columns of bytes: {', '.join(binary) or 'none'}; {what}")
        self.column = column or binary[0]
        groups = [meta.row_group(index) for index in range(meta.num_row_groups)]
        index = [each.path for each in leaves].index(self.column)
        sizes = [each.column(index).total_uncompressed_size for each in groups]
        if max(sizes, default=0) > LARGEST_GROUP:
            what = f"a row group has {max(sizes)} bytes of pictures; expected at most {LARGEST_GROUP}"
            raise DataError(f"{file}: {what}: write it with a smaller row_group_size")
        self.rows, self._group = meta.num_rows, -1
        self._starts = list(accumulate((each.num_rows for each in groups), initial=0))

    def value(self, row: int) -> Any:
        """What the column has in a row."""
        group = bisect_right(self._starts, row) - 1
        if group != self._group:
            self._values, self._group = self._read(group), group
        return self._values[row - self._starts[group]].as_py()

    def _read(self, group: int) -> Any:
        from pyarrow.compute import struct_field

        values = self._file.read_row_group(group, columns=[self.column]).column(0)
        for field in self.column.split(".")[1:]:
            values = struct_field(values, field)
        return values
