"""Two checkouts of the project beside each other: forward passes, a training step and whole processes, in turns.

    python benchmarks/compare.py ../before .               # all networks of `make bench`
    python benchmarks/compare.py ../before . --networks tiny,yolov3-tiny:416 --train --processes 10

Each checkout runs in a process of its own, by the Python of its own `.venv`. The two take turns of a few passes. The
fastest pass of each counts, because everything else that the machine does only adds time. A ratio above 1 says that
the second checkout is faster.
"""

import argparse
import math
import os
import subprocess
import sys
import time
from pathlib import Path

SIZES = {
    "tiny": 224, "darknet": 256, "darknet19": 256, "darknet53": 256, "yolov2-tiny-voc": 416, "yolov3-tiny": 416,
    "yolov4-tiny": 416, "yolo-fastest-1.1": 320, "yolov2": 608, "yolov3": 608, "yolov4": 608,
}  # fmt: skip
TRAINED = {"yolov3-tiny": 416, "darknet19": 256}

WORKER = Path(__file__).with_name("compare_worker.py")


class Side:
    """A process of one checkout that runs one network."""

    def __init__(self, checkout: Path, cfg: Path, size: int, threads: int, batch: int) -> None:
        python, environment = checkout / ".venv" / "bin" / "python", {**os.environ, "PYTHONPATH": str(checkout)}
        command = [str(python), str(WORKER), str(cfg), str(size), str(threads), str(batch)]
        # The first process compiles; the second runs what it has left, as every later one does.
        subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._read()

    def _read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def turn(self, passes: int) -> float:
        """The fastest of `passes` passes, in milliseconds."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{passes}\n")
        self.process.stdin.flush()
        return float(self._read())

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


def find_cfg(checkouts: list[Path], name: str) -> Path | None:
    """The network file of this name in the first checkout that has one."""
    folders = [
        folder for checkout in checkouts for folder in (checkout / "cfg", checkout.parent / "shared/reference/weights")
    ]
    return next((path.resolve() for folder in folders if (path := folder / f"{name}.cfg").is_file()), None)


def compare(checkouts: list[Path], name: str, size: int, options: argparse.Namespace, batch: int) -> float | None:
    """Print the line of one network and return old time / new time; None without such a network file."""
    cfg = find_cfg(checkouts, name)
    if cfg is None:
        return None
    best = [math.inf, math.inf]
    for order in ((0, 1), (1, 0)):  # whoever starts first gets the better pages of memory
        sides = {i: Side(checkouts[i], cfg, size, options.threads, batch) for i in order}
        passes = max(1, round(0.2e3 / sides[0].turn(1)))
        for _ in range(options.repeats):
            for i in order:
                time.sleep(0.02)  # the other side's threads look out for work for a while
                best[i] = min(best[i], sides[i].turn(passes))
        for side in sides.values():
            side.close()
    kind = "training step" if batch else "pass"
    print(f"{name} {size} {kind}: {best[0]:.2f} ms, {best[1]:.2f} ms, ratio {best[0] / best[1]:.3f}", flush=True)
    return best[0] / best[1]


def compare_processes(checkouts: list[Path], runs: int) -> None:
    """Time `--help` and `speed tiny.cfg 1` as whole processes; the median of the ratios of neighbouring runs."""
    for arguments in (["--help"], ["speed", "tiny.cfg", "1"]):
        times: list[list[float]] = []
        for _ in range(runs + 1):
            pair = []
            for checkout in checkouts:
                start = time.perf_counter()
                command = [str(checkout / ".venv/bin/python"), "-m", "pydarknet", *arguments]
                subprocess.run(command, cwd=checkout, capture_output=True, check=True)
                pair.append(time.perf_counter() - start)
            times.append(pair)
        ratios = sorted(before / after for before, after in times[1:])
        fastest = [min(column) for column in zip(*times[1:], strict=True)]
        print(f"{' '.join(arguments)}: {fastest[0]:.3f} s, {fastest[1]:.3f} s, ratio {ratios[len(ratios) // 2]:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Times two checkouts beside each other.")
    parser.add_argument("checkouts", nargs=2, type=Path, help="the older one first")
    parser.add_argument("--networks", default=",".join(SIZES), help="NAME or NAME:SIZE, with commas")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeats", type=int, default=8, help="turns of each (default 8)")
    parser.add_argument("--train", action="store_true", help="a training step of two networks instead")
    parser.add_argument("--processes", type=int, default=0, metavar="N", help="N runs of whole processes as well")
    options = parser.parse_args()
    checkouts = [path.resolve() for path in options.checkouts]
    words = [word.partition(":") for word in options.networks.split(",") if word]
    sizes = TRAINED if options.train else {name: int(size or SIZES.get(name, 416)) for name, _, size in words}
    ratios = [compare(checkouts, name, size, options, 8 if options.train else 0) for name, size in sizes.items()]
    known = [ratio for ratio in ratios if ratio is not None]
    if known:
        mean = math.exp(sum(map(math.log, known)) / len(known))
        print(f"geometric mean of {len(known)}: {mean:.3f}; least: {min(known):.3f}")
    if options.processes:
        compare_processes(checkouts, options.processes)
    sys.exit(0)


if __name__ == "__main__":
    main()
