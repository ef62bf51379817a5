"""The text files of a data set: lists of pictures, label files, data.yaml."""

import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ..config.dialect import ALEXEYAB, PJREDDIE, Dialect
from ..config.names import WordTree
from ..errors import DataError, ImageError
from ..utils.arrays import Array
from ..utils.files import StrPath, read_text, shortened
from ..utils.resources import exists, with_slashes

IGNORE = -1234.0  # in class vectors: an entry without a loss
# AlexeyAB's darknet replaces these folders to find labels; others are beside the picture.
ALEXEYAB_FOLDERS = (
    ("/images/train2017/", "/labels/train2017/"),
    ("/images/val2017/", "/labels/val2017/"),
    ("/JPEGImages/", "/labels/"),
    ("/images/train2014/", "/labels/train2014/"),
    ("/images/val2014/", "/labels/val2014/"),
)
ALEXEYAB_EXTENSIONS = frozenset(
    f".{e}" for e in ("jpg", "JPG", "jpeg", "JPEG", "png", "PNG", "bmp", "BMP", "ppm", "PPM", "tiff", "TIFF")
)
PJREDDIE_FOLDERS = ("images", "JPEGImages", "raw")
PJREDDIE_EXTENSIONS = (".jpg", ".png", ".JPG", ".JPEG")
_ONE_ROW_A_LINE = re.compile(r"(?:\d+(?: [\d.eE+-]+){4} ?\r?\n)*")


def read_list(path: StrPath) -> list[Path]:
    """The pictures of a list file, one path per line. Raises DataError for an empty list.

    A relative path is resolved against the current folder, the list's folder, and its parent; if no such file
    exists, again with slashes for backslashes; else it stays.
    """
    return [picture for _, _, picture in listed(path)]


def listed(path: StrPath) -> list[tuple[int, str, Path]]:
    """(line number, text, picture) of every line that is not empty. See `read_list`."""
    folder = Path(path).parent
    bases = [Path(), folder, folder.parent if folder.name else folder / ".."]
    lines = enumerate(read_text(path, DataError).split("\n"), start=1)
    entries = [(number, name, _found(Path(name), bases)) for number, line in lines if (name := line.strip())]
    if not entries:
        raise DataError(f"{path}:1: the list is empty; expected one picture per line")
    return entries


def _found(name: Path, bases: list[Path]) -> Path:
    if name.is_absolute():
        return name
    found = next((base / name for base in bases if exists(base / name)), None)
    if found is None and "\\" in name.name:  # written on Windows
        plain = Path(with_slashes(str(name)))
        return next((base / plain for base in bases if exists(base / plain)), name)
    return found or name


def label_path(image: Path, dialect: Dialect) -> Path:
    """The label file of a picture by the rule of one dialect. Raises ImageError."""
    text = _label_name(str(image), dialect)
    if text is None:
        raise ImageError(f"Failed to infer label file name (check image extension is supported): {image}")
    return Path(text)


def _label_name(text: str, dialect: Dialect) -> str | None:
    if dialect.name == ALEXEYAB.name:
        for images, labels in ALEXEYAB_FOLDERS:
            text = text.replace(images, labels, 1)
        stem, extension = os.path.splitext(text)  # noqa: PTH122 (much faster)
        return f"{stem}.txt" if extension in ALEXEYAB_EXTENSIONS else None
    for images in PJREDDIE_FOLDERS:
        text = text.replace(images, "labels", 1)
    for extension in PJREDDIE_EXTENSIONS:
        text = text.replace(extension, ".txt", 1)
    return text if text.endswith(".txt") else None


def _parallel_folder(image: Path, labels: str = "labels", folders: Sequence[str] = PJREDDIE_FOLDERS) -> Path:
    if not image.name:
        return image  # `/` or `.`, a folder
    parts = list(image.parts)
    for position in [at for at, part in enumerate(parts[:-1]) if part in folders][-1:]:
        parts[position] = labels
    return Path(*parts).with_suffix(".txt")


def candidates(image: Path, dialect: Dialect) -> Iterator[tuple[str, str]]:
    """(rule, label file) by each rule: the dialect's, the other one's, by whole folders."""
    for rule in (dialect, PJREDDIE if dialect.name == ALEXEYAB.name else ALEXEYAB):
        if name := _label_name(str(image), rule):
            yield f"{rule.name}'s rule", name
    yield "a labels folder beside that of the pictures", str(_parallel_folder(image))
    capitals = _parallel_folder(image, "Labels", ("Images",))
    if capitals.parent != image.parent:
        yield "a Labels folder beside Images", str(capitals)


