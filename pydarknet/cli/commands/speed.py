"""`speed`: the time of a network's passes or layers."""

from collections.abc import Iterator, Sequence
from typing import Any

from ...layers import INPUT
from ...layers.base import sizes
from ...network.network import Network
from ...tools.profile import LayerTime, peak, time_layers, time_passes
from ..console import note, say
from ..loading import load_model

PASSES, LAYER_PASSES = 1000, 20


def run_speed(cfg: str, n: int | None, **options: Any) -> None:
    size = {side: options[side] or options["size"] for side in ("width", "height")}
    network = load_model(cfg, options["weights"], options, batch=options["batch"], **size)
    if options["batch"] > 1:
        note(f"each of the passes computes {options['batch']} pictures")
    if options["layers"]:
        say(*layer_lines(network, time_layers(network, n or LAYER_PASSES), peak()))
        return
    passes = n or PASSES
    say(*total_lines(network, passes, time_passes(network, passes)))


def total_lines(network: Network, passes: int, seconds: float) -> list[str]:
    """darknet's lines. AlexeyAB's darknet counts whole seconds; here they have fractions."""
    lines = [f"\n{passes} evals, {seconds:f} Seconds"]
    if network.dialect.speed_prints_operations:
        billions = network.ops * network.batch / 1e9
        lines += [f"Floating Point Operations: {billions:.2f} Bn", f"FLOPS: {billions * passes / seconds:.2f} Bn"]
    return [*lines, f"Speed: {seconds / passes:f} sec/eval", f"Speed: {passes / seconds:f} Hz"]


def layer_lines(network: Network, times: Sequence[LayerTime], peak: float) -> Iterator[str]:
    whole = sum(layer.seconds for layer in times)
    columns = f"{'ms':>9s} {'share':>7s} {'GFLOP/s':>8s} {'of peak':>8s}"
    yield f"layer {'kind':15s} {'input':^16s}    {'output':^16s} {columns}"
    for layer in sorted(times, key=lambda layer: -layer.seconds):
        number, kind, source, target = "    -", "input", network.input, network.input
        if layer.index != INPUT:
            described = network.layers[layer.index]
            number, kind = f"{layer.index:5d}", described.kind
            source, target = described.inputs[0], described.shape
        speed = "       -        -"
        if layer.operations:
            speed = f"{layer.rate / 1e9:8.1f} {100 * layer.rate / peak:7.1f}%"
        spent = f"{1000 * layer.seconds:9.3f} {100 * layer.seconds / whole:6.1f}%"
        yield f"{number} {kind:15s} {sizes(source)} -> {sizes(target)} {spent} {speed}"
    operations = sum(layer.operations for layer in times)
    rate = operations / whole
    yield ""
    yield f"total {1000 * whole:.3f} ms, {operations / 1e9:.3f} GFLOP, {rate / 1e9:.1f} GFLOP/s"
    yield f"peak  {peak / 1e9:.1f} GFLOP/s, of which the whole reaches {100 * rate / peak:.1f} %"
