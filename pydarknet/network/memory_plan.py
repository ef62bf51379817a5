"""The tensors between the layers of a network: their layouts, what they share, their lifetimes, and their memory.

Five passes go over one list of `TensorPlan`s, one for the input and one for each output that some layer reads:

1. fusion      which layers are computed together; tensors inside such a run do not exist (`fusion.find_fusions`)
2. layout      lanes (blocked nChw16c, packed in four lanes, NCHW) and halo, as the readers want them (`set_layouts`)
3. aliasing    concatenations and splits without a copy: a tensor that is a part of another one (`find_parts`)
4. liveness    the first and the last step at which a tensor must exist (`set_lifetimes`)
5. allocation  one block of memory, in which tensors that never live together share addresses (`allocate`)

An example of eight layers, for one picture of 32 x 32 and three channels:

    layer                      reads  fusion               layout             aliasing          lives from, to
    input                                                  NCHW, borrowed                       -1, 0
    0 convolutional 16, 3x3    input  computes 1, too
    1 maxpool 2x2/2            0      fused into 0         16 lanes, halo 1                     0, 2
    2 convolutional 32, 3x3    1                           16 lanes, halo 1   channel 16 of 6   2, 6
    3 convolutional 32, 1x1    2      computes 4, too
    4 shortcut from=2          3, 2   fused into 3         16 lanes, halo 0                     3, 5
    5 convolutional 16, 1x1    4                           16 lanes, halo 1   channel 0 of 6    5, 6
    6 route 5, 2               5, 2                        16 lanes, halo 1   the whole         2, 7
    7 convolutional 8, 3x3     6                           16 lanes, halo 0                     7, 8 (the output)

Layer 6 copies nothing: layers 2 and 5 write straight into its tensor, which therefore exists from step 2 on. Layer 4
adds layer 2 while layer 3 stores its sums. `tests/network/test_memory_plan.py` holds the example to its word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ShapeError
from ..layers import INPUT
from ..layers.convolution.planar import fits_four_lanes
from ..tensor import NCHW, BorrowedInput, Layout, Shape, Tensor
from ..utils.arrays import LANES, aligned_zeros
from ..utils.system import check_memory
from .fusion import Graph

ALIGN = 16  # floats: one cache line
FOUR_LANES = 4  # of an input of up to four channels that only convolutions read


@dataclass(eq=False)
class TensorPlan:
    """One tensor to be: of which layer (or INPUT), and what the passes have found out about it.

    first, last: the steps between which it must exist, both included. part_of: the tensor that holds this one, from
    channel `channel` on. offset: floats from the beginning of the network's block of memory.
    """

    owner: int
    batch: int
    shape: Shape
    lanes: int = LANES
    halo: int = 0
    first: int = 0
    last: int = 0
    part_of: TensorPlan | None = None
    channel: int = 0
    offset: int = 0

    @property
    def layout(self) -> Layout:
        return Layout(self.batch, self.shape, self.halo, self.lanes)

    @property
    def size(self) -> int:
        """Floats, rounded up to cache lines."""
        return -(-self.layout.size // ALIGN) * ALIGN


def plan_tensors(
    graph: Graph, batch: int, fusions: dict[int, list[int]], keep_all: bool, four_lanes: bool = True
) -> list[TensorPlan]:
    """All passes but the last, over the tensors that the steps of a pass write or read.

    keep_all: all outputs are wanted after the pass, so that no two tensors share memory; `fusions` is then empty.
    four_lanes: whether the input may be packed in four lanes, or borrowed as it is.
    """
    tensors = needed_tensors(graph, batch, fusions)
    set_layouts(graph, tensors, fusions, keep_all, four_lanes)
    if batch == 1 and not keep_all:
        find_parts(graph, tensors)
    set_lifetimes(graph, tensors, fusions, keep_all)
    return tensors


def needed_tensors(graph: Graph, batch: int, fusions: dict[int, list[int]]) -> list[TensorPlan]:
    """One for the input and each layer, in their order, but for aliases, for what fusion leaves out, and for layers
    that keep their output as NCHW when nobody reads it in the engine's layout."""
    inside = {i for index, run in fusions.items() for i in (index, *run[:-1])}
    owners = [
        index
        for index, layer in enumerate(graph.layers)
        if not (index in inside or layer.is_alias or (layer.keeps_nchw_output and not graph.read_by(index)))
    ]
    return [TensorPlan(index, batch, graph.shape(index)) for index in (INPUT, *owners)]


