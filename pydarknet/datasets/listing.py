"""The pictures of a data set of boxes, in lists and with their labels.

Its format is recognised from its files, as their own programs write them, and as Roboflow and CVAT export them.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..config.dialect import ALEXEYAB, Dialect
from ..config.names import read_names
from ..config.sections import Section, read_data
from ..errors import DataError
from ..images.image import EXTENSIONS
from ..utils.arrays import Array
from ..utils.files import StrPath, read_bytes, read_text
from ..utils.prefetch import Item, Result, prefetch
from ..utils.resources import exists, with_slashes
from .augment import NOWHERE
from .convert.annotations import AnnotatedPicture, AnnotatedSet, read_coco, read_voc
from .labels import class_names, find_labels, listed, parse_labels, read_list, read_yaml, wrong_row

LIST_OF = {
    "train": "train", "training": "train", "val": "valid", "valid": "valid", "validation": "valid", "test": "test",
    "testing": "test",
}  # fmt: skip
NAMES_FILES = ("classes.txt", "obj.names", "_darknet.labels", "names.txt", "labels.txt")
XML_FOLDERS = ("annotations", "annots", "labels", "xml", "xmls")  # beside a folder `images`
RUN_FILE = "run.json"  # marks the folder of a training run, whose links to pictures are not read again
OUTLINE_SAMPLE = 50  # pictures whose label files are searched for outlines
LISTS = ("train", "valid", "test")
UNSPLIT = "all"  # the key of pictures that belong to no list yet

YAML, DATA, LIST = "a data.yaml", "a .data file", "a list of pictures"
COCO, VOC, LABELLED = "COCO's JSON", "PASCAL VOC's XML", "pictures with label files"
_DATA_LINE = re.compile(r"\s*(train|valid|test|classes|names)\s*=")


@dataclass
class Recognised:
    """A data set that was recognised and read."""

    form: str  # one of the above
    source: Path  # the file or folder
    classes: list[str]
    lists: dict[str, list[Path]]  # the pictures of train, valid and test, or of UNSPLIT
    annotated: AnnotatedSet | None = None  # the boxes, for formats without label files
    unlabelled: list[Path] = field(default_factory=list)  # in no list, as they have no label file
    notes: list[str] = field(default_factory=list)  # for the user

    @property
    def pictures(self) -> list[Path]:
        """The pictures of all lists."""
        return [picture for pictures in self.lists.values() for picture in pictures]


def recognise(path: StrPath) -> Recognised:
    """Read a data set from its folder or its file. Raises DataError with what was expected."""
    source = Path(path)
    if not source.is_dir() and not source.is_file():
        raise DataError(f"{path}: no such file or folder; expected a data set")
    found = _recognise_folder(source) if source.is_dir() else _recognise_file(source)
    if not found.pictures:
        raise DataError(f"{path}: no pictures with labels in {found.form}")
    if found.annotated is None:
        _refuse_outlines(found.pictures[:OUTLINE_SAMPLE])
    return _with_lists(found)


def _refuse_outlines(pictures: Sequence[Path]) -> None:
    for labels in map(_labels, pictures):
        for number, line in enumerate(read_text(labels, DataError).splitlines(), start=1):
            words = len(line.split())
            if words >= 7 and words % 2 and words % 5:
                found = f"{labels}:{number}: found {words} numbers, an outline of points"
                expected = "class x y w h. Export the data set for detection, with boxes"
                raise DataError(f"{found}; expected {expected}")


def _recognise_file(path: Path) -> Recognised:
    readers: dict[str, Callable[[Path], Recognised]] = {
        ".yaml": _read_yaml_set, ".yml": _read_yaml_set, ".json": lambda file: _read_coco_set(file, [file]),
        ".data": _read_data_set,
    }  # fmt: skip
    suffix = path.suffix.lower()
    if suffix in readers:
        return readers[suffix](path)
    if suffix in (".txt", ".list"):
        return _with_class_names(path.parent, _with_labels(LIST, path, {UNSPLIT: read_list(path)}))
    if suffix in (".zip", ".tar", ".gz", ".tgz", ".rar", ".7z"):
        raise DataError(f"{path}: an archive; unpack it and give the folder")
    raise DataError(f"{path}: expected a folder, a .data file, a data.yaml, COCO's .json or a list of pictures (.txt)")


def _recognise_folder(folder: Path) -> Recognised:
    for reader, patterns in (
        (_read_yaml_set, ("data.yaml", "data.yml", "dataset.yaml", "*.yaml", "*.yml")),
        (_read_data_set, ("obj.data", "*.data")),
    ):
        files = next((found for pattern in patterns if (found := sorted(folder.glob(pattern)))), [])
        if len(files) > 1:
            raise DataError(f"{folder}: has {files[0].name} and {files[1].name}; give one of these files instead")
        if files:
            return reader(files[0])
    if annotations := _coco_files(folder):
        return _read_coco_set(folder, annotations)
    if folders := _voc_folders(folder):
        return _read_voc_set(folder, folders)
    lists: dict[str, list[Path]] = {}
    for picture in _pictures_below(folder):
        lists.setdefault(_list_of(picture.relative_to(folder)), []).append(picture)
    return _with_class_names(folder, _with_labels(LABELLED, folder, lists))


def _pictures_below(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        if RUN_FILE in files:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS:  # noqa: PTH122
                yield Path(parent, name)


def _with_labels(form: str, source: Path, lists: dict[str, list[Path]]) -> Recognised:
    found = Recognised(form, source, [], {})
    for key, picture in ((key, picture) for key, pictures in lists.items() for picture in pictures):
        has_labels = find_labels(picture, ALEXEYAB) is not None
        (found.lists.setdefault(key, []) if has_labels else found.unlabelled).append(picture)
    if found.lists:
        return found
    without, what = found.unlabelled, "nothing"
    if form != LABELLED:
        raise DataError(f"{source}: none of the {len(without)} listed pictures has a label file: {without[0]}")
    if without:
        what = f"{len(without)} pictures, but no label file such as {without[0].with_suffix('.txt')}"
    expected = "pictures with label files, data.yaml, a .data file, COCO's JSON, or XML"
    raise DataError(f"{source}: found {what}; expected {expected}")


def _list_of(relative: Path) -> str:
    return next((LIST_OF[part.lower()] for part in relative.parts[:-1] if part.lower() in LIST_OF), UNSPLIT)


def _with_class_names(folder: Path, found: Recognised) -> Recognised:
    labels = [_labels(picture) for picture in found.pictures]
    beside = (file.parent for pair in zip(found.pictures, labels, strict=True) for file in pair)
    for place in dict.fromkeys([folder, folder / "labels", *beside]):
        files = [file for name in NAMES_FILES if (file := place / name).is_file()] or sorted(place.glob("*.names"))
        if files:
            return replace(found, classes=_names(files[0]))
    rows = (parse_labels(file)[1] for file in labels)
    highest = max((int(each[:, 0].max()) for each in rows if len(each)), default=-1)
    if highest < 0:
        raise DataError(f"{folder}: found no object in the label files; expected at least one")
    if highest > 9999:
        raise DataError(f"{folder}: class {highest} in a label file; expected numbers from 0 on, or a file classes.txt")
    found.notes.append(f"{folder}: no classes.txt; the class names are the numbers 0 to {highest}")
    return replace(found, classes=[str(number) for number in range(highest + 1)])


def _names(file: Path) -> list[str]:
    return [name.strip() for name in read_names(file) if name.strip()]


def _labels(picture: Path) -> Path:
    found = find_labels(picture, ALEXEYAB)
    return found[1] if found else picture.with_suffix(".txt")


def _read_data_set(path: Path) -> Recognised:
    """A .data file, whose paths may start with a folder that does not exist: CVAT's."""
    data = read_data(path)
    lists = {key: _read_list_near(path, named) for key in LISTS if (named := data.named_path(key))}
    if not lists:
        raise data.error("train= is missing: the list of pictures")
    found, names = _with_labels(DATA, path, lists), data.named_path("names")
    if not names:
        return _with_class_names(path.parent, found)
    return replace(found, classes=[name for name in read_names(_near(path, names)) if name.strip()])


