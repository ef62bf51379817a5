"""Where the recordings of the original programs are, and .weights files of known numbers."""

import contextlib
import json
import struct
from functools import cache
from pathlib import Path

import numpy as np
import pytest

SHARED = Path(__file__).parents[2].parent / "shared"
CHOSEN = Path(__file__).parents[1] / "golden"


@cache
def recorded_cases():
    """The recorded cases of the original programs as tests/golden/README.md describes them: those of this repository,
    and all others if they lie beside it. `case["folder"]` is where a case's files are."""
    cases = {}
    for root in (CHOSEN, SHARED / "golden"):
        index = root / "index.json"
        for case in json.loads(index.read_text(encoding="utf-8"))["cases"] if index.is_file() else []:
            cases.setdefault(case["name"], {**case, "folder": root / case["path"]})
    return list(cases.values())


def recorded_parameters(begins=None, **wanted):
    """The recorded cases as parameters of a test: those whose names begin with one of `begins`, and whose entries are
    the `wanted` ones. Those that are no part of the repository are slow."""
    return [
        pytest.param(case, id=case["name"], marks=() if case["folder"].parent == CHOSEN else pytest.mark.slow)
        for case in recorded_cases()
        if (begins is None or case["name"].startswith(begins)) and all(case.get(k) == v for k, v in wanted.items())
    ]


def header(major=0, minor=2, revision=0, seen=0, wide=True):
    """The first bytes of a .weights file."""
    return struct.pack("<iiiQ" if wide else "<iiiI", major, minor, revision, seen)


def write_weights(path, count, start=0, **version):
    """A .weights file of `count` numbers: start, start + 1, ..."""
    path.write_bytes(header(**version) + np.arange(start, start + count, dtype="<f4").tobytes())
    return path


@contextlib.contextmanager
def killed_at_rename(monkeypatch, number):
    """Within the block, rename `number` (from 0) of a file raises KeyboardInterrupt, which ends the block."""
    rename, renames = Path.replace, iter(range(99))

    def replace(self, target):
        if next(renames) == number:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(Path, "replace", replace)
        yield
