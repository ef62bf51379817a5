"""One side of `compare.py`: prints the fastest of N passes in milliseconds for each line N that it reads.

Only the public API is used, so that checkouts of different age can be compared.
"""

import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import pydarknet

ADDED = 0.25  # scale of the layers that residual blocks add: the values would double from block to block


def with_batch(cfg: Path, size: int, batch: int) -> Path:
    """A copy of the network file for mini-batches of this size."""
    head, mark, rest = cfg.read_text().partition("\n[conv")
    for key, value in {"batch": batch, "subdivisions": 1, "width": size, "height": size}.items():
        head = re.sub(rf"^\s*{key}\s*=.*\n?", "", head, flags=re.MULTILINE).rstrip() + f"\n{key}={value}\n"
    path = Path(tempfile.mkdtemp()) / cfg.name
    path.write_text(head + mark + rest)
    return path


def make_sane(net: pydarknet.Model) -> None:
    """Batch-norm statistics that keep random networks finite: variance 1, small residual branches."""
    added = {source for layer in net.layers if layer.kind == "shortcut" for source in layer.sources[:1]}
    for index, layer in enumerate(net.layers):
        arrays = layer.parameters()
        if len(arrays) == 5:  # biases, scales, mean, variance, weights
            arrays[3][:] = 1
            if index in added:
                arrays[1][:] = ADDED
    net.parameters_changed()


def main() -> None:
    cfg, (size, threads, batch) = Path(sys.argv[1]), map(int, sys.argv[2:])
    if batch:
        net = pydarknet.load(with_batch(cfg, size, batch), threads=threads, seed=0, train=True)
    else:
        net = pydarknet.load(cfg, width=size, height=size, threads=threads, seed=0)
    make_sane(net)
    x = np.random.default_rng(0).random((batch or 1, *net.input_shape), np.float32)
    if net.heads:
        truth = [np.array([[0, 0.5, 0.5, 0.3, 0.4]], np.float32)] * batch
    else:
        truth = [np.eye(1, net.classes, dtype=np.float32)[0]] * batch

    def once() -> None:
        net.train_step(x, truth) if batch else net.forward(x)

    once()
    once()
    print("ready", flush=True)
    for line in sys.stdin:
        best = float("inf")
        for _ in range(int(line)):
            start = time.perf_counter()
            once()
            best = min(best, time.perf_counter() - start)
        print(1e3 * best, flush=True)


if __name__ == "__main__":
    main()
