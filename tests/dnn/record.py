"""Recorded answers of OpenCV 4, in tests/dnn/recorded.

Recorded anew with opencv-python 4 in an environment of its own:

    PYDARKNET_OPENCV4=ENV/bin/python PYTHONPATH=tests python -m dnn.record
"""

import json
import tempfile
from pathlib import Path

import numpy as np
from support.files import SHARED

from dnn.comparison import ask_opencv, opencv4
from dnn.networks import NOT_COMPUTED, READ_BY_OPENCV, ROOT, SMALL, blob, small, write_small

FOLDER = Path(__file__).with_name("recorded")
NAMES = FOLDER / "names.json"  # {network: {"names": [...], "unconnected": [...]}}
FASTEST = ["yolo-fastest", "yolo-fastest-xl", "yolo-fastest-1.1", "yolo-fastest-1.1-xl"]
PICTURES = ["dog", "horses", "person", "kite"]
COMPUTED = [name for name in SMALL if name not in NOT_COMPUTED]
DETECT = [(0.2, 0.0, False), (0.2, 0.4, False), (0.3, 0.4, True), (0.999, 0.4, False)]


def toys_job():
    """The bundled toys, whose weights are bundled too, on the bundled picture."""
    return {
        "cfg": ROOT / "cfg" / "toys.cfg",
        "weights": ROOT / "data" / "toys.weights",
        "frames": [ROOT / "data" / "sample.jpg"],
        "size": (224, 160),
        "detect": DETECT,
    }


def fastest_job(network):
    """Published weights on well-known pictures."""
    folder = SHARED / "reference"
    return {
        "cfg": folder / "weights" / f"{network}.cfg",
        "weights": folder / "weights" / f"{network}.weights",
        "frames": [folder / "images" / f"{name}.jpg" for name in PICTURES],
        "size": (320, 320),
        "detect": DETECT,
    }


def recorded(network):
    """{name: array} of a network, see `opencv.answers`; of small networks also `input` and `weights` (bytes)."""
    with np.load(FOLDER / ("small.npz" if network in SMALL else "detections.npz")) as arrays:
        begin = f"{network}/"
        return {name.removeprefix(begin): arrays[name] for name in arrays.files if name.startswith(begin)}


def main():
    """Ask OpenCV and write the three files."""
    python = opencv4()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        cfgs = {name: ROOT / "cfg" / f"{name}.cfg" for name in READ_BY_OPENCV}
        for name in SMALL:
            cfgs[name] = root / f"{name}.cfg"
            cfgs[name].write_text(small(name))
        found = ask_opencv([{"cfg": cfg} for cfg in cfgs.values()], root, python)
        named = {
            name: {key: each[key].tolist() for key in ("names", "unconnected")}
            for name, each in zip(cfgs, found, strict=True)
        }
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in named.items())
        NAMES.write_text(f"{{\n{lines}\n}}\n")
        np.savez_compressed(FOLDER / "small.npz", **small_answers(root, named, python))
        jobs = {"toys": toys_job()} | ({name: fastest_job(name) for name in FASTEST} if SHARED.is_dir() else {})
        found = ask_opencv(list(jobs.values()), root, python)
        arrays = {f"{name}/{key}": a for name, each in zip(jobs, found, strict=True) for key, a in each.items()}
        np.savez_compressed(FOLDER / "detections.npz", **arrays)


def small_answers(root, named, python):
    """Every layer's output of the small networks, with input and weights."""
    arrays = {}
    for name in COMPUTED:
        cfg, weights = write_small(name, root)
        x = blob((3, 8, 8))
        np.save(root / "input.npy", x)
        job = {"cfg": cfg, "weights": weights, "inputs": [root / "input.npy"], "layers": named[name]["names"]}
        (found,) = ask_opencv([job], root, python)
        found |= {"input": x, "weights": np.frombuffer(weights.read_bytes(), np.uint8)}
        arrays |= {f"{name}/{key}": array for key, array in found.items()}
    return arrays


if __name__ == "__main__":
    main()
