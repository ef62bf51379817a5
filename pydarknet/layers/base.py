"""What every layer is: options and state read from a section, a shape, parameters in file order, and a forward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..config.dialect import Dialect
from ..config.sections import Section
from ..runtime.program import Call
from ..tensor import Shape, Tensor
from ..utils.arrays import LANES, Array
from .options import LearningOptions, RecordOptions, TrainingProgress

INPUT = -1  # the index under which a layer names the network's own input
NOTHING = Shape(0, 0, 0)  # the shape of a layer that has not been given its inputs
LARGEST_OUTPUT = 1 << 31  # numbers one layer may give for one picture


@dataclass(frozen=True)
class Parameter:
    """One array of a layer's record in a .weights file. `matrix` arrays may be stored transposed by old files."""

    name: str
    array: Array
    matrix: bool = False


@dataclass
class Trainable:
    """A parameter, what has been accumulated for it since the last update (with momentum), and whether it decays.

    name: unique in its layer; checkpoints use it, so it never changes.
    """

    name: str
    array: Array
    decays: bool = False
    update: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.update = np.zeros_like(self.array)


@dataclass
class Changes:
    """Whether parameters of a network have changed since somebody looked."""

    parameters_dirty: bool = False


@dataclass
class BuildContext:
    """Where a layer stands while its network is built: what lies before it, and what the whole network has set."""

    index: int
    layers: Sequence[Layer]
    input: Shape
    dialect: Dialect
    net: Section

    @property
    def previous(self) -> tuple[int, ...]:
        """The sources of a layer that reads the one before it."""
        return (self.index - 1,)

    @property
    def time_steps(self) -> int:
        """The length of the sequences that recurrent layers learn from."""
        return self.net.positive("time_steps", 1, 1 << 16)

    def shape(self, index: int) -> Shape:
        """What layer `index` gives; INPUT stands for the network's input."""
        return self.input if index == INPUT else self.layers[index].shape

    def resolve(self, section: Section, key: str, reference: int) -> int:
        """The absolute index of a reference (negative: relative to this layer). Raises ConfigError out of range."""
        index = self.index + reference if reference < 0 else reference
        if not 0 <= index < self.index:
            if self.index == 0:
                expected = "no layer stands before the first one"
            else:
                expected = f"expected a layer from 0 to {self.index - 1}, or from -{self.index} to -1"
            raise section.error(
                f"layer {self.index}: {key}={reference} is layer {index}, which does not exist before it; {expected}",
                key,
            )
        return index


