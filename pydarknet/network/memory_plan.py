"""The plan of a pass: the tensors between the layers of a network and their memory, then the calls of kernels.

Six passes go over one list of `TensorPlan`s, one for the input and one for each output that some layer reads:

1. fusion      which layers are computed together; tensors inside such a run do not exist (`find_steps`)
2. layout      lanes (blocked nChw16c, packed in four lanes, NCHW) and halo, as the readers need them (`set_layouts`)
3. numbers     what lies in words of 32 bits, where all readers convert to the same (`set_numbers`)
4. aliasing    concatenations and splits without a copy: a tensor is a part of another one (`find_parts`)
5. liveness    the first and the last step at which a tensor must exist (`set_lifetimes`)
6. allocation  one block of memory, in which tensors with disjoint lifetimes share addresses (`allocate`)

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

Layer 6 copies nothing: layers 2 and 5 write straight into its tensor. Layer 4 adds layer 2 while layer 3 stores
its sums. `tests/network/test_memory_plan.py` holds the example to its word.
"""

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..errors import ShapeError
from ..layers import INPUT, Layer
from ..layers.convolution.nchw import fits_four_lanes
from ..runtime.program import Call, fuse_calls, pass_under_way
from ..tensor import FLOATS, NCHW, BorrowedInput, Layout, Numbers, Shape, Tensor
from ..utils.arrays import LANES, Array, aligned_zeros, check_memory

ALIGN = 16  # floats: one cache line
FOUR_LANES = 4  # of an input of up to four channels that only convolutions read
CELLS_AFTER = 64  # two tiles' pixels
MOST_FUSED = 3  # layers that any layer computes besides its own work


class Graph:
    """Layers and who reads whose tensor.

    An alias passes on what it reads (dropout at inference, a route of one source): it owns no tensor. owners: of
    the tensor of each layer's output. readers: the layers that read an owner's tensor, as often as they name it.
    """

    def __init__(self, layers: Sequence[Layer], input_: Shape, output: int) -> None:
        self.layers, self.input = layers, input_
        self.owners: list[int] = []
        self.readers: dict[int, list[int]] = {index: [] for index in (INPUT, *range(len(layers)))}
        for index, layer in enumerate(layers):
            self.owners.append(self.owner(layer.sources[0]) if layer.is_alias else index)
            for source in () if layer.is_alias else layer.sources:
                self.readers[self.owner(source)].append(index)
        self.output_owner = self.owner(output)

    def owner(self, index: int) -> int:
        """Of the tensor that layer `index`, or INPUT, gives."""
        return INPUT if index == INPUT else self.owners[index]

    def sources(self, index: int) -> list[int]:
        """The owners of what layer `index` reads, in its order."""
        return [self.owner(source) for source in self.layers[index].sources]

    def shape(self, index: int) -> Shape:
        """Of one picture."""
        return self.input if index == INPUT else self.layers[index].shape


