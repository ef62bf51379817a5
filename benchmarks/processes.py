"""Time and memory of whole processes: `python -m pydarknet ...` from start to exit."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from networks import ROOT, find_cfg, random_network
from peers import SAMPLE

from pydarknet.export.exporter import export_onnx

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
# Programs that load a network, compute one picture, and end.
PROGRAMS = {
    "pydarknet": "import numpy as np, pydarknet; n = pydarknet.load(cfg, weights, threads=threads); n.forward(x(np))",
    "ONNX Runtime": "import numpy as np, onnxruntime as o; s = o.SessionOptions(); s.intra_op_num_threads = threads; "
    "o.InferenceSession(onnx, s).run(None, {'input': x(np)})",
    "OpenVINO": "import numpy as np, openvino as ov; c = {'INFERENCE_NUM_THREADS': threads, 'PERFORMANCE_HINT': "
    "'LATENCY'}; ov.Core().compile_model(onnx, 'CPU', c)(x(np))",
}
MODULES = {"pydarknet": "numpy", "ONNX Runtime": "onnxruntime", "OpenVINO": "openvino"}
STARTED = ("tiny", "yolov3-tiny", "yolov4")


@dataclass
class Process:
    """One run of a command."""

    seconds: float
    peak_mib: float


def run_process(command: Sequence[str], **environment: str) -> Process:
    """Run a command to its end. Raises RuntimeError with the last lines of its output if it fails."""
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


def time_starts(folder: Path, threads: int, repeats: int) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table: seconds from start to exit of a program of each engine, and its peak memory."""
    engines, rows = [name for name, module in MODULES.items() if find_spec(module)], []
    for cfg in filter(None, map(find_cfg, STARTED)):
        network = random_network(cfg)
        weights, onnx = folder / f"{cfg.stem}.weights", str(folder / f"{cfg.stem}.onnx")
        network.save_weights(weights)
        export_onnx(network, onnx)
        given = f"cfg, weights, onnx, threads = {str(cfg)!r}, {str(weights)!r}, {onnx!r}, {threads}; "
        given += f"x = lambda np: np.zeros((1, *{network.input_shape}), np.float32); "
        commands = [[sys.executable, "-c", given + PROGRAMS[name]] for name in engines]
        peaks = [run_process(command).peak_mib for command in commands]
        seconds = median_seconds(commands, repeats)
        rows.append([f"{cfg.stem} {network.input.width}", *(f"{s:.2f}" for s in seconds), *(f"{p:.0f}" for p in peaks)])
    return ["network", *(f"{name} s" for name in engines), *(f"{name} MiB" for name in engines)], rows


def time_processes(folder: Path, threads: int, repeats: int) -> list[list[str]]:
    """Table rows: (what was measured, the number)."""
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
    for command in commands.values():  # compiles what the cache lacks
        run_process(command)
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
