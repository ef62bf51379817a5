"""Choices that were measured on this machine, and are remembered for the next run."""

from __future__ import annotations

import contextlib
import json
import logging
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ..errors import OutputError
from ..runtime.cache import CACHE_FOLDER
from ..utils.files import atomic_write

log = logging.getLogger("pydarknet")

SECONDS, FEWEST = 0.03, 3  # that one candidate is timed for, and how often at least


class Tuning:
    """Measured choices by a description of the work. The file belongs to this machine and this state of the kernels."""

    def __init__(self, path: Path) -> None:
        self.path, self.measuring = path, False
        self._known: dict[str, int] | None = None

    @property
    def known(self) -> dict[str, int]:
        """Read from the file at first use; a damaged one counts as empty."""
        if self._known is None:
            self._known = {}
            with contextlib.suppress(OSError, ValueError, AttributeError):
                content = json.loads(self.path.read_text(encoding="utf-8"))
                self._known = {key: choice for key, choice in content.items() if isinstance(choice, int)}
        return self._known

    def choose(self, key: str, guess: int, candidates: Callable[[], Mapping[int, Callable[[], None]]]) -> int:
        """The choice known for `key`; else, while measuring, the fastest of the candidates; else the guess."""
        choice = self.known.get(key)
        if choice is None and self.measuring:
            seconds = {name: _fastest(run) for name, run in candidates().items()}
            choice = self.known[key] = min(seconds, key=lambda name: seconds[name])
        return guess if choice is None else choice

    @contextlib.contextmanager
    def measured(self) -> Iterator[None]:
        """Within it unknown choices are measured; at its end they are kept for later runs."""
        before = len(self.known)
        self.measuring = True
        try:
            yield
        finally:
            self.measuring = False
            if len(self.known) > before:
                self._save()

    def _save(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(self.path) as file:
                file.write((json.dumps(self.known, indent=0, sort_keys=True) + "\n").encode())
        except (OSError, OutputError) as error:
            log.warning("%s: what was measured cannot be kept (%s)", self.path, error)


def _fastest(run: Callable[[], None]) -> float:
    run()
    best, times, end = float("inf"), 0, time.perf_counter() + SECONDS
    while times < FEWEST or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        best, times = min(best, time.perf_counter() - start), times + 1
    return best


tuning = Tuning(CACHE_FOLDER / f"tuning-{platform.node() or 'machine'}.json")
