"""Engines that take turns on the same machine, so that what disturbs it disturbs all of them."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence

TURN = 0.25  # seconds that one engine runs before it is the other's turn
REST = 0.05  # seconds until a turn begins: idle threads of the engine before still spin for a while
BUSY = 0.5  # programs running on average, from which times mean little

Timed = Callable[[], float]


def timed(work: Callable[[], object]) -> Timed:
    """`work` as a function that says how many seconds it took."""

    def run() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return run


def take_turns(runners: Sequence[Timed], repeats: int) -> list[float]:
    """The median time of each runner, in seconds, over so many turns each."""
    times: list[list[float]] = [[] for _ in runners]
    for _ in range(repeats):
        for runner, mine in zip(runners, times, strict=True):
            time.sleep(REST)
            mine += one_turn(runner)
    return [statistics.median(mine) for mine in times]


def one_turn(runner: Timed) -> list[float]:
    """Times of one turn; the first run, which finds cold caches and sleeping threads, does not count."""
    times: list[float] = []
    while len(times) < 2 or sum(times) < TURN:
        times.append(runner())
    return times[1:]


def warn_of_load() -> None:
    """Say so when other programs are running: a thread that waits for its turn makes all others wait."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > BUSY:
        print(f"The machine is busy (load {load:.2f}): do not trust these times.\n", file=sys.stderr)