def find_labels(image: Path, dialect: Dialect) -> tuple[str, Path] | None:
    """(rule, label file) of a picture: the first of `candidates` that exists, or None."""
    found = candidates(image, dialect)
    return next(((rule, Path(name)) for rule, name in found if os.path.isfile(name)), None)  # noqa: PTH113 (faster)


def parse_labels(path: StrPath) -> tuple[list[int], Array, list[str]]:
    """The line of each row that parses; (k, 5) rows of class, x, y, w, h; a message for each other line. Raises
    DataError."""
    text = read_text(path, DataError)
    if _ONE_ROW_A_LINE.fullmatch(text):  # nearly all files; ten times faster
        try:
            table = as_rows([float(word) for word in text.split()])
            if np.isfinite(table[:, 0]).all():
                return list(range(1, len(table) + 1)), table, []
        except ValueError:
            pass
    numbers, rows, wrong = [], [], []
    for number, line in enumerate(text.split("\n"), start=1):
        words = line.split()
        try:
            if len(words) % 5:
                raise ValueError
            for i in range(0, len(words), 5):
                rows.append((float(int(words[i])), *map(float, words[i + 1 : i + 5])))
                numbers.append(number)
        except (ValueError, OverflowError):
            wrong.append(f"{path}:{number}: found {shown(line)}; expected class x y w h, an integer and four numbers")
    return numbers, as_rows(rows), wrong


def shown(text: str) -> str:
    """A text in an error message: quoted, without blanks at its ends, at most 60 characters."""
    return repr(shortened(text.strip()))


@np.errstate(over="ignore")  # too large numbers become infinite, which `wrong_row` reports
def as_rows(numbers: Sequence[Any]) -> Array:
    """The numbers of labels as rows, (k, 5) float32."""
    return np.array(numbers, np.float32).reshape(-1, 5)


def wrong_row(row: Sequence[float], classes: int, dialect: Dialect) -> str | None:
    """The error in a row of class, x, y, w, h, in AlexeyAB's words; None for a valid row."""
    number, *box = row
    if not 0 <= number < classes:
        return f"Wrong annotation: class_id = {number:.0f}. But class_id should be [from 0 to {classes - 1}]"
    x, y, w, h = box
    if x == 0 and y == 0 and dialect.name == PJREDDIE.name:
        return None  # a label without a box
    is_finite = all(math.isfinite(value) for value in box)
    for pair, first, second in (("x = {:f}, y = {:f}", x, y), ("w = {:f}, h = {:f}", w, h)):
        if not (is_finite and 0 < first <= 1 and 0 < second <= 1):
            return f"Wrong annotation: {pair.format(first, second)}; expected fractions of the picture"
    return None


def class_vector(matches: Sequence[int], classes: int, tree: WordTree | None, smooth: float = 0.0) -> Array:
    """The (classes,) float32 truth of a picture: 1 for each of the class numbers `matches`, else 0.

    With a tree, ancestors are 1 too, and groups without a 1 are IGNORE; else `smooth` is label smoothing.
    """
    vector = np.zeros(classes, np.float32)
    if tree is None:
        if smooth and classes > 1:
            vector.fill(smooth / (classes - 1))
        vector[list(matches)] = 1 - smooth
        return vector
    for node in matches:
        while node >= 0:
            vector[node] = 1
            node = int(tree.parent[node])
    for first, end in tree.groups:
        if not vector[first:end].any():
            vector[first:end] = IGNORE
    return vector


Value = str | list[str] | dict[str, str]

_KEY = re.compile(r"(?P<indent> *)(?P<key>'[^']*'|\"[^\"]*\"|[^\s:#\"'\[\]{},][^:#\[\]{},]*?) *:(?: +(?P<value>.*))?")
_ITEM = re.compile(r"(?P<indent> *)-(?: +(?P<value>.*))?")
_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"\\]|\\.)*\"""")
_COMMENT = re.compile(rf"(?:{_QUOTED.pattern})|(?:(?<=\s)|^)(?P<comment>#)")  # a `#` outside quotes
_PIECE = re.compile(rf"(?:{_QUOTED.pattern}|[^,\[\]{{}}])+")
_NUMBER = re.compile("-?[0-9]{1,6}")
_CLOSING = {"[": "]", "{": "}"}


