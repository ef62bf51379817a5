"""Options that a dataclass declares as fields are read by the getters of a section, under their own or another key."""

from dataclasses import dataclass

import pytest

from pydarknet.config.sections import Option, Section, flag, integer, natural, positive, read_options, real
from pydarknet.errors import ConfigError


@dataclass
class Options:
    other: str = "no option"
    thresh: float = real(0.5)
    scale: float = real(1.0, key="coord_scale")
    forced: bool = flag()
    shows: bool = flag(True)
    first: int = integer(-1)
    size: int = positive(3, largest=8)
    pad: int = natural(largest=2)


def section(**values):
    options = [Option(key, value, line) for line, (key, value) in enumerate(values.items(), start=2)]
    return Section("some", "net.cfg", 1, options)


def test_absent_options_have_the_defaults_of_the_fields():
    assert Options(**read_options(Options, section())) == Options("no option", 0.5, 1.0, False, True, -1, 3, 0)


def test_values_are_read_by_key_and_count_as_known():
    given = section(thresh=".25", coord_scale="2", scale="7", forced="1", shows="0", first="-4", size="8", pad="2")
    assert read_options(Options, given) == {
        "thresh": 0.25, "scale": 2.0, "forced": True, "shows": False, "first": -4, "size": 8, "pad": 2,
    }  # fmt: skip
    assert [option.key for option, _ in given.unused_options()] == ["scale"]


@pytest.mark.parametrize("wrong, found", [
    ({"size": "9"}, r"net.cfg:2: \[some\] size=9: expected a number from 1 to 8"),
    ({"pad": "-1"}, r"pad=-1: expected a number from 0 to 2"),
    ({"coord_scale": "big"}, r"coord_scale=big: expected a number"),
])  # fmt: skip
def test_a_wrong_value_names_line_and_key(wrong, found):
    with pytest.raises(ConfigError, match=found):
        read_options(Options, section(**wrong))
