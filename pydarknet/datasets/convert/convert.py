"""Conversion of data sets between formats. darknet's own is here; `annotations` has VOC's and COCO's."""

import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ...config.names import read_names
from ...errors import DataError, ImageError, OptionError, OutputError
from ...images import image
from ...utils.files import StrPath, output_errors, write_folder_whole
from ..listing import UNSPLIT, ImageLists, LabelledPicture, on_all_processors, recognise
from .annotations import (
    AnnotatedPicture,
    AnnotatedSet,
    PixelBox,
    Reference,
    read_coco,
    read_voc,
    size_of_file,
    write_coco,
    write_lines,
    write_voc,
)  # fmt: skip

ANY = "any"  # a format that `recognise` detects
# Both darknets find the labels of pictures in JPEGImages in a folder `labels` beside it.
PICTURES, LABELS = "JPEGImages", "labels"


def form_of(path: Path) -> str:
    """The format of a data set, detected by its files; `ANY` if `recognise` has to decide."""
    if not path.is_dir():
        return {".json": "coco", ".yaml": ANY, ".yml": ANY}.get(path.suffix.lower(), "darknet")
    if any(path.glob("*.xml")) or (path / "Annotations").is_dir():
        return "voc"
    return "coco" if _json_files(path) else ANY


def _json_files(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.json"), *(folder / "annotations").glob("instances_*.json")])


def read_set(
    sources: Sequence[StrPath],
    form: str = "auto",
    names: Sequence[str] | None = None,
    pictures: StrPath | None = None,
) -> AnnotatedSet:
    """Read a .data file or list, a VOC folder, COCO's JSON files or their folder, or what `recognise` reads.

    names: the classes, instead of the data set's. pictures: their folder. Raises DataError, OptionError.
    """
    paths = [Path(source) for source in sources]
    form = form_of(paths[0]) if form == "auto" else form
    place = Path(pictures) if pictures else None
    if len(paths) > 1 and form != "coco":
        raise OptionError(f"{paths[1]}: a second source; expected one, except for COCO's JSON files")
    if form == "coco":
        files = [file for path in paths for file in (_json_files(path) if path.is_dir() else [path])]
        found = read_coco(files, names, place)
    elif form == "voc":
        found = read_voc(paths[0], names, place)
    else:
        found = (_read_any if form == ANY else read_darknet)(paths[0], names)
    return found.fitting()


def _read_any(path: Path, names: Sequence[str] | None) -> AnnotatedSet:
    found = recognise(path)
    if found.annotated is None:
        return read_darknet(path, names)
    if names is not None and list(names) != found.classes:
        expected = ", ".join(found.classes)
        raise OptionError(f"{path}: --names differs from the class names of {found.form}; expected {expected}")
    lists = {"train" if key == UNSPLIT else key: pictures for key, pictures in found.annotated.lists.items()}
    return replace(found.annotated, lists=lists)


def write_set(
    found: AnnotatedSet, folder: StrPath, form: str, copy: bool = False, keep_difficult: bool = False
) -> AnnotatedSet:
    """Write a data set into a new folder, completely or not at all. Returns the data set as written.

    Difficult and crowd objects, which darknet's label files cannot mark, are left out unless `keep_difficult`.
    copy: copy the pictures; otherwise refer to them. Raises DataError, OutputError.
    """
    found = found.clipped()
    if form == "darknet" and not keep_difficult:
        found = found.without("difficult", "crowd")
    if copy and (missing := found.missing):
        raise DataError(f"{missing[0]}: no such picture ({len(missing)} of {sum(1 for _ in found)} are missing)")

    def reference(picture: Path) -> str:  # relative to the new folder
        return Path(os.path.relpath(os.path.realpath(picture), os.path.realpath(folder))).as_posix()

    with write_folder_whole(folder) as temporary:
        write, pictures = _WRITERS[form]
        if copy or form != "coco":
            found.check_stems()
        if copy or form == "darknet":
            (temporary / pictures).mkdir()
            for picture in (each.path for each in found if os.path.isfile(each.path)):  # noqa: PTH113 (as above)
                target = temporary / pictures / picture.name
                if target.is_symlink() or target.exists():
                    continue
                if copy:
                    copy_picture(picture, target)
                else:
                    _link(picture, target, reference(picture))
        write(found, temporary, None if copy else reference)
    return found


def read_darknet(path: Path, names: Sequence[str] | None) -> AnnotatedSet:
    """Read a data set with label files. Raises DataError for a missing picture."""
    data = ImageLists.open(path)
    file = data.data.file("names") if data.data else None
    own = data.names or (read_names(file) if file else [str(number) for number in range(data.classes or 0)])
    result = AnnotatedSet(list(names or own), {})
    known = len(result.classes) or 1 << 20
    for key in data.lists:
        pictures = list(data.pictures(key))
        sizes = on_all_processors(size_of_file, (picture.picture for picture in pictures))
        pairs = zip(pictures, sizes, strict=True)
        result.lists[key] = [_annotated(picture, *size, known, result.left_out) for picture, size in pairs]
    if not result.classes:
        highest = max((box.number for picture in result for box in picture.boxes), default=0)
        result.classes = [str(number) for number in range(highest + 1)]
    return result


def _annotated(
    picture: LabelledPicture, width: int, height: int, classes: int, left_out: Counter[str]
) -> AnnotatedPicture:
    checked = list(picture.checked(classes))
    left_out["label files missing"] += picture.labels is None
    left_out["lines that are no labels left out"] += len(picture.wrong)
    left_out["labels with a wrong class or box left out"] += sum(problem is not None for _, _, problem in checked)
    boxes = []
    for number, x, y, w, h in (row.tolist() for _, row, problem in checked if problem is None):
        left, top = (x - w / 2) * width, (y - h / 2) * height
        boxes.append(PixelBox(int(number), left, top, left + w * width, top + h * height))
    return AnnotatedPicture(picture.picture, width, height, boxes)


def write_darknet(found: AnnotatedSet, folder: Path, _: Reference | None) -> None:
    """Write obj.data, obj.names, the lists and labels; PICTURES has the pictures."""
    (folder / LABELS).mkdir()
    for picture in found:
        (folder / LABELS / f"{picture.path.stem}.txt").write_text(label_rows(picture), encoding="utf-8")
    for key, pictures in found.lists.items():
        write_lines(folder / f"{key}.txt", [f"{PICTURES}/{picture.path.name}\n" for picture in pictures])
    write_lines(folder / "obj.names", [f"{name}\n" for name in found.classes])
    lists = "".join(f"{key} = {key}.txt\n" for key in found.lists)
    write_lines(folder / "obj.data", [f"classes = {len(found.classes)}\n{lists}names = obj.names\nbackup = backup\n"])


def label_rows(picture: AnnotatedPicture) -> str:
    """The content of the label file of a picture."""
    text = ""
    for box in picture.boxes:
        x, y = (box.left + box.right) / 2 / picture.width, (box.top + box.bottom) / 2 / picture.height
        w, h = (box.right - box.left) / picture.width, (box.bottom - box.top) / picture.height
        text += f"{box.number} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n"
    return text


# How each format is written, and the folder for copies of pictures.
_WRITERS: dict[str, tuple[Callable[[AnnotatedSet, Path, Reference | None], None], str]] = {
    "darknet": (write_darknet, PICTURES),
    "voc": (write_voc, PICTURES),
    "coco": (write_coco, "images"),
}


def _link(picture: Path, target: Path, reference: str) -> None:
    try:
        target.symlink_to(Path(os.path.pardir) / reference)
    except (OSError, NotImplementedError) as error:
        raise OutputError(f"{target}: cannot link to {picture} ({error}); copy the pictures instead") from error


def copy_picture(picture: Path, target: Path) -> None:
    """Copy a picture. Raises DataError for other files, OutputError."""
    try:
        image.size_of_file(picture)
    except ImageError as error:
        raise DataError(f"{error}; only pictures are copied") from error
    with output_errors(target, f"cannot copy {picture}"):
        shutil.copyfile(picture, target)
