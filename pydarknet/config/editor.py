"""Edits of single options in the text of a .cfg file. Comments, blank lines and layout are preserved."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from ..errors import ConfigError
from ..utils.files import read_text, write_file
from .sections import Section

# Groups: everything up to the value; the value; the rest, which is a comment and the line end.
_OPTION = re.compile(r"([^=]*=[ \t]*)([^#\r\n]*?)([ \t]*(?:#[^\r\n]*)?\r?\n?)")


@dataclass(frozen=True)
class Change:
    """A changed option. before: its old value, None if it was absent. after: the new one, None if it was removed."""

    line: int
    kind: str
    layer: int | None
    key: str
    before: str | None
    after: str | None


class CfgEditor:
    """The lines of a .cfg file and their changes. Line numbers are always those of the original."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Read the file. Raises ConfigError."""
        self.path = os.fspath(path)
        self._lines = read_text(path, ConfigError).splitlines(keepends=True)
        self._newline = "\r\n" if self._lines and self._lines[0].endswith("\r\n") else "\n"
        self.changes: list[Change] = []

    @property
    def text(self) -> str:
        """The whole file with the changes so far."""
        return "".join(self._lines)

    def set(self, section: Section, key: str, value: str, layer: int | None = None) -> None:
        """Set `key` of a section of this file to `value`: in its line, or in a new line at the section's end."""
        option = next((option for option in section.options if option.key == key), None)
        if option is None:
            line = max((option.line for option in section.options), default=section.line)
            self._lines[line - 1] = f"{self._lines[line - 1].rstrip()}{self._newline}{key}={value}{self._newline}"
            self.changes.append(Change(line, section.kind, layer, key, None, value))
            return
        before, after = option.value, re.sub(r"\s", "", value)
        if before.partition("#")[0] == after:
            return
        match = _OPTION.fullmatch(self._lines[option.line - 1])
        assert match is not None, "the section was read from this text"
        self._lines[option.line - 1] = f"{match[1]}{value}{match[3]}"
        self.changes.append(Change(option.line, section.kind, layer, key, before.partition("#")[0], after))

    def comment_out(self, section: Section, key: str, layer: int | None = None) -> None:
        """Comment out the lines that set `key`."""
        for option in section.options:
            if option.key == key:
                self._lines[option.line - 1] = f"#{self._lines[option.line - 1]}"
                self.changes.append(Change(option.line, section.kind, layer, key, option.value, None))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the text to a file, which may be the original. Raises OutputError."""
        write_file(path, self.text.encode("utf-8", "surrogateescape"))
