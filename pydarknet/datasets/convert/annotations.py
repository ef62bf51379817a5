"""What the forms of data sets have in common: pictures of known size, boxes with a class, links and copies."""

from __future__ import annotations

import math
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeGuard

from ...errors import DataError, ImageError, OutputError
from ...images import image

TOLERANCE = 0.5  # pixels by which a box may stand out of its picture before that is worth a word
LARGEST_SIDE = 1 << 20  # pixels
NUMBER = 0.01  # pixels; what is nearer to a whole number was one


@dataclass(frozen=True)
class PixelBox:
    """An object: its class's number and its edges in pixels from the picture's corner. `difficult` is VOC's mark for
    what nobody need find, `crowd` COCO's for a box round many."""

    number: int
    left: float
    top: float
    right: float
    bottom: float
    difficult: bool = False
    crowd: bool = False


@dataclass(frozen=True)
class Annotated:
    """A picture, which need not be there, its size in pixels, and what is in it."""

    path: Path
    width: int
    height: int
    boxes: Sequence[PixelBox] = ()


@dataclass
class AnnotatedSet:
    """Pictures by list (train, valid, test or another name), the names of the classes, and what was left out or
    changed."""

    classes: list[str]
    lists: dict[str, list[Annotated]]
    left_out: Counter[str] = field(default_factory=Counter)

    def __iter__(self) -> Iterator[Annotated]:
        for pictures in self.lists.values():
            yield from pictures

    @property
    def missing(self) -> list[Path]:
        """The pictures that are not there."""
        return [picture.path for picture in self if not os.path.isfile(picture.path)]  # noqa: PTH113 (no error for a name that the system refuses)

    def clipped(self) -> AnnotatedSet:
        """The same with all boxes inside their picture; what is nothing then is left out and counted."""
        left_out = Counter(self.left_out)
        lists = {
            name: [replace(p, boxes=list(_inside(p, left_out))) for p in pictures]
            for name, pictures in self.lists.items()
        }
        return AnnotatedSet(self.classes, lists, left_out)

    def without(self, kind: str) -> AnnotatedSet:
        """The same without `difficult` or `crowd` objects, which are counted as left out."""
        left_out = Counter(self.left_out)
        left_out[f"{kind} objects left out"] += sum(getattr(box, kind) for picture in self for box in picture.boxes)
        lists = {
            name: [replace(p, boxes=[box for box in p.boxes if not getattr(box, kind)]) for p in pictures]
            for name, pictures in self.lists.items()
        }
        return AnnotatedSet(self.classes, lists, left_out)

    def check_stems(self) -> None:
        """Raise DataError for two pictures that would share an annotation file, and for a name of several lines."""
        seen: dict[str, Path] = {}
        for picture in self:
            if len(picture.path.name.splitlines()) != 1:
                raise DataError(f"{str(picture.path)!r}: expected a file's name of one line")
            other = seen.setdefault(picture.path.stem, picture.path)
            if other is not picture.path and os.path.realpath(other) != os.path.realpath(picture.path):
                raise DataError(f"{picture.path} and {other}: two pictures of one name; rename one of them")


def _inside(picture: Annotated, left_out: Counter[str]) -> Iterator[PixelBox]:
    for box in picture.boxes:
        left, right = max(box.left, 0), min(box.right, picture.width)
        top, bottom = max(box.top, 0), min(box.bottom, picture.height)
        if not (left < right and top < bottom):
            left_out["boxes outside their picture left out"] += 1
            continue
        change = max(left - box.left, box.right - right, top - box.top, box.bottom - bottom)
        left_out["boxes cut at the edge of their picture"] += change > TOLERANCE
        yield replace(box, left=left, top=top, right=right, bottom=bottom)


def locate(names: Iterable[str], folders: Sequence[Path]) -> Path:
    """The first file of one of these names in one of these folders; the first of all where there is none."""
    candidates = [folder / name for name in names if name for folder in folders]
    return next((path for path in candidates if os.path.isfile(path)), candidates[0])  # noqa: PTH113 (likewise)


def is_side(value: object) -> TypeGuard[int]:
    """Whether a value can be the width or height of a picture."""
    return isinstance(value, int) and 0 < value <= LARGEST_SIDE


def size_of_file(path: Path) -> tuple[int, int]:
    """Width and height in pixels. Raises DataError where the picture is not there: its form does not say."""
    try:
        return image.size_of_file(path)
    except ImageError as error:
        raise DataError(f"{error}; its size is needed") from error


def numbers_of(classes: Sequence[str], names: Sequence[str], where: str) -> dict[str, int]:
    """The number of each of `names` in the list of classes. Raises DataError for one that is not in it."""
    number_of = {name: number for number, name in reversed(list(enumerate(classes)))}
    unknown = [name for name in names if name not in number_of]
    if unknown:
        raise DataError(f"{where}: class {unknown[0]!r} is not among the {len(classes)} names")
    return {name: number_of[name] for name in names}


def finite(value: float | str) -> float:
    """A number of a file. Raises ValueError for NaN and infinity too."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is not finite")
    return number


def whole(value: float, digits: int = 3) -> float:
    """A coordinate as it is written: whole where it was before its fraction was rounded."""
    return round(value) if abs(value - round(value)) < NUMBER else round(value, digits)


@dataclass(frozen=True)
class Placing:
    """`final`: the folder that the new data set will have; it is written elsewhere first. copy: whether pictures are
    copied into it."""

    final: Path
    copy: bool = False

    def reference(self, picture: Path) -> str:
        """The path of a picture that stays where it is, as seen from the new folder."""
        return Path(os.path.relpath(os.path.realpath(picture), os.path.realpath(self.final))).as_posix()

    def place(self, picture: Path, folder: Path) -> None:
        """Put a picture into a folder of the new data set: a copy, or a link to it. One that is not there is left
        out."""
        target = folder / picture.name
        if not os.path.isfile(picture) or target.is_symlink() or target.exists():  # noqa: PTH113 (as above)
            return
        if self.copy:
            self._copy(picture, target)
            return
        try:
            target.symlink_to(Path(os.path.pardir) / self.reference(picture))
        except (OSError, NotImplementedError) as error:
            raise OutputError(f"{target}: cannot link to {picture} ({error}); copy the pictures instead") from error

    @staticmethod
    def _copy(picture: Path, target: Path) -> None:
        """Copy what is a picture by its first bytes: an annotation file may name any file of the machine."""
        try:
            image.size_of_file(picture)
        except ImageError as error:
            raise DataError(f"{error}; only pictures are copied") from error
        try:
            shutil.copyfile(picture, target)
        except OSError as error:
            raise OutputError(f"{target}: cannot copy {picture}: {error.strerror or error}") from error
