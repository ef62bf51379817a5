"""A reader of `data.yaml`, the file that describes a data set to other YOLO programs.

Such a file has four constructs: `key: value`, a list in one line or several, a mapping of numbers to names, comments.
This reader supports these, and raises an error with the line of anything else; a YAML library is not needed.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import NoReturn

from ..errors import DataError
from ..utils.files import read_text

Value = str | list[str] | dict[str, str]

_KEY = re.compile(r"(?P<indent> *)(?P<key>'[^']*'|\"[^\"]*\"|[^\s:#\"'\[\]{},][^:#\[\]{},]*?) *:(?: +(?P<value>.*))?")
_ITEM = re.compile(r"(?P<indent> *)-(?: +(?P<value>.*))?")
_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"\\]|\\.)*\"""")
_PIECE = re.compile(rf"(?:{_QUOTED.pattern}|[^,\[\]{{}}])+")
_CLOSING = {"[": "]", "{": "}"}


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Value]:
    """The keys of a data.yaml file with their values: text, a list, or a mapping.

    Raises DataError, with file and line, for any other construct.
    """
    return _Reader(str(path), read_text(path, DataError).splitlines()).read()


@dataclass
class _Reader:
    path: str
    lines: list[str]
    at: int = 0
    found: dict[str, Value] = field(default_factory=dict)

    def error(self, what: str) -> NoReturn:
        raise DataError(f"{self.path}:{self.at}: {what}")

    def next(self) -> str | None:
        """The next line that has content, without its comment; None at the end."""
        while self.at < len(self.lines):
            line = _without_comment(self.lines[self.at]).rstrip()
            self.at += 1
            if "\t" in line[: len(line) - len(line.lstrip())]:
                self.error("found a tab before the text; YAML expects spaces")
            if line.strip() and not line.startswith(("---", "...", "%")):
                return line
        return None

    def read(self) -> dict[str, Value]:
        while (line := self.next()) is not None:
            match = _KEY.fullmatch(line)
            if match is None or match["indent"]:
                self.error(f"found {_shown(line)}; expected `key: value`")
            key, value = _plain(match["key"]), (match["value"] or "").strip()
            if key in self.found:
                self.error(f"{key} occurs twice; expected one value")
            self.found[key] = self._value(value) if value else self._block()
        return self.found

    def _value(self, text: str) -> Value:
        """A value that starts on the line of its key."""
        if text[0] not in _CLOSING:
            if re.fullmatch(r"[|>][+-]?", text):
                return self._skip_text()
            if text[0] in "|>&*!":
                self.error(f"found {_shown(text)}; expected text, a list [a, b] or a mapping {{0: a}}")
            return _plain(text)
        closing, began = _CLOSING[text[0]], self.at
        while not text.endswith(closing):
            line = self.next()
            if line is None:
                self.at = began
                self.error(f"the {text[0]} is never closed by {closing}")
            text += f" {line.strip()}"
        pieces = [piece.strip() for piece in _PIECE.findall(text[1:-1])]
        pieces = [piece for piece in pieces if piece]
        if text[0] == "[":
            return [_plain(piece) for piece in pieces]
        pairs = [_KEY.fullmatch(piece) for piece in pieces]
        if None in pairs:
            self.error(f"found {_shown(pieces[pairs.index(None)])}; expected `number: name`")
        return {_plain(pair["key"]): _plain(pair["value"] or "") for pair in pairs if pair}

    def _skip_text(self) -> str:
        """Skip the indented lines of a long text, such as the script of `download: |`."""
        while self.at < len(self.lines) and (not self.lines[self.at].strip() or self.lines[self.at].startswith(" ")):
            self.at += 1
        return ""

    def _block(self) -> Value:
        """The list or mapping in the lines below a key; empty text if there is none."""
        items: list[str] = []
        pairs: dict[str, str] = {}
        while True:
            before = self.at
            line = self.next()
            item = _ITEM.fullmatch(line) if line is not None else None
            pair = _KEY.fullmatch(line) if line is not None and item is None else None
            if line is None or (item is None and not line.startswith(" ")):
                self.at = before
                return pairs or items or ""
            if item is not None and not pairs:
                items.append(_plain((item["value"] or "").strip()))
            elif pair is not None and not items:
                pairs[_plain(pair["key"])] = _plain((pair["value"] or "").strip())
            else:
                self.error(f"found {_shown(line)}; expected `- name` or `number: name`, as in the lines before")


def _without_comment(line: str) -> str:
    """A line up to a `#` at its start or after a space, outside quotes."""
    for match in re.finditer(rf"(?:{_QUOTED.pattern})|(?:(?<=\s)|^)(?P<comment>#)", line):
        if match["comment"]:
            return line[: match.start()]
    return line


def _plain(text: str) -> str:
    """A scalar without its quotes; numbers and other values stay text."""
    if not _QUOTED.fullmatch(text):
        return text
    if text[0] == "'":
        return text[1:-1].replace("''", "'")
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def _shown(text: str) -> str:
    text = text.strip()
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def class_names(found: dict[str, Value], path: str | os.PathLike[str]) -> list[str]:
    """The class names of a data.yaml file in the order of their numbers. Raises DataError if the numbers have
    gaps, or if the names are missing or not as many as `nc`."""
    names = found.get("names")
    count = _count(found, path)
    if isinstance(names, dict):
        try:
            by_number = {int(number): name for number, name in names.items()}
        except ValueError:
            raise DataError(f"{path}: names: found {_shown(next(iter(names)))}; expected a number") from None
        if sorted(by_number) != list(range(len(by_number))):
            raise DataError(f"{path}: names: the numbers are {sorted(by_number)}; expected 0, 1, 2, ... without gaps")
        names = [by_number[number] for number in range(len(by_number))]
    elif isinstance(names, str) and names:
        names = [names]
    listed = list(names or [str(number) for number in range(count or 0)])
    if not listed:
        raise DataError(f"{path}: no names; expected a list of class names")
    if count not in (None, len(listed)):
        raise DataError(f"{path}: found {len(listed)} names; expected {count}, the value of nc")
    return listed


def _count(found: dict[str, Value], path: str | os.PathLike[str]) -> int | None:
    """`nc`, the number of classes; None if the file does not have it."""
    text = found.get("nc", "")
    if text in ("", "null", "~"):
        return None
    if not isinstance(text, str) or not text.isdigit() or int(text) < 1:
        raise DataError(f"{path}: nc is {_shown(str(text))}; expected the number of classes")
    return int(text)
