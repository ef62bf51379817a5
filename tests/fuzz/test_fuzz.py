"""A few seconds of fuzzing on fixed seeds, and every case that ever failed."""

from __future__ import annotations

import pytest

from fuzz.kinds import KINDS
from fuzz.run import FOUND, run, verdict

CASES = 60


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_inputs_are_read_or_refused_in_one_line(kind):
    done, findings = run(kind, max(1, int(CASES * KINDS[kind].share)))
    assert done and not findings, findings[0]


@pytest.mark.parametrize("path", sorted(path for path in FOUND.glob("*-*")), ids=lambda path: path.name)
def test_what_failed_once_is_mended(path):
    assert verdict(path.name.rpartition("-")[0], path.read_bytes()) is None


def test_the_fuzzer_sees_what_is_not_allowed(monkeypatch):
    """A kind that raises another exception is a finding; one whose error has control characters is none: they are
    shown as escapes."""
    from fuzz.kinds import Kind
    from pydarknet.errors import DataError

    def raises(error):
        def read(content):
            raise error

        return Kind(lambda: [b"x"], read)

    for error, found in ((KeyError("k"), "KeyError"), (DataError("a\nb"), None), (DataError("a"), None)):
        monkeypatch.setitem(KINDS, "made", raises(error))
        assert found in verdict("made", b"x") if found else verdict("made", b"x") is None
