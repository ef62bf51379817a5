"""Try a wheel as a new user would: in a new virtual environment, with an empty cache, in a folder without the sources.

    python release/try_wheel.py dist/pydarknet-*.whl                         # classify, detect, the eleven networks
    python release/try_wheel.py dist/pydarknet-*.whl --train bccd.data tiny.cfg
    python release/try_wheel.py dist/pydarknet-*.whl --speed yolov3-tiny,tiny

Prints one line for each measurement, with its bound, and exits with 1 if one is missed. First runs have an empty cache,
warm runs that of a first one. `--speed` compares shipped code with code that this machine compiles, which takes
minutes.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
REQUIRED = ("numpy", "numba", "click", "opencv-python-headless")  # as in the container: headless OpenCV

# Bounds: seconds; and the speed of shipped code as a fraction of that of the machine's own.
CLASSIFY, DETECT, TRAIN, SPEED = 1.0, 1.0, 5.0, 0.97
SIZES = {
    "tiny": 224, "darknet": 256, "darknet19": 256, "darknet53": 256, "yolov2-tiny-voc": 416, "yolov3-tiny": 416,
    "yolov4-tiny": 416, "yolo-fastest-1.1": 320, "yolov2": 608, "yolov3": 608, "yolov4": 608,
}  # fmt: skip
CLASSIFIERS = {"tiny", "darknet", "darknet19", "darknet53"}
FOLDERS = (ROOT / "cfg", ROOT.parent / "shared" / "reference" / "weights")

# Writes random weights with which outputs are finite and no object is detected; otherwise the time of thousands of
# boxes would be measured. Arguments: cfg, side, file.
WEIGHTS = """
import sys, pydarknet
cfg, side, out = sys.argv[1:]
model = pydarknet.load(cfg, width=int(side), height=int(side), seed=0)
for layer in model.layers:
    for record in layer.named_parameters():
        if record.name.endswith("rolling_variance"):
            record.array[:] = 1
for head in model.heads:
    for record in model.layers[head - 1].named_parameters():
        record.array[:] = -10 if record.name == "biases" else 0
model.save_weights(out)
"""
# Runs a command, and prints on standard error which of these modules are loaded at its end.
MODULES = """
import atexit, json, runpy, sys
names = ("numba", "llvmlite", "llvmlite.binding", "llvmlite.ir")
atexit.register(lambda: print(json.dumps([name for name in names if name in sys.modules]), file=sys.stderr))
sys.argv[0] = "pydarknet"
runpy.run_module("pydarknet", run_name="__main__")
"""
# Numba's settings for this processor without AVX-512.
RESTRICTED = """
import json
import llvmlite.binding as llvm
features = sorted(llvm.get_host_cpu_features().items())
names = ",".join(("-" if "avx512" in name or not has else "+") + name for name, has in features)
print(json.dumps({"NUMBA_CPU_NAME": llvm.get_host_cpu_name(), "NUMBA_CPU_FEATURES": names}))
"""
# Times forward passes. Arguments: cfg, side, number of passes. Prints the processor's seconds of the fastest one, which
# other programs disturb least.
PASSES = """
import json, sys, time
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
    start = time.process_time()
    model.forward(x)
    times.append(time.process_time() - start)
