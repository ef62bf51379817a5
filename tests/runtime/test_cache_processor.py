"""What /proc/cpuinfo tells of a processor."""

import platform

import pytest

from pydarknet.runtime import cache as module
from pydarknet.runtime.cache import LEVELS, processor, read_processor

INTEL = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 85
model name\t: Some Lake
stepping\t: 7
cpu MHz\t\t: {clock}
flags\t\t: {flags}

processor\t: 1
vendor_id\t: GenuineIntel
model name\t: Another Lake
flags\t\t: fpu
"""
ARM = """processor\t: 0
BogoMIPS\t: 50.00
Features\t: fp asimd
CPU implementer\t: 0x41
CPU part\t: 0xd0c
"""


@pytest.fixture
def described(tmp_path, monkeypatch):
    """The processor that a text describes, on a machine of a kind."""

    def describe(text, machine="x86_64"):
        monkeypatch.setattr(platform, "machine", lambda: machine)
        path = tmp_path / "cpuinfo"
        path.write_text(text)
        return read_processor(path)

    return describe


def flags(without=frozenset()):
    return " ".join(sorted(set().union(*LEVELS.values()) - set(without)))


@pytest.mark.parametrize("missing, level", [
    (set(), "x86-64-v4"), ({"avx512dq"}, "x86-64-v3"), ({"avx2"}, "x86-64-v2"), ({"popcnt"}, "x86-64"),
    ({"popcnt", "avx512dq"}, "x86-64"),
])  # fmt: skip
def test_the_best_level_is_the_first(described, missing, level):
    found = described(INTEL.format(clock=2000, flags=flags(missing)))
    assert (found.name, found.levels[0], found.levels[-1]) == ("Some Lake", level, "x86-64")


def test_identity_is_that_of_the_instructions(described):
    one, other = (described(INTEL.format(clock=clock, flags=flags())) for clock in (2000, 3500))
    assert one.identity == other.identity != ""
    assert described(INTEL.format(clock=2000, flags=flags({"avx512dq"}))).identity != one.identity


def test_other_systems_names_of_a_machine_mean_the_same(described):
    assert described(INTEL.format(clock=1, flags=flags()), "AMD64").machine == "x86_64"


def test_arm_has_one_level(described):
    found = described(ARM, "aarch64")
    assert found.levels == ("aarch64",)
    assert "0xd0c" in found.identity


@pytest.mark.parametrize("text, machine", [("", "x86_64"), ("model name: no flags", "x86_64"), (ARM, "riscv64")])
def test_an_unknown_processor_has_no_level(described, text, machine):
    assert described(text, machine).levels == ()


def test_without_cpuinfo_only_the_machine_is_known(tmp_path):
    found = read_processor(tmp_path / "missing")
    assert found[1:] == ("", frozenset(), "")
    assert found.levels == ()


def test_this_machine_is_read_once():
    assert processor() is processor()
    assert processor() == read_processor(module.CPUINFO)
