"""Which tensors a network needs between its layers, how wide their halos are, and how long each must live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..layers import INPUT, Layer
from ..layers.convolution.planar import fits_four_lanes
from ..tensor import PLANAR, BorrowedInput, Layout, Shape, Tensor
from ..utils.arrays import LANES
from .memory import Span, allocate

LONGEST = 3  # layers that one layer computes besides its own work
THIN_LANES = 4  # a picture of up to four channels is packed into four lanes when only convolutions read it


def owner_of(layers: Sequence[Layer], index: int) -> int:
    """The layer, or INPUT, whose tensor layer `index` gives on: itself, unless it only passes on what it reads."""
    while index != INPUT and layers[index].is_alias:
        index = layers[index].sources[0]
    return index


@dataclass(frozen=True)
class Part:
    """Where a tensor lies that is a part of another one's: of the `whole` (a layer), from a channel on."""

    whole: int
    channel: int


def lay_out(
    layers: Sequence[Layer], input_: Shape, batch: int, output_index: int, keep_all: bool, thin: bool = True
) -> dict[int, Tensor]:
    """A tensor for the input and for each layer whose output another one reads in the engine's layout.

    `thin` allows a packed input. With `keep_all` no two share memory; else a tensor lives until its last reader has
    run, that of the network's output to the end, and joined layers write into the join. Raises ShapeError when the
    machine has too little memory.
    """
    readers = readers_of(layers)
    last = owner_of(layers, output_index)
    absorbed = {} if keep_all else find_fusions(layers, output_index)
    begins = {run[-1]: index for index, run in absorbed.items()}
    inner = {i for index, run in absorbed.items() for i in (index, *run[:-1])}
    planar = set[int]() if keep_all or not thin else _planar(layers, absorbed, readers, input_, last)
    spans: dict[int, Span] = {}
    for index in range(INPUT, len(layers)):
        by = readers.get(index, [])
        if index in inner or (
            index != INPUT and (layers[index].is_alias or (layers[index].keeps_nchw_output and not by))
        ):
            continue
        until = len(layers) if keep_all or index == last else max(by, default=index)
        lanes = PLANAR if index in planar else _lanes(layers, index, input_, thin)
        spans[index] = Span(_layout(layers, index, by, input_, batch, lanes), begins.get(index, index), until)
    parts = {} if keep_all or batch > 1 else _parts(layers, spans)
    for index, part in parts.items():
        _unite(spans[part.whole], spans[index])
    lent = {INPUT: BorrowedInput(spans[INPUT].layout)} if spans[INPUT].layout.is_plain else {}
    wholes = [index for index in spans if index not in parts and index not in lent]
    tensors = lent | dict(zip(wholes, allocate([spans[index] for index in wholes]), strict=True))
    return tensors | {index: _cut_out(tensors[part.whole], spans[index], part) for index, part in parts.items()}


def _parts(layers: Sequence[Layer], spans: dict[int, Span]) -> dict[int, Part]:
    """Tensors that can be parts of others, for one picture: sources that stand in a join from a whole block on, and
    cuts of whole blocks of a source."""
    found: dict[int, Part] = {}
    for index in (index for index in spans if index != INPUT):
        layer = layers[index]
        sources = [owner_of(layers, source) for source in layer.sources]
        channel = layer.split_offset()
        if channel is not None and channel % LANES == 0 and sources[0] != INPUT:
            found[index] = Part(sources[0], channel)
        for source, start in zip(sources, layer.concat_offsets(), strict=False):
            end = start + layers[source].shape.channels
            whole_blocks = start % LANES == 0 and (end % LANES == 0 or end == layer.shape.channels)
            if whole_blocks and source != INPUT and source not in found:
                found[source] = Part(index, start)
    return {index: _outermost(found, index) for index in found}


def _outermost(parts: dict[int, Part], index: int) -> Part:
    """Where a part lies in what is not a part itself."""
    whole, channel = index, 0
    while whole in parts:
        channel += parts[whole].channel
        whole = parts[whole].whole
    return Part(whole, channel)


def _unite(whole: Span, part: Span) -> None:
    """Let a whole exist as long as its part, with zeros for the readers of both."""
    whole.first, whole.last = min(whole.first, part.first), max(whole.last, part.last)
    whole.layout = replace(whole.layout, halo=max(whole.layout.halo, part.layout.halo))


