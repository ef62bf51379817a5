"""Options of a section, declared as the fields of a dataclass.

    @dataclass(frozen=True)
    class LossOptions:
        thresh: float = real(0.5)                      # section.real("thresh", 0.5)
        scale: float = real(1.0, key="coord_scale")    # section.real("coord_scale", 1.0)
        rescore: bool = flag()                         # section.flag("rescore")

    LossOptions(**read_options(LossOptions, section))

The functions are named after the getters of `Section`, which say what each accepts.
"""

from __future__ import annotations

from dataclasses import field, fields
from typing import Any

from .sections import Section


def real(default: float = 0.0, key: str | None = None) -> Any:
    """A field read by `Section.real`. key: the option's name, by default the field's."""
    return _option("real", default, key)


def flag(default: bool = False, key: str | None = None) -> Any:
    """A field read by `Section.flag`."""
    return _option("flag", default, key)


def integer(default: int = 0, key: str | None = None) -> Any:
    """A field read by `Section.integer`."""
    return _option("integer", default, key)


def positive(default: int = 1, key: str | None = None, largest: int = 1 << 24) -> Any:
    """A field read by `Section.positive`."""
    return _option("positive", default, key, largest)


def natural(default: int = 0, key: str | None = None, largest: int = 1 << 24) -> Any:
    """A field read by `Section.natural`."""
    return _option("natural", default, key, largest)


def _option(getter: str, default: float, key: str | None, *limits: int) -> Any:
    return field(default=default, metadata={"option": (getter, key, limits)})


def read_options(cls: type, section: Section) -> dict[str, Any]:
    """The values of the declared fields of a dataclass, by the fields' names. Raises ConfigError."""
    found = {}
    for each in fields(cls):
        if "option" in each.metadata:
            getter, key, limits = each.metadata["option"]
            found[each.name] = getattr(section, getter)(key or each.name, each.default, *limits)
    return found
