"""Forward passes of one picture: every network, this engine beside the others."""

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from networks import find_cfg, random_network
from peers import PEERS, Job, Runner
from turns import take_turns, timed

TOLERANCE = 1e-3  # between the outputs of two engines, relative to the largest value
MODULES = {"opencv": "cv2"}  # where the package's module has another name


@dataclass
class Row:
    """Milliseconds of one network; None for a peer that cannot run it. `difference`: the largest of any output."""

    network: str
    ours: float
    peers: list[float | None]
    difference: float | None

    @property
    def ratio(self) -> float | None:
        """Time of the fastest peer / time of this engine: above 1, this engine is faster."""
        known = [peer for peer in self.peers if peer is not None]
        return min(known) / self.ours if known else None

    def cells(self) -> list[str]:
        times = ["-" if time is None else f"{time:.2f}" for time in self.peers]
        ratio = "-" if self.ratio is None else f"{self.ratio:.2f}"
        difference = "-" if self.difference is None else f"{self.difference:.1e}"
        return [self.network, f"{self.ours:.2f}", *times, ratio, difference]


def available(wanted: Sequence[str] | None, binary: str | None) -> list[str]:
    """The peers to time: those asked for, otherwise all installed ones. Ends the program if one is not installed."""
    for name in wanted or ():
        if name not in PEERS:
            raise SystemExit(f"--peers {name}: expected some of {', '.join(PEERS)}")
        if not _is_there(name, binary):
            raise SystemExit(f"--peers {name}: not installed" + (" (see --darknet)" if name == "darknet" else ""))
    return [name for name in (PEERS if wanted is None else wanted) if _is_there(name, binary)]


def _is_there(name: str, binary: str | None) -> bool:
    return binary is not None if name == "darknet" else find_spec(MODULES.get(name, name)) is not None


def head(peers: Sequence[str]) -> list[str]:
    """The header of the table."""
    return ["network", "pydarknet", *(PEERS[name][0] for name in peers), "fastest / ours", "difference"]


def time_network(
    name: str, size: int, peers: Sequence[str], threads: int, repeats: int, folder: Path, binary: str | None
) -> Row | None:
    """All engines on one network, one picture of random pixels; None where the network's file is not found.

    Raises ArithmeticError where a peer's output differs from ours by more than TOLERANCE: one of the two is wrong.
    """
    cfg = find_cfg(name)
    if cfg is None:
        print(f"{name}: left out, no {name}.cfg found", file=sys.stderr)
        return None
    network = random_network(cfg, size, threads)
    x = np.random.default_rng(1).random((1, *network.input_shape), np.float32)
    job = Job(name, cfg, network, x, folder, threads, binary)
    runners: dict[str, Runner] = {}
    try:
        for peer in peers:
            if (runner := _ready(peer, job)) is not None:
                runners[peer] = runner
        found = [runner.difference() for runner in runners.values()]
        network.forward(x)
        medians = take_turns([timed(lambda: network.forward(x)), *(r.seconds for r in runners.values())], repeats)
    finally:
        for runner in runners.values():
            runner.close()
    ours, *theirs = [1000 * median for median in medians]
    times = dict(zip(runners, theirs, strict=True))
    differences = [number for number in found if number is not None]
    return Row(f"{cfg.stem} {size}", ours, [times.get(peer) for peer in peers], max(differences, default=None))


def _ready(peer: str, job: Job) -> Runner | None:
    """The peer, with the network loaded and its outputs compared; None, with a line on why, if it cannot run it."""
    title, prepare = PEERS[peer]
    try:
        runner = prepare(job)
    except (NotImplementedError, RuntimeError, OSError) as error:  # their own errors: an operator that they lack
        print(f"{job.name}: {title} cannot run it: {str(error).splitlines()[0][:150]}", file=sys.stderr)
        return None
    difference = runner.difference()
    if difference is not None and not difference <= TOLERANCE:
        runner.close()
        raise ArithmeticError(f"{job.name}: the outputs of {title} differ by {difference:.1e} of the largest value")
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
