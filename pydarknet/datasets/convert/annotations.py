"""A data set in memory: pictures of known size, boxes in pixels. COCO's and VOC's formats.

COCO: one JSON file per list; boxes are left, top, width and height in pixels from 0. VOC: one XML file per
picture. As in darknet's conversion, a coordinate is the edge of a pixel plus 1.
"""

import json
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ...config.names import COCO_IDS
from ...errors import DataError, ImageError
from ...images import image
from ...utils.files import read_bytes, read_text, shortened, to_json
from ...utils.resources import with_slashes

ASPECT_TOLERANCE = 0.02  # relative difference of two aspect ratios
TOLERANCE = 0.5  # pixels; clipping a box by less is not counted
OURS = {"train": "train", "val": "valid", "test": "test"}  # VOC's and COCO's names of lists, and ours
THEIRS = {ours: theirs for theirs, ours in OURS.items()}
EDGES = ("left", "top", "right", "bottom")
VOC_EDGES = ("xmin", "ymin", "xmax", "ymax")
LARGEST_SIDE = 1 << 20  # pixels
NUMBER = 0.01  # pixels; a coordinate nearer to a whole number is rounded to it
LARGEST_ID = 1 << 63
DIGITS = 6  # decimals of COCO's coordinates in pixels

Json = Mapping[str, Any]
Reference = Callable[[Path], str]  # what a format writes for a picture that is not copied


@dataclass(frozen=True)
class PixelBox:
    """An object of class `number`. Edges are in pixels from the picture's top left corner."""

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
    """Pictures by list, and class names. left_out: counts by description."""

    classes: list[str]
    lists: dict[str, list[AnnotatedPicture]]
    left_out: Counter[str] = field(default_factory=Counter)

    def __iter__(self) -> Iterator[AnnotatedPicture]:
        for pictures in self.lists.values():
            yield from pictures

    @property
    def missing(self) -> list[Path]:
        """The pictures whose files do not exist."""
        # os.path: no error for a name that the system refuses
        return [picture.path for picture in self if not os.path.isfile(picture.path)]  # noqa: PTH113

    def clipped(self) -> "AnnotatedSet":
        """A copy with boxes clipped to their pictures; those outside are left out and counted."""
        return self.with_boxes(_inside)

    def fitting(self) -> "AnnotatedSet":
        """A copy without pictures of another aspect ratio than their annotations say."""
        misfits = {id(picture): text for picture in self if (text := _misfit(picture))}
        if not misfits:
            return self
        first = next(iter(misfits.values()))
        text = f"pictures left out, whose aspect ratio is not that of their annotations: {first}"
        lists = {key: [p for p in pictures if id(p) not in misfits] for key, pictures in self.lists.items()}
        return AnnotatedSet(self.classes, lists, self.left_out + Counter({text: len(misfits)}))

    def without(self, *kinds: str) -> "AnnotatedSet":
        """A copy without objects of these kinds, `difficult` or `crowd`, which are counted."""

        def kept(picture: AnnotatedPicture, left_out: Counter[str]) -> Iterable[PixelBox]:
            boxes = picture.boxes
            for kind in kinds:
                left_out[f"{kind} objects left out"] += sum(getattr(box, kind) for box in boxes)
                boxes = [box for box in boxes if not getattr(box, kind)]
            return boxes

        return self.with_boxes(kept)

    def renumbered(self, classes: list[str], numbers: Sequence[int]) -> "AnnotatedSet":
        """A copy with other classes; an object of class k gets the number numbers[k]."""
        found = self.with_boxes(lambda picture, _: (replace(b, number=numbers[b.number]) for b in picture.boxes))
        return replace(found, classes=classes)

    def with_boxes(self, change: Callable[[AnnotatedPicture, Counter[str]], Iterable[PixelBox]]) -> "AnnotatedSet":
        """A copy with the boxes that `change` returns. It counts what it leaves out."""
        left_out, lists = Counter(self.left_out), {}
        for key, pictures in self.lists.items():
            lists[key] = [replace(picture, boxes=list(change(picture, left_out))) for picture in pictures]
        return AnnotatedSet(self.classes, lists, left_out)

    def check_stems(self) -> None:
        """Raise DataError for two pictures of one stem, and for a name with line breaks."""
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
    size, turned = image.header_of_file(picture.path)
    width, height = size or (picture.width, picture.height)
    if abs(width * picture.height - height * picture.width) <= ASPECT_TOLERANCE * width * picture.height:
        return ""
    hint = f", EXIF orientation {turned}: rotate its pixels, and remove that entry" if turned > 1 else ""
    return f"{picture.path}: {picture.width}x{picture.height} in the annotations, {width}x{height} in the file{hint}"


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines; undecodable bytes of file names stay as they are."""
    path.write_bytes("".join(lines).encode("utf-8", "surrogateescape"))


def size_or_of_file(path: Path, width: object, height: object) -> tuple[int, int]:
    """(width, height) as stored, or of the picture file. Raises DataError."""
    sides = [side for side in (width, height) if isinstance(side, int) and 0 < side <= LARGEST_SIDE]
    return (sides[0], sides[1]) if len(sides) == 2 else size_of_file(path)


def size_of_file(path: Path) -> tuple[int, int]:
    """(width, height) in pixels of a picture file. Raises DataError."""
    try:
        return image.size_of_file(path)
    except ImageError as error:
        raise DataError(f"{error}; expected a picture whose size can be read") from error


def locate(names: Iterable[str], folders: Sequence[Path]) -> Path:
    """The first existing file of these names in these folders, or the first candidate."""
    candidates = [folder / name for name in names if name for folder in folders]
    return next((path for path in candidates if os.path.isfile(path)), candidates[0])  # noqa: PTH113 (likewise)


def class_numbers(
    names: Sequence[str] | None, found: Sequence[str], where: Path
) -> tuple[list[str], dict[str, int]]:  # fmt: skip
    """The classes, `names` or else those `found`; and their numbers. Raises DataError."""
    classes = list(names or found)
    number_of = {name: number for number, name in reversed(list(enumerate(classes)))}
    if unknown := [name for name in found if name not in number_of]:
        raise DataError(f"{where}: class {unknown[0]!r} is not among the {len(classes)} names")
    return classes, number_of


def finite_float(value: float | str) -> float:
    """float(value). Raises ValueError, also for NaN and infinity."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is not finite")
    return number


