"""One training iteration, ours beside PyTorch's on the same network: forward, loss, backward, update.

As a program, ENGINE CFG THREADS: STEPS iterations of one of them, for the peak memory of its process.
"""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from networks import find_cfg, make_sane, with_options
from processes import run_process
from turns import Timed, take_turns, timed

import pydarknet

BATCH = 8
HEAD = ["network", "pydarknet", "PyTorch", "PyTorch / ours", "pydarknet MiB", "PyTorch MiB"]
STEPS = 3
ENGINES = "pydarknet", "torch"
TOLERANCE = 1e-3


def random_truth(network: pydarknet.Model, rng: np.random.Generator) -> list[np.ndarray]:
    """For each picture of a batch: four boxes of random classes, or one class of all."""
    if not network.heads:
        return [np.eye(1, network.classes, rng.integers(network.classes), dtype=np.float32)[0] for _ in range(BATCH)]
    boxes = []
    for _ in range(BATCH):
        size = rng.uniform(0.05, 0.4, (4, 2))
        centre = rng.uniform(size / 2, 1 - size / 2)
        boxes.append(np.concatenate([rng.integers(network.classes, size=(4, 1)), centre, size], 1).astype(np.float32))
    return boxes


def mini_batch(network: pydarknet.Model) -> tuple[np.ndarray, list[np.ndarray]]:
    """Random pictures, and their truth."""
    rng = np.random.default_rng(1)
    return rng.random((BATCH, *network.input_shape), np.float32), random_truth(network, rng)


def torch_step(network: pydarknet.Model, x: np.ndarray, threads: int, compare: bool = True) -> Timed:
    """PyTorch's iteration: channels_last, SGD with the cfg's momentum and decay. The loss of a detector is the sum of
    the squares of what its heads read, cheaper than ours.

    Raises ArithmeticError where its forward pass does not give what ours gives.
    """
    import torch
    from torch_network import TorchNetwork, last_layers

    torch.set_num_threads(threads)
    model = TorchNetwork(network).eval().to(memory_format=torch.channels_last)
    images = torch.from_numpy(x).contiguous(memory_format=torch.channels_last)
    every = pydarknet.Model.layer_outputs(network, x) if compare else []
    with torch.inference_mode():
        for index, y in zip(last_layers(network), model(images), strict=True) if compare else ():
            ours: Any = every[index]
            difference = float(np.abs(y.numpy().reshape(ours.shape) - ours).max() / np.abs(ours).max())
            if not difference <= TOLERANCE:
                raise ArithmeticError(f"{network.path}: layer {index} differs from PyTorch's by {difference:.1e}")
    model.train()
    net = network.config.net
    update = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=net.real("momentum", 0.9),
                             weight_decay=net.real("decay", 1e-4))  # fmt: skip

    def step() -> None:
        update.zero_grad(set_to_none=True)
        outputs = model(images)
        loss = sum((y**2).sum() for y in outputs) if network.heads else -outputs[0][:, 0].log().sum()
        loss.backward()
        update.step()

    return timed(step)


def time_training(name: str, size: int, threads: int, repeats: int, folder: Path) -> list[str] | None:
    """Milliseconds an image of both; a dash where PyTorch is not installed."""
    cfg = find_cfg(name)
    if cfg is None:
        print(f"{name}: left out, no {name}.cfg found", file=sys.stderr)
        return None
    ready = with_options(cfg, folder, width=size, height=size, batch=BATCH, subdivisions=1)
    network = pydarknet.load(ready, train=True, threads=threads)
    make_sane(network)
    x, truth = mini_batch(network)
    runners = [timed(lambda: network.train_step(x, truth))]
    if find_spec("torch") is not None:
        still = pydarknet.load(ready, batch=BATCH, threads=threads)
        make_sane(still)
        runners.append(torch_step(still, x, threads))
    each = [1000 * median / BATCH for median in take_turns(runners, repeats)]
    theirs = [f"{each[1]:.1f}", f"{each[1] / each[0]:.2f}"] if len(each) > 1 else ["-", "-"]
    program = [sys.executable, __file__]
    peaks = [
        f"{run_process([*program, engine, str(ready), str(threads)]).peak_mib:.0f}" for engine in ENGINES[: len(each)]
    ]
    return [f"{name} {size}, batch {BATCH}", f"{each[0]:.1f}", *theirs, *peaks, *["-"] * (2 - len(each))]


def main() -> None:
    engine, cfg, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    network = pydarknet.load(cfg, train=engine == ENGINES[0], batch=BATCH, threads=threads)
    x, truth = mini_batch(network)
    step = timed(lambda: network.train_step(x, truth)) if network.training else torch_step(network, x, threads, False)
    for _ in range(STEPS):
        step()


if __name__ == "__main__":
    main()
