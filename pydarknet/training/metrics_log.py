"""`train.jsonl`: one line an iteration, beside the weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import OutputError
from ..utils.files import atomic_write

JOURNAL = "train.jsonl"


class MetricsLog:
    """train.jsonl: one JSON object a line for each iteration, appended."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def start(self, iteration: int, keep: bool) -> None:
        """Make it end with that iteration. `keep`: what stands there belongs to this run; else it is put aside.
        Raises OutputError."""
        if not self.path.exists():
            return
        try:
            if not keep:
                self.path.replace(self.path.with_suffix(".old.jsonl"))
                return
            kept = []
            for line in self.path.read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n") or not _is_up_to(line, iteration):
                    break
                kept.append(line)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot write: {error.strerror or error}") from error
        with atomic_write(self.path) as stream:
            stream.write(b"".join(kept))

    def append(self, entry: Mapping[str, Any]) -> None:
        """Raises OutputError."""
        try:
            with self.path.open("ab", buffering=0) as stream:
                stream.write(json.dumps(entry).encode() + b"\n")
        except OSError as error:
            raise OutputError(f"{self.path}: cannot write: {error.strerror or error}") from error


def _is_up_to(line: bytes, iteration: int) -> bool:
    try:
        return int(json.loads(line)["iteration"]) <= iteration
    except (ValueError, KeyError, TypeError):
        return False