def rounded_coordinate(value: float, digits: int = 3) -> float:
    """A coordinate for output: a whole number if it is nearly one, else of `digits` decimals."""
    return round(value) if abs(value - round(value)) < NUMBER else round(value, digits)


def read_coco(files: Sequence[Path], names: Sequence[str] | None, pictures: Path | None) -> AnnotatedSet:
    """Read JSON files, one per list. pictures: their folder. Raises DataError."""
    contents = {_list_name(file, files): (file, _parse_json(file)) for file in files}
    classes, numbers = class_numbers(names, _category_names(contents), files[0])
    lists = {}
    for key, (file, content) in contents.items():
        root = file.parent.parent if file.parent.name == "annotations" else file.parent
        named = root / file.stem.removeprefix("instances_")
        folders = [*([pictures] if pictures else []), root, root / "images", named, root / "images" / key]
        lists[key] = _pictures(file, content, numbers, folders)
    return AnnotatedSet(classes, lists)


def _list_name(file: Path, files: Sequence[Path]) -> str:
    words = [match[0] if (match := re.search("|".join(OURS), other.stem)) else "" for other in files]
    word = words[list(files).index(file)]
    if len(files) == 1 and not word:
        return "train"
    return OURS[word] if word and words.count(word) == 1 else file.stem


def _parse_json(file: Path) -> Json:
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
    by_id: dict[int, str] = {}
    for file, content in contents.values():
        for _, number, name in _entries(file, content, "categories", "id", "name"):
            if by_id.setdefault(number, name) != name:
                raise DataError(f"{file}: category {number} is {name!r}; elsewhere it is {by_id[number]!r}")
    return [by_id[number] for number in sorted(by_id)]


def _entries(file: Path, content: Json, key: str, *fields: str) -> Iterator[list[Any]]:
    for position, item in enumerate(content[key]):
        where = f"{file}: {key}[{position}]"
        if absent := [name for name in fields if not isinstance(item, dict) or name not in item]:
            raise DataError(f"{where} has no {absent[0]!r}")
        for name in fields:
            value, expected = item[name], ""
            if name.endswith("id") and (not isinstance(value, int) or abs(value) > LARGEST_ID):
                expected = "a whole number"
            if name.endswith("name") and not (isinstance(value, str) and value.isprintable() and value):
                expected = "a name"
            if expected:
                raise DataError(f"{where}: {name} is {_shown(value)}; expected {expected}")
        yield [where, *(item[name] for name in fields)]


def _shown(value: Any) -> str:
    try:
        return shortened(repr(value))
    except ValueError:  # Python's limit
        return "a number of too many digits"