def read_yaml(path: StrPath) -> dict[str, Value]:
    """The keys of a data.yaml file with their values: text, a list, or a mapping. Raises DataError."""
    return _Reader(str(path), read_text(path, DataError).splitlines()).read()


@dataclass
class _Reader:
    path: str
    lines: list[str]
    at: int = 0

    def error(self, what: str) -> NoReturn:
        raise DataError(f"{self.path}:{self.at}: {what}")

    def next(self) -> str | None:
        while self.at < len(self.lines):
            line = self.lines[self.at]
            comments = (match.start() for match in _COMMENT.finditer(line) if match["comment"])
            line = line[: next(comments, None)].rstrip()
            self.at += 1
            if "\t" in line[: len(line) - len(line.lstrip())]:
                self.error("found a tab before the text; YAML expects spaces")
            if line.strip() and not line.startswith(("---", "...", "%")):
                return line
        return None

    def read(self) -> dict[str, Value]:
        found: dict[str, Value] = {}
        block = None  # the last key, if its value is in the lines below
        while (line := self.next()) is not None:
            item, pair = _ITEM.fullmatch(line), _KEY.fullmatch(line)
            if block is not None and (item or line.startswith(" ")):
                match, kind = (item, list) if item else (pair, dict)
                values = found[block] = found[block] or kind()
                if match is None or not isinstance(values, kind):
                    self.error(f"found {shown(line)}; expected `- name` or `number: name`, as in the lines before")
                value = _plain((match["value"] or "").strip())
                if isinstance(values, list):
                    values.append(value)
                else:
                    values[_plain(match["key"])] = value
                continue
            if pair is None or pair["indent"]:
                self.error(f"found {shown(line)}; expected `key: value`")
            key, text = _plain(pair["key"]), (pair["value"] or "").strip()
            if key in found:
                self.error(f"{key} occurs twice; expected one value")
            found[key], block = (self._value(text), None) if text else ("", key)
        return found

    def _value(self, text: str) -> Value:
        if re.fullmatch(r"[|>][+-]?", text):  # a long text, such as the script of `download: |`, is skipped
            while self.at < len(self.lines) and (self.lines[self.at].strip() == "" or self.lines[self.at][0] == " "):
                self.at += 1
            return ""
        if text[0] in "|>&*!":
            self.error(f"found {shown(text)}; expected text, a list [a, b] or a mapping {{0: a}}")
        if text[0] not in _CLOSING:
            return _plain(text)
        closing, began = _CLOSING[text[0]], self.at
        while not text.endswith(closing):
            line = self.next()
            if line is None:
                self.at = began
                self.error(f"the {text[0]} is never closed by {closing}")
            text += f" {line.strip()}"
        pieces = [piece for each in _PIECE.findall(text[1:-1]) if (piece := each.strip())]
        if text[0] == "[":
            return [_plain(piece) for piece in pieces]
        values = {}
        for piece in pieces:
            pair = _KEY.fullmatch(piece) or self.error(f"found {shown(piece)}; expected `number: name`")
            values[_plain(pair["key"])] = _plain(pair["value"] or "")
        return values


def _plain(text: str) -> str:
    if not _QUOTED.fullmatch(text):
        return text
    return text[1:-1].replace("''", "'") if text[0] == "'" else re.sub(r"\\(.)", r"\1", text[1:-1])


def class_names(found: dict[str, Value], path: StrPath) -> list[str]:
    """The names of a data.yaml file by number. Raises DataError."""
    names, count = found.get("names"), found.get("nc")
    if count in (None, "", "null", "~"):
        count = None
    elif not isinstance(count, str) or not _NUMBER.fullmatch(count) or int(count) < 1:
        raise DataError(f"{path}: nc is {shown(str(count))}; expected the number of classes")
    if isinstance(names, dict):
        for number in (number for number in names if not _NUMBER.fullmatch(number)):
            raise DataError(f"{path}: names: found {shown(number)}; expected a number")
        by_number = {int(number): name for number, name in names.items()}
        if sorted(by_number) != list(range(len(by_number))):
            raise DataError(f"{path}: names: the numbers are {sorted(by_number)}; expected 0, 1, 2, ... without gaps")
        names = [by_number[number] for number in range(len(by_number))]
    names = [names] if isinstance(names, str) and names else names or [str(n) for n in range(int(count or 0))]
    if not names:
        raise DataError(f"{path}: no names; expected a list of class names")
    if count is not None and int(count) != len(names):
        raise DataError(f"{path}: found {len(names)} names; expected {count}, the value of nc")
    return list(names)
