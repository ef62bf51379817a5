"""`info` and `ops`: layers, operations and memory of a network."""

from __future__ import annotations

import json
from typing import Any

from ..console import say
from ..loading import build_network, note_partial_weights, print_table
from ..options import command


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
