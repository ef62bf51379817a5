"""Algorithms chosen by measurement on this machine, and remembered in a file (autotuning)."""

import contextlib
import json
import platform
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from ..errors import OutputError
from ..runtime.cache import CACHE_FOLDER
from ..utils.files import log, write_file

Candidates = Mapping[int, Callable[[], None]]  # the calls to be timed, by name

SECONDS, FEWEST = 0.03, 3  # how long one candidate is timed, and how often at least


class Tuning:
    """The fastest candidate for each kind of work. path: None where this machine has no folder to keep it."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.measuring = path, False
        self._known: dict[str, int] | None = None
        self._changed = False

    @property
    def known(self) -> dict[str, int]:
        """The choices by kind of work; a damaged file counts as empty."""
        if self._known is None:
            self._known = {}
            with contextlib.suppress(OSError, ValueError, AttributeError, RecursionError):
                content = json.loads(self.path.read_text(encoding="utf-8")) if self.path else {}
                self._known = {key: choice for key, choice in content.items() if type(choice) is int}
        return self._known

    def choose(self, key: str, guess: int, allowed: Collection[int], candidates: Callable[[], Candidates]) -> int:
        """The choice known for `key`; else, while measuring, the fastest candidate; else the guess.

        allowed: the candidates' names; a known choice that is none of them is reported and forgotten.
        """
        choice = self.known.get(key)
        if choice is not None and choice not in allowed:
            log.warning(
                '%s: "%s": %d is no algorithm for this layer; expected one of %s, so it is chosen anew',
                self.path, key, choice, ", ".join(map(str, sorted(allowed))),
            )  # fmt: skip
            del self.known[key]
            self._changed, choice = True, None
        if choice is None and self.measuring:
            seconds = {name: _fastest(run) for name, run in candidates().items()}
            choice = self.known[key] = min(seconds, key=lambda name: seconds[name])
            self._changed = True
        return guess if choice is None else choice

    @contextlib.contextmanager
    def measured(self) -> Iterator[None]:
        """Measure unknown choices inside the block; keep them at its end."""
        self.measuring = True
        try:
            yield
        finally:
            self.measuring = False
            if self._changed:
                self._save()

    def _save(self) -> None:
        self._changed = False
        if self.path is None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_file(self.path, (json.dumps(self.known, indent=0, sort_keys=True) + "\n").encode())
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


tuning = Tuning(CACHE_FOLDER and CACHE_FOLDER / f"tuning-{platform.node() or 'machine'}.json")