@dataclass(eq=False)
class TensorPlan:
    """Filled in by the passes. owner: the layer that writes it, or INPUT. copy: numbers in which it lies in memory
    once more. first, last: the steps between which it must exist. part_of: the tensor that contains it, from
    `channel` on. offset: floats in the network's memory."""

    owner: int
    batch: int
    shape: Shape
    lanes: int = LANES
    halo: int = 0
    numbers: Numbers = FLOATS
    copy: Numbers | None = None
    first: int = 0
    last: int = 0
    part_of: "TensorPlan | None" = None
    channel: int = 0
    offset: int = 0

    @property
    def layout(self) -> Layout:
        return Layout(self.batch, self.shape, self.halo, self.lanes, self.numbers, self.copy)

    @property
    def size(self) -> int:
        """Floats, rounded up to cache lines, and cells that readers of other numbers may look at after the last."""
        after = 0 if self.numbers == FLOATS and not self.copy else CELLS_AFTER * LANES
        return -(-self.layout.size // ALIGN) * ALIGN + after


def plan_tensors(
    graph: Graph, batch: int, steps: "Sequence[Step]", keep_all: bool, four_lanes: bool = True
) -> list[TensorPlan]:
    """All passes between fusion, whose result is `steps`, and allocation.

    keep_all: all outputs are needed after a pass, so that no tensors share memory; then each step is one layer.
    four_lanes: the input may be packed in four lanes, or be the caller's NCHW array.
    """
    outputs = (step.output for step in steps)  # all but aliases and layers inside a step
    owners = [i for i in outputs if graph.readers[i] or not graph.layers[i].keeps_nchw_output]
    tensors = [TensorPlan(index, batch, graph.shape(index)) for index in (INPUT, *owners)]
    set_layouts(graph, tensors, steps, keep_all, four_lanes)
    if not keep_all:
        set_numbers(graph, tensors, steps)
    if batch == 1 and not keep_all:
        find_parts(graph, tensors)
    set_lifetimes(graph, tensors, steps, keep_all)
    return tensors


# --- fusion ---


class Step(NamedTuple):
    """Layers that are computed as one. sources: the owners of what they read."""

    layers: tuple[int, ...]
    sources: tuple[int, ...]

    @property
    def output(self) -> int:
        """The owner of what they write."""
        return self.layers[-1]


def find_steps(graph: Graph, fuse: bool = True) -> list[Step]:
    """The fusion pass: the steps in order, which are all layers but aliases and those fused into others.

    A layer can be fused into an earlier one only where nobody else reads the tensor between them, which then
    never reaches memory.
    """
    steps: list[Step] = []
    taken: set[int] = set()
    for index, layer in enumerate(graph.layers):
        if index in taken or layer.is_alias:
            continue
        followers = _followers(graph, index) if fuse else []
        after = followers[: layer.fusable([graph.layers[i] for i in followers])]
        taken.update(after)
        more = graph.sources(after[-1])[1:] if after else []
        steps.append(Step((index, *after), (*graph.sources(index), *more)))
    return steps


def _followers(graph: Graph, index: int) -> list[int]:
    """Up to MOST_FUSED layers, of which each alone reads its predecessor, with nothing but aliases between."""
    followers: list[int] = []
    while index != graph.output_owner and len(graph.readers[index]) == 1 and len(followers) < MOST_FUSED:
        (reader,) = graph.readers[index]
        adjacent = all(graph.owners[i] == index for i in range(index + 1, reader))
        if not adjacent or graph.sources(reader)[0] != index:
            break
        followers.append(index := reader)
    return followers


# --- layout ---


def set_layouts(
    graph: Graph, tensors: Sequence[TensorPlan], steps: Sequence[Step], keep_all: bool, four_lanes: bool
) -> None:
    """The layout pass: the lanes of each tensor, and the widest halo that a reader needs."""
    nchw = set[int]() if keep_all or not four_lanes else propagate_nchw(graph, steps)
    for tensor in tensors:
        if tensor.owner in nchw:
            tensor.lanes = NCHW
        elif tensor.owner == INPUT and four_lanes and graph.input.channels <= FOUR_LANES:
            direct = [layer for layer in graph.layers if INPUT in layer.sources]
            if all(layer.reads_four_lanes and not layer.is_alias for layer in direct):
                tensor.lanes = FOUR_LANES
        readers = dict.fromkeys(graph.readers[tensor.owner])
        tensor.halo = max((graph.layers[reader].halo(tensor.lanes) for reader in readers), default=0)


def propagate_nchw(graph: Graph, steps: Sequence[Step]) -> set[int]:
    """The owners of tensors that are kept as NCHW, which saves work for tensors with few channels.

    First all of these are assumed to be NCHW. A step supports that if all its sources are NCHW and it can write
    the layout of its output. A tensor loses the layout when a step does not support it, which may make others
    unable.
    """
    users: dict[int, list[Step]] = {}
    able: dict[Step, Sequence[int]] = {}  # steps that can read NCHW, and the lanes in which they can write then
    written = {INPUT}  # owners of tensors that their writers can write as NCHW
    for step in steps:
        for tensor in dict.fromkeys((*step.sources, step.output)):
            users.setdefault(tensor, []).append(step)
        first, *after = (graph.layers[i] for i in step.layers)
        if lanes := first.lanes_from_nchw(after):
            able[step] = lanes
        if NCHW in lanes:
            written.add(step.output)
    kept = {
        owner for owner, uses in users.items()
        if owner in written and graph.readers[owner] and owner != graph.output_owner
        and fits_four_lanes(graph.shape(owner)) and all(step in able for step in uses)
    }  # fmt: skip
    lost = [owner for owner in users if owner not in kept]
    while lost:
        owner = lost.pop()
        for step in [step for step in users[owner] if step in able]:
            if owner in step.sources or LANES not in able[step]:
                del able[step]
                released = kept.intersection((*step.sources, step.output))
                kept -= released
                lost += released
    return kept


# --- numbers ---


def set_numbers(graph: Graph, tensors: Sequence[TensorPlan], steps: Sequence[Step]) -> None:
    """The numbers pass: a tensor holds what its readers make of it, if all of them make the same.

    Layers that pass on what they read tie tensors together: all of these hold the same numbers, or float32. Where some
    readers of a tensor take float32, it may hold both.
    """
    by_owner = {tensor.owner: tensor for tensor in tensors}
    groups, writers = tied(graph, [step.layers[0] for step in steps]), {step.output: step for step in steps}
    for group in {id(groups[owner]): groups[owner] for owner in by_owner}.values():
        numbers, copy = _numbers_of(graph, writers, by_owner, group)
        for owner in group:
            by_owner[owner].numbers, by_owner[owner].copy = numbers, copy


def tied(graph: Graph, writers: Iterable[int]) -> dict[int, set[int]]:
    """For each owner, the tensors, its own too, between which some of these layers pass numbers on."""
    groups = {owner: {owner} for owner in graph.readers}
    for index in writers:
        if graph.layers[index].passes_on(FLOATS):
            group = set[int]().union(*(groups[each] for each in (*graph.sources(index), graph.owner(index))))
            groups.update(dict.fromkeys(group, group))
    return groups


def _numbers_of(
    graph: Graph, writers: dict[int, Step], tensors: dict[int, TensorPlan], group: set[int]
) -> tuple[Numbers, Numbers | None]:
    """What all tensors of a group can hold, and a copy of the only one. Copies have no halo."""
    if INPUT in group or graph.output_owner in group or any(tensors[owner].lanes != LANES for owner in group):
        return FLOATS, None
    firsts = {writers[owner]: graph.layers[writers[owner].layers[0]] for owner in group}
    passing = {step for step, layer in firsts.items() if layer.passes_on(FLOATS)}
    inside = {i for step in passing for i in step.layers}
    wanted = {graph.layers[i].converts_to for owner in group for i in graph.readers[owner] if i not in inside}
    if len(wanted - {FLOATS}) != 1:
        return FLOATS, None
    (numbers,) = wanted - {FLOATS}
    lanes = {step: tensors[step.sources[0]].lanes for step in firsts}
    if FLOATS in wanted:
        copies = len(group) == 1 and all(layer.can_copy(numbers, lanes[step]) for step, layer in firsts.items())
        has_planes = all(tensors[owner].halo == 0 and tensors[owner].shape.cells > 1 for owner in group)
        return FLOATS, numbers if copies and has_planes else None
    able = all(
        layer.passes_on(numbers) if step in passing else layer.can_write(numbers, lanes[step])
        for step, layer in firsts.items()
    )
    return numbers if able else FLOATS, None


# --- aliasing ---


def find_parts(graph: Graph, tensors: Sequence[TensorPlan]) -> None:
    """The aliasing pass: sources of a concatenation become parts of it if they are whole channel blocks; splits
    of whole blocks become parts of their source. Only for a batch of one, whose parts are contiguous."""
    by_owner = {tensor.owner: tensor for tensor in tensors}
    for tensor in tensors[1:]:
        layer, sources, unit = graph.layers[tensor.owner], graph.sources(tensor.owner), tensor.layout.unit
        channel = layer.split_offset()
        if channel is not None and channel % unit == 0 and sources[0] != INPUT:
            tensor.part_of, tensor.channel = by_owner[sources[0]], channel
        for source, start in zip(sources, layer.concat_offsets(), strict=False):
            end = start + graph.shape(source).channels
            whole_blocks = start % unit == 0 and (end % unit == 0 or end == layer.shape.channels)
            if whole_blocks and source != INPUT and by_owner[source].part_of is None:
                by_owner[source].part_of, by_owner[source].channel = tensor, start
    parts = [tensor for tensor in tensors if tensor.part_of is not None]
    wholes = [_whole(part) for part in parts]
    for part, whole in zip(parts, wholes, strict=True):
        whole.halo = max(whole.halo, part.halo)
    for part, whole in zip(parts, wholes, strict=True):
        part.halo = whole.halo


def _whole(part: TensorPlan) -> TensorPlan:
    """The outermost tensor that contains a part; afterwards `part_of` of all on the way."""
    path, whole = list[TensorPlan](), part
    while whole.part_of is not None:
        path.append(whole)
        whole = whole.part_of
    channel = 0
    for each in reversed(path):
        channel += each.channel
        each.part_of, each.channel = whole, channel
    return whole


# --- liveness ---


def set_lifetimes(graph: Graph, tensors: Sequence[TensorPlan], steps: Sequence[Step], keep_all: bool) -> None:
    """The liveness pass: from the writer to the last reader, or the end; with parts, as long as any of them."""
    begins = {step.output: step.layers[0] for step in steps}
    end = len(graph.layers)
    for tensor in tensors:
        tensor.first = begins.get(tensor.owner, tensor.owner)
        to_the_end = keep_all or tensor.owner == graph.output_owner
        tensor.last = end if to_the_end else max(graph.readers[tensor.owner], default=tensor.owner)
    for part in tensors:
        if part.part_of is not None:
            part.part_of.first = min(part.part_of.first, part.first)
            part.part_of.last = max(part.part_of.last, part.last)


# --- allocation ---


def allocate(tensors: Sequence[TensorPlan]) -> dict[int, Tensor]:
    """The allocation pass: tensors by owner in one block of memory; an NCHW input borrows the caller's array.

    Raises ShapeError if the machine does not have enough.
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
    """In the memory of the tensor that contains it."""
    start = part.channel // part.layout.unit * part.layout.block
    return Tensor(part.layout, whole.data[start : start + part.layout.size])


def assign_offsets(tensors: Sequence[TensorPlan]) -> int:
    """Give tensors that are alive at the same time memory that does not overlap. Returns the floats needed.

    The largest tensor first, each in the lowest gap that is large enough.
    """
    first, last, start, end = np.zeros((4, len(tensors)), np.int64)  # of the tensors placed so far, sorted by offset
    for placed, tensor in enumerate(sorted(tensors, key=lambda t: -t.size)):
        beside = (first[:placed] <= tensor.last) & (last[:placed] >= tensor.first)
        starts = start[:placed][beside]
        free = np.maximum.accumulate(np.concatenate(([0], end[:placed][beside])))  # the start of the gap before each
        fits = starts - free[:-1] >= tensor.size
        tensor.offset = int(free[fits.argmax() if fits.any() else -1])
        at = int(np.searchsorted(start[:placed], tensor.offset))
        row = tensor.first, tensor.last, tensor.offset, tensor.offset + tensor.size
        for column, value in zip((first, last, start, end), row, strict=True):
            column[at + 1 : placed + 1] = column[at:placed]
            column[at] = value
    return int(end.max(initial=0))


# --- execution ---


@dataclass(frozen=True, repr=False)
class ExecutionPlan:
    """The memory and the calls of passes at one input size and batch.

    Layers are bound to the tensors of one plan: that of the last `make`. `run` and `read` belong under the
    network's lock. keeps_all: whether every layer's output can be read. tensors: of each layer's output, None
    where fusion or NCHW layers leave it out. steps: the layers that compute, in order. calls: what they do,
    those of kernels joined into programs. stateful: the steps that keep a state from pass to pass.
    """

    graph: Graph
    shape: Shape
    batch: int
    keeps_all: bool
    input: Tensor
    tensors: Sequence[Tensor | None]
    steps: Sequence[Layer]
    calls: Sequence[Call]
    stateful: Sequence[Layer]

    @classmethod
    def make(
        cls, layers: Sequence[Layer], shape: Shape, batch: int, output: int, precision: str, keep_all: bool
    ) -> "ExecutionPlan":
        """Lay out memory, and set the layers up for it. output: the layer that gives the network's.

        Raises ShapeError where the machine has too little memory.
        """
        for layer in layers:
            layer.training = False  # dropout passes on what it reads
        graph = Graph(layers, shape, output)
        for index, layer in enumerate(layers):
            sources = [layers[owner] for owner in graph.sources(index) if owner != INPUT]
            layer.set_precision(precision, sources, [layers[i] for i in graph.readers[index]])
        steps = find_steps(graph, fuse=not keep_all)
        computing = [layers[step.layers[0]] for step in steps]
        for step, layer in zip(steps, computing, strict=True):
            layer.fused = [layers[i] for i in step.layers[1:]]
        tensors = allocate(plan_tensors(graph, batch, steps, keep_all))
        for step, layer in zip(steps, computing, strict=True):
            layer.setup([tensors[source] for source in step.sources], tensors.get(step.output))
        return cls(
            graph, shape, batch, keep_all, tensors[INPUT],
            [tensors.get(graph.owner(index)) for index in range(len(layers))],
            computing, _calls_of(computing), [layer for layer in computing if layer.state_dict()],
        )  # fmt: skip

    def with_new_parameters(self) -> "ExecutionPlan":
        """The same plan, for which layers pack what they derive from parameters anew."""
        return replace(self, calls=_calls_of(self.steps))

    def run(self, x: Array) -> None:
        """One pass for contiguous x, float32."""
        with self._pass(x):
            for call in self.calls:
                call()

    def run_timed(self, x: Array) -> list[float]:
        """The seconds of filling `input`, then those of each step."""
        clock = [time.perf_counter()]
        with self._pass(x):
            clock.append(time.perf_counter())
            for layer in self.steps:
                layer.forward()
                clock.append(time.perf_counter())
        return [after - before for before, after in pairwise(clock)]

    @contextlib.contextmanager
    def _pass(self, x: Array) -> Iterator[None]:
        """If it is interrupted, as by Ctrl-C, the layers keep the state from before it."""
        with pass_under_way():
            states = [{name: array.copy() for name, array in layer.state_dict().items()} for layer in self.stateful]
            try:
                self.input.fill(x)
                yield
            except BaseException:
                for layer, state in zip(self.stateful, states, strict=True):
                    layer.load_state_dict(state)
                raise
            finally:
                self.input.release()

    def read(self, index: int) -> Array:
        """A copy of what a layer gave: (n, c, h, w), or (n, outputs) where its order is not channel by channel
        or has one cell a channel."""
        layer, tensor, owner = self.graph.layers[index], self.tensors[index], self.graph.owner(index)
        kept: Any = None if owner == INPUT else self.graph.layers[owner]
        if kept is not None and kept.keeps_nchw_output:
            values = kept.values.copy()
        else:
            assert tensor is not None
            values = tensor.plain()
        if layer.order_is_nchw and layer.shape.cells > 1:
            return values.reshape(self.batch, layer.shape.channels, layer.shape.height, layer.shape.width)
        return values


def _calls_of(steps: Sequence[Layer]) -> list[Call]:
    return fuse_calls([call for layer in steps for call in layer.calls()])
