"""Sections and places that tell what is wrong and go on, for looking at whole files that may not fit together."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TypeVar

from ...config.sections import Number, Option, Section
from ...errors import ConfigError, ShapeError
from ...layers import BuildContext

log = logging.getLogger("pydarknet")

Value = TypeVar("Value")

REFERENCES = ("layers", "from")  # where these are missing, the layer before is a guess
FILES = ("tree", "map")


@dataclass(frozen=True, order=True)
class Problem:
    """Something wrong in a .cfg file. `line` is 0 where no line can be named; `layer` is None for [net]."""

    line: int
    text: str
    layer: int | None = field(default=None, compare=False)
    is_error: bool = True


Tell = Callable[[str, bool], None]


@dataclass
class LenientSection(Section):
    """A section whose getters tell what is wrong with a value and go on with the default."""

    tell: Callable[[str], None] = field(default=lambda text: None, repr=False)
    warn: Callable[[str], None] = field(default=lambda text: None, repr=False)
    faulty: set[str] = field(default_factory=set)
    last_key: str | None = None

    @classmethod
    def of(cls, section: Section, foreign: Collection[str], tell: Tell) -> LenientSection:
        """A copy of a section without the keys of another dialect; `tell` gets a message, and whether it is an
        error."""
        return cls(
            section.kind,
            section.path,
            section.line,
            list(section.options),
            foreign=foreign,
            tell=lambda text: tell(text, True),
            warn=lambda text: tell(text, False),
        )

    def error(self, message: str, key: str | None = None) -> ConfigError:
        self.last_key = key
        return super().error(message, key)

    def shape_error(self, message: str, key: str | None = None) -> ShapeError:
        self.last_key = key
        return super().shape_error(message, key)

    def integer(self, key: str, default: int) -> int:
        return self._tolerant(key, default, lambda: super(LenientSection, self).integer(key, default))

    def real(self, key: str, default: float) -> float:
        return self._tolerant(key, default, lambda: super(LenientSection, self).real(key, default))

    def positive(self, key: str, default: int, largest: int = 1 << 24) -> int:
        return self._tolerant(key, default, lambda: super(LenientSection, self).positive(key, default, largest))

    def natural(self, key: str, default: int, largest: int = 1 << 24) -> int:
        return self._tolerant(key, default, lambda: super(LenientSection, self).natural(key, default, largest))

    def choice(self, key: str, default: str, known: Collection[str]) -> str:  # type: ignore[override]
        return self._tolerant(key, default, lambda: super(LenientSection, self).choice(key, default, known))

    def integers(self, key: str) -> list[int] | None:
        return self._tolerant(key, None, lambda: super(LenientSection, self).integers(key))

    def reals(self, key: str) -> list[float] | None:
        return self._tolerant(key, None, lambda: super(LenientSection, self).reals(key))

    def _number(
        self, key: str, value: str, pattern: re.Pattern[str], convert: Callable[[str], Number], expected: str
    ) -> Number:
        number = super()._number(key, value, pattern, convert, expected)
        match = pattern.match(value)
        rest = value[match.end() :] if match else value
        if rest and rest[0] != "#":
            self.warn(str(super().error(f"{key}={value} is read as {number:g}", key)))
        return number

    def _tolerant(self, key: str, default: Value, read: Callable[[], Value]) -> Value:
        try:
            return read()
        except ConfigError as error:
            self.tell(str(error))
            self.drop(key)
            return default

    def drop(self, key: str) -> None:
        """Go on as if `key` were not there."""
        self.faulty.add(key)
        self.options = [option for option in self.options if option.key != key]

    def repair(self, is_first: bool) -> bool:
        """After an error, drop or add an option so that reading may go further. False where nothing can be done.

        is_first: of the first layer, which has none to refer to."""
        key, self.last_key = self.last_key, None
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
        """The keys that unknown ones of this section were probably meant to be."""
        unknown = [option.key for option in self.options if option.key not in self._asked]
        meant = {match for key in unknown for match in get_close_matches(key, list(self._asked), n=1, cutoff=0.75)}
        return {key for key in meant if not self.has(key)}


class TolerantPlace(BuildContext):
    """A place whose references lead to the layer before where they lead nowhere."""

    def resolve(self, section: Section, key: str, reference: int) -> int:
        assert isinstance(section, LenientSection)
        try:
            return super().resolve(section, key, reference)
        except ConfigError as error:
            if self.index == 0:
                raise
            section.tell(str(error))
            section.faulty.add(key)
            return self.index - 1


@contextmanager
def warnings_to(tell: Callable[[str], None]) -> Iterator[None]:
    """Give the library's warnings to `tell` instead of logging them."""

    def divert(record: logging.LogRecord) -> bool:
        tell(record.getMessage())
        return False

    log.addFilter(divert)
    try:
        yield
    finally:
        log.removeFilter(divert)
