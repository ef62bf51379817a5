"""Engines take turns on one machine, so a disturbance affects all of them."""

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
    """`work` as a function that returns the seconds that it took."""

    def run() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return run


def take_turns(runners: Sequence[Timed], repeats: int) -> list[float]:
    """The median time of each runner, in seconds, over `repeats` turns."""
    times: list[list[float]] = [[] for _ in runners]
    for _ in range(repeats):
        for runner, mine in zip(runners, times, strict=True):
            time.sleep(REST)
            mine += one_turn(runner)
    return [statistics.median(mine) for mine in times]


def one_turn(runner: Timed) -> list[float]:
    """Times of one turn. The first run does not count: its caches are cold and its threads asleep."""
    times: list[float] = []
    while len(times) < 2 or sum(times) < TURN:
        times.append(runner())
    return times[1:]


def warn_of_load() -> None:
    """Print a warning if other programs are running: all threads wait for one that waits for a processor."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > BUSY:
        print(f"The machine is busy (load {load:.2f}): do not trust these times.\n", file=sys.stderr)