@dataclass(kw_only=True, eq=False, repr=False)
class Layer:
    """Base of all layers. A subclass overrides what differs; the network's loops know no types.

    `sources` are the layers it reads (INPUT for the network's input), `inputs` their shapes, `shape` its own output.
    """

    section: Section
    sources: tuple[int, ...]
    inputs: tuple[Shape, ...] = ()
    shape: Shape = NOTHING
    batch: int = 1
    source_tensors: list[Tensor] = field(default_factory=list, repr=False)
    output: Tensor | None = field(default=None, repr=False)
    fused: Sequence[Layer] = field(default=(), repr=False)  # layers that this one computes as well
    training: bool = False
    autotuned: bool = (
        True  # whether what was measured on this machine is followed; numbers of training do not depend on it
    )
    progress: TrainingProgress = field(default_factory=TrainingProgress, repr=False)
    rng: np.random.Generator = field(default_factory=np.random.default_rng, repr=False)
    source_deltas: list[Tensor | None] = field(default_factory=list, repr=False)
    delta: Tensor | None = field(default=None, repr=False)
    record_options: RecordOptions = field(init=False, repr=False)
    learning_options: LearningOptions = field(init=False, repr=False)
    # Whether `backward` shall write the delta of the first source, whatever is there, instead of adding to it.
    overwrites: bool = False
    changes: Changes = field(default_factory=Changes, repr=False)  # the network's, which all its layers share

    # Whether the network's last output is looked for before this layer (cost layers give nothing at inference).
    gives_output: ClassVar[bool] = True
    # Whether the output is kept in plain order in `values`, for readers outside the engine.
    keeps_nchw_output: ClassVar[bool] = False
    # Whether the layer compares something with the truth: then it has `loss`.
    has_loss: ClassVar[bool] = False
    # Whether the layer decodes boxes.
    is_head: ClassVar[bool] = False
    # Whether the layer, at inference, gives on what it reads without touching it.
    is_alias: ClassVar[bool] = False
    # Whether the plain order of the output is channel, row, column.
    order_is_nchw: ClassVar[bool] = True
    # Whether filters are learnt that darknet clamps, centres, averages and compares with each other by options.
    has_filters: ClassVar[bool] = False
    # What darknet's `Detection layer: N - type = T` line calls it.
    type_number: ClassVar[int] = 0

    def __post_init__(self) -> None:
        self.record_options = RecordOptions.from_section(self.section)
        self.learning_options = LearningOptions.from_section(self.section)

    def __repr__(self) -> str:
        inputs = ", ".join(map(str, self.inputs))
        return f"<{type(self).__name__} [{self.kind}] {inputs} -> {self.shape}>"

    @classmethod
    def from_section(cls, section: Section, place: BuildContext) -> Layer:
        """Read the layer's options; by default it has none. Raises ConfigError, ShapeError."""
        return cls(section=section, sources=place.previous)

    @property
    def kind(self) -> str:
        """The section's name."""
        return self.section.kind

    def reshape(self, inputs: Sequence[Shape], batch: int) -> None:
        """Take the sources' shapes and compute the own one. Raises ShapeError when they do not fit."""
        shape = self.out_shape(inputs)
        if min(shape.channels, shape.height, shape.width) < 1:
            raise self.section.shape_error(
                f"gives an output of {shape} (width x height x channels) for an input of {inputs[0]}; expected at "
                "least 1 x 1 x 1"
            )
        if shape.outputs * batch > LARGEST_OUTPUT:
            raise self.section.shape_error(
                f"gives an output of {shape} (width x height x channels) x batch {batch}, more than {LARGEST_OUTPUT} "
                "numbers"
            )
        self.inputs, self.shape, self.batch, self.fused = tuple(inputs), shape, batch, ()

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        """The output's shape for given sources; the same as the first source's unless overridden."""
        return inputs[0]

    def named_parameters(self) -> list[Parameter]:
        """The arrays of the layer's record in a .weights file, in file order."""
        return []

    def parameters(self) -> list[Array]:
        """The layer's arrays in file order. Call `parameters_changed` after writing to them."""
        return [record.array for record in self.named_parameters()]

    def parameters_changed(self) -> None:
        """Forget what was derived from the parameters."""
        self.changes.parameters_dirty = True

    def initialise(self, rng: np.random.Generator, dialect: Dialect) -> None:
        """Give the parameters darknet's initial values."""

    @property
    def reads_four_lanes(self) -> bool:
        """Whether the layer can read a picture of up to four channels packed into four lanes."""
        return False

    def fusable(self, after: Sequence[Layer]) -> int:
        """How many of the layers that follow, each of which alone reads the one before, this one can compute as well,
        without their outputs but the last. They are `fused` when `setup` gets that last output, and after the
        own sources the others of the last one."""
        return 0

    def lanes_from_nchw(self, after: Sequence[Layer]) -> tuple[int, ...]:
        """In how many lanes the layer, with those after it that it absorbs, can write what it computes from planar
        tensors; none where it cannot."""
        return ()

    def concat_offsets(self) -> list[int]:
        """For each source the channel of the output from which on it stands there, where the output is nothing else."""
        return []

    def split_offset(self) -> int | None:
        """The channel of the only source from which on the output stands there, where it is nothing else."""
        return None

    @property
    def is_maxpool_2x2(self) -> bool:
        """Whether the layer gives the largest of each 2 x 2 cells, of those that there are."""
        return False

    @property
    def is_residual_add(self) -> bool:
        """Whether the layer gives the sum of the one before it and another of the same shape."""
        return False

    def set_precision(self, precision: str, sources: Sequence[Layer], readers: Sequence[Layer]) -> None:
        """From the next `setup` on, compute in this precision at inference, where that pays and the layers that this
        one reads and that read it are not computed with it."""

    def mark_branch(self) -> None:
        """Take note that a route, shortcut or the like reads this output as well."""

    def halo(self, lanes: int = LANES) -> int:
        """How many cells of zeros the layer wants to read round its sources, which are tensors of so many lanes."""
        return 0

    def setup(self, sources: list[Tensor], output: Tensor | None) -> None:
        """Bind the layer to the tensors it reads and writes, and derive what `forward` needs."""
        self.source_tensors, self.output = sources, output

    def forward(self) -> None:
        """Compute the output from the sources."""
        raise NotImplementedError

    def calls(self) -> Sequence[Call]:
        """What `forward` does, as calls that stay valid until the next `setup` or until parameters change. Those of
        kernels can be made without Python (`runtime/program.py`)."""
        return [self.forward]

    # --- training ---

    def setup_training(self, source_deltas: list[Tensor | None], delta: Tensor | None) -> None:
        """Bind the layer to the deltas of what it reads (None where nobody wants them) and of what it writes."""
        self.source_deltas, self.delta = source_deltas, delta

    @property
    def can_overwrite(self) -> bool:
        """Whether `backward` gives every cell of its only source's delta a value, and can write it where it would
        add."""
        return False

    def trainables(self) -> list[Trainable]:
        """The parameters that updates change, with what has been accumulated for them."""
        return []

    def loss(self, truth: Sequence[Array], network_size: tuple[int, int], seen: int) -> float:
        """After the forward pass, the cost against the truth, one array per item; keeps the delta for `backward`."""
        raise NotImplementedError

    def forward_training(self) -> None:
        """Compute the output as training wants it: with the batch's statistics, with random parts."""
        self.forward()

    @property
    def pre_norm_delta(self) -> Array:
        """After the way back, the delta before the activation and normalisation: (batch, outputs)."""
        raise NotImplementedError

    def use_statistics_of(self, last: Layer) -> None:
        """As one of several copies in time, go back with the normalisation's statistics of the last one."""

    def inputs_changed(self) -> None:
        """Take note that the sources have been written to between the forward and the backward pass."""

    def backward(self) -> None:
        """From delta, accumulate the parameters' updates and add to the deltas of the sources."""
        raise NotImplementedError

    def reset_state(self) -> None:
        """Forget what recurrent layers keep from call to call."""

    def generators(self) -> dict[str, np.random.Generator]:
        """The layer's own generators of random numbers, by the names that checkpoints use, without the shared `rng`."""
        return {}

    def carried(self) -> dict[str, Array]:
        """What training carries from one mini-batch into the next, by the names that checkpoints use: (sequences, n)
        float32 each, no copies."""
        return {}

    def state_dict(self) -> dict[str, Array]:
        """What the layer keeps from pass to pass besides its parameters, by the names that checkpoints use: no copies.

        The layer must be bound to its tensors, and in training to its deltas."""
        return {}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Copy a state of the same names and shapes, which the caller has compared, into the layer's own arrays."""
        for name, array in self.state_dict().items():
            array[...] = state[name]

    def operations(self, dialect: Dialect) -> int:
        """Floating-point operations as `darknet ops` counts them: only sums of products count."""
        return 0

    def table_operations(self) -> float:
        """Floating-point operations as AlexeyAB's layer table counts them."""
        return 0.0

    def table_row(self) -> str:
        """The layer's line of AlexeyAB's table, after the index."""
        return f"{self.kind}"


def padded_lanes(values: Any, blocks: int, fill: float = 0.0) -> Array:
    """Per-channel float32 values, followed by `fill` up to whole blocks of 16 lanes."""
    lanes = np.full(blocks * 16, fill, np.float32)
    lanes[: len(values)] = values
    return lanes
