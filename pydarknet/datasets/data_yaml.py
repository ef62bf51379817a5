"""A reader of `data.yaml`, the file that describes a data set to other YOLO programs.

Such a file has four constructs: `key: value`, a list in one line or several, a mapping of numbers to names, comments.
This reader supports these, and raises an error with the line of anything else; a YAML library is not needed.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import NoReturn

from ..errors import DataError
from ..utils.files import read_text
from .labels import shown

Value = str | list[str] | dict[str, str]

_KEY = re.compile(r"(?P<indent> *)(?P<key>'[^']*'|\"[^\"]*\"|[^\s:#\"'\[\]{},][^:#\[\]{},]*?) *:(?: +(?P<value>.*))?")
_ITEM = re.compile(r"(?P<indent> *)-(?: +(?P<value>.*))?")
_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"\\]|\\.)*\"""")
_PIECE = re.compile(rf"(?:{_QUOTED.pattern}|[^,\[\]{{}}])+")
_NUMBER = re.compile("-?[0-9]{1,6}")
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
        """A value that starts on the line of its key. A long text, such as the script of `download: |`, is skipped."""
        if re.fullmatch(r"[|>][+-]?", text):
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
        pairs = {piece: _KEY.fullmatch(piece) for piece in pieces}
        for piece, pair in pairs.items():
            if pair is None:
                self.error(f"found {shown(piece)}; expected `number: name`")
        return {_plain(pair["key"]): _plain(pair["value"] or "") for pair in pairs.values() if pair}


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


def class_names(found: dict[str, Value], path: str | os.PathLike[str]) -> list[str]:
    """The class names of a data.yaml file in the order of their numbers. Raises DataError if the numbers have
    gaps, or if the names are missing or not as many as `nc`."""
    names, count = found.get("names"), found.get("nc")
    if count in (None, "", "null", "~"):
        count = None
    elif not isinstance(count, str) or not _NUMBER.fullmatch(count) or int(count) < 1:
        raise DataError(f"{path}: nc is {shown(str(count))}; expected the number of classes")
    if isinstance(names, dict):
        for number in names:
            if not _NUMBER.fullmatch(number):
                raise DataError(f"{path}: names: found {shown(number)}; expected a number")
        by_number = {int(number): name for number, name in names.items()}
        if sorted(by_number) != list(range(len(by_number))):
            raise DataError(f"{path}: names: the numbers are {sorted(by_number)}; expected 0, 1, 2, ... without gaps")
        names = [by_number[number] for number in range(len(by_number))]
    listed = [names] if isinstance(names, str) and names else names or [str(n) for n in range(int(count or 0))]
    if not listed:
        raise DataError(f"{path}: no names; expected a list of class names")
    if count is not None and int(count) != len(listed):
        raise DataError(f"{path}: found {len(listed)} names; expected {count}, the value of nc")
    return list(listed)
