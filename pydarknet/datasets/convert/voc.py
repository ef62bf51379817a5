"""PASCAL VOC's format: one XML file per picture; coordinates count from 1.

As in darknet's own conversion, the centre of a box is (min + max) / 2 - 1 and its size max - min. A coordinate is thus
the edge of a pixel plus 1, as in the files that `detector valid` writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

from ...errors import DataError
from ...utils.files import read_bytes, read_text
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
    write_lines,
)


def read_voc(path: Path, names: Sequence[str] | None, pictures: Path | None) -> AnnotatedSet:
    """Read a folder with `Annotations` (and `ImageSets/Main`), or a folder of XML files. Raises DataError."""
    folder = path / "Annotations" if (path / "Annotations").is_dir() else path
    root = folder.parent if folder.name == "Annotations" else folder
    lists = {name: [(file, _parse(file)) for file in files] for name, files in _lists(root, folder).items()}
    files = [item for listed in lists.values() for item in listed]
    if not files:
        raise DataError(f"{path}: no .xml files")
    found = {_name(*item) for file, tree in files for item in _objects(file, tree)}
    classes = list(names) if names else sorted(found)
    folders = [folder for folder in (pictures, root / "JPEGImages", root / "images", folder, root) if folder]
    numbers = class_numbers(classes, sorted(found), str(path))
    return AnnotatedSet(
        classes, {name: [_annotated(*item, numbers, folders) for item in listed] for name, listed in lists.items()}
    )


def _lists(root: Path, folder: Path) -> dict[str, list[Path]]:
    """The XML files of each list in `ImageSets/Main`; without lists, all files under `train`."""
    sets = {ours: root / "ImageSets" / "Main" / f"{theirs}.txt" for theirs, ours in OURS.items()}
    lists = {
        name: [folder / f"{line.split()[0]}.xml" for line in read_text(file, DataError).splitlines() if line.split()]
        for name, file in sets.items()
        if file.is_file()
    }
    return {name: files for name, files in lists.items() if files} or {"train": sorted(folder.glob("*.xml"))}


def _parse(file: Path) -> ElementTree.Element:
    content = read_bytes(file, DataError)
    try:
        tree = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise DataError(f"{file}:{error.position[0]}: not XML: {error}") from error
    except (LookupError, ValueError) as error:  # an encoding that Python or expat does not know
        raise DataError(f"{file}:1: unreadable XML: {error}") from error
    if tree.tag != "annotation":
        raise DataError(f"{file}: found <{tree.tag}>; expected <annotation>")
    return tree


def _objects(file: Path, tree: ElementTree.Element) -> Iterator[tuple[str, ElementTree.Element]]:
    """Each object, and its place for messages."""
    return ((f"{file}: object {number}", item) for number, item in enumerate(tree.iter("object"), start=1))


def _name(where: str, item: ElementTree.Element) -> str:
    name = (item.findtext("name") or "").strip()
    if not name:
        raise DataError(f"{where} has no <name>")
    if not name.isprintable():
        raise DataError(f"{where}: <name> is {name[:60]!r}; expected a name")
    return name


def _annotated(
    file: Path, tree: ElementTree.Element, numbers: dict[str, int], folders: Sequence[Path]
) -> AnnotatedPicture:
    listed, where = ((tree.findtext(tag) or "").strip() for tag in ("filename", "path"))
    plain = [
        listed,
        f"{listed}.jpg",
        where,
        with_slashes(where).rpartition("/")[2],
        f"{file.stem}.jpg",
        f"{file.stem}.png",
    ]
    picture = locate([name for name in plain if name not in ("", ".jpg")], folders)
    size = [_integer(tree.findtext(f"size/{side}")) for side in ("width", "height")]
    width, height = size if all(map(is_picture_side, size)) else size_of_file(picture)
    boxes = [_box(where, item, numbers) for where, item in _objects(file, tree)]
    return AnnotatedPicture(picture, width, height, boxes)


def _integer(text: str | None) -> int:
    try:
        return int(float(text or 0))
    except (ValueError, OverflowError):
        return 0


def _box(where: str, item: ElementTree.Element, numbers: dict[str, int]) -> PixelBox:
    edges = []
    for key in ("xmin", "ymin", "xmax", "ymax"):
        text = item.findtext(f"bndbox/{key}")
        try:
            edges.append(finite_float(text or "") - 1)
        except ValueError:
            raise DataError(f"{where}: <{key}> is {repr(text)[:60]}; expected a number") from None
    left, top, right, bottom = edges
    return PixelBox(numbers[_name(where, item)], left, top, right, bottom, _integer(item.findtext("difficult")) != 0)


def write_voc(found: AnnotatedSet, folder: Path, placement: PicturePlacement) -> None:
    """Write Annotations, ImageSets/Main, and JPEGImages if pictures are copied, into an empty folder."""
    found.check_stems()
    for text in (*found.classes, *(str(picture.path) for picture in found)):
        if not text.isprintable():
            raise DataError(f"{text!r}: found characters that XML cannot contain")
    for name in ("Annotations", "ImageSets/Main", *(["JPEGImages"] if placement.copy else [])):
        (folder / name).mkdir(parents=True)
    for picture in found:
        if placement.copy:
            placement.place(picture.path, folder / "JPEGImages")
        tree = _tree(picture, found.classes, None if placement.copy else placement.reference(picture.path))
        ElementTree.indent(tree, "\t")
        (folder / "Annotations" / f"{picture.path.stem}.xml").write_bytes(ElementTree.tostring(tree, "utf-8") + b"\n")
    for key, pictures in found.lists.items():
        lines = [f"{picture.path.stem}\n" for picture in pictures]
        write_lines(folder / "ImageSets" / "Main" / f"{THEIRS.get(key, key)}.txt", lines)


def _tree(picture: AnnotatedPicture, classes: Sequence[str], reference: str | None) -> ElementTree.Element:
    tree = ElementTree.Element("annotation")
    _add(tree, folder="JPEGImages", filename=picture.path.name)
    if reference:
        _add(tree, path=reference)
    _add(ElementTree.SubElement(tree, "size"), width=picture.width, height=picture.height, depth=3)
    _add(tree, segmented=0)
    for box in picture.boxes:
        item = ElementTree.SubElement(tree, "object")
        hard = int(box.difficult or box.crowd)
        _add(item, name=classes[box.number], pose="Unspecified", truncated=0, difficult=hard)
        edges = (rounded_coordinate(edge + 1) for edge in (box.left, box.top, box.right, box.bottom))
        _add(ElementTree.SubElement(item, "bndbox"), **dict(zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=True)))
    return tree


def _add(parent: ElementTree.Element, **values: object) -> None:
    for tag, value in values.items():
        ElementTree.SubElement(parent, tag).text = str(value)
