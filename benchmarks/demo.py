"""What a newcomer would type, run for real: `make demo`.

No trained model comes with the package yet, so the weights are random numbers from a seed: every step is the real one,
from the .weights file to the annotated picture, but what the networks say about the picture means nothing.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from networks import random_network

import pydarknet

ROOT = Path(__file__).resolve().parents[1]
OUT = Path("demo-out")  # below the repository, where the commands run
SAMPLE = Path("data/sample.jpg")
DETECTOR, CLASSIFIER = Path("cfg/yolov3-tiny.cfg"), Path("cfg/tiny.cfg")
SEED = 12  # of several tried, one whose boxes lie inside the picture
FEWEST, MOST = 3, 7  # objects to draw
CALM = 0.3  # factor of the weights that stretch the boxes, so that most stay smaller than the picture
DOUBT = -2.0  # bias of objectness and classes, so that most places see nothing, as in a trained detector


def save_detector(path: Path) -> pydarknet.Model:
    """Random weights for the detector, written as training would write them."""
    network = random_network(DETECTOR, seed=SEED)
    for head in network.heads:
        arrays = {record.name: record.array for record in network.layers[head - 1].records()}
        anchors = len(arrays["biases"]) // (5 + network.classes)
        arrays["weights"].reshape(anchors, 5 + network.classes, -1)[:, 2:4] *= CALM
        arrays["biases"].reshape(anchors, -1)[:, 4:] = DOUBT
    network.parameters_changed()
    network.save_weights(path)
    return network


def threshold_for_a_few(network: pydarknet.Model) -> float:
    """A threshold between two confidences that lie well apart, above which FEWEST to MOST objects remain."""
    found = network.detect(SAMPLE, thresh=0.1)
    confidences = sorted((detection.confidence for detection in found), reverse=True)[: MOST + 1]
    if len(confidences) <= FEWEST:
        raise SystemExit(f"demo: {len(confidences)} objects in {SAMPLE}; expected more than {FEWEST}")
    _, above, below = max((confidences[k - 1] - confidences[k], confidences[k - 1], confidences[k])
                          for k in range(FEWEST, len(confidences)))  # fmt: skip
    return round((above + below) / 2, 4)


def run(*words: str | Path) -> None:
    """Print a command and run it. Ends the demo when the command fails."""
    line = [str(word) for word in words]
    print(f"\n$ python {shlex.join(line)}", flush=True)
    done = subprocess.run([sys.executable, *line])
    if done.returncode != 0:
        raise SystemExit(f"demo: exit code {done.returncode}")


def main() -> None:
    start = time.perf_counter()
    os.chdir(ROOT)
    OUT.mkdir(exist_ok=True)
    picture = OUT / SAMPLE.name
    picture.unlink(missing_ok=True)

    print("No trained model is bundled yet: the weights below are random, so the names mean nothing.")
    print("The first run compiles the kernels, which takes up to half a minute.", flush=True)
    detector = save_detector(OUT / "demo.weights")
    random_network(CLASSIFIER).save_weights(OUT / "demo-tiny.weights")
    threshold = threshold_for_a_few(detector)
    print(f"Wrote {OUT / 'demo.weights'} and {OUT / 'demo-tiny.weights'}.")

    run("-m", "pydarknet", "detect", DETECTOR, OUT / "demo.weights", SAMPLE,
        "-thresh", str(threshold), "--out-dir", OUT)  # fmt: skip
    run("-m", "pydarknet", "classify", CLASSIFIER, OUT / "demo-tiny.weights", SAMPLE)
    if not picture.is_file():
        raise SystemExit(f"demo: {picture} was not written")
    print(f"\nThe picture with the boxes is {picture}. {time.perf_counter() - start:.0f} seconds in all.")


if __name__ == "__main__":
    main()
