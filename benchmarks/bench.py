"""Speed of the engine beside ONNX Runtime on the same networks, and of whole processes. `make bench` runs it.

The networks get random weights from a seed. Both engines run in this process with the same number of threads, in
turns, with a rest before each turn, because idle threads of the other one still spin for a while. Times are medians.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

import pydarknet
from pydarknet.export import export_onnx

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results.md"
SAMPLE = ROOT / "data" / "sample.jpg"

DEFAULT = {"tiny": 224, "yolov3-tiny": 416}
SIZES = DEFAULT | {
    "darknet": 256,
    "darknet19": 256,
    "darknet53": 256,
    "resnet50": 256,
    "yolov2-tiny": 416,
    "yolov4-tiny": 416,
    "yolov2": 608,
    "yolov3": 608,
    "yolov4": 608,
}
TURN = 0.25  # seconds that one engine runs before it is the other's turn
REST = 0.05  # seconds until a turn begins
REPEATS = 5  # of whole processes
ADDED = 0.25  # scale of the layers that residual blocks add
BUSY = 0.5  # programs running on average, from which times mean nothing

# Runs a command and prints its wall time, peak memory and exit code. A process of its own, because the peak of a child
# counts from that of its parent.
WATCH = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps([seconds, peak, done.returncode, done.stderr[-500:]]))
"""

Runner = Callable[[], object]


def random_network(cfg: Path, size: int | None = None, threads: int | None = None, seed: int = 0) -> pydarknet.Model:
    """A network with random weights that keep its outputs finite and apart.

    The batch-norm variance is 1, where darknet begins with 0, and what residual blocks add is small, as it would
    otherwise double the values from block to block.
    """
    network = pydarknet.load(cfg, width=size, height=size, threads=threads, seed=seed)
    added = {source for layer in network.layers if layer.kind == "shortcut" for source in layer.sources[:1]}
    for index, layer in enumerate(network.layers):
        for record in layer.records():
            if record.name.endswith("rolling_variance"):
                record.array[:] = 1
            elif record.name.endswith("scales") and index in added:
                record.array[:] = ADDED
    network.parameters_changed()
    return network


# --- forward passes ---------------------------------------------------------------------------------------------------


@dataclass
class Row:
    """What one network took, in milliseconds; the peer's numbers are None where it is not installed."""

    network: str
    ours: float
    peer: float | None
    difference: float | None

    def cells(self) -> list[str]:
        if self.peer is None or self.difference is None:
            return [self.network, f"{self.ours:.2f}", "-", "-", "-"]
        ratio = f"{self.ours / self.peer:.2f}"
        return [self.network, f"{self.ours:.2f}", f"{self.peer:.2f}", ratio, f"{self.difference:.1e}"]


def peer_session(network: pydarknet.Model, folder: Path, threads: int) -> object | None:
    """ONNX Runtime on what our exporter writes, or None where it is not installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    path = folder / "network.onnx"
    export_onnx(network, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def take_turns(runners: Sequence[Runner], seconds: float) -> list[float]:
    """The median time of each runner, in seconds, over about so many seconds in all."""
    times: list[list[float]] = [[] for _ in runners]
    end = time.perf_counter() + seconds
    while not all(times) or time.perf_counter() < end:
        for runner, mine in zip(runners, times, strict=True):
            time.sleep(REST)
            mine += one_turn(runner)
    return [statistics.median(mine) for mine in times]


def one_turn(runner: Runner) -> list[float]:
    """Times of one turn; the first run of several, which finds cold caches and sleeping threads, does not count."""
    times: list[float] = []
    while sum(times) < TURN:
        start = time.perf_counter()
        runner()
        times.append(time.perf_counter() - start)
    return times[1:] or times


def largest_difference(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> float:
    """Of any output, relative to that output's largest value. Not finite where an output is not."""
    pairs = zip(ours, theirs, strict=True)
    return max(float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30)) for a, b in pairs)


def time_network(name: str, size: int, threads: int, seconds: float, folder: Path) -> Row:
    """Both engines on one network, one picture of random pixels."""
    network = random_network(ROOT / "cfg" / f"{name}.cfg", size, threads)
    x = np.random.default_rng(1).random((1, *network.input_shape), np.float32)
    session = peer_session(network, folder, threads)
    ours = network.forward(x)
    runners: list[Runner] = [lambda: network.forward(x)]
    difference = None
    if session is not None:
        runners.append(lambda: session.run(None, {"input": x}))  # type: ignore[attr-defined]
        difference = largest_difference(ours, session.run(None, {"input": x}))  # type: ignore[attr-defined]
    milliseconds = [1000 * median for median in take_turns(runners, seconds)]
    return Row(f"{name} {size}", milliseconds[0], milliseconds[1] if session else None, difference)


# --- whole processes --------------------------------------------------------------------------------------------------


@dataclass
class Process:
    """One run of a command."""

    seconds: float
    peak_mib: float


