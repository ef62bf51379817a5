"""Conversion of data sets between formats: darknet's lists and label files, PASCAL VOC's XML, COCO's JSON.

darknet, voc, coco   read and write one format each
annotations          the data set in memory; links to pictures, or copies
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ...errors import DataError, OptionError
from ...utils.files import write_folder_whole
from ..recognise import UNSPLIT, recognise
from .annotations import AnnotatedPicture, AnnotatedSet, PicturePlacement, PixelBox
from .coco import read_coco, write_coco
from .darknet import read_darknet, write_darknet
from .voc import read_voc, write_voc

FORMS = ("darknet", "voc", "coco")
ANY = "any"  # a format that `recognise` detects
_WRITERS: dict[str, Callable[[AnnotatedSet, Path, PicturePlacement], None]] = {
    "darknet": write_darknet,
    "voc": write_voc,
    "coco": write_coco,
}


def form_of(path: Path) -> str:
    """The format of a data set, detected by its files; `ANY` if `recognise` has to decide."""
    if path.is_dir():
        if any(path.glob("*.xml")) or (path / "Annotations").is_dir():
            return "voc"
        return "coco" if _json_files(path) else ANY
    return {".json": "coco", ".yaml": ANY, ".yml": ANY}.get(path.suffix.lower(), "darknet")


def _json_files(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.json"), *(folder / "annotations").glob("instances_*.json")])


def read_set(
    sources: Sequence[str | os.PathLike[str]],
    form: str = "auto",
    names: Sequence[str] | None = None,
    pictures: str | os.PathLike[str] | None = None,
) -> AnnotatedSet:
    """Read a data set: a .data file or list, a VOC folder, COCO's JSON files (or their folder), or any other folder or
    data.yaml that `recognise` reads.

    names: the classes in their order, instead of the data set's. pictures: their folder. Pictures whose files have
    another aspect ratio than their annotations are left out. Raises DataError, OptionError.
    """
    return _read(sources, form, names, pictures).fitting()


def _read(
    sources: Sequence[str | os.PathLike[str]],
    form: str,
    names: Sequence[str] | None,
    pictures: str | os.PathLike[str] | None,
) -> AnnotatedSet:
    paths = [Path(source) for source in sources]
    form = form_of(paths[0]) if form == "auto" else form
    if form == "coco":
        files = [file for path in paths for file in (_json_files(path) if path.is_dir() else [path])]
        return read_coco(files, names, Path(pictures) if pictures else None)
    if len(paths) > 1:
        raise OptionError(f"{paths[1]}: a second source; expected one, except for COCO's JSON files")
    if form == "voc":
        return read_voc(paths[0], names, Path(pictures) if pictures else None)
    if form == ANY:
        return _read_any(paths[0], names)
    return read_darknet(paths[0], names)


def _read_any(path: Path, names: Sequence[str] | None) -> AnnotatedSet:
    """A set in another arrangement of folders, such as Roboflow's. Raises DataError, OptionError."""
    found = recognise(path)
    if found.annotated is None:
        return read_darknet(path, names)
    if names is not None and list(names) != found.classes:
        raise OptionError(
            f"{path}: --names differs from the class names of {found.form}; expected {', '.join(found.classes)}"
        )
    lists = {"train" if key == UNSPLIT else key: pictures for key, pictures in found.annotated.lists.items()}
    return replace(found.annotated, lists=lists)


def write_set(
    found: AnnotatedSet, folder: str | os.PathLike[str], form: str, copy: bool = False, keep_difficult: bool = False
) -> AnnotatedSet:
    """Write a data set into a new folder, completely or not at all. Returns the data set as written.

    darknet's label files cannot mark difficult and crowd objects: these are left out, as by darknet's own scripts,
    unless `keep_difficult`. copy: copy the pictures; otherwise refer to them. Raises DataError, OutputError.
    """
    found = found.clipped()
    if form == "darknet" and not keep_difficult:
        found = found.without("difficult").without("crowd")
    missing = found.missing
    if copy and missing:
        raise DataError(f"{missing[0]}: no such picture ({len(missing)} of {sum(1 for _ in found)} are missing)")
    with write_folder_whole(folder) as temporary:
        _WRITERS[form](found, temporary, PicturePlacement(Path(folder), copy))
    return found


__all__ = ["FORMS", "AnnotatedPicture", "AnnotatedSet", "PixelBox", "form_of", "read_set", "write_set"]