# --- layout -----------------------------------------------------------------------------------------------------------


def set_layouts(
    graph: Graph, tensors: Sequence[TensorPlan], fusions: dict[int, list[int]], keep_all: bool, four_lanes: bool
) -> None:
    """The layout pass: lanes, and as many cells of zeros round each plane as its readers want."""
    nchw = set[int]() if keep_all or not four_lanes else propagate_nchw(graph, fusions)
    for tensor in tensors:
        if tensor.owner in nchw:
            tensor.lanes = NCHW
        elif tensor.owner == INPUT and four_lanes and _input_fits_four_lanes(graph):
            tensor.lanes = FOUR_LANES
        readers = dict.fromkeys(graph.read_by(tensor.owner))
        tensor.halo = max((graph.layers[reader].halo(tensor.lanes) for reader in readers), default=0)


def _input_fits_four_lanes(graph: Graph) -> bool:
    """Whether the input has few channels, and only convolutions read it, none of them through an alias."""
    direct = [layer for layer in graph.layers if INPUT in layer.sources]
    return graph.input.channels <= FOUR_LANES and all(layer.reads_four_lanes and not layer.is_alias for layer in direct)


@dataclass(frozen=True)
class FusedRun:
    """Layers computed as one step: the owners of the tensors that they read, of the one that they write, and the lanes
    in which they can write it where they read NCHW only (none where they cannot read that)."""

    sources: frozenset[int]
    output: int
    output_lanes: tuple[int, ...]


def propagate_nchw(graph: Graph, fusions: dict[int, list[int]]) -> set[int]:
    """Owners of tensors that are kept as NCHW, which saves work where a tensor has few channels.

    Layout propagation: at first every such tensor is taken for NCHW. A run of layers allows that if all that it reads
    is NCHW, and if it can write its output in the layout which that has. A tensor loses the layout as soon as its
    writer or one of its readers does not allow it, and other runs may then not allow it for theirs. Each run and each
    tensor changes once, so the time is linear.
    """
    users: dict[int, list[FusedRun]] = {}
    able: dict[FusedRun, None] = {}
    written = {INPUT}  # what can be NCHW for all that its writer knows
    for run in _runs(graph, fusions):
        for tensor in (*run.sources, run.output):
            users.setdefault(tensor, []).append(run)
        if run.output_lanes:
            able[run] = None
        if NCHW in run.output_lanes:
            written.add(run.output)
    kept = {
        owner for owner, runs in users.items()
        if owner in written and graph.read_by(owner) and owner != graph.output_owner
        and fits_four_lanes(graph.shape(owner)) and all(run in able for run in runs)
    }  # fmt: skip
    lost = [owner for owner in users if owner not in kept]
    while lost:
        owner = lost.pop()
        for run in [run for run in users[owner] if run in able]:
            if owner in run.sources or LANES not in run.output_lanes:
                del able[run]
                released = kept.intersection((*run.sources, run.output))
                kept -= released
                lost += released
    return kept


def _runs(graph: Graph, fusions: dict[int, list[int]]) -> list[FusedRun]:
    """Every step of a pass."""
    fused = {i for run in fusions.values() for i in run}
    found = []
    for index, layer in enumerate(graph.layers):
        if index in fused or layer.is_alias:
            continue
        after = fusions.get(index, [])
        last = after[-1] if after else index
        sources = [*graph.sources(index), *(graph.sources(last)[1:] if after else ())]
        lanes = layer.lanes_from_nchw([graph.layers[i] for i in after])
        found.append(FusedRun(frozenset(sources), last, lanes))
    return found


# --- aliasing ---------------------------------------------------------------------------------------------------------


def find_parts(graph: Graph, tensors: Sequence[TensorPlan]) -> None:
    """The aliasing pass: sources of a concatenation become parts of it where they begin and end with whole blocks of
    channels, and splits of whole blocks become parts of what they split. For one picture only, since the parts of
    several do not lie together."""
    by_owner = {tensor.owner: tensor for tensor in tensors}
    for tensor in tensors[1:]:
        layer, sources = graph.layers[tensor.owner], graph.sources(tensor.owner)
        channel = layer.split_offset()
        if channel is not None and channel % LANES == 0 and sources[0] != INPUT:
            tensor.part_of, tensor.channel = by_owner[sources[0]], channel
        for source, start in zip(sources, layer.concat_offsets(), strict=False):
            end = start + graph.shape(source).channels
            whole_blocks = start % LANES == 0 and (end % LANES == 0 or end == layer.shape.channels)
            if whole_blocks and source != INPUT and by_owner[source].part_of is None:
                by_owner[source].part_of, by_owner[source].channel = tensor, start
    parts = [tensor for tensor in tensors if tensor.part_of is not None]
    wholes = [_whole(part) for part in parts]
    for part, whole in zip(parts, wholes, strict=True):
        whole.halo = max(whole.halo, part.halo)
    for part, whole in zip(parts, wholes, strict=True):
        part.halo = whole.halo