def run_process(command: Sequence[str], **environment: str) -> Process:
    """Run a command to its end. Raises RuntimeError with its last words when it fails."""
    done = subprocess.run([sys.executable, "-c", WATCH, *command], capture_output=True, text=True, check=True,
                          env=os.environ | environment, cwd=ROOT)  # fmt: skip
    seconds, peak, code, errors = json.loads(done.stdout)
    if code != 0:
        raise RuntimeError(f"{' '.join(command)}: exit code {code}\n{errors}")
    return Process(seconds, peak / (2**20 if sys.platform == "darwin" else 2**10))


def median_seconds(commands: Sequence[Sequence[str]], repeats: int) -> list[float]:
    """The median time of each command; the commands take turns."""
    times = [[run_process(command).seconds for command in commands] for _ in range(repeats)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def time_processes(folder: Path, threads: int, repeats: int) -> list[list[str]]:
    """Rows of: what was measured, the number."""
    program = [sys.executable, "-m", "pydarknet"]
    options = ["--threads", str(threads)]
    commands = {}
    for name, command in (("tiny", "classify"), ("yolov3-tiny", "detect")):
        weights = folder / f"{name}.weights"
        cfg = ROOT / "cfg" / f"{name}.cfg"
        random_network(cfg).save_weights(weights)
        commands[command] = [*program, command, str(cfg), str(weights), str(SAMPLE), *options]
    commands["detect"] += ["--out-dir", str(folder)]

    cold = run_process(commands["classify"], NUMBA_CACHE_DIR=str(folder / "empty-1")).seconds
    cold_detect = run_process(commands["detect"], NUMBA_CACHE_DIR=str(folder / "empty-2")).seconds
    run_process(commands["classify"])
    peak = run_process(commands["detect"]).peak_mib
    imports = [sys.executable, "-c", "import numpy, cv2, click, numba"]
    help_, importing, classify, detect = median_seconds(
        [[*program, "--help"], imports, commands["classify"], commands["detect"]], repeats
    )
    return [
        ["`pydarknet --help`", f"{help_:.3f} s"],
        ['`python -c "import numpy, cv2, click, numba"`', f"{importing:.3f} s"],
        ["`pydarknet classify`, tiny", f"{classify:.3f} s"],
        ["... beyond the imports", f"{classify - importing:+.3f} s"],
        ["`pydarknet detect`, yolov3-tiny 416", f"{detect:.3f} s"],
        ["... its peak memory", f"{peak:.0f} MiB"],
        ["very first `classify`, empty kernel cache", f"{cold:.1f} s"],
        ["very first `detect`, empty kernel cache", f"{cold_detect:.1f} s"],
    ]


# --- report -----------------------------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, aligned for reading as text too."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    text = [
        [cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in [lines[0], rule, *lines[1:]]
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in text)


def processor() -> str:
    """The processor's name, as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions() -> str:
    """The interpreter's version and those of the packages that matter."""
    found = []
    for package in ("pydarknet", "numpy", "numba", "opencv-python", "onnx", "onnxruntime"):
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            found.append(f"{package} not installed")
    return f"Python {platform.python_version()}, {', '.join(found)}"


def chosen(arguments: argparse.Namespace) -> dict[str, int]:
    """Names and sizes of the networks to time."""
    if not arguments.networks:
        return SIZES if arguments.all else DEFAULT
    sizes = {}
    for item in arguments.networks:
        name, _, size = item.partition(":")
        sizes[name] = int(size) if size else SIZES.get(name, 416)
    return sizes


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Times pydarknet beside ONNX Runtime; writes benchmarks/results.md.")
    parser.add_argument("--all", action="store_true", help=f"all of: {', '.join(SIZES)}")
    parser.add_argument("--networks", nargs="+", metavar="NAME[:SIZE]", help="these networks of cfg/ instead")
    parser.add_argument("--seconds", type=float, default=10.0, help="time for each network (default 10)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of both engines (default: all)")
    parser.add_argument("--repeats", type=int, default=REPEATS, help=f"of whole processes (default {REPEATS}; 0: none)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the report (default benchmarks/results.md)")
    return parser.parse_args()


def warn_of_load() -> None:
    """Say so when other programs are running: a thread that waits for its turn makes all others wait."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > BUSY:
        print(f"The machine is busy (load {load:.2f}): do not trust these times.\n", file=sys.stderr)


def main() -> None:
    arguments = read_arguments()
    warn_of_load()
    parts = [
        "# Benchmarks",
        f"{processor()}, {arguments.threads} threads, one picture at a time, medians.  \n{versions()}.",
    ]
    print("\n\n".join(parts) + "\n", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        processes = time_processes(folder, arguments.threads, arguments.repeats) if arguments.repeats else []
        rows = []
        for network, size in chosen(arguments).items():
            row = time_network(network, size, arguments.threads, arguments.seconds, folder)
            print("  ".join(row.cells()), file=sys.stderr, flush=True)
            rows.append(row.cells())
    head = ["network", "pydarknet ms", "ONNX Runtime ms", "ratio", "max relative difference"]
    tables = [table(head, rows)] + ([table(["whole process", "measured"], processes)] if processes else [])
    print("\n\n".join(tables))
    arguments.out.write_text("\n\n".join(parts + tables) + "\n")


if __name__ == "__main__":
    main()