def _read_list_near(path: Path, named: str) -> list[Path]:
    file = _near(path, named)
    return [p if exists(p) else _near(file, str(p), missing=p) for p in read_list(file)]


def _near(path: Path, named: str, missing: Path | None = None) -> Path:
    wanted = Path(named if exists(named) else with_slashes(named))
    parts = wanted.parts[wanted.is_absolute() :]
    shortened = (path.parent.joinpath(*parts[skip:]) for skip in range(len(parts)))
    found = next((file for file in (wanted, *shortened) if os.path.isfile(file)), missing)  # noqa: PTH113 (as below)
    if found is None:
        raise DataError(f"{path}: {named}: no such file, here or in {path.parent}")
    return found


def _read_yaml_set(path: Path) -> Recognised:
    content = read_yaml(path)
    classes = class_names(content, path)
    folder = content.get("path")
    named = [Path(folder)] if isinstance(folder, str) and folder else []
    bases = [*(path.parent / each for each in named), *named, path.parent]
    lists: dict[str, list[Path]] = {}
    for key, name in LIST_OF.items():
        places = content.get(key) or []
        for place in [places] if isinstance(places, str) else places:
            lists.setdefault(name, []).extend(_pictures_at(path, key, place, bases))
    if not any(lists.values()):
        raise DataError(f"{path}: neither train: nor val: names a folder or a list with pictures")
    return replace(_with_labels(YAML, path, lists), classes=classes)


