"""Class names: their files, and checks of their number."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from ..errors import DataError
from ..utils.files import read_text
from ..utils.resources import bundled_names, exists, network_file

log = logging.getLogger("pydarknet")

# The category id of each of COCO's 80 classes; the ids have gaps.
COCO_GAPS = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
COCO_IDS = [number for number in range(1, 91) if number not in COCO_GAPS]


def read_names(path: str | os.PathLike[str]) -> list[str]:
    """The names of a file, one per line; blanks are kept, empty lines at the end are not. Raises DataError for an empty
    file."""
    lines = read_text(path, DataError).replace("\r\n", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise DataError(f"{path}: the list of names is empty; expected one per line")
    return lines


def choose_names(classes: int, path: str | os.PathLike[str] | None, exact: bool, cfg: str = "") -> list[str]:
    """The names of `classes` classes: those of the file `path`, which may be a bundled one, else those beside the
    network file, else of the bundled list of that length, else numbers.

    cfg: the network file. A bundled one may have its own names (`toys`); for others, obj.names in the same folder, as
    in the folder of a training run, is used if it has that many.
    exact: the file must have that many entries (detectors); otherwise it may have more, as darknet's own ImageNet file
    has (classifiers). Raises DataError, which gives both numbers.
    """
    if path is None:
        path = _names_beside(cfg, classes) or bundled_names(classes, cfg)
        if path is None:
            return [str(number) for number in range(classes)]
    names = read_names(network_file(os.fspath(path)))
    if len(names) < classes or (exact and len(names) != classes):
        raise DataError(f"{path}: {len(names)} names; expected {classes}, the number of the network's classes")
    if len(names) > classes:
        log.warning("%s: %d names for %d classes; the first %d are used", path, len(names), classes, classes)
    return names[:classes]


def _names_beside(cfg: str, classes: int) -> Path | None:
    """The file obj.names in the folder of the network file, if it has `classes` names; else None."""
    path = Path(cfg).with_name("obj.names") if cfg and exists(cfg) else None
    try:
        return path if path and exists(path) and len(read_names(path)) == classes else None
    except DataError:  # a folder, or not a text file
        return None
