"""darknet's format: a .data file, lists of pictures, one label file per picture."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ...config.dialect import ALEXEYAB
from ...config.names import read_names
from ...utils.prefetch import prefetch
from ..labels import wrong_row
from ..listing import ImageLists, LabelledPicture
from .annotations import AnnotatedPicture, AnnotatedSet, PicturePlacement, PixelBox, size_of_file

# Both darknets find the labels of pictures in JPEGImages in a folder `labels` beside it.
PICTURES, LABELS = "JPEGImages", "labels"


def read_darknet(path: Path, names: Sequence[str] | None) -> AnnotatedSet:
    """Read a .data file, a list, or a folder or data.yaml of pictures with label files.

    Raises DataError for a missing picture, whose size is needed.
    """
    data = ImageLists.open(path)
    classes = list(names or _names(data))
    result = AnnotatedSet(classes, {})
    threads = os.cpu_count() or 1
    for key in data.lists:
        pictures = list(data.pictures(key))
        sizes = prefetch(size_of_file, [picture.picture for picture in pictures], threads, 4 * threads)
        known = len(classes) or 1 << 20
        result.lists[key] = [
            _annotated(picture, *size, known, result.left_out) for picture, size in zip(pictures, sizes, strict=True)
        ]
    if not classes:
        highest = max((box.number for picture in result for box in picture.boxes), default=0)
        result.classes = [str(number) for number in range(highest + 1)]
    return result


def _names(data: ImageLists) -> list[str]:
    path = data.data.file("names") if data.data else None
    if data.names:
        return data.names
    if path is None:
        return [str(number) for number in range(data.classes or 0)]
    return read_names(path)


def _annotated(
    picture: LabelledPicture, width: int, height: int, classes: int, left_out: Counter[str]
) -> AnnotatedPicture:
    left_out["label files missing"] += picture.labels is None
    left_out["lines that are no labels left out"] += len(picture.wrong)
    boxes = []
    for row in picture.rows.tolist():
        if wrong_row(row, classes, ALEXEYAB):
            left_out["labels with a wrong class or box left out"] += 1
            continue
        number, x, y, w, h = row
        left, top = (x - w / 2) * width, (y - h / 2) * height
        boxes.append(PixelBox(int(number), left, top, left + w * width, top + h * height))
    return AnnotatedPicture(picture.picture, width, height, boxes)


def write_darknet(found: AnnotatedSet, folder: Path, placement: PicturePlacement) -> None:
    """Write obj.data, obj.names, the lists, labels, and the pictures or links to them into an empty folder."""
    found.check_stems()
    for name in (PICTURES, LABELS):
        (folder / name).mkdir()
    for picture in found:
        placement.place(picture.path, folder / PICTURES)
        (folder / LABELS / f"{picture.path.stem}.txt").write_text(label_rows(picture), encoding="utf-8")
    for key, pictures in found.lists.items():
        lines = [f"{PICTURES}/{picture.path.name}\n" for picture in pictures]
        _write(folder / f"{key}.txt", "".join(lines))
    _write(folder / "obj.names", "".join(f"{name}\n" for name in found.classes))
    lists = "".join(f"{key} = {key}.txt\n" for key in found.lists)
    _write(folder / "obj.data", f"classes = {len(found.classes)}\n{lists}names = obj.names\nbackup = backup\n")


def _write(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8", "surrogateescape"))


def label_rows(picture: AnnotatedPicture) -> str:
    """The content of the label file of a picture."""
    return "".join(_row(box, picture) for box in picture.boxes)


def _row(box: PixelBox, picture: AnnotatedPicture) -> str:
    x, y = (box.left + box.right) / 2 / picture.width, (box.top + box.bottom) / 2 / picture.height
    w, h = (box.right - box.left) / picture.width, (box.bottom - box.top) / picture.height
    return f"{box.number} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n"
