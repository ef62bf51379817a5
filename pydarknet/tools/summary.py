"""darknet's layer table of a network, its operations, parameters and memory, as lines of text."""

from collections.abc import Iterator
from dataclasses import astuple
from typing import Any

import numpy as np

from ..layers import INPUT, Layer
from ..network.memory_plan import Graph
from ..network.network import Network
from ..tensor import Layout

HEADER = "   layer   filters  size/strd(dil)      input                output"
MEGABYTE = 1 << 20

# Layers for which darknet stores no width and height, so `avg_outputs` omits them.
_WITHOUT_PLANE = frozenset({"conn", "connected", "cost", "dropout", "gru", "implicit", "lstm", "rnn"})


def layer_table(network: Network) -> Iterator[str]:
    """The lines that AlexeyAB's darknet prints while it builds the network."""
    yield HEADER
    for index, layer in enumerate(network.layers):
        yield from f"{index:4d} {layer.table_row()}".split("\n")
    billions = sum((np.float32(layer.table_operations() / 1e9) for layer in network.layers), np.float32(0))
    counted = [layer.shape.outputs for layer in network.layers if _has_plane(network, layer)]
    yield f"Total BFLOPS {billions:5.3f} "
    yield f"avg_outputs = {sum(counted) // max(1, len(counted))} "


def _has_plane(network: Network, layer: Layer) -> bool:
    if layer.kind == "detection":
        return layer.section.integer("side", 7) > 1
    while layer.kind == "route":  # has those of its first source
        layer = network.layers[layer.sources[0]]
    if layer.kind in _WITHOUT_PLANE and not layer.section.flag("dropblock"):
        return False
    return layer.inputs[0].width > 1 and layer.inputs[0].height > 1


def operation_lines(network: Network) -> Iterator[str]:
    """The lines of `darknet ops`."""
    yield f"Floating Point Operations: {network.ops}"
    yield f"Floating Point Operations: {network.ops / 1e9:.2f} Bn"


def totals(network: Network, file_size: int | None = None) -> Iterator[str]:
    """Operations, parameters, memory, size of the weights file. file_size: None for a new one."""
    values = summary(network, file_size)
    size, (packed, activations) = values["weights_file"], values["memory"].values()
    table = sum(layer.table_operations() for layer in network.layers)
    yield f"operations    {network.ops / 1e9:.2f} Bn as `ops` counts them, {table / 1e9:.2f} Bn in the table"
    yield f"parameters    {values['parameters']}"
    yield f"weights file  {megabytes(size)} MB ({size} bytes)"
    parts = f"parameters as read and as packed {megabytes(packed)}, activations {megabytes(activations)}"
    yield f"peak memory   about {megabytes(packed + activations)} MB besides Python's own ({parts})"


def summary(network: Network, file_size: int | None = None) -> dict[str, Any]:
    """`layer_table` and `totals` as values for JSON, with shapes (channels, height, width)."""
    parameters = network.parameter_count
    layers = [
        {
            "index": index,
            "type": layer.kind,
            "inputs": [astuple(shape) for shape in layer.inputs],
            "output": astuple(layer.shape),
            "parameters": sum(array.size for array in layer.parameters()),
            "operations": int(layer.table_operations()),
        }
        for index, layer in enumerate(network.layers)
    ]
    return {
        "cfg": str(network.path),
        "dialect": network.dialect.name,
        "input": network.input_shape,
        "operations": network.ops,
        "parameters": parameters,
        "weights_file": 4 * parameters + len(network.header.pack()) if file_size is None else file_size,
        "memory": {"parameters": 8 * parameters, "activations": activation_bytes(network)},
        "layers": layers,
    }


def megabytes(size: int) -> str:
    """Bytes in units of 2^20, rounded as in darknet's published tables: 238, 4.0."""
    value = size / MEGABYTE
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}"


def activation_bytes(network: Network) -> int:
    """The estimated memory of outputs in blocked layout: the largest sum of live ones."""
    graph = Graph(network.layers, network.input, network.output_index)
    last = {graph.owner(index): index for index in range(INPUT, len(network.layers))}
    for index, layer in enumerate(network.layers):
        last.update((graph.owner(source), index) for source in layer.sources)
    change = np.zeros(len(network.layers) + 1, np.int64)  # of the live bytes, before each layer
    for index, reader in last.items():
        size = 4 * Layout(1, graph.shape(index), halo=1).size
        change[max(index, 0)] += size
        change[reader + 1] -= size
    return network.batch * int(change.cumsum().max())
