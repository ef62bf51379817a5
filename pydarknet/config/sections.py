"""Parsing of .cfg and .data files into sections with typed getters, and edits of single options in their text.

The syntax is darknet's: all spaces and tabs are deleted, also inside values; `#` and `;` start a comment line;
of two equal keys the first counts; a number is the longest numeric prefix of its value.

Fields of a dataclass may declare options, by functions named after the getters of `Section`; `read_options`
reads them:

    scale: float = real(1.0, key="coord_scale")    # section.real("coord_scale", 1.0)
"""

import difflib
import math
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..errors import ConfigError, ShapeError
from ..utils.files import StrPath, log, read_text, write_file
from ..utils.resources import exists, find_file, with_slashes

_INTEGER = re.compile(r"[+-]?\d+")
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf(inity)?|nan)", re.IGNORECASE)
LARGEST_INTEGER = 1 << 31  # of C's int
LARGEST_REAL = 3.4028234e38  # of C's float
LONGEST_NUMBER = 64  # characters; a longer one is an error
DATA_KEYS = frozenset({"train", "valid", "names", "labels", "backup"})  # of .data files; no network has them in [net]
# The parts of a line with an option: everything up to the value; the value; the rest, a comment and the line end.
_LINE = re.compile(r"([^=]*=[ \t]*)([^#\r\n]*?)([ \t]*(?:#[^\r\n]*)?\r?\n?)")
Report = Callable[[str, bool], None]  # called with a message, and whether it is an error


@dataclass(frozen=True)
class Option:
    """One `key=value` line. value: without blanks. written: with the blanks inside it."""

    key: str
    value: str
    line: int
    written: str = ""


@dataclass
class Section:
    """A section `[kind]` of a .cfg file. foreign: keys of the other dialect, which count as absent."""

    kind: str
    path: str
    line: int
    options: list[Option] = field(default_factory=list)
    foreign: Collection[str] = ()
    _asked: set[str] = field(default_factory=set, repr=False)

    def error(self, message: str, key: str | None = None) -> ConfigError:
        """A ConfigError, `located`."""
        return ConfigError(self.located(message, key))

    def shape_error(self, message: str, key: str | None = None) -> ShapeError:
        """A ShapeError, `located`."""
        return ShapeError(self.located(message, key))

    def warn(self, message: str, key: str | None = None) -> None:
        """Log a warning, `located`."""
        log.warning("%s", self.located(message, key))

    def located(self, message: str, key: str | None = None) -> str:
        """The message after `file:line: [section]`, see `line_of`."""
        return f"{self.path}:{self.line_of(key)}: [{self.kind}] {message}"

    def line_of(self, key: str | None) -> int:
        """The line of `key`, or of the section's head."""
        option = self.find(key)
        return option.line if option else self.line

    def find(self, key: str | None) -> Option | None:
        """The first option of that key, without marking it as read."""
        return next((option for option in self.options if option.key == key), None)

    def text(self, key: str, default: str | None = None) -> str | None:
        """The value of `key`, without spaces, or the default."""
        self._asked.add(key)
        option = None if key in self.foreign else self.find(key)
        return default if option is None else option.value

    def file(self, *keys: str) -> Path | None:
        """The file under the first of `keys` that the section has, or None. Raises DataError."""
        named = next((value for key in keys if (value := self.named_path(key))), None)
        return find_file(named, Path(self.path).parent) if named else None

    def named_path(self, key: str) -> str | None:
        """The path that is the value of `key`. Its blanks, which darknet deletes, stay unless only a path
        without them exists. If no such file exists, backslashes become slashes."""
        value, option = self.text(key), self.find(key)
        if value is None or option is None:
            return value
        bases, written = (Path(), Path(self.path).parent), option.written or value
        found = next((name for name in (value, written) if any(exists(base / name) for base in bases)), None)
        return with_slashes(written) if found is None else found

    def has(self, key: str) -> bool:
        """Whether the section sets `key`."""
        return self.text(key) is not None

    # The getters raise ConfigError for a wrong value, and return the default for none.

    def integer(self, key: str, default: int) -> int:
        """The integer at the start of the value (`3.9` is 3, as in darknet)."""
        value = self.text(key)
        return default if value is None else self._number(key, value, _INTEGER)

    def real(self, key: str, default: float) -> float:
        """The number at the start of the value; it may be infinite."""
        value = self.text(key)
        return default if value is None else self._number(key, value, _FLOAT)

    def flag(self, key: str, default: bool = False) -> bool:
        """Whether the integer at the start of the value is not 0."""
        return self.integer(key, int(default)) != 0

    def positive(self, key: str, default: int, largest: int = 1 << 24) -> int:
        """An integer from 1 to `largest`."""
        return self.natural(key, default, largest, 1)

    def natural(self, key: str, default: int, largest: int = 1 << 24, smallest: int = 0) -> int:
        """An integer from `smallest` to `largest`."""
        value = self.integer(key, default)
        if not smallest <= value <= largest:
            raise self.error(f"{key}={value}: expected a number from {smallest} to {largest}", key)
        return value

    def choice(self, key: str, default: str, known: Iterable[str]) -> str:
        """One of the words `known`."""
        value = self.text(key, default) or default
        names = list(known)
        if value not in names:
            raise self.error(f"{key}={value}: expected one of {', '.join(names)}{did_you_mean(value, names)}", key)
        return value

    def integers(self, key: str) -> list[int] | None:
        """The comma-separated integers of `key`, or None if it is absent."""
        return self._list(key, _INTEGER)

    def reals(self, key: str) -> list[float] | None:
        """The comma-separated finite numbers of `key`, or None if it is absent."""
        numbers = self._list(key, _FLOAT)
        wrong = next((number for number in numbers or () if not abs(number) <= LARGEST_REAL), None)
        if wrong is not None:
            raise self.error(f"{key}: found {wrong}; expected finite numbers", key)
        return numbers

    def ignore(self, *keys: str) -> None:
        """Mark `keys` as read although they have no effect here."""
        self._asked.update(keys)

    def _list(self, key: str, pattern: re.Pattern[str]) -> list[Any] | None:
        value = self.text(key)
        if value is None:
            return None
        return [self._number(key, item, pattern) for item in value.split("#", 1)[0].rstrip(",").split(",")]

    def _number(self, key: str, value: str, pattern: re.Pattern[str]) -> Any:
        whole, match = pattern is _INTEGER, pattern.match(value)
        if match is None and whole and _FLOAT.match(value):
            return 0  # .5 read as an integer
        expected = "an integer" if whole else "a number"
        if match is not None and len(match[0]) <= LONGEST_NUMBER:
            number = int(match[0]) if whole else float(match[0])
            if not (math.isnan(number) or (whole and not -LARGEST_INTEGER <= number < LARGEST_INTEGER)):
                return number
            expected = "a 32-bit integer" if whole else expected
        raise self.error(f"{key}={value[:LONGEST_NUMBER]}: expected {expected}", key)

    def unused_options(self) -> Iterator[tuple[Option, str]]:
        """Each option that was not read, with a hint: the probable reason or key."""
        seen: set[str] = set()
        for option in self.options:
            if option.key in seen:
                yield option, "; the key was set before in this section, and the first one counts"
            elif option.key in self.foreign:
                yield option, "; the key belongs to the other dialect"
            elif option.key in self._asked:
                seen.add(option.key)
            else:
                yield option, did_you_mean(option.key, self._asked)

    def unused(self) -> list[str]:
        """A line for each option that was not read, in darknet's words, with a hint."""
        return [
            f"Unused field: '{option.key} = {option.value}' ({self.path}:{option.line}, [{self.kind}]{hint})"
            for option, hint in self.unused_options()
        ]


