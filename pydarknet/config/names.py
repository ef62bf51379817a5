"""Class names: where they come from and whether there are enough of them."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from ..errors import DataError
from ..utils.files import read_text
from ..utils.resources import bundled_names, find_file
from .sections import Section, folder_of

log = logging.getLogger("pydarknet")

# The categories of COCO have numbers with gaps; this is that of each class.
COCO_GAPS = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
COCO_IDS = [number for number in range(1, 91) if number not in COCO_GAPS]


def read_names(path: str | os.PathLike[str]) -> list[str]:
    """One name a line; nothing is trimmed but the end of the line. Raises DataError."""
    text = read_text(path, DataError)
    lines = text.replace("\r\n", "\n").split("\n")
    if lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise DataError(f"{path}: the list of names is empty")
    return lines


def names_from_data(data: Section, *keys: str) -> Path | None:
    """The file that the first present of `keys` (names, labels) of a .data file calls. Raises DataError where it is
    missing."""
    for key in keys:
        value = data.text(key)
        if value:
            return find_file(value, folder_of(data.path))
    return None


def choose_names(classes: int, path: str | os.PathLike[str] | None, exact: bool) -> list[str]:
    """The names for so many classes: from `path`, else the bundled list of that length, else the numbers.

    `exact` (detectors): the list must have that many entries. Classifiers may have a longer list, as darknet's own
    ImageNet file is. Raises DataError that states both numbers.
    """
    if path is None:
        path = bundled_names(classes)
        if path is None:
            return [str(number) for number in range(classes)]
    names = read_names(path)
    if len(names) < classes or (exact and len(names) != classes):
        raise DataError(f"{path}: {len(names)} names; the network has {classes} classes")
    if len(names) > classes:
        log.warning("%s: %d names for %d classes; the first %d are used", path, len(names), classes, classes)
    return names[:classes]
