"""COCO's format: one JSON file per list; boxes are left, top, width and height in pixels from 0."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...config.names import COCO_IDS
from ...errors import DataError
from ...utils.files import read_text, to_json
from ...utils.resources import with_slashes
from .annotations import (
    OURS,
    THEIRS,
    AnnotatedPicture,
    AnnotatedSet,
    PicturePlacement,
    PixelBox,
    class_numbers,
    finite_float,
    is_picture_side,
    locate,
    rounded_coordinate,
    size_of_file,
)

_LIST = re.compile("|".join(OURS))
LARGEST_ID = 1 << 63
DIGITS = 6  # decimals of coordinates in pixels

Json = Mapping[str, Any]


def read_coco(files: Sequence[Path], names: Sequence[str] | None, pictures: Path | None) -> AnnotatedSet:
    """Read JSON files, one per list. names: the classes in order. pictures: their folder. Raises DataError."""
    contents = {_list_name(file, files): (file, _parse(file)) for file in files}
    found = _category_names(contents)
    classes = list(names) if names else found
    numbers = class_numbers(classes, found, str(files[0]))
    lists = {}
    for key, (file, content) in contents.items():
        folders = [pictures] if pictures else []
        root = file.parent.parent if file.parent.name == "annotations" else file.parent
        folders += [root, root / "images", root / file.stem.removeprefix("instances_"), root / "images" / key]
        lists[key] = _pictures(file, content, numbers, folders)
    return AnnotatedSet(classes, lists)


def _list_name(file: Path, files: Sequence[Path]) -> str:
    """train, valid or test if only this file's name contains that word, else the file's stem."""
    words = [match[0] if (match := _LIST.search(other.stem)) else "" for other in files]
    word = words[list(files).index(file)]
    if len(files) == 1 and not word:
        return "train"
    return OURS[word] if word and words.count(word) == 1 else file.stem


def _parse(file: Path) -> Json:
    try:
        content = json.loads(read_text(file, DataError))
    except (ValueError, RecursionError) as error:  # also for numbers of thousands of digits
        line, reason = getattr(error, "lineno", 1), getattr(error, "msg", error)
        raise DataError(f"{file}:{line}: not JSON: {reason}") from error
    for key in ("images", "annotations", "categories"):
        if not (isinstance(content, dict) and isinstance(content.get(key), list)):
            raise DataError(f"{file}: no list {key!r}; expected images, annotations and categories")
    return content


def _category_names(contents: Mapping[str, tuple[Path, Json]]) -> list[str]:
    """The classes of all files in the order of their ids. Raises DataError if two files disagree."""
    by_id: dict[int, str] = {}
    for file, content in contents.values():
        for position, category in enumerate(content["categories"]):
            number, name = _entry(file, "categories", position, category, "id", "name")
            if by_id.setdefault(number, name) != name:
                raise DataError(f"{file}: category {number} is {name!r}; elsewhere it is {by_id[number]!r}")
    return [by_id[number] for number in sorted(by_id)]


def _entry(file: Path, key: str, position: int, item: Any, *fields: str) -> list[Any]:
    """The values of `fields` in entry `position` of the list `key`. Raises DataError if one is missing or wrong."""
    for name in fields:
        if not isinstance(item, dict) or name not in item:
            raise DataError(f"{file}: {key}[{position}] has no {name!r}")
    for name in fields:
        value, expected = item[name], ""
        if name.endswith("id") and (not isinstance(value, int) or abs(value) > LARGEST_ID):
            expected = "a whole number"
        if name.endswith("name") and not (isinstance(value, str) and value.isprintable() and value):
            expected = "a name"
        if expected:
            raise DataError(f"{file}: {key}[{position}]: {name} is {_shown(value)}; expected {expected}")
    return [item[name] for name in fields]


def _shown(value: Any) -> str:
    """A value in an error message, at most 60 characters; Python refuses to print numbers of thousands of digits."""
    try:
        text = repr(value)
    except ValueError:
        return "a number of too many digits"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _pictures(file: Path, content: Json, numbers: Mapping[str, int], folders: Sequence[Path]) -> list[AnnotatedPicture]:
    class_of = {category["id"]: numbers[category["name"]] for category in content["categories"]}
    boxes: dict[int, list[PixelBox]] = {}
    for position, item in enumerate(content["images"]):
        number, _ = _entry(file, "images", position, item, "id", "file_name")
        if number in boxes:
            raise DataError(
                f"{file}: images[{position}]: id {number} occurs twice; expected a different one for each picture"
            )
        boxes[number] = []
    for position, item in enumerate(content["annotations"]):
        picture, category, box = _entry(file, "annotations", position, item, "image_id", "category_id", "bbox")
        if picture not in boxes or category not in class_of:
            what = f"image {picture}" if picture not in boxes else f"category {category}"
            raise DataError(f"{file}: annotations[{position}] is of {what}, which is not in the file")
        try:
            left, top, width, height = map(finite_float, box)
        except (TypeError, ValueError, OverflowError):
            raise DataError(f"{file}: annotations[{position}]: bbox is {_shown(box)}; expected four numbers") from None
        edges = left, top, left + width, top + height
        marks = (bool(item.get(key, 0)) for key in ("difficult", "iscrowd"))
        boxes[picture].append(PixelBox(class_of[category], *edges, *marks))
    return [_annotated(item, boxes[item["id"]], folders) for item in content["images"]]


def _annotated(item: Json, boxes: list[PixelBox], folders: Sequence[Path]) -> AnnotatedPicture:
    name = with_slashes(str(item["file_name"]))
    names = [str(item["file_name"]), name]
    if ":" in name:  # C:\data\a.jpg of another machine, or https://host/a.jpg
        names.append(name.rpartition("/")[2])
    path = locate(names, folders)
    width, height = item.get("width"), item.get("height")
    if not (is_picture_side(width) and is_picture_side(height)):
        width, height = size_of_file(path)
    return AnnotatedPicture(path, width, height, boxes)


def write_coco(found: AnnotatedSet, folder: Path, placement: PicturePlacement) -> None:
    """Write annotations/instances_NAME.json into an empty folder, and `images` if pictures are copied.

    Ids of pictures and categories are those of the result files of `detector valid`.
    """
    (folder / "annotations").mkdir()
    if placement.copy:
        found.check_stems()
        (folder / "images").mkdir()
    # The number at the end of each name, as in those result files, if all names end in different numbers.
    ends = [re.search(r"[0-9]{1,18}$", picture.path.stem) for picture in found]
    ids = [int(match[0]) for match in ends if match]
    identities = iter(ids if len(set(ids)) == len(ends) else range(1, len(ends) + 1))
    numbers = COCO_IDS if len(found.classes) <= len(COCO_IDS) else range(1, len(found.classes) + 1)
    categories = [{"id": number, "name": name} for number, name in zip(numbers, found.classes, strict=False)]
    for key, pictures in found.lists.items():
        images, annotations = [], []
        for picture in pictures:
            identity = next(identities)
            name = picture.path.name if placement.copy else placement.reference(picture.path)
            images.append({"id": identity, "file_name": name, "width": picture.width, "height": picture.height})
            annotations += [_annotation(box, identity, numbers[box.number]) for box in picture.boxes]
            if placement.copy:
                placement.place(picture.path, folder / "images")
        numbered = [{"id": number} | annotation for number, annotation in enumerate(annotations, start=1)]
        content = {"images": images, "annotations": numbered, "categories": categories}
        file = folder / "annotations" / f"instances_{THEIRS.get(key, key)}.json"
        file.write_text(to_json(content), encoding="utf-8")


def _annotation(box: PixelBox, image: int, category: int) -> dict[str, Any]:
    left, top, right, bottom = (rounded_coordinate(edge, DIGITS) for edge in (box.left, box.top, box.right, box.bottom))
    width, height = round(right - left, DIGITS), round(bottom - top, DIGITS)
    annotation = {
        "image_id": image,
        "category_id": category,
        "bbox": [left, top, width, height],
        "area": round(width * height, DIGITS),
        "iscrowd": int(box.crowd),
        "segmentation": [],
    }
    return annotation | ({"difficult": 1} if box.difficult else {})
