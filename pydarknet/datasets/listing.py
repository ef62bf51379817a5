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
from ..utils.files import read_text
from .augment import NOWHERE
from .labels import find_labels, listed, parse_labels, wrong_row
from .recognise import LISTS, UNSPLIT, recognise

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
    """The lists of a data set by key: those of a .data file, a single list of pictures under the key `train`, or those
    of a folder or a data.yaml of pictures with label files.

    lists: the file of each; `path` for a folder and a data.yaml. entries: (line, picture) of each list's pictures.
    data: the .data file. names: the class names of a folder or a data.yaml.
    """

    path: Path
    lists: dict[str, Path]
    entries: dict[str, list[tuple[int, Path]]]
    data: Section | None = None
    names: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, path: str | Path, *keys: str) -> ImageLists:
        """Open a .data file, with the lists under `keys` (default: train, valid, test), a list of pictures, or any
        other data set with label files that `train` accepts without a cfg: a folder, a data.yaml. Of these, pictures
        without a label file are in the first list.

        Raises DataError and ConfigError.
        """
        source, data = Path(path), None
        if source.is_dir() or source.suffix.lower() in (".yaml", ".yml"):
            found = recognise(source)
            if found.annotated is not None:
                raise DataError(
                    f"{path}: {found.form}; expected label files. `pydarknet dataset convert {path} --to darknet --out "
                    "DIR` writes them"
                )
            listing = {"train" if key == UNSPLIT else key: list(pictures) for key, pictures in found.lists.items()}
            listing[min(listing, key=[*LISTS].index)] += found.unlabelled
            entries = {key: list(enumerate(pictures, start=1)) for key, pictures in listing.items()}
            return cls(source, dict.fromkeys(entries, source), entries, names=found.classes)
        lists = {"train": source}
        if any(_DATA_LINE.match(line) for line in read_text(path, DataError).split("\n")):
            data = read_data(path)
            lists = {key: file for key in keys or LISTS if (file := data.file(key))}
            if not lists:
                raise data.error(f"{(keys or LISTS)[0]}= is missing: the list of pictures")
        entries = {key: [(line, picture) for line, _, picture in listed(file)] for key, file in lists.items()}
        return cls(source, lists, entries, data)

    @property
    def count(self) -> int:
        """The number of pictures, for a progress bar."""
        return sum(map(len, self.entries.values()))

    @property
    def classes(self) -> int | None:
        """`classes` of the .data file, or the number of `names`, or None. Raises ConfigError."""
        if self.names:
            return len(self.names)
        return self.data.positive("classes", 1) if self.data and self.data.has("classes") else None

    def pictures(self, key: str, dialect: Dialect = ALEXEYAB) -> Iterator[LabelledPicture]:
        """Every picture of a list with its labels."""
        for line, picture in self.entries[key]:
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
