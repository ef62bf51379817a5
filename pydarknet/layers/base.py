"""The base classes of all layers, and the context in which a layer is built."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..config.dialect import Dialect
from ..config.sections import Section, flag, integer, read_options, real
from ..kernels.reorder import pack
from ..runtime.program import Call, KernelCall
from ..tensor import FLOATS, Numbers, Shape, Tensor
from ..utils.arrays import LANES, Array

INPUT = -1  # the index under which a layer names the network's own input
NOTHING = Shape(0, 0, 0)  # the shape of a layer before `reshape`
LARGEST_OUTPUT = 1 << 31  # numbers in a layer's output, over the whole batch
LARGEST_WEIGHTS = 1 << 29  # of one layer
CONVOLUTIONS = ("convolutional", "conv")


@dataclass(frozen=True)
class RecordOptions:
    """Which parts of a layer's record are read and written."""

    load: bool = True  # the record is read
    scales: bool = True  # its batch normalisation is
    save: bool = True  # it is written
    filters: int | None = None  # how many of them the file holds; None for all
    flipped: bool = False  # they are stored transposed

    @property
    def is_whole(self) -> bool:
        """Whether the file holds the whole record."""
        return self.load and self.scales and self.filters is None

    @classmethod
    def from_section(cls, section: Section) -> RecordOptions:
        """Read the keys."""
        return cls(
            filters=section.natural("numload", 0) or None,
            load=not section.flag("dontload"),
            scales=not section.flag("dontloadscales"),
            save=not section.flag("dontsave"),
            flipped=section.kind in CONVOLUTIONS and section.flag("flipped"),
        )


@dataclass(frozen=True)
class LearningOptions:
    """The keys that change how a layer is trained."""

    rate: float = real(1.0, key="learning_rate")  # a factor of it
    # The backward pass ends before this layer; above 1: until this iteration (AlexeyAB's).
    stop: int = integer(key="stopbackward")
    forward_only: bool = flag(key="onlyforward")  # there is no backward pass
    clip: float = real()  # weights stay between -clip and clip; 0 for no limit
    from_iteration: int = integer(key="dont_update")  # after which parameters are updated
    from_burn_in: int = integer(key="burnin_update")  # the same in units of burn_in iterations
    norm_only: bool = flag(key="train_only_bn")  # up to here only running statistics change
    centred: bool = False  # the mean of each filter's accumulated update is subtracted from it

    @classmethod
    def from_section(cls, section: Section) -> LearningOptions:
        """Read the keys."""
        section.ignore("truth", "smooth")
        return cls(**read_options(cls, section), centred=section.kind in CONVOLUTIONS and section.flag("grad_centr"))


@dataclass
class TrainingProgress:
    """The progress of training, one object for all layers of a network."""

    done: int = 0  # iterations (updates) so far
    max_batches: int = 0  # iterations of the whole run; 0 where it is unknown


@dataclass(frozen=True)
class Parameter:
    """One array of a layer's record. `matrix`: old files may store it transposed."""

    name: str
    array: Array
    matrix: bool = False


@dataclass
class Trainable:
    """A parameter that updates change, with its accumulated update."""

    name: str  # unique in its layer; checkpoints use it
    array: Array  # the parameter itself, float32 of any shape; the optimizer writes to it
    decays: bool = False  # whether weight decay applies

    def __post_init__(self) -> None:
        self.update = np.zeros_like(self.array)  # minus the summed gradient, plus momentum


@dataclass
class Changes:
    """A flag that all layers of a network share."""

    parameters_dirty: bool = False


@dataclass
class BuildContext:
    """The context of a layer while its network is built."""

    index: int
    layers: Sequence[Layer]
    input: Shape
    dialect: Dialect
    net: Section

    @property
    def before(self) -> Shape:
        """The predecessor's output shape."""
        return self.shape(self.index - 1)

    def shape(self, index: int) -> Shape:
        """The output shape of layer `index`."""
        return self.input if index == INPUT else self.layers[index].shape

    def resolve(self, section: Section, key: str, reference: int) -> int:
        """The index of a reference (negative: relative to this layer). Raises ConfigError."""
        index = self.index + reference if reference < 0 else reference
        if not 0 <= index < self.index:
            known = f"expected a layer from 0 to {self.index - 1}, or from -{self.index} to -1"
            expected = known if self.index else "no layer stands before the first one"
            raise section.error(
                f"layer {self.index}: {key}={reference} is layer {index}, which does not exist before it; {expected}",
                key,
            )
        return index


