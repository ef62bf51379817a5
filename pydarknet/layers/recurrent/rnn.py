"""`[rnn]`, `[gru]`, `[lstm]`: layers whose state continues from one forward pass to the next.

Each is made of connected layers, its parts: those called u... read the input, those called w... the state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Generic, TypeVar

import numpy as np

from ...config.dialect import Dialect
from ...config.sections import Section
from ...tensor import Shape, Tensor
from ...utils.arrays import Array
from ..activations import LINEAR, LOGGY, LOGISTIC, TANH, Activation, read_activation
from ..base import BuildContext, Layer, Parameter, Trainable
from ..connected import Connected
from ..nchw_layer import NchwLayer
from .bptt import GruPass, LstmPass, RnnPass, SequencePass, Unrolled

Part = TypeVar("Part", bound=Layer)


@dataclass(kw_only=True, eq=False, repr=False)
class Recurrent(NchwLayer, Generic[Part]):
    """A layer of parts, in file order, with named states of (batch, n) float32 that begin as zeros."""

    # The indentation of the parts' rows in the layer table.
    indent: ClassVar[str] = "\t\t"
    # The states, each with its name in checkpoints.
    state_names: ClassVar[Mapping[str, str]] = {"h": "hidden"}
    parts: dict[str, Part]
    time_steps: int = 1
    states: dict[str, Array] = field(default_factory=dict, repr=False)
    sequence_pass: SequencePass | None = field(default=None, init=False, repr=False)  # since `setup_training`

    def state_size(self) -> int:
        """Numbers of one state of one sample."""
        return self.shape.outputs

    def named_parameters(self) -> list[Parameter]:
        return [parameter for part in self.parts.values() for parameter in part.named_parameters()]

    def parameters_changed(self) -> None:
        for part in self.parts.values():
            part.parameters_changed()

    def initialise(self, rng: np.random.Generator, dialect: Dialect) -> None:
        for part in self.parts.values():
            part.initialise(rng, dialect)

    def reset_state(self) -> None:
        self.states = {}

    def state(self, name: str) -> Array:
        """The state called `name`; zeros at first and after a change of the batch."""
        shape = (self.source_tensors[0].layout.batch, self.state_size())
        if name not in self.states or self.states[name].shape != shape:
            self.states[name] = np.zeros(shape, np.float32)
        return self.states[name]

    def state_dict(self) -> dict[str, Array]:
        states = {f"state.{name}": self.state(key) for key, name in self.state_names.items()}
        return states | {f"carried.{name}": array for name, array in self.carried().items()}

    def run(self, part: str, x: Array) -> Array:
        """The output of a part for x (batch, inputs): a new (batch, outputs) array."""
        raise NotImplementedError

    # === Training: over sequences of `time_steps`, ordered by time ===

    def setup_training(self, source_deltas: list[Tensor | None], delta: Tensor | None) -> None:
        super().setup_training(source_deltas, delta)
        if self.batch % self.time_steps:
            raise self.section.shape_error(f"a mini-batch of {self.batch} does not hold sequences of {self.time_steps}")
        self.sequences = self.batch // self.time_steps
        self.unrolled = Unrolled(self.parts, self.time_steps, self.sequences)
        self.sequence_pass = self.make_pass(self.unrolled)

    def carried(self) -> dict[str, Array]:
        return self.sequence_pass.carried() if self.sequence_pass else {}

    def make_pass(self, unrolled: Unrolled) -> SequencePass:
        """The forward and backward pass over a sequence."""
        raise NotImplementedError

    def trainables(self) -> list[Trainable]:
        return self.unrolled.trainables()

    def forward_training(self) -> None:
        assert self.sequence_pass is not None
        self.read_sources()
        x = self.nchw_inputs[0].reshape(self.time_steps, self.sequences, -1)
        self.values[:] = self.sequence_pass.forward(x).reshape(self.values.shape)
        self.write_output()

    def compute_backward(self, delta: Array) -> list[Array]:
        assert self.sequence_pass is not None
        self.unrolled.begin_backward()
        by_time = delta.reshape(self.time_steps, self.sequences, -1)
        return [self.sequence_pass.backward(by_time).reshape(len(delta), -1)]

    def inner_rows(self, names: Iterable[str]) -> str:
        """The rows of the parts in AlexeyAB's layer table, in the order in which its darknet makes them."""
        return "".join(f"\n{self.indent}{self.parts[name].table_row()}" for name in names if name in self.parts)


@dataclass(kw_only=True, eq=False, repr=False)
class _ConnectedRecurrent(Recurrent[Connected]):
    """A recurrent layer of connected parts; the last one in the file sets the size of the output."""

    sets_channels: ClassVar[bool] = True
    sets_size: ClassVar[bool] = True

    def run(self, part: str, x: Array) -> Array:
        layer = self.parts[part]
        y = np.empty((len(x), layer.outputs_count), np.float32)
        layer.compute(np.ascontiguousarray(x), y)
        return y

    def setup_training(self, source_deltas: list[Tensor | None], delta: Tensor | None) -> None:
        for part in self.parts.values():
            part.reshape([Shape(part.inputs_count)], self.batch)
        super().setup_training(source_deltas, delta)

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        expected = next(part.inputs_count for name, part in self.parts.items() if name[0] in "ui")
        if inputs[0].outputs != expected:
            raise self.section.shape_error(
                f"has weights for {expected} inputs, but its input has {inputs[0].outputs} numbers ({inputs[0]})"
            )
        return Shape(next(reversed(self.parts.values())).outputs_count)

    def operations(self, dialect: Dialect) -> int:
        return sum(part.operations(dialect) for part in self.parts.values())


