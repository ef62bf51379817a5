"""What more cores will do: a model of each layer's time, checked against one and two threads of this machine.

    python benchmarks/cores.py [--networks NAME[:SIZE] ...] [--cores 4 8 16] [--bandwidth 60] [--cache 32]

A layer's time on N cores is the longer of two: its time on one, divided by N and by how evenly its tasks divide; and
its bytes from memory by the bandwidth of N cores. Filters come from memory where those of the network are larger than
the caches, so do tensors larger than half of them. Each loop that is divided costs LOOP times log2(N).
Bandwidth of one and two threads is measured; that of more grows with N up to `--bandwidth`, a desktop's.
"""

import argparse
import contextlib
import math
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from networks import chosen, find_cfg, random_network

from pydarknet.kernels.convolution.microkernel import MR
from pydarknet.kernels.convolution.nchw import BANDS
from pydarknet.kernels.views import BandedPlanes, NchwRows, Origins, Planes, Schedule, WinogradInput, WinogradSchedule
from pydarknet.model import Model
from pydarknet.runtime.threads import set_threads, threads
from pydarknet.tools.profile import time_layers

NETWORKS = {
    "tiny": 224, "darknet19": 256, "darknet53": 256, "yolov3-tiny": 416, "yolov4-tiny": 416, "yolo-fastest-1.1": 320
}  # fmt: skip
PLANNED = [f"pydarknet.layers.convolution.{name}.threads" for name in ("direct", "algorithm", "nchw")]
LOOP = 3e-6  # seconds that dividing a loop among two threads costs
MEASURED = 256 << 20  # bytes that are copied to measure a bandwidth


class Layer(NamedTuple):
    """A layer as it is planned: its operations, the loops that are divided, and of these the smallest number of
    tasks; bytes of tensors and of filters."""

    index: int
    operations: float
    loops: int
    tasks: int
    tensors: int
    filters: int


@contextlib.contextmanager
def planned_for(cores: int) -> Iterator[None]:
    """Networks that are prepared within the block are planned for so many cores; they need not be here."""
    with contextlib.ExitStack() as stack:
        for name in PLANNED:
            stack.enter_context(mock.patch(name, lambda: cores))
        stack.enter_context(mock.patch("pydarknet.layers.workspace.most_threads", lambda: max(cores, threads())))
        yield


def layers_of(network: Model, cores: int) -> list[Layer]:
    """The layers as they would be planned for so many cores."""
    with planned_for(cores):
        network.plan = None
        network._workspace.__init__()  # a queue for all of them
        network.prepare((1, *network.input_shape))
        assert network.plan is not None
        index_of = {layer: index for index, layer in enumerate(network.layers)}
        found = []
        for layer in network.plan.steps:
            calls = [call for call in layer.calls() if hasattr(call, "arguments")]
            tasks = [tasks_of(call, cores) for call in calls]
            operations = sum(float(each.table_operations()) for each in (layer, *layer.fused))
            tensors, filters = np.sum([bytes_of(call) for call in calls], axis=0) if calls else (0, 0)
            found.append(Layer(index_of[layer], operations, len(calls), min(tasks, default=1), tensors, filters))
    network.plan = None
    return found


