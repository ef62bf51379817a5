"""Forward passes of one picture: every network, this engine beside the others, in float32 or as each is fastest."""

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from networks import find_cfg, random_network, rounded_network
from peers import ALL_PEERS, Job, Runner, difference
from turns import take_turns, timed

TOLERANCE = 1e-3  # between the outputs of two engines, relative to the largest value
CALIBRATION = 8  # pictures by which engines choose the ranges of 8 bits
PRECISIONS = ("float32", "bf16", "int8")  # of this engine


@dataclass
class Row:
    """Milliseconds of one network; None for a peer that cannot run it. `difference`: the largest of any output."""

    network: str
    ours: list[float]  # one for each precision
    peers: list[float | None]
    difference: float | None

    @property
    def ratio(self) -> float | None:
        """Time of the fastest peer / time of this engine: above 1, this engine is faster."""
        known = [peer for peer in self.peers if peer is not None]
        return min(known) / min(self.ours) if known else None

    def cells(self) -> list[str]:
        times = ["-" if time is None else f"{time:.2f}" for time in self.peers]
        ratio = "-" if self.ratio is None else f"{self.ratio:.2f}"
        difference = "-" if self.difference is None else f"{self.difference:.1e}"
        return [self.network, *(f"{time:.2f}" for time in self.ours), *times, ratio, difference]


def available(wanted: Sequence[str] | None, binary: str | None) -> list[str]:
    """The peers to time: those asked for, otherwise all installed ones. Ends the program if one is not installed."""
    for name in wanted or ():
        if name not in ALL_PEERS:
            raise SystemExit(f"--peers {name}: expected some of {', '.join(ALL_PEERS)}")
        if not _is_there(name, binary):
            raise SystemExit(f"--peers {name}: not installed" + (" (see --darknet)" if name == "darknet" else ""))
    return [name for name in (ALL_PEERS if wanted is None else wanted) if _is_there(name, binary)]


def _is_there(name: str, binary: str | None) -> bool:
    module = ALL_PEERS[name].module
    return binary is not None if module is None else find_spec(module) is not None


def head(peers: Sequence[str], precisions: Sequence[str] = PRECISIONS[:1]) -> list[str]:
    """The header of the table."""
    ours = ["pydarknet"] if len(precisions) == 1 else [f"pydarknet {precision}" for precision in precisions]
    return ["network", *ours, *(ALL_PEERS[name].title for name in peers), "fastest / ours", "difference"]


def time_network(
    name: str, size: int, peers: Sequence[str], precisions: Sequence[str],
    threads: int, repeats: int, folder: Path, binary: str | None,
) -> Row | None:  # fmt: skip
    """All engines on one network, one picture of random pixels; None where the network's file is not found.

    This engine runs once for each of `precisions`. Raises ArithmeticError where the output of an exact peer differs
    from ours by more than TOLERANCE: one of the two is wrong.
    """
    cfg = find_cfg(name)
    if cfg is None:
        print(f"{name}: left out, no {name}.cfg found", file=sys.stderr)
        return None
    network = random_network(cfg, size, threads)
    x, *calibration = np.random.default_rng(1).random((1 + CALIBRATION, 1, *network.input_shape), np.float32)
    job = Job(name, cfg, network, x, folder, threads, binary, calibration)
    ours = [network, *(rounded_network(cfg, size, threads, each, calibration) for each in precisions[1:])]
    runners: dict[str, Runner] = {}
    try:
        for peer in peers:
            if (runner := _ready(peer, job)) is not None:
                runners[peer] = runner
        found = [runner.difference() for runner in runners.values()]
        found += [difference(each.forward(x), network.forward(x)) for each in ours]
        passes = [timed(lambda each=each: each.forward(x)) for each in ours]
        medians = take_turns([*passes, *(runner.seconds for runner in runners.values())], repeats)
    finally:
        for runner in runners.values():
            runner.close()
    milliseconds = [1000 * median for median in medians]
    times = dict(zip(runners, milliseconds[len(ours) :], strict=True))
    differences = [number for number in found if number is not None]
    theirs = [times.get(peer) for peer in peers]
    return Row(f"{cfg.stem} {size}", milliseconds[: len(ours)], theirs, max(differences, default=None))


def _ready(peer: str, job: Job) -> Runner | None:
    """The peer, with the network loaded and its outputs compared; None, with a line on why, if it cannot run it."""
    title = ALL_PEERS[peer].title
    try:
        runner = ALL_PEERS[peer].prepare(job)
    except (NotImplementedError, RuntimeError, OSError) as error:  # their own errors: an operator that they lack
        print(f"{job.name}: {title} cannot run it: {str(error).splitlines()[0][:150]}", file=sys.stderr)
        return None
    found = runner.difference()
    if ALL_PEERS[peer].exact and found is not None and not found <= TOLERANCE:
        runner.close()
        raise ArithmeticError(f"{job.name}: the outputs of {title} differ by {found:.1e} of the largest value")
    return runner


def summary(rows: Sequence[Row]) -> str:
    """The geometric mean of the ratios of the networks that a peer ran."""
    ratios = [row.ratio for row in rows if row.ratio is not None]
    if not ratios:
        return "No peer ran."
    mean, lowest = statistics.geometric_mean(ratios), min(rows, key=lambda row: row.ratio or np.inf)
    return (
        f"Geometric mean of fastest peer / pydarknet over {len(ratios)} networks: {mean:.2f}; "
        f"lowest: {lowest.ratio:.2f} ({lowest.network})."
    )