def _whole(part: TensorPlan) -> TensorPlan:
    """What holds a part and is not a part itself; from now on the part, and all that lie between, say so."""
    path, whole = list[TensorPlan](), part
    while whole.part_of is not None:
        path.append(whole)
        whole = whole.part_of
    channel = 0
    for each in reversed(path):
        channel += each.channel
        each.part_of, each.channel = whole, channel
    return whole


# --- liveness ---------------------------------------------------------------------------------------------------------


def set_lifetimes(graph: Graph, tensors: Sequence[TensorPlan], fusions: dict[int, list[int]], keep_all: bool) -> None:
    """The liveness pass: from the step that writes a tensor to its last reader; the network's output, and with
    `keep_all` every tensor, to the end. A tensor with parts lives as long as any of them."""
    begins = {run[-1]: index for index, run in fusions.items()}
    end = len(graph.layers)
    for tensor in tensors:
        tensor.first = begins.get(tensor.owner, tensor.owner)
        to_the_end = keep_all or tensor.owner == graph.output_owner
        tensor.last = end if to_the_end else max(graph.read_by(tensor.owner), default=tensor.owner)
    for part in tensors:
        if part.part_of is not None:
            part.part_of.first = min(part.part_of.first, part.first)
            part.part_of.last = max(part.part_of.last, part.last)


# --- allocation -------------------------------------------------------------------------------------------------------


def allocate(tensors: Sequence[TensorPlan]) -> dict[int, Tensor]:
    """The allocation pass: tensors by owner, in one block of memory. An NCHW input borrows the caller's array.

    Raises ShapeError when the machine does not have that much memory.
    """
    borrowed = [tensor for tensor in tensors if tensor.owner == INPUT and tensor.layout.is_plain]
    wholes = [tensor for tensor in tensors if tensor.part_of is None and tensor not in borrowed]
    total = assign_offsets(wholes)
    check_memory(4 * total, "the layers' outputs")
    try:
        block = aligned_zeros(total)
    except MemoryError:
        raise ShapeError(f"the layers' outputs need {total / 2**28:.1f} GiB, which the system does not give") from None
    made: dict[int, Tensor] = {tensor.owner: BorrowedInput(tensor.layout) for tensor in borrowed}
    for tensor in wholes:
        made[tensor.owner] = Tensor(tensor.layout, block[tensor.offset : tensor.offset + tensor.layout.size])
    for tensor in tensors:
        if tensor.part_of is not None:
            made[tensor.owner] = part_tensor(tensor, made[tensor.part_of.owner])
    return made


def part_tensor(part: TensorPlan, whole: Tensor) -> Tensor:
    """The tensor of a part, in the memory of the whole."""
    start = part.channel // LANES * part.layout.block
    return Tensor(part.layout, whole.data[start : start + part.layout.size])


def assign_offsets(tensors: Sequence[TensorPlan]) -> int:
    """Give every tensor an offset such that those alive together do not overlap; the floats needed in all.

    Largest first, each at the lowest gap that holds it. The time is quadratic in the number of tensors, as each may
    live together with all others, but done by NumPy: 20,000 tensors take about two seconds.
    """
    count = len(tensors)
    first, last, start, end = np.zeros((4, count), np.int64)  # of those that have an offset, sorted by it
    for placed, tensor in enumerate(sorted(tensors, key=lambda t: -t.size)):
        beside = (first[:placed] <= tensor.last) & (last[:placed] >= tensor.first)
        starts = start[:placed][beside]
        free = np.maximum.accumulate(np.concatenate(([0], end[:placed][beside])))  # where a gap before each begins
        fits = starts - free[:-1] >= tensor.size
        tensor.offset = int(free[fits.argmax() if fits.any() else -1])
        at = int(np.searchsorted(start[:placed], tensor.offset))
        row = tensor.first, tensor.last, tensor.offset, tensor.offset + tensor.size
        for column, value in zip((first, last, start, end), row, strict=True):
            column[at + 1 : placed + 1] = column[at:placed]
            column[at] = value
    return int(end.max(initial=0))
