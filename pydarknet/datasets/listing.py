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
from .labels import find_labels, numbered_list, parse_labels
from .transforms.augment import NOWHERE

_DATA_LINE = re.compile(r"\s*(train|valid|test|classes|names)\s*=")
LISTS = ("train", "valid", "test")


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


@dataclass(frozen=True)
class ImageLists:
    """The lists of a .data file by key, with the .data file; or a single list of pictures under the key `train`."""

    path: Path
    lists: dict[str, Path]
    data: Section | None = None

    @classmethod
    def open(cls, path: str | Path, *keys: str) -> ImageLists:
        """Open a .data file, with the lists under `keys` (default: train, valid, test), or a list of pictures.

        Raises DataError and ConfigError.
        """
        if not any(_DATA_LINE.match(line) for line in read_text(path, DataError).split("\n")):
            return cls(Path(path), {"train": Path(path)})
        data = read_data(path)
        lists = {key: found for key in keys or LISTS if (found := data.file(key))}
        if not lists:
            raise data.error(f"{(keys or LISTS)[0]}= is missing: the list of pictures")
        return cls(Path(path), lists, data)

    @property
    def classes(self) -> int | None:
        """`classes` of the .data file, or None. Raises ConfigError."""
        return self.data.positive("classes", 1) if self.data and self.data.has("classes") else None

    def pictures(self, key: str, dialect: Dialect = ALEXEYAB) -> Iterator[LabelledPicture]:
        """Every picture of a list with its labels."""
        for line, picture in numbered_list(self.lists[key]):
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
