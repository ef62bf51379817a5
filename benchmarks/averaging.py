"""Compares two ways of training on several machines: every gradient summed (`train --workers`), and darknet's
own over several GPUs, where each trains alone at N times the learning rate and all weights are averaged now and then.

    python benchmarks/averaging.py obj.data small.cfg [--same-rate]

Prints mAP@.5 on the data set's `valid` pictures after the same number of pictures. The cfg's burn_in, steps and
max_batches are replaced: a fifth of the iterations, and 0.1 times the rate for their last fifth.
"""

import argparse
import re
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pydarknet.config.sections import read_data
from pydarknet.errors import DivergedError
from pydarknet.evaluation.evaluate import GroundTruth, evaluate
from pydarknet.training.trainer import Trainer


def schedule(text: str, iterations: int, factor: int) -> str:
    """The cfg for so many iterations at `factor` times its learning rate."""
    rate = float(re.search(r"(?m)^learning_rate\s*=\s*(.*)", text)[1])  # type: ignore[index]
    values = {
        "learning_rate": rate * factor, "burn_in": iterations // 5, "max_batches": iterations, "policy": "steps",
        "steps": iterations * 4 // 5, "scales": 0.1,
    }  # fmt: skip
    text = re.sub(rf"(?m)^({'|'.join(values)})\s*=.*\n", "", text)
    return text.replace("[net]\n", "[net]\n" + "".join(f"{key}={value}\n" for key, value in values.items()), 1)


def average(trainers: Sequence[Trainer]) -> None:
    """Every parameter and running statistic becomes the mean of all."""
    for layers in zip(*(trainer.model.layers for trainer in trainers), strict=True):
        for same in zip(*(layer.named_parameters() for layer in layers), strict=True):
            mean = np.mean([each.array for each in same], axis=0, dtype=np.float64)
            for each in same:
                each.array[...] = mean
        for layer in layers:
            layer.parameters_changed()


def trained(given: argparse.Namespace, replicas: int, seed: int, folder: str) -> Trainer:
    path, iterations = Path(folder) / "net.cfg", given.iterations // replicas
    path.write_text(schedule(Path(given.cfg).read_text(), iterations, 1 if given.same_rate else replicas))
    trainers = [
        Trainer(given.data, path, seed=seed * 100 + number, backup=f"{folder}/{number}", chart=False)
        for number in range(replicas)
    ]
    for trainer in trainers[1:]:  # all begin with the same weights
        for own, first in zip(trainer.model.layers, trainers[0].model.layers, strict=True):
            for mine, theirs in zip(own.named_parameters(), first.named_parameters(), strict=True):
                mine.array[...] = theirs.array
            own.parameters_changed()
    runs: list[Iterator[object]] = [trainer.run() for trainer in trainers]
    for number, _ in enumerate(zip(*runs, strict=True), start=1):
        if replicas > 1 and (number % given.interval == 0 or number == iterations):
            average(trainers)
    return trainers[0]


def main() -> None:
    parser = argparse.ArgumentParser(description="mAP of gradients that are summed, and of weights that are averaged.")
    parser.add_argument("data")
    parser.add_argument("cfg")
    parser.add_argument("--iterations", type=int, default=600, help="of one machine (default 600)")
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2, 4], help="machines (default 1 2 4)")
    parser.add_argument("--interval", type=int, default=4, help="iterations between two averages (default 4)")
    parser.add_argument("--same-rate", action="store_true", help="do not multiply the learning rate by the machines")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    given = parser.parse_args()
    data = read_data(given.data)
    truth = GroundTruth.from_data(data, data.positive("classes", 1))
    for replicas in given.replicas:
        found = []
        for seed in given.seeds:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    made = trained(given, replicas, seed, folder)
                except DivergedError as error:
                    print(f"{replicas} machines, seed {seed}: {error}", flush=True)
                    found.append(0.0)
                    continue
                found.append(100 * evaluate(made.model, truth).report.mean_average_precision)
        listed = ", ".join(f"{each:.1f}" for each in found)
        print(f"{replicas} machines: mAP@.5 {statistics.mean(found):.1f} % ({listed})", flush=True)


if __name__ == "__main__":
    main()
