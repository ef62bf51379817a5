"""`--csv`: a table with one line per object or class, written during the run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ..utils.files import atomic_write
from .inputs import STDIN_PICTURE, camera_number, is_address

if TYPE_CHECKING:
    from ..inference.classifier import Classification
    from ..inference.detector import DetectionResult
    from ..inference.tracking import Track

# `frame` counts from 1 and is empty for pictures; corners are in pixels.
DETECTIONS = ("filename", "frame", "class_id", "name", "confidence", "left", "top", "right", "bottom")
TRACKS = ("filename", "frame", "track_id", *DETECTIONS[2:])
CLASSES = ("filename", "frame", "rank", "class_id", "name", "probability", "parent")
_NOT_IN_FILE_NAMES = re.compile(r'[\0-\x1f/\\:*?"<>|]+')


@dataclass
class Table:
    """A CSV file that is written during the run."""

    _file: BinaryIO

    @classmethod
    @contextmanager
    def open(cls, path: str, columns: tuple[str, ...]) -> Iterator[Table]:
        """The table; the file appears when the context ends without an error. Raises OutputError."""
        with atomic_write(path) as file:
            table = cls(file)
            table._write([columns])
            yield table

    def _write(self, rows: Any) -> None:
        import csv  # imported late, as by Detections: most runs write no table
        import io

        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        self._file.write(text.getvalue().encode("utf-8", "surrogateescape"))

    def detections(self, path: str, frame: int | None, found: DetectionResult) -> None:
        """Write a line for each object, in printed order."""
        self._write([[path, frame, *row] for row in found.detections().csv_rows()])

    def tracks(self, path: str, frame: int | None, tracks: Sequence[Track]) -> None:
        """Write a line for each track, sorted by number."""
        from ..inference.detections import Detections

        rows = Detections([each.detection for each in tracks]).csv_rows()
        self._write([[path, frame, each.track_id, *row] for each, row in zip(tracks, rows, strict=True)])

    def classes(self, path: str, frame: int | None, result: Classification) -> None:
        """Write a line for each of the best classes, best first."""
        self._write(
            [path, frame, rank, each.class_id, each.name, f"{each.probability:.6f}", each.parent]
            for rank, each in enumerate(result.predictions, start=1)
        )


def file_name(path: str) -> str:
    """The name for output files of an input: its file name; for an address, the last part of its path, or its host."""
    if not is_address(path):
        return Path(path).name if camera_number(path) is None and path != STDIN_PICTURE else re.sub("[: ]", "_", path)
    from urllib.parse import urlsplit

    address = urlsplit(path)
    host = (address.hostname or "stream").replace(".", "_")  # 127.0.0.1 has no extension
    return _NOT_IN_FILE_NAMES.sub("_", Path(address.path).name or host)
