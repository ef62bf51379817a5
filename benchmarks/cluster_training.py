"""What does `train --workers N` cost? A calculation, and with --measure the small cases that it must reproduce.

    python benchmarks/cluster_training.py                       # tables for 1 and 25 Gbit/s
    python benchmarks/cluster_training.py --processors 32 --gflops 90 --workers 2,8,32
    python benchmarks/cluster_training.py --measure             # yolov3-tiny with two workers, beside the calculation
    python benchmarks/cluster_training.py --measure --nodes 2   # the same, on local nodes, which send over the network

A worker computes its share of the S mini-batches. It keeps its part of each gradient and sends the other parts, adds
its part of all gradients, and takes all sums. With n workers and G bytes of gradients, the busiest direction of its
connection carries

    gradients   G S (n - 1) / n^2         sums   G (n - 1) / n for a worker, G for the process that was started

at a share USED of the bandwidth. Within a machine, bytes are copied: each gradient into the object store and out of it,
each sum likewise. Each call costs CALL. Nothing of this overlaps the backward passes. --measure takes the seconds of a
mini-batch, the bytes per second between two workers and CALL from the machine, and then compares iterations, which
take turns: one process with two threads, one with one thread, and workers of one processor each. Workers of one node
share memory; between local nodes, Ray sends some 250 MB/s.
"""

import argparse
import math
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from networks import find_cfg, with_options

import pydarknet
from pydarknet.runtime.threads import set_threads
from pydarknet.training.trainer import Trainer

# Side, and the batch and subdivisions that the cfg's comment asks for in training.
NETWORKS = {"yolov4-tiny": (416, 64, 1), "yolov3": (416, 64, 16), "darknet53": (256, 128, 4)}
USED = 0.8  # of a network's bandwidth
COPIED = 4e9  # bytes per second, from one process of a machine to another
CALL = 0.5e-3  # seconds of the process that was started, for each object that it handles
DECODED = 8e-3  # seconds of one processor to read and augment a picture
PASSES = 3  # forward, and two products backward
SMALL = "yolov3-tiny"  # the network of --measure, at 416, batch 16, subdivisions 4


class Work(NamedTuple):
    """An iteration: bytes of a gradient, mini-batches, seconds of one mini-batch in a worker, and of an update."""

    gradient: float
    mini_batches: int
    seconds: float
    update: float


class Cost(NamedTuple):
    """Seconds of an iteration. sent: bytes that a worker sends."""

    compute: float
    transfer: float
    copies: float
    calls: float
    sent: float

    @property
    def seconds(self) -> float:
        """All of them."""
        return self.compute + self.transfer + self.copies + self.calls


def cost(
    work: Work, workers: int, bandwidth: float, copied: float = COPIED, call: float = CALL, overlap: bool = False
) -> Cost:  # fmt: skip
    """Of an iteration with `workers` workers. bandwidth: bytes per second between nodes. overlap: as if gradients were
    sent during backward passes, two thirds of the time; a bound of what that could gain."""
    n, s, g = workers, work.mini_batches, work.gradient
    each = math.ceil(s / n)
    sent = g * (s * (n - 1) / n**2 + (n - 1) / n)
    gradients, sums = g * s * (n - 1) / n**2 / bandwidth, g / bandwidth
    hidden = min(gradients, each * work.seconds * 2 / 3) if overlap else 0.0
    calls = call * (s * (n + 2) + 3 * n)
    compute, copies = each * work.seconds + work.update, g * (2 * each + 3) / copied
    return Cost(compute, gradients - hidden + sums, copies, calls, sent)


def work_of(name: str, mini_batches: int, rate: float, processors: int) -> Work:
    """rate: operations per second of a worker. processors: of a worker."""
    side, batch, _ = NETWORKS[name]
    model = pydarknet.load(find_cfg(name), width=side, height=side)
    operations = sum(layer.operations(model.dialect) for layer in model.layers)
    pictures = batch / mini_batches
    parameters = (each for layer in model.layers for each in layer.named_parameters())
    gradient = 4.0 * sum(each.array.size for each in parameters if "rolling" not in each.name)
    seconds = pictures * max(PASSES * operations / rate, DECODED / processors)
    return Work(gradient, mini_batches, seconds, 5 * gradient / COPIED)


def table(counts: list[int], gbit: float, rate: float, processors: int, overlap: bool = False) -> None:
    """One line for each network and number of mini-batches: seconds of one process, then efficiencies."""
    print(f"\n{gbit:g} Gbit/s, workers of {processors} processors, {rate / 1e9:.0f} GFLOP/s each")
    print("| network | MB of a gradient | mini-batches | 1 process | " + " | ".join(f"{n}" for n in counts) + " |")
    print("|---|---|---|---|" + "---|" * len(counts))
    for name, (_, batch, own) in NETWORKS.items():
        for each in dict.fromkeys((own, 0)):
            cells = []
            for n in counts:
                s = each or min(batch, n)
                if s < n:
                    cells.append("")
                    continue
                work = work_of(name, s, rate, processors)
                one = s * work.seconds + work.update
                took = cost(work, n, USED * gbit * 1e9 / 8, overlap=overlap)
                cells.append(f"{one / took.seconds / n:.0%} ({took.sent / 1e6:.0f} MB)")
            first = work_of(name, each or 1, rate, processors)
            one = first.mini_batches * first.seconds + first.update
            label = str(each) if each else "as workers"
            print(f"| {name} | {first.gradient / 1e6:.0f} | {label} | {one:.1f} s | " + " | ".join(cells) + " |")


# --- the small cases ---


