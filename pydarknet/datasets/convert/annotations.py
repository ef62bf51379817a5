"""A data set in memory, independent of its file format: pictures of known size and boxes in pixels."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...errors import DataError, ImageError, OutputError
from ...images import image

ASPECT_TOLERANCE = 0.02  # relative difference of two aspect ratios; the sides of a scaled picture are rounded
TOLERANCE = 0.5  # pixels; clipping a box by less is not counted


@dataclass(frozen=True)
class PixelBox:
    """An object. number: its class. Edges are in pixels from the picture's top left corner. difficult: VOC's mark for
    objects that a detector need not find. crowd: COCO's mark for a box around a group."""

    number: int
    left: float
    top: float
    right: float
    bottom: float
    difficult: bool = False
    crowd: bool = False


@dataclass(frozen=True)
class AnnotatedPicture:
    """A picture, its size in pixels and its objects. The file need not exist."""

    path: Path
    width: int
    height: int
    boxes: Sequence[PixelBox] = ()


@dataclass
class AnnotatedSet:
    """Pictures by list (train, valid, test or another name), and the class names. left_out: the number of objects or
    labels that were left out or changed, by description."""

    classes: list[str]
    lists: dict[str, list[AnnotatedPicture]]
    left_out: Counter[str] = field(default_factory=Counter)

    def __iter__(self) -> Iterator[AnnotatedPicture]:
        for pictures in self.lists.values():
            yield from pictures

    @property
    def missing(self) -> list[Path]:
        """The pictures whose files do not exist."""
        return [picture.path for picture in self if not os.path.isfile(picture.path)]  # noqa: PTH113 (no error for a name that the system refuses)

    def clipped(self) -> AnnotatedSet:
        """A copy with all boxes clipped to their pictures; boxes outside are left out and counted."""
        return self.with_boxes(_inside)

    def fitting(self) -> AnnotatedSet:
        """A copy without the pictures whose files have another aspect ratio than their annotations say: their boxes
        are not on the objects. Most are photos that a labelling program rotated by their EXIF orientation."""
        misfits = {id(picture): text for picture in self if (text := _misfit(picture))}
        if not misfits:
            return self
        text = f"pictures left out, whose aspect ratio is not that of their annotations: {next(iter(misfits.values()))}"
        lists = {key: [p for p in pictures if id(p) not in misfits] for key, pictures in self.lists.items()}
        return AnnotatedSet(self.classes, lists, self.left_out + Counter({text: len(misfits)}))

    def without(self, kind: str) -> AnnotatedSet:
        """A copy without objects of a kind, `difficult` or `crowd`, which are counted."""

        def kept(picture: AnnotatedPicture, left_out: Counter[str]) -> Iterator[PixelBox]:
            left_out[f"{kind} objects left out"] += sum(getattr(box, kind) for box in picture.boxes)
            return (box for box in picture.boxes if not getattr(box, kind))

        return self.with_boxes(kept)

    def renumbered(self, classes: list[str], numbers: Sequence[int]) -> AnnotatedSet:
        """A copy with other classes; an object of class k gets the number numbers[k]."""
        found = self.with_boxes(lambda picture, _: (replace(b, number=numbers[b.number]) for b in picture.boxes))
        return replace(found, classes=classes)

    def with_boxes(self, change: Callable[[AnnotatedPicture, Counter[str]], Iterable[PixelBox]]) -> AnnotatedSet:
        """A copy with the boxes that `change` returns for each picture. It counts what it leaves out."""
        left_out = Counter(self.left_out)
        lists = {
            key: [replace(picture, boxes=list(change(picture, left_out))) for picture in pictures]
            for key, pictures in self.lists.items()
        }
        return AnnotatedSet(self.classes, lists, left_out)

    def check_stems(self) -> None:
        """Raise DataError for two pictures of one stem, which would share an annotation file, and for a file name with
        line breaks."""
        seen: dict[str, Path] = {}
        for picture in self:
            if len(picture.path.name.splitlines()) != 1:
                raise DataError(f"{str(picture.path)!r}: expected a file name without line breaks")
            other = seen.setdefault(picture.path.stem, picture.path)
            if other is not picture.path and os.path.realpath(other) != os.path.realpath(picture.path):
                raise DataError(f"{picture.path} and {other}: two pictures of the same name; rename one of them")


def _inside(picture: AnnotatedPicture, left_out: Counter[str]) -> Iterator[PixelBox]:
    for box in picture.boxes:
        left, right = max(box.left, 0), min(box.right, picture.width)
        top, bottom = max(box.top, 0), min(box.bottom, picture.height)
        if not (left < right and top < bottom):
            left_out["boxes outside their picture left out"] += 1
            continue
        change = max(left - box.left, box.right - right, top - box.top, box.bottom - bottom)
        left_out["boxes cut at the edge of their picture"] += change > TOLERANCE
        yield replace(box, left=left, top=top, right=right, bottom=bottom)


def _misfit(picture: AnnotatedPicture) -> str:
    """The two sizes, if a picture's file has another aspect ratio than its annotations; else, and without a file,
    ""."""
    size, turned = image.header_of_file(picture.path)
    if size is None:
        return ""
    width, height = size
    if abs(width * picture.height - height * picture.width) <= ASPECT_TOLERANCE * width * picture.height:
        return ""
    hint = f", EXIF orientation {turned}: rotate its pixels, and remove that entry" if turned > 1 else ""
    return f"{picture.path}: {picture.width}x{picture.height} in the annotations, {width}x{height} in the file{hint}"


@dataclass(frozen=True)
class PicturePlacement:
    """The place of the pictures of a new data set. final: its folder, which is written elsewhere first. copy: whether
    pictures are copied into it."""

    final: Path
    copy: bool = False

    def reference(self, picture: Path) -> str:
        """The path of a picture that is not copied, relative to the new folder."""
        return Path(os.path.relpath(os.path.realpath(picture), os.path.realpath(self.final))).as_posix()

    def place(self, picture: Path, folder: Path) -> None:
        """Put a copy of a picture, or a link to it, into a folder of the new data set; nothing if it does not exist.
        Raises OutputError, DataError."""
        target = folder / picture.name
        if not os.path.isfile(picture) or target.is_symlink() or target.exists():  # noqa: PTH113 (as above)
            return
        if self.copy:
            self.copy_file(picture, target)
            return
        try:
            target.symlink_to(Path(os.path.pardir) / self.reference(picture))
        except (OSError, NotImplementedError) as error:
            raise OutputError(f"{target}: cannot link to {picture} ({error}); copy the pictures instead") from error

    @staticmethod
    def copy_file(picture: Path, target: Path) -> None:
        """Copy a picture. Other files, which an annotation file may name too, raise DataError."""
        try:
            image.size_of_file(picture)
        except ImageError as error:
            raise DataError(f"{error}; only pictures are copied") from error
        try:
            shutil.copyfile(picture, target)
        except OSError as error:
            raise OutputError(f"{target}: cannot copy {picture}: {error.strerror or error}") from error
