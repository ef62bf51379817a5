"""Where the recordings of the original programs are, and .weights files of known numbers."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

SHARED = Path(__file__).parents[2].parent / "shared"


def header(major=0, minor=2, revision=0, seen=0, wide=True):
    """The first bytes of a .weights file."""
    return struct.pack("<iiiQ" if wide else "<iiiI", major, minor, revision, seen)


def write_weights(path, count, start=0, **version):
    """A .weights file of `count` numbers: start, start + 1, ..."""
    path.write_bytes(header(**version) + np.arange(start, start + count, dtype="<f4").tobytes())
    return path