@dataclass(kw_only=True, eq=False, repr=False)
class Layer:
    """Base class of all layers. No loop over a network checks a layer's type.

    The life of a layer: `from_section`, `reshape` (again for other sizes), `setup` (again for other tensors),
    `forward` or `calls`; in training `setup_training`, and for each mini-batch `forward_training`, `loss`,
    `backward`.
    """

    # === 1. Options and shapes ===
    # Shapes are of one sample. Class variables describe the kind of layer.

    section: Section
    sources: tuple[int, ...]  # indices of the layers that it reads; INPUT for the network's input
    inputs: tuple[Shape, ...] = ()  # the shapes of the sources
    shape: Shape = NOTHING  # the shape of the output
    batch: int = 1

    gives_output: ClassVar[bool] = True  # whether the network's output may be this layer's
    # Whether options alone set the channels of the output; likewise its width and height.
    sets_channels: ClassVar[bool] = False
    sets_size: ClassVar[bool] = False
    # The line of AlexeyAB's table, a format of the layer itself and of the shapes x and y.
    row: ClassVar[str] = "{self.kind}"
    ignored: ClassVar[Sequence[str]] = ()  # options that darknet reads, but that change nothing here
    is_head: ClassVar[bool] = False  # whether the layer decodes boxes
    type_number: ClassVar[int] = 0  # in darknet's `Detection layer: N - type = T` line
    # Whether the layer, at inference, passes its source on unchanged.
    is_alias: ClassVar[bool] = False
    keeps_nchw_output: ClassVar[bool] = False  # whether the output is kept in `values`
    order_is_nchw: ClassVar[bool] = True  # whether their order is channel, row, column

    def __post_init__(self) -> None:
        self.record_options = RecordOptions.from_section(self.section)
        self.learning_options = LearningOptions.from_section(self.section)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} [{self.kind}] {', '.join(map(str, self.inputs))} -> {self.shape}>"

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> Layer:
        """Read the layer's options; by default those that its fields declare. Raises ConfigError, ShapeError."""
        section.ignore(*cls.ignored)
        return cls.build(section, context)

    @classmethod
    def build(cls, section: Section, context: BuildContext, **options: Any) -> Any:
        """The layer that reads its predecessor, with declared options and `options`."""
        return cls(section=section, **({"sources": (context.index - 1,)} | read_options(cls, section) | options))

    @property
    def kind(self) -> str:
        """The section's name."""
        return self.section.kind

    def reshape(self, inputs: Sequence[Shape], batch: int) -> None:
        """Set the sources' shapes and the batch; compute the output's shape. Raises ShapeError."""
        shape = self.out_shape(inputs)
        found = f"gives an output of {shape} (width x height x channels)"
        if min(shape.channels, shape.height, shape.width) < 1:
            raise self.section.shape_error(f"{found} for an input of {inputs[0]}; expected at least 1 x 1 x 1")
        if shape.outputs * batch > LARGEST_OUTPUT:
            raise self.section.shape_error(f"{found} x batch {batch}, more than {LARGEST_OUTPUT} numbers")
        self.inputs, self.shape, self.batch, self.fused = tuple(inputs), shape, batch, ()

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        """The output's shape for these sources; by default that of the first. Raises ShapeError."""
        return inputs[0]

    def operations(self, dialect: Dialect) -> int:
        """For one sample as `darknet ops` counts: only sums of products count."""
        return 0

    def table_operations(self) -> float:
        """For one sample as AlexeyAB's layer table counts."""
        return 0.0

    def table_row(self) -> str:
        """The line of AlexeyAB's table, after the index; by default of `row`."""
        x, y, giga = self.inputs[0] if self.inputs else NOTHING, self.shape, self.table_operations() / 1e9
        return self.row.format(self=self, x=x, y=y, x_sizes=sizes(x), y_sizes=sizes(y), giga=giga)

    # === 2. Parameters ===
    # Arrays that a .weights file holds, float32. Whoever writes to one calls `parameters_changed`.

    changes: Changes = field(default_factory=Changes)

    def named_parameters(self) -> list[Parameter]:
        """The arrays of the layer's record in file order."""
        return []

    def parameters(self) -> list[Array]:
        """The layer's arrays in file order. Call `parameters_changed` after writing to them."""
        return [parameter.array for parameter in self.named_parameters()]

    def parameters_changed(self) -> None:
        """Forget what was derived from the parameters."""
        self.changes.parameters_dirty = True
        self._calls = None

    def new_weights(self, *shape: int, named: str = "") -> Array:
        """Zeros of this shape, which messages call `named`. Raises ShapeError."""
        if math.prod(shape) > LARGEST_WEIGHTS:
            found = named or " x ".join(map(str, shape))
            raise self.section.shape_error(f"has {found} weights; expected at most {LARGEST_WEIGHTS}")
        return np.zeros(shape, np.float32)

    def initialise(self, rng: np.random.Generator, dialect: Dialect) -> None:
        """Give the parameters darknet's initial values."""

    # === 3. Fusion ===
    # A layer may compute its successors too: those that `fusable` counts become its `fused`, and are no steps of their
    # own (`network/memory_plan.py`). `setup` gets the last one's output, and the second source of a fused `[shortcut]`.
    # Sources of a `[route]` can share memory with it.

    fused: Sequence[Layer] = ()  # successors that this layer computes as well

    def fusable(self, after: Sequence[Layer]) -> int:
        """How many of the following layers, each the only reader of the last, can be fused."""
        return 0

    @property
    def is_maxpool_2x2(self) -> bool:
        """Whether the output is the maximum of each 2 x 2 pixels."""
        return False

    @property
    def is_residual_add(self) -> bool:
        """Whether the output is the sum of two layers of one shape, without activation."""
        return False

    def concat_offsets(self) -> list[int]:
        """For a pure concatenation, the first output channel of each source."""
        return []

    def split_offset(self) -> int | None:
        """For a slice of one source, its first channel."""
        return None

    def halo(self, lanes: int = LANES) -> int:
        """How many zeros the layer reads round each plane of its sources, of `lanes` lanes."""
        return 0

    @property
    def reads_four_lanes(self) -> bool:
        """Whether the layer can read a picture in four lanes."""
        return False

    # Tensors between layers may hold other numbers than float32 (`network/memory_plan.py: set_numbers`).

    @property
    def converts_to(self) -> Numbers:
        """What the layer makes of its first source before it computes; FLOATS: nothing else."""
        return FLOATS

    def can_write(self, numbers: Numbers, lanes: int) -> bool:
        """Whether the layer, with those `fused`, can write its output as these; lanes: of its first source."""
        return False

    def can_copy(self, numbers: Numbers, lanes: int) -> bool:
        """Whether it can write its output as float32, and these beside it."""
        return False

    def passes_on(self, numbers: Numbers) -> bool:
        """Whether the layer can read its sources as these, and writes its output as what they are."""
        return False

    def lanes_from_nchw(self, after: Sequence[Layer]) -> tuple[int, ...]:
        """The lanes that the output may have, with `after` fused, of NCHW sources."""
        return ()

    def mark_branch(self) -> None:
        """Called when another layer reads this output as well."""

    # === 4. Execution ===
    source_tensors: list[Tensor] = field(default_factory=list)
    output: Tensor = None  # type: ignore[assignment]  # None where no layer reads it
    _calls: Sequence[Call] | None = None
    autotuned: bool = True  # whether measured choices of algorithms are followed

    def set_precision(self, precision: str, sources: Sequence[Layer], readers: Sequence[Layer]) -> None:
        """From the next `setup` on, compute in this precision where that is faster."""

    def setup(self, sources: list[Tensor], output: Tensor | None) -> None:
        """Bind the layer to its tensors, and derive what `forward` needs."""
        self.source_tensors, self.output = sources, output  # type: ignore[assignment]
        self._calls = None

    def bind(self) -> Sequence[Call]:
        """The calls of a pass; by default `forward`, of a layer that overrides it."""
        return [self.forward]

    def calls(self) -> Sequence[Call]:
        """What `forward` does, until the next `setup` or change of parameters."""
        if self._calls is None:  # bound late, as training does not need the calls of all layers
            self._calls = self.bind()
        return self._calls

    def forward(self) -> None:
        """Compute the output from the sources."""
        for call in self.calls():
            call()

    def reset_state(self) -> None:
        """Forget what a recurrent layer keeps from pass to pass."""

    # === 5. Training ===
    # The delta of a tensor is minus the gradient of the loss with respect to it (darknet's word).

    training: bool = False
    progress: TrainingProgress = field(default_factory=TrainingProgress)
    rng: np.random.Generator = field(default_factory=np.random.default_rng)
    source_deltas: list[Tensor | None] = field(default_factory=list)
    delta: Tensor = None  # type: ignore[assignment]  # None like `output`
    learned: dict[str, Trainable] = field(default_factory=dict)  # by name
    overwrites: bool = False  # whether `backward` overwrites its source's delta

    has_loss: ClassVar[bool] = False  # whether the layer compares its output with the truth, by `loss`
    has_filters: ClassVar[bool] = False  # whether it learns filters, to which options of training apply

    def setup_training(self, source_deltas: list[Tensor | None], delta: Tensor | None) -> None:
        """Bind the layer to the deltas of its sources and of its output."""
        self.source_deltas, self.delta = source_deltas, delta  # type: ignore[assignment]
        if not self.learned:  # copies of a layer, and what is set up again, go on with their updates
            changed = (parameter for parameter in self.named_parameters() if "rolling" not in parameter.name)
            self.learned = {each.name: Trainable(each.name, each.array, each.name == "weights") for each in changed}

    @property
    def can_overwrite(self) -> bool:
        """Whether `backward` can write its only source's delta instead of adding."""
        return False

    def trainables(self) -> list[Trainable]:
        """The parameters that updates change."""
        return list(self.learned.values())

    def forward_training(self) -> None:
        """Compute the output in training."""
        self.forward()

    def loss(self, truth: Sequence[Array], network_size: tuple[int, int], seen: int) -> float:
        """After the forward pass, the cost against the truth; keeps the delta for `backward`.
        network_size: (width, height) in pixels. seen: images seen, those of this batch included."""
        raise NotImplementedError

    def backward(self) -> None:
        """From `delta`, accumulate updates and add to the sources' deltas."""
        if self.source_deltas[0] is not None:
            self.add_gradient(self.source_deltas[0])

    def add_gradient(self, target: Tensor) -> None:
        """Add to the delta of the only source."""
        raise NotImplementedError

    def generators(self) -> dict[str, np.random.Generator]:
        """The layer's own random generators, by their names in checkpoints."""
        return {}

    def carried(self) -> dict[str, Array]:
        """What training carries from one mini-batch to the next: (sequences, n) each."""
        return {}

    def state_dict(self) -> dict[str, Array]:
        """What the layer keeps besides parameters, by the names of checkpoints."""
        return {}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Copy a state of the same names and shapes."""
        for name, array in self.state_dict().items():
            array[...] = state[name]


@dataclass(kw_only=True, eq=False, repr=False)
class NchwLayer(Layer):
    """A layer whose `compute` reads and writes NCHW order, mostly by NumPy."""

    keeps_nchw_output = True
    in_place = False  # whether `compute` gets the same array as x and y

    def setup(self, sources: list[Tensor], output: Tensor | None) -> None:
        super().setup(sources, output)
        batch = sources[0].layout.batch
        # The output, packed into `output` where another layer reads it; and the sources, unpacked.
        self.values = np.zeros((batch, self.shape.outputs), np.float32)
        self.nchw_inputs = [np.zeros((batch, source.shape.outputs), np.float32) for source in sources]
        if self.in_place:
            self.nchw_inputs = [self.values]

    def bind(self) -> Sequence[Call]:
        return [self.forward_in_python]

    def forward_in_python(self) -> None:
        """The forward pass by `compute`."""
        self.read_sources()
        self.compute(self.nchw_inputs[0], self.values)
        self.write_output()

    def read_sources(self) -> None:
        """Unpack the sources into `nchw_inputs`."""
        for tensor, array in zip(self.source_tensors, self.nchw_inputs, strict=True):
            tensor.read_into(array)

    def write_output(self) -> None:
        """Pack `values` into the output, if there is one."""
        if self.output is not None:
            self.output.fill(self.values)

    def pack_calls(self) -> list[Call]:
        """`write_output` as kernel calls."""
        if self.output is None:
            return []
        at = self.output.layout
        return [KernelCall(pack, self.values.reshape(-1), self.shape.channels, at.lanes, self.output.data, at.planes)]

    def compute(self, x: Array, y: Array) -> None:
        """y (batch, outputs) from x (batch, inputs), both contiguous."""
        raise NotImplementedError

    def setup_training(self, source_deltas: list[Tensor | None], delta: Tensor | None) -> None:
        super().setup_training(source_deltas, delta)
        self.value_deltas = np.zeros_like(self.values)

    def backward(self) -> None:
        if self.delta is not None:  # later layers may add to the delta of the layer's own loss
            incoming = self.delta.plain()
            self.value_deltas = self.value_deltas + incoming if self.has_loss else incoming
        changes = self.compute_backward(self.value_deltas)
        for target, change in zip(self.source_deltas, changes, strict=False):
            if target is not None and change is not None:
                target.add_plain(change)

    def compute_backward(self, delta: Array) -> Sequence[Array | None]:
        """The delta of each source, or None; accumulates updates. By default delta itself."""
        return [delta]


def padded_lanes(values: Any, blocks: int, fill: float = 0.0) -> Array:
    """(channels,) values as (blocks x 16,) float32."""
    lanes = np.full(blocks * LANES, fill, np.float32)
    lanes[: len(values)] = values
    return lanes


def sizes(shape: Shape) -> str:
    """Width, height and channels in the columns of darknet's tables."""
    return f"{shape.width:4d} x{shape.height:4d} x{shape.channels:4d}"
