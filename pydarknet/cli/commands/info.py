"""`info`, `ops` and `export`: layers, operations and memory of a network, and its ONNX file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..console import note, say
from ..loading import build_network, load_model, note_partial_weights, print_table
from ..options import FILE, Command, flag, network_files, network_options, size_options


@click.command("info", cls=Command)
@click.argument("cfg", type=FILE)
@click.argument("weights", type=FILE, required=False)
@size_options
@flag("json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@network_options
def info_command(cfg: str, weights: str | None, **options: Any) -> None:
    """Print the layer table as AlexeyAB's darknet prints it while loading, then totals.

    \b
    Examples:
      pydarknet info cfg/yolov4.cfg
      pydarknet info cfg/darknet19.cfg darknet19.weights --width 224 --height 224
      pydarknet info cfg/yolov4-tiny.cfg --json
    """
    from ...tools.summary import layer_table, summary, totals

    network, size = build_network(cfg, options), None
    for line in () if options["as_json"] else layer_table(network):
        say(line)
    if weights is not None:
        network.loaded = network.load_weights(weights, options["allow_partial"])
        note_partial_weights(network, weights)
        size = Path(weights).stat().st_size
    if options["as_json"]:
        say(json.dumps(summary(network, size), ensure_ascii=False))
        return
    for line in totals(network, size):
        say(line)


@click.command("ops", cls=Command)
@click.argument("cfg", type=FILE)
@size_options
@network_options
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


@click.command("export", cls=Command)
@network_files
@click.argument("out", metavar="OUT.onnx", type=FILE)
@size_options
@network_options
def export_command(cfg: str, weights: str, out: str, **options: Any) -> None:
    """Write the network as an ONNX file, for other runtimes.

    \b
    Example:
      pydarknet export cfg/yolov3-tiny.cfg yolov3-tiny.weights yolov3-tiny.onnx
    """
    from ...export.exporter import export_onnx

    model = load_model(cfg, weights, options)
    export_onnx(model, out)
    note(f"{out}: written")
