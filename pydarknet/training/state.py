"""Checks of a restored state: names, shapes, dtypes and values, before any of it is copied to the network."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import WeightsError
from ..utils.arrays import Array

LONGEST = 60  # characters of a value in a message
_WORD = 1 << 62  # above every count that fits into a .weights file

# The requirement for a value of a JSON object: in words, and as a test.
Kind = tuple[str, Callable[[Any], bool]]


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _WORD


COUNT: Kind = ("an integer from 0 on, below 2**62", _is_count)
SEED: Kind = ("an integer from 0 on", lambda value: type(value) is int and value >= 0)
FINITE: Kind = (
    "a finite number",
    lambda value: (isinstance(value, float) and math.isfinite(value)) or _is_count(value),
)
FLAG: Kind = ("true or false", lambda value: isinstance(value, bool))
TEXT: Kind = ("a text", lambda value: isinstance(value, str))
TABLE: Kind = ("an object", lambda value: isinstance(value, dict))


def or_none(kind: Kind) -> Kind:
    """That kind of value, or null."""
    words, test = kind
    return f"{words}, or null", lambda value: value is None or test(value)


def check_values(found: Any, expected: Mapping[str, Kind], what: str) -> None:
    """Compare names and kinds of an object, called `what` ("": the outermost). Raises WeightsError."""
    if not isinstance(found, dict):
        raise WeightsError(f"{what or 'content'} is {_short(found)}; expected an object")
    prefix = f"{what}." if what else ""
    _check_names(found, expected, prefix)
    for name, (words, test) in expected.items():
        if not test(found[name]):
            raise WeightsError(f"{prefix}{name} is {_short(found[name])}; expected {words}")


def check_arrays(found: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    """Compare with the arrays that `found` will be copied to. Raises WeightsError."""
    _check_names(found, expected, "array ")
    for name, array in expected.items():
        has, expects = (f"{each.dtype} of shape {each.shape}" for each in (found[name], array))
        if has != expects:
            raise WeightsError(f"array {name} is {has}; expected {expects}")


def check_generator(found: Any, rng: np.random.Generator, what: str) -> None:
    """Raise WeightsError if another such generator cannot have this state."""
    trial = type(rng.bit_generator)()
    try:
        trial.state = found
        fits = trial.state == found
    except (TypeError, ValueError, LookupError, OverflowError, AttributeError):
        fits = False
    if not fits:
        raise WeightsError(f"{what} is {_short(found)}; expected a state of {type(trial).__name__}")


def _check_names(found: Mapping[str, Any], expected: Mapping[str, Any], prefix: str) -> None:
    for name in [*expected, *found]:
        if name not in found:
            raise WeightsError(f"{prefix}{name} is missing")
        if name not in expected:
            raise WeightsError(f"{prefix}{_short(name)} is unknown")


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
