"""Sections and build contexts for a .cfg file that may have faults: they report each fault and continue."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from ...config.sections import Option, Section
from ...errors import ConfigError, ShapeError
from ...layers import BuildContext

HINT = "did you mean"  # marks a probable misspelling, an error; other unknown words may be for another program
REFERENCES = ("layers", "from")  # if one of these is missing, the previous layer is assumed
FILES = ("tree", "map")


@dataclass(frozen=True, order=True)
class Problem:
    """A fault of a .cfg file. line: 0 if unknown. layer: None for [net]."""

    line: int
    text: str
    layer: int | None = field(default=None, compare=False)
    is_error: bool = True


@dataclass
class Diagnostics:
    """Collects the faults of the .cfg file `path`."""

    path: str
    problems: list[Problem] = field(default_factory=list)

    def add(self, text: str, layer: int | None = None, is_error: bool = True) -> None:
        """Record a message in the library's form, `path:line: text` or `path: text`; repeated messages count once."""
        line = 0
        if place := re.match(re.escape(f"{self.path}:") + r"(?:(\d+):)?", text):
            line, text = int(place[1] or 0), text[place.end() :].strip()
        text = text.replace(f"] layer {layer}: ", "] ")  # `Problem.layer` holds the number
        problem = Problem(line, text, layer, is_error or HINT in text)
        if problem not in self.problems:
            self.problems.append(problem)


@dataclass
class LenientSection(Section):
    """A section whose getters report a wrong value to `diagnostics` and return the default.

    `faulty` holds the keys of wrong, missing or misspelt options.
    """

    diagnostics: Diagnostics = field(default_factory=lambda: Diagnostics(""), repr=False)
    layer: int | None = None
    faulty: set[str] = field(default_factory=set)
    error_key: str | None = None  # the key that the last error named

    def report(self, text: str) -> None:
        """Record an error."""
        self.diagnostics.add(text, self.layer)

    def warn(self, message: str, key: str | None = None) -> None:
        self.diagnostics.add(self.located(message, key), self.layer, is_error=False)

    def error(self, message: str, key: str | None = None) -> ConfigError:
        self.error_key = key
        return super().error(message, key)

    def shape_error(self, message: str, key: str | None = None) -> ShapeError:
        self.error_key = key
        return super().shape_error(message, key)

    def _number(self, key: str, value: str, pattern: re.Pattern[str]) -> Any:
        number = super()._number(key, value, pattern)
        match = pattern.match(value)
        rest = value[match.end() :] if match else value
        if rest and rest[0] != "#":
            self.warn(f"{key}={value} is read as {number:g}", key)
        return number

    def drop(self, key: str) -> None:
        """Remove the option `key` and mark it as faulty."""
        self.faulty.add(key)
        self.options = [option for option in self.options if option.key != key]

    def repair(self, is_first: bool) -> bool:
        """After an error, remove or add one option so that reading can be tried again. Returns False if none is left.

        is_first: whether this is layer 0, which has no layer to refer to.
        """
        key, self.error_key = self.error_key, None
        if key is None or not self.has(key):
            key = next((file for file in FILES if self.has(file)), None)
        if key is not None:
            self.drop(key)
            return True
        missing = next((key for key in REFERENCES if key in self._asked and key not in self.faulty), None)
        if is_first or missing is None or self.has(missing):
            return False
        self.faulty.add(missing)
        self.options.append(Option(missing, "-1", self.line))
        return True

    def misspelt(self) -> set[str]:
        """The known keys, absent here, for which unknown keys of this section are probable misspellings."""
        unknown = [option.key for option in self.options if option.key not in self._asked]
        meant = {match for key in unknown for match in get_close_matches(key, list(self._asked), n=1, cutoff=0.75)}
        return {key for key in meant if not self.has(key)}


def _lenient(getter: Callable[..., Any]) -> Callable[..., Any]:
    """A getter of `Section` that reports a wrong value, drops the option and returns the default (None for lists)."""

    def read(self: LenientSection, key: str, *arguments: Any) -> Any:
        try:
            return getter(self, key, *arguments)
        except ConfigError as error:
            self.report(str(error))
            self.drop(key)
            return arguments[0] if arguments else None

    return read


for _getter in (
    Section.integer, Section.real, Section.positive, Section.natural, Section.choice, Section.integers, Section.reals,
):  # fmt: skip
    setattr(LenientSection, _getter.__name__, _lenient(_getter))


class LenientContext(BuildContext):
    """A build context that reports a reference to a missing layer, and takes the previous layer instead."""

    def resolve(self, section: Section, key: str, reference: int) -> int:
        assert isinstance(section, LenientSection)
        try:
            return super().resolve(section, key, reference)
        except ConfigError as error:
            if self.index == 0:
                raise
            section.report(str(error))
            section.faulty.add(key)
            return self.index - 1