def _pictures_at(path: Path, key: str, place: str, bases: Sequence[Path]) -> list[Path]:
    # The first folders of another machine's path may be missing. Roboflow writes ../train for train.
    parts = [part for part in with_slashes(place).split("/") if part]
    shortened = ["/".join(parts[skip:]) for skip in range(len(parts))]
    names = dict.fromkeys([place, place.removeprefix("../"), with_slashes(place), *shortened])
    for found in (base / name for name in names for base in bases):
        if os.path.isdir(found):  # noqa: PTH112 (no error for a name that the system refuses)
            return list(_pictures_below(found))
        if os.path.isfile(found):  # noqa: PTH113 (likewise)
            return _read_list_near(found, found.name)
    if key.startswith("test"):
        return []  # data.yaml often names a test list that was not exported
    raise DataError(f"{path}: {key}: {place}: no such folder or list, here or in {path.parent}")


def _coco_files(folder: Path) -> list[Path]:
    for pattern in ("*.json", "annotations/*.json", "*/_annotations.coco.json"):
        contents = ((file, read_bytes(file, DataError)) for file in sorted(folder.glob(pattern)))
        keys = b'"images"', b'"annotations"', b'"categories"'
        if files := [file for file, content in contents if all(key in content for key in keys)]:
            return files
    return []


def _read_coco_set(source: Path, files: Sequence[Path]) -> Recognised:
    if not all(file.name == "_annotations.coco.json" for file in files):
        return _annotated(COCO, source, read_coco(files, None, None))
    parts = {_list_of(file.relative_to(file.parents[1])): read_coco([file], None, file.parent) for file in files}
    merged = _merged(parts, list(dict.fromkeys(name for part in parts.values() for name in part.classes)))
    # Category 0 of Roboflow's exports is a parent of all classes, without boxes.
    if len(merged.classes) > 1 and all(box.number for picture in merged for box in picture.boxes):
        merged = merged.renumbered(merged.classes[1:], [0, *range(len(merged.classes) - 1)])
    return _annotated(COCO, source, merged)


def _merged(parts: dict[str, AnnotatedSet], classes: list[str]) -> AnnotatedSet:
    renumbered = {key: part.renumbered(classes, [*map(classes.index, part.classes)]) for key, part in parts.items()}
    return AnnotatedSet(classes, {key: list(part) for key, part in renumbered.items()})


def _voc_folders(folder: Path) -> dict[str, Path]:
    if (folder / "Annotations").is_dir() or any(folder.glob("*.xml")):
        return {UNSPLIT: folder}
    with_xml = [path for path in sorted(folder.iterdir()) if path.is_dir() and any(path.glob("*.xml"))]
    found = {LIST_OF[name]: path for path in with_xml if (name := path.name.lower()) in LIST_OF}
    beside = [path for path in with_xml if path.name.lower() in XML_FOLDERS]
    return {UNSPLIT: beside[0]} if beside and not found else found


def _read_voc_set(source: Path, folders: dict[str, Path]) -> Recognised:
    pictures = source / "images" if (source / "images").is_dir() else None
    parts = {key: read_voc(folder, None, pictures) for key, folder in folders.items()}
    merged = parts.get(UNSPLIT) or _merged(parts, sorted({n for part in parts.values() for n in part.classes}))
    return _annotated(VOC, source, merged)


