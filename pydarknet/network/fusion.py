"""The graph of a network's layers, and which of them one layer can compute as one step: operator fusion.

A convolution, for example, adds a residual connection or pools 2 x 2 pixels while it stores its output; the sums that
lie between never reach memory. A layer can be fused into an earlier one only where it is the only reader of the tensor
between them, since nobody else then misses that tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..layers import INPUT, Layer
from ..tensor import Shape

MOST_FUSED = 3  # layers that any layer computes besides its own work


@dataclass(frozen=True)
class Graph:
    """Layers, the shape of the network's input, and who reads whose tensor.

    An alias is a layer that passes on what it reads (dropout at inference, a route of one source): it owns no tensor.
    output: the layer whose output is the network's. owners: for each layer the one that owns the tensor of its output,
    or INPUT. readers: for each owner the layers that read its tensor, once for each time that they name it.
    """

    layers: Sequence[Layer]
    input: Shape
    output: int
    owners: Sequence[int] = field(init=False)
    readers: dict[int, list[int]] = field(init=False)

    def __post_init__(self) -> None:
        owners: list[int] = []
        readers: dict[int, list[int]] = {}
        object.__setattr__(self, "owners", owners)
        object.__setattr__(self, "readers", readers)
        for index, layer in enumerate(self.layers):
            if layer.is_alias:
                owners.append(self.owner(layer.sources[0]))
                continue
            owners.append(index)
            for source in layer.sources:
                readers.setdefault(self.owner(source), []).append(index)

    def owner(self, index: int) -> int:
        """The owner of the tensor that layer `index`, or INPUT, gives."""
        return INPUT if index == INPUT else self.owners[index]

    def sources(self, index: int) -> list[int]:
        """The owners of the tensors that layer `index` reads, in the order in which it names them."""
        return [self.owner(source) for source in self.layers[index].sources]

    def read_by(self, owner: int) -> list[int]:
        """The layers that read the owner's tensor."""
        return self.readers.get(owner, [])

    def shape(self, index: int) -> Shape:
        """What layer `index`, or the input, gives for one picture."""
        return self.input if index == INPUT else self.layers[index].shape

    @property
    def output_owner(self) -> int:
        """The owner of the tensor that is the network's output."""
        return self.owner(self.output)


def find_fusions(graph: Graph) -> dict[int, list[int]]:
    """The fusion pass: layers that compute others as well, each with those others in their order."""
    layers, fusions, taken = graph.layers, dict[int, list[int]](), set[int]()
    for index, layer in enumerate(layers):
        if index in taken or layer.is_alias:
            continue
        followers = _followers(graph, index)
        count = layer.fusable([layers[i] for i in followers])
        if count:
            fusions[index] = followers[:count]
            taken.update(followers[:count])
    return fusions


def _followers(graph: Graph, index: int) -> list[int]:
    """Layers after `index` of which each is the only reader of its predecessor, as its first source, with nothing but
    aliases between them; at most MOST_FUSED, and none after the network's output."""
    followers: list[int] = []
    while index != graph.output_owner and len(graph.read_by(index)) == 1 and len(followers) < MOST_FUSED:
        (reader,) = graph.read_by(index)
        adjacent = all(graph.owners[i] == index for i in range(index + 1, reader))
        if not adjacent or graph.sources(reader)[0] != index:
            break
        followers.append(index := reader)
    return followers


def set_precision(graph: Graph, precision: str) -> None:
    """Tell every layer the precision of inference, and which layers it reads and is read by."""
    layers = graph.layers
    for index, layer in enumerate(layers):
        sources = [layers[owner] for owner in graph.sources(index) if owner != INPUT]
        layer.set_precision(precision, sources, [layers[i] for i in graph.read_by(index)])