def _pictures(file: Path, content: Json, numbers: Mapping[str, int], folders: Sequence[Path]) -> list[AnnotatedPicture]:
    class_of = {category["id"]: numbers[category["name"]] for category in content["categories"]}
    boxes: dict[int, list[PixelBox]] = {}
    for where, number, _ in _entries(file, content, "images", "id", "file_name"):
        if number in boxes:
            raise DataError(f"{where}: id {number} occurs twice; expected a different one for each picture")
        boxes[number] = []
    entries = _entries(file, content, "annotations", "image_id", "category_id", "bbox")
    for item, (where, picture, category, box) in zip(content["annotations"], entries, strict=True):
        if picture not in boxes or category not in class_of:
            what = f"image {picture}" if picture not in boxes else f"category {category}"
            raise DataError(f"{where} is of {what}, which is not in the file")
        try:
            left, top, width, height = map(finite_float, box)
        except (TypeError, ValueError, OverflowError):
            raise DataError(f"{where}: bbox is {_shown(box)}; expected four numbers") from None
        marks = (bool(item.get(key, 0)) for key in ("difficult", "iscrowd"))
        boxes[picture].append(PixelBox(class_of[category], left, top, left + width, top + height, *marks))
    found = []
    for item in content["images"]:
        name = with_slashes(str(item["file_name"]))
        # C:\\data\\a.jpg of another machine, or https://host/a.jpg
        path = locate([str(item["file_name"]), name, name.rpartition("/")[2] if ":" in name else ""], folders)
        size = size_or_of_file(path, item.get("width"), item.get("height"))
        found.append(AnnotatedPicture(path, *size, boxes[item["id"]]))
    return found


def write_coco(found: AnnotatedSet, folder: Path, reference: Reference | None) -> None:
    """Write annotations/instances_NAME.json. Without `reference`, pictures are in `images`."""
    (folder / "annotations").mkdir()
    # The number at the end of each name, as in those result files, if all names end in different numbers.
    ends = [re.search(r"[0-9]{1,18}$", picture.path.stem) for picture in found]
    ids = [int(match[0]) for match in ends if match]
    identities = iter(ids if len(set(ids)) == len(ends) else range(1, len(ends) + 1))
    numbers = COCO_IDS if len(found.classes) <= len(COCO_IDS) else range(1, len(found.classes) + 1)
    categories = [{"id": number, "name": name} for number, name in zip(numbers, found.classes, strict=False)]
    for key, pictures in found.lists.items():
        images: list[Json] = []
        annotations: list[Json] = []
        for picture in pictures:
            identity = next(identities)
            name = reference(picture.path) if reference else picture.path.name
            images.append({"id": identity, "file_name": name, "width": picture.width, "height": picture.height})
            for box in picture.boxes:
                of = {"image_id": identity, "category_id": numbers[box.number]}
                annotations.append({"id": len(annotations) + 1, **of, **_annotation(box)})
        content = {"images": images, "annotations": annotations, "categories": categories}
        file = folder / "annotations" / f"instances_{THEIRS.get(key, key)}.json"
        file.write_text(to_json(content), encoding="utf-8")


def _annotation(box: PixelBox) -> Json:
    left, top, right, bottom = (rounded_coordinate(getattr(box, edge), DIGITS) for edge in EDGES)
    width, height = round(right - left, DIGITS), round(bottom - top, DIGITS)
    return {
        "bbox": [left, top, width, height], "area": round(width * height, DIGITS), "iscrowd": int(box.crowd),
        "segmentation": [], **({"difficult": 1} if box.difficult else {}),
    }  # fmt: skip


def read_voc(path: Path, names: Sequence[str] | None, pictures: Path | None) -> AnnotatedSet:
    """Read a folder with `Annotations`, or a folder of XML files. Raises DataError."""
    folder = path / "Annotations" if (path / "Annotations").is_dir() else path
    root = folder.parent if folder.name == "Annotations" else folder
    lists = {name: [(file, _parse_xml(file)) for file in files] for name, files in _lists(root, folder).items()}
    files = [item for listed in lists.values() for item in listed]
    if not files:
        raise DataError(f"{path}: no .xml files")
    found = {_name(*item) for file, tree in files for item in _objects(file, tree)}
    folders = [folder for folder in (pictures, root / "JPEGImages", root / "images", folder, root) if folder]
    classes, numbers = class_numbers(names, sorted(found), path)
    result = AnnotatedSet(classes, {})
    for name, listed in lists.items():
        result.lists[name] = [_picture_of(*item, numbers, folders) for item in listed]
    return result