def draw_pictures(folder: Path) -> Path:
    """A .data file with 32 drawn pictures of three classes."""
    rng, lines = np.random.default_rng(1), []
    for number in range(32):
        path = folder / f"{number}.jpg"
        cv2.imwrite(str(path), cv2.resize(rng.integers(0, 255, (30, 40, 3), np.uint8), (640, 480)))
        path.with_suffix(".txt").write_text(f"{number % 3} 0.5 0.5 0.3 0.4\n{(number + 1) % 3} 0.3 0.3 0.1 0.2\n")
        lines.append(str(path))
    (folder / "train.txt").write_text("\n".join(lines))
    (folder / "x.data").write_text(f"classes=3\ntrain={folder}/train.txt\nbackup={folder}\n")
    return folder / "x.data"


def start_cluster(workers: int, nodes: int) -> None:
    """Join a local cluster: one node, or a head without processors and that many nodes beside it."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    store = 500 << 20
    head = {"num_cpus": workers if nodes == 1 else 0, "object_store_memory": store}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(nodes if nodes > 1 else 0):
        cluster.add_node(num_cpus=workers // nodes, object_store_memory=store)
    ray.init(cluster.address, logging_level="ERROR", log_to_driver=False)


def local_rates() -> tuple[float, float]:
    """Bytes per second between two workers, and seconds of a call that returns a small object."""
    import ray

    class Holder:
        def make(self, count: int) -> Any:
            return np.ones(count, np.float32)

        def take(self, array: Any) -> int:
            return len(array)

    spread = ray.remote(num_cpus=1, scheduling_strategy="SPREAD")(Holder)
    one, two = spread.remote(), spread.remote()
    rates, calls = [], []
    for _ in range(6):
        made = one.make.remote(10_000_000)
        ray.wait([made], fetch_local=False)
        begin = time.perf_counter()
        ray.get(two.take.remote(made))
        rates.append(4e7 / (time.perf_counter() - begin))
        begin = time.perf_counter()
        ray.get([one.make.remote(1) for _ in range(100)])
        calls.append((time.perf_counter() - begin) / 100)
    for actor in (one, two):
        ray.kill(actor)
    return statistics.median(rates), statistics.median(calls)


def measure(workers: int, nodes: int, rounds: int) -> None:
    """Print seconds of iterations that take turns, and what `cost` says."""
    from pydarknet.ray.train import ClusterTrainer

    start_cluster(workers, nodes)
    bandwidth, call = local_rates()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cfg = find_cfg(SMALL)
        assert cfg is not None
        cfg = with_options(cfg, folder, batch=16, subdivisions=4, width=416, height=416, max_batches=10**6)
        cfg.write_text(cfg.read_text().replace("classes=80", "classes=3").replace("filters=255", "filters=24"))
        options: dict[str, Any] = {"checks": False, "chart": False}
        data = draw_pictures(folder)
        trainers: dict[str, Trainer] = {
            "1 process, 2 threads": Trainer(data, cfg, threads=2, **options),
            "1 process, 1 thread": Trainer(data, cfg, threads=1, **options),
            f"{workers} workers of 1 thread": ClusterTrainer(data, cfg, workers=workers, threads=1, **options),
        }
        times: dict[str, list[float]] = {label: [] for label in trainers}
        runs = {label: trainer.run() for label, trainer in trainers.items()}
        for _ in range(rounds):
            losses = set()
            for label, run in runs.items():
                set_threads(1 if label.endswith("process, 1 thread") else 2)
                begin = time.perf_counter()
                losses.add(next(run).loss)
                times[label].append(time.perf_counter() - begin)
            assert len(losses) == 1, "the losses differ"
        for run in runs.values():
            run.close()
        for label, seconds in times.items():
            print(f"{label:26} {statistics.median(seconds[1:]):.3f} s")
        two, one, cluster = (seconds[1:] for seconds in times.values())
        ratio = statistics.median(a / b for a, b in zip(two, cluster, strict=True))
        print(f"{'efficiency':26} {ratio:.2f} of one process with 2 threads, median of {len(two)} turns")
        learner = trainers[f"{workers} workers of 1 thread"].learner
        gradient = 4.0 * sum(each.update.size for _, each in learner.parameters.values())
        update = 5 * gradient / COPIED
        work = Work(gradient, 4, (statistics.median(one) - update) / 4, update)
        found = cost(work, workers, bandwidth, call=call)
        print(f"{'calculated':26} {found.seconds:.3f} s: {found}")
        rates = f"{bandwidth / 1e6:.0f} MB/s between workers, {call * 1e3:.2f} ms a call"
        print(f"{'with':26} {rates}, gradients of {gradient / 1e6:.1f} MB")


def main() -> None:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", default="", help="numbers of workers (default: 2,4,8,16,32,64; to measure: 2)")
    parser.add_argument("--processors", type=int, default=16, help="of a worker (default: 16)")
    parser.add_argument("--gflops", type=float, default=100, help="of one processor, in training (default: 100)")
    parser.add_argument("--gbit", default="1,25", help="bandwidths of the network (default: 1,25)")
    parser.add_argument("--overlap", action="store_true", help="as if gradients were sent during backward passes")
    parser.add_argument("--measure", action="store_true", help="compare with iterations on a local cluster")
    parser.add_argument("--nodes", type=int, default=1, help="local nodes of --measure (default: 1)")
    parser.add_argument("--rounds", type=int, default=16, help="iterations to measure (default: 16)")
    given = parser.parse_args()
    counts = [int(word) for word in (given.workers or ("2" if given.measure else "2,4,8,16,32,64")).split(",")]
    if given.measure:
        measure(counts[0], given.nodes, given.rounds)
        return
    for gbit in given.gbit.split(","):
        table(counts, float(gbit), given.gflops * 1e9 * given.processors, given.processors, given.overlap)


if __name__ == "__main__":
    main()
