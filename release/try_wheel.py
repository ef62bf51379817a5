"""Try a wheel as a stranger would: in a new virtual environment, with an empty cache, from a folder without the
sources.

    python release/try_wheel.py dist/pydarknet-*.whl                         # classify, detect, the eleven networks
    python release/try_wheel.py dist/pydarknet-*.whl --train bccd.data tiny.cfg
    python release/try_wheel.py dist/pydarknet-*.whl --speed yolov3-tiny,tiny

Prints one line for each measurement, with its bound, and exits with 1 where one is missed. First runs have an empty
cache, warm ones that of the first. `--speed` compares shipped code with what this machine compiles itself, which takes
minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIRED = ("numpy", "numba", "click", "opencv-python-headless")  # as in the container: headless OpenCV

# Seconds, and what shipped code has to reach of the speed of the machine's own.
CLASSIFY, DETECT, TRAIN, SPEED = 1.0, 1.0, 5.0, 0.97
SIZES = {
    "tiny": 224, "darknet": 256, "darknet19": 256, "darknet53": 256, "yolov2-tiny-voc": 416, "yolov3-tiny": 416,
    "yolov4-tiny": 416, "yolo-fastest-1.1": 320, "yolov2": 608, "yolov3": 608, "yolov4": 608,
}  # fmt: skip
CLASSIFIERS = {"tiny", "darknet", "darknet19", "darknet53"}
FOLDERS = (ROOT / "cfg", ROOT.parent / "shared" / "reference" / "weights")

# Writes random weights with which outputs stay finite: arguments are cfg, side, file.
WEIGHTS = """
import sys, pydarknet
cfg, side, out = sys.argv[1:]
model = pydarknet.load(cfg, width=int(side), height=int(side), seed=0)
for layer in model.layers:
    for record in layer.named_parameters():
        if record.name.endswith("rolling_variance"):
            record.array[:] = 1
model.save_weights(out)
"""
# Runs a command, and tells which of some modules are loaded at its end.
MODULES = """
import json, sys
from pydarknet.cli import main
code = 0
try:
    main(sys.argv[1:], standalone_mode=False)
except SystemExit as stop:
    code = stop.code
print(json.dumps([name for name in ("numba", "llvmlite", "llvmlite.binding", "llvmlite.ir") if name in sys.modules]))
raise SystemExit(code)
"""
# Seconds of passes: arguments are cfg, side, number of passes; prints the fastest and the median.
PASSES = """
import json, statistics, sys, time
import numpy as np, pydarknet
cfg, side, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
model = pydarknet.load(cfg, width=side, height=side, seed=0)
for layer in model.layers:
    for record in layer.named_parameters():
        if record.name.endswith("rolling_variance"):
            record.array[:] = 1
model.parameters_changed()
x = np.random.default_rng(0).random((1, *model.input_shape), dtype=np.float32)
model.forward(x), model.forward(x)
times = []
for _ in range(count):
    start = time.perf_counter()
    model.forward(x)
    times.append(time.perf_counter() - start)