def tasks_of(call: Any, cores: int) -> int:
    """Into how many tasks the call's loop is divided, as its kernel counts them."""
    found = {type(each): each for each in call.arguments}
    y_at = [each for each in call.arguments if isinstance(each, Planes)][-1:] or [Planes(1, 1, 1, 1, 0, 0, 0, 0)]
    pictures, height, width = y_at[0].pictures, y_at[0].height, y_at[0].width
    if (schedule := found.get(Schedule)) is not None:
        at = found[Origins]
        unit = 2 * at.width if (at.height, at.width) != (height, width) else MR
        tiles = -(-at.height * at.width // unit)
        filters = next(each for each in call.arguments if hasattr(each, "panels") and hasattr(each, "offsets"))
        return pictures * -(-tiles // schedule.tiles_per_task) * len(filters.panels)
    if (schedule := found.get(WinogradSchedule)) is not None:
        at = found[WinogradInput]
        m = next(each.m for each in call.arguments if hasattr(each, "m") and hasattr(each, "panels"))
        tiles = pictures * -(-at.height // m) * -(-at.width // m)
        return -(-tiles // schedule.tiles_per_task) * schedule.panel_ranges
    if (banded := found.get(BandedPlanes)) is not None:
        return pictures * banded.bands
    if (rows := found.get(NchwRows)) is not None:
        return pictures * min(height if rows.size != 3 or rows.stride != 1 else (rows.height + 1) // 2, BANDS * cores)
    return pictures * y_at[0].blocks * height


def bytes_of(call: Any) -> tuple[int, int]:
    """Of tensors, which are the call's own arrays, and of filters, which lie in tuples; without the workspace."""
    arguments = call.arguments
    own = [each for each in arguments if isinstance(each, np.ndarray) and each.dtype == np.float32]
    inner = [each for group in arguments if isinstance(group, tuple) for each in group if isinstance(each, np.ndarray)]
    scratch = own[-1:] if any(each.dtype == np.int64 for each in arguments if isinstance(each, np.ndarray)) else []
    tensors = sum(each.nbytes for each in own if all(each is not one for one in scratch))
    return tensors, sum(each.nbytes for each in inner)


def evenness(tasks: int, cores: int) -> float:
    """The share of the cores' time that is used, where all tasks take as long."""
    return tasks / (cores * -(-tasks // cores))


def evenness_of(network: Model, cores: int) -> float:
    """The same of all layers, each by its operations."""
    layers = layers_of(network, cores)
    return sum(each.operations for each in layers) / sum(
        each.operations / evenness(each.tasks, cores) for each in layers
    )


class Machine(NamedTuple):
    """bandwidth: bytes per second by the number of cores. loop: see LOOP. cache: bytes."""

    bandwidth: dict[int, float]
    loop: float
    cache: float

    def seconds(self, layers: Sequence[Layer], on_one: dict[int, float], cores: int) -> float:
        """The model's time of a pass."""
        from_memory = sum(layer.filters for layer in layers) > self.cache
        rest = {**on_one, **{layer.index: 0.0 for layer in layers}}  # computed with others on so many cores
        whole = sum(rest.values()) / cores
        for layer in layers:
            moved = layer.filters * from_memory + layer.tensors * (layer.tensors > self.cache / 2)
            even = on_one.get(layer.index, 0.0) / cores / evenness(layer.tasks, cores)
            whole += max(even, moved / self.bandwidth[cores]) + self.loop * layer.loops * math.log2(cores)
        return whole


def copied(count: int) -> float:
    """Bytes per second that so many threads read and write."""
    pairs = [(np.ones(MEASURED // 8), np.ones(MEASURED // 8)) for _ in range(count)]

    def seconds() -> float:
        workers = [threading.Thread(target=np.copyto, args=pair) for pair in pairs]
        start = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return time.perf_counter() - start

    return 2 * MEASURED * count / min(seconds() for _ in range(5))


def measured(network: Model, count: int, passes: int) -> dict[int, float]:
    set_threads(count)
    network.plan = None
    return {layer.index: layer.seconds for layer in time_layers(network, passes)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=[], metavar="NAME[:SIZE]")
    parser.add_argument("--cores", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--bandwidth", type=float, default=60.0, help="GB/s of all cores (default 60)")
    parser.add_argument("--cache", type=float, default=32.0, help="MiB of the last cache (default 32)")
    parser.add_argument("--passes", type=int, default=30)
    given = parser.parse_args()
    most, one = given.bandwidth * 1e9, copied(1)
    bandwidth = {1: one, 2: copied(2), **{cores: min(cores * one, most) for cores in given.cores}}
    print(f"bandwidth of 1 and 2 threads: {one / 1e9:.1f} and {bandwidth[2] / 1e9:.1f} GB/s")
    for name, size in chosen(given.networks, NETWORKS).items():
        cfg = find_cfg(name)
        if cfg is None:
            continue
        network = random_network(cfg, size)
        on_one, on_two = (measured(network, count, given.passes) for count in (1, 2))
        machine, whole = Machine(bandwidth, LOOP, given.cache * 2**20), sum(on_one.values())
        model = {cores: machine.seconds(layers_of(network, cores), on_one, cores) for cores in (2, *given.cores)}
        speeds = ", ".join(f"{cores} cores {whole / model[cores]:.1f}" for cores in given.cores)
        two = f"{whole / sum(on_two.values()):.2f}, model {whole / model[2]:.2f}"
        print(f"{name} {size}: 1 thread {1e3 * whole:.2f} ms; 2 threads {two}; {speeds}")
        last = given.cores[-1]
        layers = [layer for layer in layers_of(network, last) if layer.index in on_one]
        lost = {layer: on_one[layer.index] * (1 / evenness(layer.tasks, last) - 1) for layer in layers}
        for layer in sorted(lost, key=lambda layer: -lost[layer])[:3]:
            print(
                f"    {last} cores, layer {layer.index} ({network.layers[layer.index].kind}): {layer.tasks} tasks, "
                f"{100 * evenness(layer.tasks, last):.0f} % even, {100 * on_one[layer.index] / whole:.1f} % of the time"
            )


if __name__ == "__main__":
    main()
