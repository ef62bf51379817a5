"""`info`, `ops`, `speed`: layers, operations and memory of a network; the time of its passes, or of each layer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from ..console import note, say
from ..loading import build_network, load_model, note_partial_weights, print_table
from ..options import FILE, POSITIVE, command, flag

if TYPE_CHECKING:
    from ...network.network import Network
    from ...tools.profile import LayerTime

PASSES, LAYER_PASSES = 1000, 20


@command("info", "cfg [weights] size object network")
def info_command(cfg: str, weights: str | None, **options: Any) -> None:
    """Print the layer table as AlexeyAB's darknet prints it while loading, then totals.

    \b
    Examples:
      pydarknet info cfg/yolov4.cfg
      pydarknet info cfg/darknet19.cfg darknet19.weights --width 224 --height 224
      pydarknet info cfg/yolov4-tiny.cfg --json
    """
    from ...config.published import weights_file
    from ...tools.summary import layer_table, summary, totals

    network, size = build_network(cfg, options), None
    for line in () if options["as_json"] else layer_table(network):
        say(line)
    if weights is not None:
        network.loaded = network.load_weights(weights, options["allow_partial"])
        note_partial_weights(network, weights)
        size = weights_file(weights).stat().st_size
    if options["as_json"]:
        say(json.dumps(summary(network, size), ensure_ascii=False))
        return
    for line in totals(network, size):
        say(line)


@command("ops", "cfg size network")
def ops_command(cfg: str, **options: Any) -> None:
    """Print the floating-point operations of one picture as darknet counts them.

    \b
    Example:
      pydarknet ops cfg/darknet19.cfg --width 224 --height 224
    """
    from ...tools.summary import operation_lines

    network = build_network(cfg, options)
    if options["verbose"]:
        print_table(network)
    for line in operation_lines(network):
        say(line)


@command(
    "speed", "cfg",
    click.argument("n", type=click.IntRange(min=0), required=False),
    flag("layers", help="Time each layer; print the slowest first."),
    flag("weights FILE", type=FILE, help="The weights. Default: random ones."),
    flag("size S", type=POSITIVE, help="Width and height of the network's input in pixels."),
    "size",
    flag("batch N", type=click.IntRange(1, 1 << 16), default=1, help="Pictures per forward pass."),
    "network",
)  # fmt: skip
def speed_command(cfg: str, n: int | None, **options: Any) -> None:
    """Time N forward passes on black pictures (default: 1000; with --layers 20), as darknet does.

    With --layers, prints for each layer: input and output size, median time, share of the total, GFLOP/s, and the
    share of the peak, which is the speed of the direct micro-kernel on data in the cache. The operations are those of
    the direct algorithm; with an algorithm that needs fewer, a layer can reach more than the peak.

    \b
    Examples:
      pydarknet speed cfg/yolov3-tiny.cfg 100
      pydarknet speed cfg/yolov4.cfg --size 416 --threads 1 --layers
    """
    from ...tools.profile import peak, time_layers, time_passes

    side = options["size"]
    size = {"width": options["width"] or side, "height": options["height"] or side}
    network = load_model(cfg, options["weights"], options, batch=options["batch"], **size)
    if options["batch"] > 1:
        note(f"each of the passes computes {options['batch']} pictures")
    if options["layers"]:
        times = time_layers(network, n or LAYER_PASSES)
        for line in layer_lines(network, times, peak()):
            say(line)
        return
    passes = n or PASSES
    for line in total_lines(network, passes, time_passes(network, passes)):
        say(line)


def total_lines(network: Network, passes: int, seconds: float) -> Iterator[str]:
    """darknet's lines. AlexeyAB's darknet counts whole seconds; here they have fractions."""
    yield f"\n{passes} evals, {seconds:f} Seconds"
    if network.dialect.speed_prints_operations:
        billions = network.ops * network.batch / 1e9
        yield f"Floating Point Operations: {billions:.2f} Bn"
        yield f"FLOPS: {billions * passes / seconds:.2f} Bn"
    yield f"Speed: {seconds / passes:f} sec/eval"
    yield f"Speed: {passes / seconds:f} Hz"


def layer_lines(network: Network, times: Sequence[LayerTime], peak: float) -> Iterator[str]:
    """A table of the layers, the slowest first, and their sum."""
    from ...layers import INPUT
    from ...layers.base import sizes

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
