"""Networks, weights and names from the arguments of a command."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..utils.resources import find_file, network_file
from .console import note

if TYPE_CHECKING:
    from ..config.sections import Section
    from ..model import Model
    from ..network.network import Network

Options = Mapping[str, Any]
MODEL_OPTIONS = (
    "dialect",
    "threads",
    "allow_partial",
    "tune",
    "precision",
    "quantized",
)  # those of every command with a model


def build_network(cfg: str, options: Options) -> Network:
    """The network of a .cfg file, its parameters uninitialised."""
    from ..config.dialect import choose_dialect
    from ..config.sections import read_config
    from ..network.network import Network

    config = read_config(network_file(cfg))
    dialect = choose_dialect(options["dialect"], config)
    return Network(config, dialect, width=options.get("width"), height=options.get("height"))


def load_network(cfg: str, weights: str, options: Options) -> Network:
    """The network of a .cfg file with its weights, without class names."""
    network = build_network(cfg, options)
    network.loaded = network.load_weights(weights, options["allow_partial"])
    note_partial_weights(network, weights)
    if options["verbose"]:
        print_table(network)
    return network


def load_model(cfg: str, weights: str | None, options: Options, **more: Any) -> Model:
    """A network with its weights (None: random ones) and class names. more: further arguments of `model.load_model`."""
    from ..model import load_model as load

    if options["quantized"] and options["precision"] != "int8":
        note("--quantized has no effect without --precision int8")
    model = load(
        network_file(cfg),
        weights,
        **{name: options[name] for name in MODEL_OPTIONS},
        names=names_file(options),
        **{"width": options.get("width"), "height": options.get("height"), **more},
    )
    _ = model.names
    if options["verbose"]:
        print_table(model)
    if weights is not None:
        note_partial_weights(model, weights)
    return model


def read_data_file(path: str) -> Section:
    """A .data file, which may be a bundled one."""
    from ..config.sections import read_data

    return read_data(network_file(path))


def names_file(options: Options) -> Path | None:
    """The names file that the options give: `--names`, else what the `--data` file calls `names` or `labels`."""
    if options.get("names"):
        return find_file(options["names"], None)
    if options.get("data"):
        return read_data_file(options["data"]).file("names", "labels")
    return None


def print_table(network: Network) -> None:
    """The layer table, on standard error."""
    from ..tools.summary import layer_table

    for line in layer_table(network):
        note(line)


def note_partial_weights(network: Network, weights: str) -> None:
    """Print how many layers a weights file of another length has filled (after --allow-partial)."""
    loaded, layers = network.loaded, len(network.layers)
    if loaded is None or (loaded.layers == layers and not loaded.left_over):
        return
    rest = f"; {loaded.left_over} numbers are left over" if loaded.left_over else ""
    note(f"{weights}: loaded {loaded.layers} of {layers} layers{rest}")
