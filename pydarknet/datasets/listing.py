"""The lists of a detection data set, and their pictures with labels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..config.dialect import ALEXEYAB, Dialect
from ..config.sections import Section, read_data
from ..errors import DataError
from ..utils.arrays import Array
from ..utils.files import read_bytes, read_text
from .labels import find_labels, listed, parse_labels, wrong_row
from .recognise import LISTS, UNSPLIT, recognise
from .transforms.augment import NOWHERE

_DATA_LINE = re.compile(r"\s*(train|valid|test|classes|names)\s*=")


@dataclass(frozen=True)
class LabelledPicture:
    """A picture of a list with its labels.

    line: its line in the list. labels: the label file, or None. rule: the rule by which that was found. rows: (k, 5)
    float32, class, x, y, w, h in fractions of the picture. lines: the line of each row in the label file. wrong: a
    message for each line that does not parse.
    """

    line: int
    picture: Path
    labels: Path | None
    rule: str = ""
    lines: list[int] = field(default_factory=list)
    rows: Array = field(default_factory=lambda: NOWHERE)
    wrong: list[str] = field(default_factory=list)

    def checked(self, classes: int, dialect: Dialect = ALEXEYAB) -> Iterator[tuple[int, Array, str | None]]:
        """(line, row, error) of each row; the error is None for a valid row, see `wrong_row`."""
        for line, row in zip(self.lines, self.rows, strict=True):
            yield line, row, wrong_row(row.tolist(), classes, dialect)

    def problems(self, classes: int, dialect: Dialect = ALEXEYAB) -> list[str]:
        """A message with file and line for each line that does not parse, then for each row that is not valid."""
        checked = self.checked(classes, dialect)
        return [*self.wrong, *(f"{self.labels}:{line}: {problem}" for line, _, problem in checked if problem)]


@dataclass(frozen=True)
class ImageLists:
    """The lists of a .data file by key, with the .data file; or a single list of pictures under the key `train`.

    found, names: for a folder or a data.yaml of pictures with label files, the pictures of each list and the class
    names; `lists` then has `path` for each list.
    """

    path: Path
    lists: dict[str, Path]
    data: Section | None = None
    found: dict[str, list[Path]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, path: str | Path, *keys: str) -> ImageLists:
        """Open a .data file, with the lists under `keys` (default: train, valid, test), a list of pictures, or any
        other data set with label files: a folder, a data.yaml.

        Raises DataError and ConfigError.
        """
        if Path(path).is_dir() or Path(path).suffix.lower() in (".yaml", ".yml"):
            return cls._recognised(Path(path))
        if not any(_DATA_LINE.match(line) for line in read_text(path, DataError).split("\n")):
            return cls(Path(path), {"train": Path(path)})
        data = read_data(path)
        lists = {key: found for key in keys or LISTS if (found := data.file(key))}
        if not lists:
            raise data.error(f"{(keys or LISTS)[0]}= is missing: the list of pictures")
        return cls(Path(path), lists, data)

    @classmethod
    def _recognised(cls, path: Path) -> ImageLists:
        """A data set in a format that `train` accepts without a cfg. Pictures without a label file are in the first
        list."""
        set_ = recognise(path)
        if set_.annotated is not None:
            raise DataError(
                f"{path}: {set_.form}; expected label files. `pydarknet dataset convert {path} --to darknet --out DIR` "
                "writes them"
            )
        found = {"train" if key == UNSPLIT else key: list(pictures) for key, pictures in set_.lists.items()}
        found[min(found, key=[*LISTS].index)] += set_.unlabelled
        return cls(path, dict.fromkeys(found, path), None, found, set_.classes)

    @property
    def count(self) -> int:
        """The number of pictures, for a progress bar; 0 for a pipe, which can be read only once."""
        if self.found:
            return sum(map(len, self.found.values()))
        files = [path for path in self.lists.values() if path.is_file()]
        return sum(1 for path in files for line in read_bytes(path, DataError).splitlines() if line.strip())

    def list_of(self, key: str) -> list[tuple[int, Path]]:
        """(line, picture) of every picture of a list."""
        if self.found:
            return list(enumerate(self.found[key], start=1))
        return [(line, picture) for line, _, picture in listed(self.lists[key])]

    @property
    def classes(self) -> int | None:
        """`classes` of the .data file, or the number of `names`, or None. Raises ConfigError."""
        if self.names:
            return len(self.names)
        return self.data.positive("classes", 1) if self.data and self.data.has("classes") else None

    def pictures(self, key: str, dialect: Dialect = ALEXEYAB) -> Iterator[LabelledPicture]:
        """Every picture of a list with its labels."""
        for line, picture in self.list_of(key):
            yield read_picture(line, picture, dialect)


def read_picture(line: int, picture: Path, dialect: Dialect = ALEXEYAB) -> LabelledPicture:
    """A picture with its labels, found by the dialect's rule or another. A label file that is not text gives one
    entry of `wrong`."""
    found = find_labels(picture, dialect)
    if found is None:
        return LabelledPicture(line, picture, None)
    rule, path = found
    try:
        return LabelledPicture(line, picture, path, rule, *parse_labels(path))
    except DataError as error:
        return LabelledPicture(line, picture, path, rule, wrong=[str(error)])


def usable(rows: Array) -> Array:
    """The rows (k, 5) whose box has a finite size above 0."""
    return rows[np.isfinite(rows).all(axis=1) & (rows[:, 3:] > 0).all(axis=1)]