def _cut_out(whole: Tensor, span: Span, part: Part) -> Tensor:
    layout = replace(span.layout, halo=whole.layout.halo)
    start = part.channel // LANES * layout.block
    return Tensor(layout, whole.data[start : start + layout.size])


def find_fusions(layers: Sequence[Layer], output_index: int) -> dict[int, list[int]]:
    """Layers that compute others as well, and those, in their order."""
    readers, absorbed = readers_of(layers), {}
    taken: set[int] = set()
    for index in range(len(layers)):
        if index in taken or layers[index].is_alias:
            continue
        run = _run_after(layers, readers, index, owner_of(layers, output_index))
        count = layers[index].fusable([layers[i] for i in run])
        if count:
            absorbed[index] = run[:count]
            taken.update(run[:count])
    return absorbed


def _run_after(layers: Sequence[Layer], readers: dict[int, list[int]], index: int, last: int) -> list[int]:
    """Layers after `index` of which each alone reads the one before, as its first source, up to `last`, the network's
    output, and no more of them than any layer absorbs. Between them stand only layers that pass it on."""
    run: list[int] = []
    while index != last and len(readers.get(index, [])) == 1 and len(run) < LONGEST:
        (after,) = readers[index]
        between = all(owner_of(layers, i) == index for i in range(index + 1, after))
        if not between or owner_of(layers, layers[after].sources[0]) != index:
            break
        run.append(index := after)
    return run


def set_precision(layers: Sequence[Layer], precision: str) -> None:
    """Tell all layers in which precision to compute."""
    readers = readers_of(layers)
    for index, layer in enumerate(layers):
        sources = [owner for source in layer.sources if (owner := owner_of(layers, source)) != INPUT]
        layer.set_precision(precision, [layers[i] for i in sources], [layers[i] for i in readers.get(index, [])])


def readers_of(layers: Sequence[Layer]) -> dict[int, list[int]]:
    """For each owner of a tensor, the layers that read it."""
    readers: dict[int, list[int]] = {}
    for index, layer in enumerate(layers):
        for source in () if layer.is_alias else layer.sources:
            readers.setdefault(owner_of(layers, source), []).append(index)
    return readers


def _layout(layers: Sequence[Layer], index: int, by: Sequence[int], input_: Shape, batch: int, lanes: int) -> Layout:
    shape = input_ if index == INPUT else layers[index].shape
    return Layout(batch, shape, max((layers[reader].halo(lanes) for reader in by), default=0), lanes)


def _planar(
    layers: Sequence[Layer], absorbed: dict[int, list[int]], readers: dict[int, list[int]], input_: Shape, last: int
) -> set[int]:
    """Tensors that are planar: thin ones whose writer and all of whose readers, with what they absorb, can do with
    that, where these read such tensors only. `last`: the network's output, which is none."""
    taken = {i for run in absorbed.values() for i in run}
    runs = {i: [i, *absorbed.get(i, [])] for i in range(len(layers)) if i not in taken}
    head_of = {i: head for head, run in runs.items() for i in run}
    lanes = {head: layers[head].lanes_from_nchw([layers[i] for i in run[1:]]) for head, run in runs.items()}
    others = {head: layers[run[-1]].sources[1:] if len(run) > 1 else () for head, run in runs.items()}
    sources = {head: {owner_of(layers, s) for s in (*layers[head].sources, *others[head])} for head in runs}

    def can_be(owner: int) -> bool:
        by = readers[owner] if owner == INPUT else [owner, *readers[owner]]
        shape = input_ if owner == INPUT else layers[owner].shape
        return owner != last and fits_four_lanes(shape) and all(head_of[i] in able for i in by)

    able, before = {head for head in runs if lanes[head]}, set[int]()
    while able != before:
        planar, before = {owner for head in able for owner in sources[head] if can_be(owner)}, able
        able = {h for h in able if sources[h] <= planar and (runs[h][-1] in planar or LANES in lanes[h])}
    return planar if able else set()


def _lanes(layers: Sequence[Layer], index: int, input_: Shape, thin: bool) -> int:
    return THIN_LANES if thin and index == INPUT and _is_thin(layers, input_) else LANES


def _is_thin(layers: Sequence[Layer], input_: Shape) -> bool:
    """Whether the input can have four lanes: few channels, and read by convolutions only, not given on by anyone."""
    direct = [layer for layer in layers if INPUT in layer.sources]
    return input_.channels <= THIN_LANES and all(layer.reads_four_lanes and not layer.is_alias for layer in direct)