def activated(activation: Activation, total: Array) -> Array:
    """The activation of a contiguous array, in place."""
    activation.apply_nchw(total)
    return total


@dataclass(kw_only=True, eq=False, repr=False)
class Rnn(_ConnectedRecurrent):
    """`[rnn]`: s' = input(x) + self(s) (+ s with `shortcut`), y = output(s')."""

    shortcut: bool

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> Rnn:
        inputs, outputs = context.shape(context.index - 1).outputs, section.positive("output", 1)
        hidden = section.positive("hidden", 1) if "hidden" not in section.foreign else outputs
        section.ignore("hidden", "logistic")
        outer = read_activation(section, context.dialect, "logistic")
        inner = {1: LOGISTIC, 2: LOGGY}.get(section.integer("logistic", 0), outer)
        parts = {
            "input": Connected.part(section, context, "input.", inputs, hidden, outer),
            "self": Connected.part(section, context, "self.", hidden, hidden, inner),
            "output": Connected.part(section, context, "output.", hidden, outputs, outer),
        }
        return cls(
            section=section,
            sources=context.previous,
            parts=parts,
            shortcut=section.flag("shortcut"),
            time_steps=context.time_steps,
        )

    def state_size(self) -> int:
        return self.parts["self"].outputs_count

    def compute(self, x: Array, y: Array) -> None:
        state = self.state("h")
        new = self.run("input", x) + self.run("self", state)
        state[:] = new + state if self.shortcut else new
        y[:] = self.run("output", state)

    def make_pass(self, unrolled: Unrolled) -> SequencePass:
        return RnnPass(unrolled, self.shortcut, self.state_size())

    def table_row(self) -> str:
        row = f"RNN Layer: {self.inputs[0].outputs} inputs, {self.shape.outputs} outputs"
        return row + self.inner_rows(("input", "self", "output"))


@dataclass(kw_only=True, eq=False, repr=False)
class Gru(_ConnectedRecurrent):
    """`[gru]`: y = h' = z h + (1 - z) g, with z, r = logistic(U x + W h) and g = candidate(U x + W (r h))."""

    candidate: Activation

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> Gru:
        inputs, outputs = context.shape(context.index - 1).outputs, section.positive("output", 1)
        sides = "uw" if context.dialect.gru_input_first else "wu"
        names = [side + gate for side in sides for gate in "zrh"]
        parts = {
            name: Connected.part(section, context, f"{name}.", inputs if name[0] == "u" else outputs, outputs, LINEAR)
            for name in names
        }
        candidate = TANH if section.flag("tanh") else LOGISTIC
        return cls(
            section=section, sources=context.previous, parts=parts, candidate=candidate, time_steps=context.time_steps
        )

    def compute(self, x: Array, y: Array) -> None:
        h = self.state("h")
        z = activated(LOGISTIC, self.run("uz", x) + self.run("wz", h))
        r = activated(LOGISTIC, self.run("ur", x) + self.run("wr", h))
        g = activated(self.candidate, self.run("uh", x) + self.run("wh", r * h))
        h[:] = z * h + (1 - z) * g
        y[:] = h

    def make_pass(self, unrolled: Unrolled) -> SequencePass:
        return GruPass(unrolled, self.candidate is TANH, self.state("h"))

    def table_row(self) -> str:
        row = f"GRU Layer: {self.inputs[0].outputs} inputs, {self.shape.outputs} outputs"
        return row + self.inner_rows(("uz", "wz", "ur", "wr", "uh", "wh"))


@dataclass(kw_only=True, eq=False, repr=False)
class Lstm(_ConnectedRecurrent):
    """`[lstm]`: c' = f c + i g, y = h' = o tanh(c'), with f, i, o = logistic and g = tanh of U x + W h."""

    state_names: ClassVar[Mapping[str, str]] = {"h": "hidden", "c": "cell"}

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> Lstm:
        inputs, outputs = context.shape(context.index - 1).outputs, section.positive("output", 1)
        names = [side + gate for side in "wu" for gate in context.dialect.lstm_order]
        parts = {
            name: Connected.part(section, context, f"{name}.", inputs if name[0] == "u" else outputs, outputs, LINEAR)
            for name in names
        }
        return cls(section=section, sources=context.previous, parts=parts, time_steps=context.time_steps)

    def compute(self, x: Array, y: Array) -> None:
        h, c = self.state("h"), self.state("c")
        f, i, o = (activated(LOGISTIC, self.run(f"u{gate}", x) + self.run(f"w{gate}", h)) for gate in "fio")
        g = activated(TANH, self.run("ug", x) + self.run("wg", h))
        c[:] = f * c + i * g
        h[:] = o * activated(TANH, c.copy())
        y[:] = h

    def make_pass(self, unrolled: Unrolled) -> SequencePass:
        return LstmPass(unrolled, self.sequences, self.shape.outputs)

    def table_row(self) -> str:
        row = f"LSTM Layer: {self.inputs[0].outputs} inputs, {self.shape.outputs} outputs"
        return row + self.inner_rows(side + gate for side in "uw" for gate in "figo")