def _read_by(getter: str, otherwise: Any) -> Callable[..., Any]:
    def declare(default: Any = otherwise, key: str | None = None, **limits: int) -> Any:
        """A field. key: the option's name. limits: further arguments of the getter."""
        return field(default=default, metadata={"option": (getter, key, limits)})

    return declare


real = _read_by("real", 0.0)
flag = _read_by("flag", False)
integer = _read_by("integer", 0)
positive = _read_by("positive", 1)
natural = _read_by("natural", 0)


def read_options(cls: type, section: Section) -> dict[str, Any]:
    """The values of the declared fields of a dataclass, by the fields' names. Raises ConfigError."""
    found = {}
    for each in fields(cls):
        if "option" in each.metadata:
            getter, key, limits = each.metadata["option"]
            found[each.name] = getattr(section, getter)(key or each.name, each.default, *limits.values())
    return found


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?` if a known word is similar, whatever its case, else an empty string."""
    words = list(known)
    by_lower = {each.lower(): each for each in reversed(words)}
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.75)
    close = close or [by_lower[each] for each in difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.75)]
    return f"; did you mean {close[0]}?" if close else ""


def _raise_errors(message: str, is_error: bool) -> None:
    if is_error:
        raise ConfigError(message)
    log.warning("%s", message)


def _options(path: str, text: str, report: Report = _raise_errors) -> list[Section]:
    sections = [Section("", path, 1)]
    for number, line in enumerate(text.split("\n"), start=1):
        content = re.sub(r"[ \t\r]", "", line)
        if not content or content[0] in "#;":
            continue
        if content[0] == "[":
            sections.append(Section(content.strip("[]") if content[-1] == "]" else content, path, number))
            continue
        key, equals, value = content.partition("=")
        if equals and value and key:
            sections[-1].options.append(Option(key, value, number, line.partition("=")[2].strip()))
        elif not sections[-1].kind or not key:
            report(f"{path}:{number}: Config file error, could parse: {content} (expected key=value)", True)
        else:
            report(f"{path}:{number}: Config file error, could parse: {key}; it has no value and is ignored", False)
    return sections


@dataclass
class Config:
    """A .cfg file: `[net]` and the sections of its layers."""

    path: str
    net: Section
    layers: list[Section]


def read_config(path: StrPath, report: Report = _raise_errors) -> Config:
    """Read a .cfg file. Raises ConfigError. report: called instead, or instead of a warning."""
    return parse_config(os.fspath(path), read_text(path, ConfigError), report)


def parse_config(name: str, text: str, report: Report = _raise_errors) -> Config:
    """Parse the text of a .cfg file; `name` stands for it in messages. Otherwise as `read_config`."""
    if re.search(r"<(!doctype|html)", text[:1000], re.IGNORECASE):
        raise ConfigError(f"{name}: this is an HTML page, not a .cfg file; it was probably saved from a browser")
    if text.startswith("version https://git-lfs"):
        raise ConfigError(f"{name}: this is a Git LFS pointer, not a .cfg file (`git lfs pull` fetches the real file)")
    head, *sections = _options(name, text, report)
    if not sections and {option.key for option in head.options} & DATA_KEYS:
        raise ConfigError(f"{name}: this is a .data file, not a .cfg file; expected a section [net] and layers")
    for option in head.options:
        report(f"{name}:{option.line}: {option.key}={option.value} is before the first section; expected [net]", True)
    if not sections:
        raise ConfigError(f"{name}: Config file has no sections; expected [net] and layers")
    net, *layers = sections
    if net.kind not in ("net", "network"):
        report(f"{name}:{net.line}: First section must be [net] or [network], found [{net.kind}]", True)
        net, layers = Section("net", name, net.line, head.options), sections
    if not layers:
        report(f"{name}: found no layers after [net]; expected at least one", True)
    return Config(name, net, layers)


def read_data(path: StrPath) -> Section:
    """Read a .data file: options without sections. Raises ConfigError."""
    name = os.fspath(path)
    head, *sections = _options(name, read_text(path, ConfigError))
    if sections:
        where = f"{name}:{sections[0].line}: found a section [{sections[0].kind}]"
        raise ConfigError(f"{where}; expected key=value lines, as in a .data file")
    head.kind = "data"
    return head


@dataclass(frozen=True)
class Change:
    """A changed option with its old and new value, None if absent."""

    line: int
    kind: str
    layer: int | None
    key: str
    before: str | None
    after: str | None


class CfgEditor:
    """The lines of a .cfg file and their changes. Line numbers are always those of the original. Raises
    ConfigError."""

    def __init__(self, path: StrPath) -> None:
        self.path = os.fspath(path)
        self._lines = read_text(path, ConfigError).splitlines(keepends=True)
        self._newline = "\r\n" if self._lines and self._lines[0].endswith("\r\n") else "\n"
        self._added: dict[int, list[str]] = {}  # new lines, by the number of the line that they follow
        self.changes: list[Change] = []

    @property
    def text(self) -> str:
        """The whole file with the changes so far."""
        lines = []
        for number, line in enumerate(self._lines, 1):
            added = self._added.get(number)
            lines += [line] if added is None else [f"{line.rstrip()}{self._newline}", *added]
        return "".join(lines)

    def set(self, section: Section, key: str, value: str, layer: int | None = None) -> None:
        """Set `key` of a section to `value`, in its line or in a new one."""
        option = section.find(key)
        if option is None:
            line = max((option.line for option in section.options), default=section.line)
            self._added.setdefault(line, []).append(f"{key}={value}{self._newline}")
            self.changes.append(Change(line, section.kind, layer, key, None, value))
            return
        before, after = option.value.partition("#")[0], re.sub(r"\s", "", value)
        if before == after:
            return
        match = _LINE.fullmatch(self._lines[option.line - 1])
        assert match is not None, "the section was read from this text"
        self._lines[option.line - 1] = f"{match[1]}{value}{match[3]}"
        self.changes.append(Change(option.line, section.kind, layer, key, before, after))

    def comment_out(self, section: Section, key: str, layer: int | None = None) -> None:
        """Comment out the lines that set `key`."""
        for option in section.options:
            if option.key == key:
                self._lines[option.line - 1] = f"#{self._lines[option.line - 1]}"
                self.changes.append(Change(option.line, section.kind, layer, key, option.value, None))

    def write(self, path: StrPath) -> None:
        """Write the text to a file, which may be the original. Raises OutputError."""
        write_file(path, self.text.encode("utf-8", "surrogateescape"))