def _annotated(form: str, source: Path, found: AnnotatedSet) -> Recognised:
    lists: dict[str, list[AnnotatedPicture]] = {}
    for key, pictures in found.lists.items():
        lists.setdefault(LIST_OF.get(key, UNSPLIT), []).extend(pictures)
    kept = AnnotatedSet(found.classes, lists, found.left_out).fitting().clipped().without("difficult", "crowd")
    notes = [f"{number} {what}" for what, number in kept.left_out.items() if number]
    if missing := kept.missing:
        raise DataError(f"{source}: {len(missing)} pictures are missing, the first is {missing[0]}")
    paths = {key: [picture.path for picture in pictures] for key, pictures in kept.lists.items()}
    return Recognised(form, source, kept.classes, paths, kept, notes=notes)


def _with_lists(found: Recognised) -> Recognised:
    lists = {key: list(dict.fromkeys(pictures)) for key, pictures in found.lists.items()}
    if set(lists) <= {UNSPLIT, "train"} or not lists.keys() & {"train", UNSPLIT}:
        return replace(found, lists={UNSPLIT: [p for pictures in lists.values() for p in pictures]})
    lists["train"] = [*lists.get("train", []), *lists.pop(UNSPLIT, [])]
    if "valid" not in lists:
        found.notes.append("there is no validation list; the list `test` is used instead")
        lists["valid"] = lists.pop("test")
    return replace(found, lists=lists)


@dataclass(frozen=True)
class LabelledPicture:
    """A picture of a list, and its labels: rows (k, 5) float32 of class, x, y, w, h in fractions."""

    line: int  # in the list
    picture: Path
    labels: Path | None  # the label file
    rule: str = ""  # by which that was found
    lines: list[int] = field(default_factory=list)  # of each row in the label file
    rows: Array = field(default_factory=lambda: NOWHERE)
    wrong: list[str] = field(default_factory=list)  # a message for each line that does not parse
    size: tuple[int, int] = (0, 0)  # width and height in pixels, where known

    def checked(self, classes: int, dialect: Dialect = ALEXEYAB) -> Iterator[tuple[int, Array, str | None]]:
        """(line, row, error) of each row; the error is None for a valid row, see `wrong_row`."""
        for line, row in zip(self.lines, self.rows, strict=True):
            yield line, row, wrong_row(row.tolist(), classes, dialect)

    def problems(self, classes: int, dialect: Dialect = ALEXEYAB) -> list[str]:
        """A message with file and line for each line that is wrong."""
        checked = self.checked(classes, dialect)
        return [*self.wrong, *(f"{self.labels}:{line}: {problem}" for line, _, problem in checked if problem)]


@dataclass(frozen=True)
class ImageLists:
    """The lists of a data set by key; a single list of pictures has the key `train`."""

    path: Path
    lists: dict[str, Path]  # the file of each; `path` for a folder and a data.yaml
    entries: dict[str, list[tuple[int, Path]]]  # (line, picture) of each list's pictures
    data: Section | None = None  # the .data file
    names: list[str] = field(default_factory=list)  # of a folder or a data.yaml

    @classmethod
    def open(cls, path: str | Path, *keys: str) -> "ImageLists":
        """Open a .data file with the lists `keys`, a list of pictures, a folder or a data.yaml.

        Pictures of a folder without a label file are in the first list. Raises DataError and ConfigError.
        """
        source, data = Path(path), None
        if source.is_dir() or source.suffix.lower() in (".yaml", ".yml"):
            found = recognise(source)
            if found.annotated is not None:
                remedy = f"`pydarknet dataset convert {path} --to darknet --out DIR` writes them"
                raise DataError(f"{path}: {found.form}; expected label files. {remedy}")
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
    """A picture with its labels, found by the dialect's rule or another."""
    rule, path = find_labels(picture, dialect) or ("", None)
    if path is None:
        return LabelledPicture(line, picture, None)
    try:
        return LabelledPicture(line, picture, path, rule, *parse_labels(path))
    except DataError as error:  # a file that is not text
        return LabelledPicture(line, picture, path, rule, wrong=[str(error)])


def usable(rows: Array) -> NDArray[np.bool_]:
    """(k,) bool: which of the rows (k, 5) have a box of a finite size above 0."""
    return np.asarray(np.isfinite(rows).all(axis=1) & (rows[:, 3:] > 0).all(axis=1))


def on_all_processors(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """work(item) for each item, in order, computed ahead by as many threads as processors."""
    threads = os.cpu_count() or 1
    return prefetch(work, items, threads, 4 * threads)
