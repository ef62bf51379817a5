"""Checks of a detection data set: missing, wrong, duplicate pictures and labels."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from ..boxes import iou
from ..config.dialect import ALEXEYAB, Dialect
from ..errors import DataError, ImageError
from ..images.image import header_of_file, load_image
from ..utils.arrays import Array
from ..utils.files import read_bytes
from .labels import candidates
from .listing import ImageLists, LabelledPicture, on_all_processors

# The kinds of findings in the order of the report, and whether each is an error; the others are warnings.
KINDS = {
    "picture missing": True,
    "picture unreadable": True,
    "label file missing": True,
    "not a label": True,
    "unknown class": True,
    "out of range": True,
    "in two lists": True,
    "duplicate box": False,
    "duplicate picture": False,
    "beyond the edge": False,
    "rotated picture": False,
    "no objects": False,
    "labels without picture": False,
    "class without objects": False,
}
SAME = 0.99  # boxes of one class with a larger IoU are duplicates
MOST_COMPARED = 10_000  # objects of a picture; the time grows with their square
BLOCK = 256  # objects that are compared with all others at once
SLACK = 0.002  # fraction of a side by which a box may exceed the picture
ANY_CLASS = 1 << 30
NOT_LABELS = {"classes", "README", "LICENSE"}  # stems of .txt files


@dataclass(frozen=True)
class Finding:
    """Its kind, a key of `KINDS`, and a text that begins with file and line."""

    kind: str
    text: str

    @property
    def is_error(self) -> bool:
        """Whether the finding harms training; a warning may be intended."""
        return KINDS[self.kind]


@dataclass
class ListReport:
    """The counts of one list. objects, pictures_with: by class."""

    pictures: int = 0
    without_objects: int = 0
    objects: Counter[int] = field(default_factory=Counter)
    pictures_with: Counter[int] = field(default_factory=Counter)


@dataclass
class DatasetReport:
    """All findings, and the counts of each list, in the order of the lists."""

    findings: list[Finding] = field(default_factory=list)
    lists: dict[str, ListReport] = field(default_factory=dict)

    @property
    def kinds(self) -> Counter[str]:
        """The number of findings of each kind."""
        return Counter(finding.kind for finding in self.findings)

    @property
    def errors(self) -> int:
        """The number of findings that are errors."""
        return sum(finding.is_error for finding in self.findings)


@dataclass
class _Check:
    """The state of `check_dataset`."""

    data: ImageLists
    classes: int | None
    dialect: Dialect
    report: DatasetReport = field(default_factory=DatasetReport)
    pictures: dict[str, list[LabelledPicture]] = field(default_factory=dict)

    def add(self, kind: str, text: str) -> None:
        self.report.findings.append(Finding(kind, text))

    def check_labels(self, key: str) -> None:
        counts = self.report.lists[key] = ListReport()
        self.pictures[key] = list(self.data.pictures(key, self.dialect))
        for picture in self.pictures[key]:
            counts.pictures += 1
            if picture.labels is None:
                _, first = next(candidates(picture.picture, self.dialect))
                self.add("label file missing", f"{picture.picture}: no label file; looked for {first}")
                continue
            for message in picture.wrong:
                self.add("not a label", message)
            if not len(picture.rows) and not picture.wrong:
                self.add("no objects", f"{picture.labels}: no objects")
            counts.without_objects += not len(picture.rows)
            checked = list(picture.checked(self.classes or ANY_CLASS))
            good = [(line, row) for line, row, problem in checked if problem is None]
            for line, problem in ((line, problem) for line, _, problem in checked if problem):
                kind = "unknown class" if "class_id" in problem else "out of range"
                self.add(kind, f"{picture.labels}:{line}: {problem}")
            numbers = [int(row[0]) for _, row in good]
            counts.objects.update(numbers)
            counts.pictures_with.update(set(numbers))
            self._check_boxes(picture, good)

    def _check_boxes(self, picture: LabelledPicture, good: Sequence[tuple[int, Array]]) -> None:
        labels = picture.labels
        for line, (_, x, y, w, h) in good:
            beyond = max(w / 2 - x, x + w / 2 - 1, h / 2 - y, y + h / 2 - 1)
            if beyond > SLACK:
                self.add("beyond the edge", f"{labels}:{line}: the box exceeds the picture by {beyond:.1%} of a side")
        if len(good) > MOST_COMPARED:
            text = f"only the first {MOST_COMPARED} of {len(good)} boxes are compared with each other"
            self.add("duplicate box", f"{labels}: {text}")
        rows = np.array([row for _, row in good[:MOST_COMPARED]], np.float32).reshape(-1, 5)
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            earlier = rows[: start + len(block)]
            same = (iou(block[:, None, 1:], earlier[None, :, 1:]) > SAME) & (block[:, None, 0] == earlier[None, :, 0])
            first = same.argmax(axis=1)
            own = np.arange(len(block))
            for offset in np.flatnonzero(same[own, first] & (first < start + own)):
                text = f"the same box of class {block[offset, 0]:.0f} as in line {good[first[offset]][0]}"
                self.add("duplicate box", f"{labels}:{good[start + offset][0]}: {text}")

    def check_files(self, decode: bool, each: Callable[[], None]) -> None:
        found = [(key, picture) for key, pictures in self.pictures.items() for picture in pictures]
        seen: dict[str, str] = {}  # the list of each file
        by_size: dict[int, list[tuple[str, Path]]] = defaultdict(list)
        results = on_all_processors(lambda item: _check_file(item[1].picture, decode), found)
        for (key, picture), (size, problem) in zip(found, results, strict=True):
            each()
            path, where = picture.picture, f"{self.data.lists[key]}:{picture.line}: {picture.picture}"
            if size is None:
                self.add("picture missing", f"{where}: no such file")
                continue
            if problem:
                self.add("picture unreadable", problem)
            elif (turned := header_of_file(path)[1]) > 1:
                text = f"EXIF orientation {turned}; it is ignored: labels must fit the pixels as they are stored"
                self.add("rotated picture", f"{path}: {text}")
            name = os.path.realpath(path)
            if name not in seen:
                seen[name] = key
                by_size[size].append((key, path))
            elif seen[name] == key:
                self.add("duplicate picture", f"{where}: is in the list twice")
            else:
                self.add("in two lists", f"{where}: also in the list {seen[name]}")
        self._find_equal_files(by_size)

    def _find_equal_files(self, by_size: dict[int, list[tuple[str, Path]]]) -> None:
        for group in by_size.values():
            contents: dict[bytes, tuple[str, Path]] = {}
            for key, path in group if len(group) > 1 else []:
                try:
                    content = read_bytes(path, DataError)
                except DataError:
                    continue  # deleted meanwhile, or unreadable, which is reported already
                other, first = contents.setdefault(hashlib.sha256(content).digest(), (key, path))
                if other != key:
                    self.add("in two lists", f"{path}: the same picture as {first} of {other}")
                elif first is not path:
                    self.add("duplicate picture", f"{path}: the same picture as {first}")

    def find_orphans(self) -> None:
        everything = [picture for pictures in self.pictures.values() for picture in pictures]
        known = {str(picture.labels) for picture in everything}
        pictures = _files_in(picture.picture.parent for picture in everything)
        stems = NOT_LABELS | {path.stem for path in pictures if path.suffix.lower() != ".txt"}
        lists = {os.path.realpath(path) for path in self.data.lists.values()}
        for path in _files_in(picture.labels.parent for picture in everything if picture.labels is not None):
            is_known = str(path) in known or path.stem in stems or os.path.realpath(path) in lists
            if path.suffix == ".txt" and not is_known:
                self.add("labels without picture", f"{path}: no picture of that name")


def _files_in(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in sorted(set(folders)):
        for _, _, files in islice(os.walk(folder), 1):  # nothing for one that cannot be read
            yield from (folder / name for name in sorted(files))


def _check_file(path: Path, decode: bool) -> tuple[int | None, str | None]:
    try:
        size = path.stat().st_size
        if decode:
            load_image(path)
        elif not size:
            return size, f'Cannot load image "{path}": the file is empty'
    except OSError:
        return None, None
    except ImageError as error:
        return size, str(error)
    return size, None


def check_dataset(
    data: ImageLists,
    classes: int | None = None,
    dialect: Dialect = ALEXEYAB,
    decode: bool = True,
    each: Callable[[], None] = lambda: None,
) -> DatasetReport:
    """Check all lists of a data set. Raises DataError for a list that cannot be read.

    classes: their number, instead of the data set's. each: called after every picture.
    """
    check = _Check(data, classes or data.classes, dialect)
    for key in data.lists:
        check.check_labels(key)
    check.check_files(decode, each)
    check.find_orphans()
    objects = sum((counts.objects for counts in check.report.lists.values()), Counter())
    for number in range(check.classes or 0):
        if not objects[number]:
            check.add("class without objects", f"{data.path}: class {number} has no objects")
    if not any(counts.pictures for counts in check.report.lists.values()):
        raise DataError(f"{data.path}: no pictures")
    return check.report