print(json.dumps([min(times)]))
"""


class Done(NamedTuple):
    """The time and the output of a process."""

    seconds: float
    computing: float  # processor seconds; on an idle machine, `seconds` is not much more
    out: str
    errors: str


class Trial:
    """A virtual environment with the wheel, and the measurements in it."""

    def __init__(self, folder: Path, venv: Path, wheel: Path) -> None:
        self.folder, self.failures, self.python = folder, 0, venv.absolute() / "bin" / "python"
        if not self.python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
            self._pip("install", "--quiet", *REQUIRED)
        self._pip("install", "--quiet", "--no-deps", "--force-reinstall", str(wheel))

    def _pip(self, *words: str) -> None:
        subprocess.run([str(self.python), "-m", "pip", "--disable-pip-version-check", *words], check=True)

    def run(self, *words: str, cache: Path, **environment: str) -> Done:
        """Run a process of the new Python. Raises SystemExit if it fails."""
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [str(self.python), *words], env=self.environment(cache) | environment, cwd=self.folder, capture_output=True,
            text=True,
        )  # fmt: skip
        seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise SystemExit(f"{' '.join(words[:4])}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        computing = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Done(seconds, computing, done.stdout, done.stderr)

    def environment(self, cache: Path) -> dict[str, str]:
        """A clean environment, with this folder for the cache."""
        kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
        return kept | {"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(cache)}

    def empty(self, name: str) -> Path:
        """An empty folder for a cache."""
        path = self.folder / f"cache-{name}"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(mode=0o700)
        return path

    def say(self, what: str, value: float, bound: float, unit: str = "s", least: bool = False) -> None:
        """Print a measurement and its bound."""
        good = value >= bound if least else value <= bound
        self.failures += not good
        print(f"{'ok  ' if good else 'MISS'} {what:<80} {value:7.3f} {unit} ({'at least' if least else 'at most'} "
              f"{bound:.3f})", flush=True)  # fmt: skip

    def weights(self, name: str, cfg: Path) -> Path:
        """A file of random weights for a network."""
        path = self.folder / f"{name}.weights"
        if not path.exists():
            self.run("-c", WEIGHTS, str(cfg), str(SIZES[name]), str(path), cache=self.empty("weights"))
        return path


def find(name: str) -> Path | None:
    """The cfg file of a network; None if it does not exist."""
    return next((path for folder in FOLDERS if (path := folder / f"{name}.cfg").is_file()), None)


def try_first_runs(trial: Trial, networks: list[str], picture: Path) -> None:
    """Time first and warm runs of `classify` and `detect`; check the modules that they import."""
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
        first = min(trial.run(*words, cache=trial.empty("first")) for _ in range(3))
        warm = min(trial.run(*words, cache=trial.folder / "cache-first") for _ in range(3))
        what = f"{name}: first {command} ({first.computing:.2f} s of processors; warm {warm.seconds:.2f} s)"
        trial.say(what, first.seconds, CLASSIFY if name == "tiny" else DETECT + warm.seconds)
        done = trial.run("-c", MODULES, *words[2:], cache=trial.empty("modules"))
        loaded = json.loads(done.errors.splitlines()[-1])
        trial.say(f"{name}: modules of numba and llvmlite {loaded}", len(loaded), 0, " ")


def try_training(trial: Trial, data: Path, cfg: Path) -> None:
    """Time the start of `train` until the line of its first iteration."""
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
    """Compare passes in one thread with shipped code and with the machine's own, in alternating processes.

    For a level below the processor's, the machine's own code is compiled without the features that the level lacks.
    """
    cache, one = trial.empty("own"), {"NUMBA_NUM_THREADS": "1"}
    restricted = one | (json.loads(trial.run("-c", RESTRICTED, cache=cache).out) if level == "x86-64-v3" else {})
    for name in names:
        cfg = find(name)
        if cfg is None:
            print(f"-    {name}: no such file of a network here")
            continue
        words = ["-c", PASSES, str(cfg), str(SIZES[name]), "20"]
        trial.run(*words, cache=cache, PYDARKNET_KERNELS="own", **restricted)  # compiles
        own, shipped = [], []
        for _ in range(rounds):
            own += json.loads(trial.run(*words, cache=cache, PYDARKNET_KERNELS="own", **restricted).out)
            shipped += json.loads(trial.run(*words, cache=cache, PYDARKNET_KERNELS=level, **one).out)
        what = f"{name}: speed of {level} ({min(shipped) * 1e3:.2f} ms) beside own code ({min(own) * 1e3:.2f} ms)"
        trial.say(what, min(own) / min(shipped), SPEED, "x", True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Try a wheel in a new virtual environment.")
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--networks", default=",".join(SIZES), help="names of networks, or none")
    parser.add_argument("--picture", type=Path, default=ROOT / "data" / "sample.jpg")
    parser.add_argument("--train", nargs=2, type=Path, metavar=("DATA", "CFG"))
    parser.add_argument("--speed", default="", help="names of networks whose passes are timed")
    parser.add_argument("--venv", type=Path, help="keep the environment here, for the next call")
    parser.add_argument("--level", default="x86-64-v4", help="of shipped code, for --speed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="try-wheel-") as folder:
        trial = Trial(Path(folder), options.venv or Path(folder) / "venv", options.wheel.resolve())
        try_first_runs(
            trial, [name for name in options.networks.split(",") if name in SIZES], options.picture.resolve()
        )
        if options.train:
            try_training(trial, *options.train)
        try_speed(trial, [name for name in options.speed.split(",") if name], options.level)
    raise SystemExit(1 if trial.failures else 0)


if __name__ == "__main__":
    main()
