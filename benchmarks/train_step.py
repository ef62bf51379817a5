"""One training iteration, ours beside PyTorch's on the same network: forward, loss, backward, update."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from networks import find_cfg, make_sane, with_options
from turns import Timed, take_turns, timed

import pydarknet

BATCH = 8
HEAD = ["network", "pydarknet", "PyTorch", "PyTorch / ours"]
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


def torch_step(network: pydarknet.Model, x: np.ndarray, threads: int) -> Timed:
    """PyTorch's iteration: channels_last, SGD with the cfg's momentum and decay. The loss of a detector is the sum of
    the squares of what its heads read, cheaper than ours.

    Raises ArithmeticError where its forward pass does not give what ours gives.
    """
    import torch
    from torch_network import TorchNetwork, last_layers

    torch.set_num_threads(threads)
    model = TorchNetwork(network).eval().to(memory_format=torch.channels_last)
    images = torch.from_numpy(x).contiguous(memory_format=torch.channels_last)
    every = pydarknet.Model.layer_outputs(network, x)
    with torch.inference_mode():
        for index, y in zip(last_layers(network), model(images), strict=True):
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
    rng = np.random.default_rng(1)
    x = rng.random((BATCH, *network.input_shape), np.float32)
    truth = random_truth(network, rng)
    runners = [timed(lambda: network.train_step(x, truth))]
    if find_spec("torch") is not None:
        still = pydarknet.load(ready, batch=BATCH, threads=threads)
        make_sane(still)
        runners.append(torch_step(still, x, threads))
    each = [1000 * median / BATCH for median in take_turns(runners, repeats)]
    theirs = [f"{each[1]:.1f}", f"{each[1] / each[0]:.2f}"] if len(each) > 1 else ["-", "-"]
    return [f"{name} {size}, batch {BATCH}", f"{each[0]:.1f}", *theirs]