print(json.dumps([min(times), statistics.median(times)]))
"""


class Trial:
    """A virtual environment with the wheel, and the measurements in it."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder, self.failures = folder, 0
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
        self.python = folder / "venv" / "bin" / "python"
        self._pip("install", "--quiet", *REQUIRED)
        self._pip("install", "--quiet", "--no-deps", str(wheel))

    def _pip(self, *words: str) -> None:
        subprocess.run([str(self.python), "-m", "pip", "--disable-pip-version-check", *words], check=True)

    def run(self, *words: str, cache: Path, **environment: str) -> tuple[float, str]:
        """Seconds of a process, and its standard output. Raises SystemExit where it fails."""
        start = time.perf_counter()
        done = subprocess.run(
            [str(self.python), *words], env=self.environment(cache) | environment, cwd=self.folder, capture_output=True,
            text=True,
        )  # fmt: skip
        seconds = time.perf_counter() - start
        if done.returncode:
            raise SystemExit(f"{' '.join(words[:4])}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return seconds, done.stdout

    def environment(self, cache: Path) -> dict[str, str]:
        """A clean one, with this folder for the cache."""
        kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
        return kept | {"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(cache)}

    def empty(self, name: str) -> Path:
        """An empty folder for a cache."""
        path = self.folder / f"cache-{name}"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(mode=0o700)
        return path

    def say(self, what: str, value: float, bound: float, unit: str = "s", least: bool = False) -> None:
        """Print a measurement beside its bound."""
        good = value >= bound if least else value <= bound
        self.failures += not good
        print(f"{'ok  ' if good else 'MISS'} {what:<58} {value:7.3f} {unit} ({'at least' if least else 'at most'} "
              f"{bound:.3f})", flush=True)  # fmt: skip

    def weights(self, name: str, cfg: Path) -> Path:
        """A file of random weights for a network."""
        path = self.folder / f"{name}.weights"
        if not path.exists():
            self.run("-c", WEIGHTS, str(cfg), str(SIZES[name]), str(path), cache=self.empty("weights"))
        return path


def find(name: str) -> Path | None:
    """The file of a network."""
    return next((path for folder in FOLDERS if (path := folder / f"{name}.cfg").is_file()), None)


def try_first_runs(trial: Trial, networks: list[str], picture: Path) -> None:
    """First and warm runs of `classify` and `detect`; what they import."""
    for name in networks:
        cfg = find(name)
        if cfg is None:
            print(f"-    {name}: no such file of a network here")
            continue
        command = "classify" if name in CLASSIFIERS else "detect"
        words = ["-m", "pydarknet", command, str(cfg), str(trial.weights(name, cfg)), str(picture)]
        if command == "detect":
            words += ["--out-dir", str(trial.folder / "out")]
        trial.run(*words, cache=trial.empty("files"))  # the system has read all files once
        first = min(trial.run(*words, cache=trial.empty("first"))[0] for _ in range(3))
        warm = min(trial.run(*words, cache=trial.folder / "cache-first")[0] for _ in range(3))
        trial.say(f"{name}: first {command} (warm {warm:.3f} s)", first, CLASSIFY if name == "tiny" else DETECT + warm)
        _, out = trial.run("-c", MODULES, *words[2:], cache=trial.empty("modules"))
        loaded = json.loads(out.splitlines()[-1])
        trial.say(f"{name}: modules of numba and llvmlite {loaded}", len(loaded), 0, " ")


def try_training(trial: Trial, data: Path, cfg: Path) -> None:
    """Seconds from the start of `train` to the line of its first iteration."""
    command = [str(trial.python), "-m", "pydarknet", "train", str(data.resolve()), str(cfg.resolve()), "--seed", "1"]
    command += ["--backup", str(trial.folder / "run")]
    environment = trial.environment(trial.empty("train")) | {"PYTHONUNBUFFERED": "1"}
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environment, cwd=data.resolve().parent, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.lstrip().startswith("1:"):
            trial.say(f"train {cfg.name}: first iteration", time.perf_counter() - start, TRAIN)
            break
    else:
        trial.failures += 1
        print(f"MISS train {cfg.name}: ended without a first iteration")
    process.kill()
    process.wait()


def try_speed(trial: Trial, names: list[str], level: str, rounds: int = 5) -> None:
    """Passes with shipped code beside passes with the machine's own, in alternating processes."""
    cache = trial.empty("own")
    for name in names:
        cfg = find(name)
        if cfg is None:
            print(f"-    {name}: no such file of a network here")
            continue
        words = ["-c", PASSES, str(cfg), str(SIZES[name]), "20"]
        trial.run(*words, cache=cache, PYDARKNET_KERNELS="own")  # compiles
        ratios = []
        for _ in range(rounds):
            own, shipped = (
                json.loads(trial.run(*words, cache=cache, PYDARKNET_KERNELS=kind)[1])[0] for kind in ("own", level)
            )
            ratios.append(own / shipped)
        trial.say(f"{name}: speed of {level} beside this machine's own", statistics.median(ratios), SPEED, "x", True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Try a wheel in a new virtual environment.")
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--networks", default=",".join(SIZES), help="names of networks, or none")
    parser.add_argument("--picture", type=Path, default=ROOT / "data" / "sample.jpg")
    parser.add_argument("--train", nargs=2, type=Path, metavar=("DATA", "CFG"))
    parser.add_argument("--speed", default="", help="names of networks whose passes are timed")
    parser.add_argument("--level", default="x86-64-v4", help="of shipped code, for --speed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="try-wheel-") as folder:
        trial = Trial(Path(folder), options.wheel.resolve())
        try_first_runs(
            trial, [name for name in options.networks.split(",") if name in SIZES], options.picture.resolve()
        )
        if options.train:
            try_training(trial, *options.train)
        try_speed(trial, [name for name in options.speed.split(",") if name], options.level)
    raise SystemExit(1 if trial.failures else 0)


if __name__ == "__main__":
    main()
