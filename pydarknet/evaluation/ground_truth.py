"""Ground truth: the pictures of a list and their labelled objects."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..config.dialect import ALEXEYAB, Dialect
from ..config.sections import Section
from ..datasets.labels import candidates, label_path, parse_labels, read_list
from ..errors import DataError, ImageError
from ..utils.arrays import Array
from ..utils.files import LimitedLog
from .average_precision import NOTHING

log = logging.getLogger("pydarknet")


@dataclass(frozen=True)
class GroundTruth:
    """Pictures in the order of their list. boxes: for each, (t, 5) float32 rows of class, x, y, w, h (fractions)."""

    paths: Sequence[Path]
    boxes: Sequence[Array]
    missing: Sequence[Path] = ()  # label files that do not exist, by the dialect's rule
    difficult: Sequence[Array] = ()  # one array per picture, or empty

    def __len__(self) -> int:
        return len(self.paths)

    def difficult_in(self, index: int) -> Array:
        """(d, 5): the objects of a picture that a detector need not find."""
        return self.difficult[index] if self.difficult else NOTHING

    @classmethod
    def from_data(cls, data: Section, classes: int, dialect: Dialect = ALEXEYAB, *keys: str) -> GroundTruth:
        """Read the list that a .data file names, under the first of `keys` (default: valid) that it has, and
        `difficult`. Raises DataError and ConfigError."""
        keys = keys or ("valid",)
        path = data.file(*keys)
        if path is None:
            raise data.error(f"{keys[0]}= is missing: the list of pictures for evaluation")
        return cls.read(path, classes, dialect, data.file("difficult"))

    @classmethod
    def read(
        cls, path: str | Path, classes: int, dialect: Dialect = ALEXEYAB, difficult: str | Path | None = None
    ) -> GroundTruth:
        """Read a list of pictures and their label files.

        Label files are found by the dialect's rule, then by the other rules; a picture without one has no objects.
        Objects of classes that the network does not have are kept, with a warning: they count as missed. Raises
        DataError for a wrong line in a label file, and if the lists differ in length.
        """
        paths = read_list(path)
        read = [_read(picture, dialect) for picture in paths]
        missing = [where for where, rows in read if rows is None]
        boxes = [NOTHING if rows is None else rows for _, rows in read]
        warnings = LimitedLog()
        for (where, _), rows in zip(read, boxes, strict=True):
            for unknown in np.unique(rows[(rows[:, 0] < 0) | (rows[:, 0] >= classes), 0]):
                warnings.add(f"{where}: class {unknown:.0f}; the network has classes 0 to {classes - 1}")
        return cls(paths, boxes, missing, _read_difficult(difficult, paths, dialect) if difficult else ())


def _read(picture: Path, dialect: Dialect) -> tuple[Path, Array | None]:
    """(label file, rows) of a picture; without a label file (its path by the dialect's rule, None)."""
    for path in (Path(name) for _, name in candidates(picture, dialect)):
        if os.path.isfile(path):  # noqa: PTH113 (no error for a name that the system refuses)
            _, rows, wrong = parse_labels(path)
            if wrong:
                raise DataError(wrong[0])
            if not np.isfinite(rows).all():
                raise DataError(f"{path}: found a number that is not finite; expected fractions of the picture")
            return path, rows
    try:
        return label_path(picture, dialect), None
    except ImageError:
        return picture, None


def _read_difficult(path: str | Path, paths: Sequence[Path], dialect: Dialect) -> list[Array]:
    listed = read_list(path)
    if len(listed) != len(paths):
        raise DataError(f"{path}: {len(listed)} pictures; expected {len(paths)}, one for each picture of the list")
    found = [_read(picture, dialect)[1] for picture in listed]
    return [NOTHING if rows is None else rows for rows in found]