def _lists(root: Path, folder: Path) -> dict[str, list[Path]]:
    lists = {}
    for theirs, ours in OURS.items():
        file = root / "ImageSets" / "Main" / f"{theirs}.txt"
        lines = read_text(file, DataError).splitlines() if file.is_file() else []
        if words := [line.split() for line in lines if line.strip()]:
            lists[ours] = [folder / f"{stem}.xml" for stem, *_ in words]
    return lists or {"train": sorted(folder.glob("*.xml"))}


def _parse_xml(file: Path) -> ElementTree.Element:
    try:
        tree = ElementTree.fromstring(read_bytes(file, DataError))
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # also for unknown encodings
        is_xml, (line, _) = not isinstance(error, ElementTree.ParseError), getattr(error, "position", (1, 0))
        raise DataError(f"{file}:{line}: {'unreadable' if is_xml else 'not'} XML: {error}") from error
    if tree.tag != "annotation":
        raise DataError(f"{file}: found <{tree.tag}>; expected <annotation>")
    return tree


def _objects(file: Path, tree: ElementTree.Element) -> Iterator[tuple[str, ElementTree.Element]]:
    return ((f"{file}: object {number}", item) for number, item in enumerate(tree.iter("object"), start=1))


def _name(where: str, item: ElementTree.Element) -> str:
    name = (item.findtext("name") or "").strip()
    if not name.isprintable() or not name:
        raise DataError(f"{where}: <name> is {name[:60]!r}; expected a name" if name else f"{where} has no <name>")
    return name


def _picture_of(
    file: Path, tree: ElementTree.Element, numbers: dict[str, int], folders: Sequence[Path]
) -> AnnotatedPicture:
    listed, where = ((tree.findtext(tag) or "").strip() for tag in ("filename", "path"))
    last = with_slashes(where).rpartition("/")[2]
    names = [listed, f"{listed}.jpg" if listed else "", where, last, f"{file.stem}.jpg", f"{file.stem}.png"]
    picture = locate(names, folders)
    size = (_integer(tree.findtext(f"size/{side}")) for side in ("width", "height"))
    boxes = [_box(*item, numbers) for item in _objects(file, tree)]
    return AnnotatedPicture(picture, *size_or_of_file(picture, *size), boxes)


def _integer(text: str | None) -> int:
    try:
        return int(float(text or 0))
    except (ValueError, OverflowError):
        return 0


def _box(where: str, item: ElementTree.Element, numbers: dict[str, int]) -> PixelBox:
    edges = []
    for key in VOC_EDGES:
        text = item.findtext(f"bndbox/{key}")
        try:
            edges.append(finite_float(text or "") - 1)
        except ValueError:
            raise DataError(f"{where}: <{key}> is {repr(text)[:60]}; expected a number") from None
    left, top, right, bottom = edges
    return PixelBox(numbers[_name(where, item)], left, top, right, bottom, _integer(item.findtext("difficult")) != 0)


def write_voc(found: AnnotatedSet, folder: Path, reference: Reference | None) -> None:
    """Write Annotations and ImageSets/Main. Without `reference`, pictures are in JPEGImages."""
    for text in (*found.classes, *(str(picture.path) for picture in found)):
        if not text.isprintable():
            raise DataError(f"{text!r}: found characters that XML cannot contain")
    for name in ("Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    for picture in found:
        tree = _tree(picture, found.classes, reference(picture.path) if reference else None)
        ElementTree.indent(tree, "\t")
        (folder / "Annotations" / f"{picture.path.stem}.xml").write_bytes(ElementTree.tostring(tree, "utf-8") + b"\n")
    for key, pictures in found.lists.items():
        file = folder / "ImageSets" / "Main" / f"{THEIRS.get(key, key)}.txt"
        write_lines(file, [f"{picture.path.stem}\n" for picture in pictures])


def _tree(picture: AnnotatedPicture, classes: Sequence[str], reference: str | None) -> ElementTree.Element:
    tree = ElementTree.Element("annotation")
    _add(tree, folder="JPEGImages", filename=picture.path.name)
    if reference:
        _add(tree, path=reference)
    _add(ElementTree.SubElement(tree, "size"), width=picture.width, height=picture.height, depth=3)
    _add(tree, segmented=0)
    for box in picture.boxes:
        item = ElementTree.SubElement(tree, "object")
        _add(item, name=classes[box.number], pose="Unspecified", truncated=0, difficult=int(box.difficult or box.crowd))
        edges = (rounded_coordinate(getattr(box, edge) + 1) for edge in EDGES)
        _add(ElementTree.SubElement(item, "bndbox"), **dict(zip(VOC_EDGES, edges, strict=True)))
    return tree


def _add(parent: ElementTree.Element, **values: object) -> None:
    for tag, value in values.items():
        ElementTree.SubElement(parent, tag).text = str(value)
