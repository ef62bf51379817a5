"""`[rnn]`, `[gru]`, `[lstm]`: layers whose state continues from one forward pass to the next.

Each is made of connected layers, its parts: those called u... read the input, those called w... the state. In
the formulas a prime marks the state after a step, and `delta_` is minus the gradient of the loss.
"""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from ...config.dialect import Dialect
from ...config.sections import Section, flag
from ...tensor import Layout, Shape, Tensor
from ...utils.arrays import Array
from ..activations import LINEAR, LOGGY, LOGISTIC, TANH, Activation, read_activation
from ..base import BuildContext, Layer, NchwLayer, Parameter
from ..connected import Connected

Run = Callable[[str, Array], Array]  # gives the output of a part for x (b, inputs): a new (b, outputs) array
Apply = Callable[[Activation, Array], Array]  # an activation of a new array
States = dict[str, Array]  # (b, n) float32 by name
_ZERO = np.zeros(1, np.float32)


def activated(activation: Activation, total: Array) -> Array:
    """The activation of a contiguous array, in place."""
    activation.apply_nchw(total)
    return total


def _activated_in_training(activation: Activation, total: Array) -> Array:
    return np.tanh(total) if activation is TANH else np.float32(1) / (np.float32(1) + np.exp(-total))


def fill(tensor: Tensor, values: Array) -> None:
    """Write (b, n) values in NCHW order."""
    tensor.fill(np.ascontiguousarray(values, np.float32))


def bind_alone(part: Layer, batch: int) -> None:
    """Bind a part to tensors of its own."""
    part.setup([Tensor(Layout(batch, part.inputs[0], part.halo()))], Tensor(Layout(batch, part.shape)))


@dataclass(kw_only=True, eq=False, repr=False)
class Recurrent(NchwLayer):
    """A layer of parts, in file order, with named states of (batch, n) float32 that begin as zeros.

    In training, every part has a copy with tensors of its own for each time step; all share parameters and
    updates. Time step t of sequence i of b is sample t b + i of a mini-batch.
    """

    indent = "\t\t"  # of the parts' rows in the layer table, which are in the order of `made_in_order`
    made_in_order: ClassVar[Iterable[str]] = ("input", "self", "output")
    # The states, and those that training carries on, with their names in checkpoints.
    state_names: ClassVar[Mapping[str, str]] = {"h": "hidden"}
    carried_names: ClassVar[Mapping[str, str]] = {"h": "hidden"}
    parts: dict[str, Any]  # all [connected] or all [convolutional]
    time_steps: int = 1
    states: States = field(default_factory=dict)
    _carried: States = field(default_factory=dict, init=False)  # since `setup_training`
    _copies: list[dict[str, Any]] = field(default_factory=list, init=False)  # of the parts, for each time step

    @classmethod
    def build(cls, section: Section, context: BuildContext, **options: Any) -> Any:
        return super().build(section, context, time_steps=context.net.positive("time_steps", 1, 1 << 16), **options)

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
        """The state; zeros at first and after a change of the batch."""
        shape = (self.source_tensors[0].layout.batch, self.state_size())
        if name not in self.states or self.states[name].shape != shape:
            self.states[name] = np.zeros(shape, np.float32)
        return self.states[name]

    def state_dict(self) -> States:
        states = {f"state.{name}": self.state(key) for key, name in self.state_names.items()}
        return states | {f"carried.{name}": array for name, array in self.carried().items()}

    def carried(self) -> States:
        return {name: self._carried[key] for key, name in self.carried_names.items() if key in self._carried}

    def run(self, part: str, x: Array) -> Array:
        """At inference, a part's output for x (batch, inputs)."""
        raise NotImplementedError

    def step(self, run: Run, apply: Apply, x: Array, state: States) -> tuple[Array, tuple[Array, ...]]:
        """y (b, outputs) and what `step_backward` needs; new arrays in `state`."""
        raise NotImplementedError

    def step_backward(self, t: int, kept: tuple[Array, ...], delta: Array, later: States) -> Array:
        """The delta of x; accumulates updates and replaces the deltas of states, `later`."""
        raise NotImplementedError

    def compute(self, x: Array, y: Array) -> None:
        state = {name: self.state(name) for name in self.state_names}
        y[:], _ = self.step(self.run, activated, x, state)
        self.states = state

    def setup_training(self, source_deltas: list[Tensor | None], delta: Tensor | None) -> None:
        super().setup_training(source_deltas, delta)
        if self.batch % self.time_steps:
            raise self.section.shape_error(f"a mini-batch of {self.batch} does not hold sequences of {self.time_steps}")
        self.sequences = self.batch // self.time_steps
        self._copies = [{} for _ in range(self.time_steps)]
        self.learned = {}
        for name, part in self.parts.items():
            for copies in self._copies:
                copies[name] = self._set_up_copy(self._copies[0].get(name, part))
            for trainable in self._copies[0][name].trainables():
                trainable.name = f"{name}.{trainable.name}"
                self.learned[trainable.name] = trainable
        self._carried = self._continued(self.carried_names)

    def _set_up_copy(self, part: Any) -> Any:
        layer, batch = copy.copy(part), self.sequences
        layer.batch = batch
        bind_alone(layer, batch)
        layer.setup_training([Tensor(Layout(batch, part.inputs[0]))], Tensor(Layout(batch, part.shape)))
        return layer

    def _continued(self, names: Iterable[str], prefix: str = "") -> States:
        shape = self.sequences, self.state_size()
        return {name: self._carried.get(prefix + name, np.zeros(shape, np.float32)) for name in names}

    def _carry(self, values: States, prefix: str = "") -> None:
        self._carried |= {prefix + name: array for name, array in values.items() if prefix + name in self._carried}

    def forward_step(self, t: int, part: str, x: Array) -> Array:
        """A part's output for x (b, inputs) at time step t."""
        layer = self._copies[t][part]
        fill(layer.source_tensors[0], x)
        layer.forward_training()
        return layer.output.plain()

    def backward_step(self, t: int, part: str, delta: Array) -> Array:
        """Accumulate a part's updates; the delta of its input."""
        layer = self._copies[t][part]
        layer.source_deltas[0].data.fill(0)
        fill(layer.delta, delta)
        layer.backward()
        return layer.source_deltas[0].plain()

    def forward_training(self) -> None:
        self.read_sources()
        state = self._continued(self.state_names)
        x, y = (array.reshape(self.time_steps, self.sequences, -1) for array in (self.nchw_inputs[0], self.values))
        self._kept: list[tuple[Array, ...]] = [()] * self.time_steps
        for t in range(self.time_steps):
            y[t], self._kept[t] = self.step(partial(self.forward_step, t), _activated_in_training, x[t], state)
        self._carry(state)
        self.write_output()

    def compute_backward(self, delta: Array) -> list[Array]:
        for name, last in self._copies[-1].items():  # darknet keeps one mean and variance a layer
            for copies in self._copies if last.normalisation else ():
                copies[name].normalisation.use_statistics_of(last.normalisation)
        later, deltas = self._continued(self.state_names, "delta_"), []
        for t in reversed(range(self.time_steps)):
            of_step = delta.reshape(self.time_steps, self.sequences, -1)[t]
            deltas.append(self.step_backward(t, self._kept[t], of_step, later))
        self._carry(later, "delta_")
        return [np.concatenate(deltas[::-1])]

    def table_row(self) -> str:
        rows = (self.parts[name].table_row() for name in self.made_in_order if name in self.parts)
        return f"\n{self.indent}".join([f"{self.kind.upper()} Layer: {super().table_row()}", *rows])


class RnnSteps(Recurrent):
    """s' = input(x) + self(s) (+ s), y = output(s'); from s = 0 in every mini-batch."""

    carried_names: ClassVar[Mapping[str, str]] = {}
    shortcut: bool

    def step(self, run: Run, apply: Apply, x: Array, state: States) -> tuple[Array, tuple[Array, ...]]:
        new = run("input", x) + run("self", state["h"])
        state["h"] = new + state["h"] if self.shortcut else new
        return run("output", state["h"]), ()

    def step_backward(self, t: int, kept: tuple[Array, ...], delta: Array, later: States) -> Array:
        back = partial(self.backward_step, t)
        later["h"] = back("self", back("output", delta) + later["h"])
        delta_self = self._copies[t]["self"].pre_norm_delta
        if self.shortcut:
            later["h"] = later["h"] + delta_self
        return back("input", delta_self)


class LstmSteps(Recurrent):
    """c' = f c + i g, y = h' = o tanh(c'), with f, i, o = logistic and g = tanh of U x + W h.

    With `peephole`, f and i read V c as well, and o reads V c'. `gate` stands for tanh. The new cell is clipped to
    -constrain to constrain, unless that is 0.
    """

    made_in_order: ClassVar[Iterable[str]] = [side + gate for side in "uwv" for gate in "figo"]
    state_names: ClassVar[Mapping[str, str]] = {"h": "hidden", "c": "cell"}
    carried_names: ClassVar[Mapping[str, str]] = state_names
    summed = "figo"  # the order in which the deltas of gates are added up
    peephole: bool
    gate: Activation
    constrain: float

    def gate_sums(self, run: Run, x: Array, h: Array) -> States:
        """U x + W h of each gate."""
        return {gate: run(f"w{gate}", h) + run(f"u{gate}", x) for gate in "figo"}

    def step(self, run: Run, apply: Apply, x: Array, state: States) -> tuple[Array, tuple[Array, ...]]:
        before, sums = state["c"], self.gate_sums(run, x, state["h"])
        if self.peephole:
            for gate in "fi":
                sums[gate] += run(f"v{gate}", before)
        f, i, g = apply(LOGISTIC, sums["f"]), apply(LOGISTIC, sums["i"]), apply(self.gate, sums["g"])
        c = f * before + i * g
        if self.peephole:
            sums["o"] += run("vo", c)
        o = apply(LOGISTIC, sums["o"])
        state["h"] = o * apply(self.gate, c.copy())
        state["c"] = np.clip(c, -self.constrain, self.constrain) if self.constrain else c
        return state["h"], (before, f, i, g, o, c, state["h"])

    def step_backward(self, t: int, kept: tuple[Array, ...], delta: Array, later: States) -> Array:
        back, (before, f, i, g, o, c, _) = partial(self.backward_step, t), kept
        delta_h, tanh_c = delta + later["h"], np.tanh(c)
        delta_o = delta_h * tanh_c * o * (1 - o)
        delta_c = delta_h * o * (1 - tanh_c * tanh_c) + later["c"]
        if self.peephole:
            delta_c = delta_c + back("vo", delta_o)
        gates = {
            "f": delta_c * before * f * (1 - f),
            "i": delta_c * g * i * (1 - i),
            "g": delta_c * i * (1 - g * g),
            "o": delta_o,
        }
        later["h"] = sum((back(f"w{gate}", gates[gate]) for gate in self.summed), _ZERO)
        later["c"] = delta_c * f
        if self.peephole:
            later["c"] = later["c"] + back("vf", gates["f"]) + back("vi", gates["i"])
        return sum((back(f"u{gate}", gates[gate]) for gate in self.summed), _ZERO)


@dataclass(kw_only=True, eq=False, repr=False)
class _ConnectedRecurrent(Recurrent):
    """A recurrent layer of connected parts; the last one in the file sets the size of the output."""

    row = "{x.outputs} inputs, {y.outputs} outputs"
    sets_channels = True
    sets_size = True

    @staticmethod
    def gates(section: Section, context: BuildContext, names: Iterable[str]) -> dict[str, Connected]:
        """Linear parts that read the input (u...) or the state."""
        inputs, outputs = context.before.outputs, section.positive("output", 1)
        reads = {name: inputs if name[0] == "u" else outputs for name in names}
        return {name: Connected.part(section, context, n, outputs, LINEAR) for name, n in reads.items()}

    def named_parameters(self) -> list[Parameter]:
        each = ((name, parameter) for name, part in self.parts.items() for parameter in part.named_parameters())
        return [replace(parameter, name=f"{name}.{parameter.name}") for name, parameter in each]

    def run(self, part: str, x: Array) -> Array:
        y = np.empty((len(x), self.parts[part].outputs_count), np.float32)
        self.parts[part].compute(np.ascontiguousarray(x), y)
        return y

    def setup_training(self, source_deltas: list[Tensor | None], delta: Tensor | None) -> None:
        for part in self.parts.values():
            part.reshape([Shape(part.inputs_count)], self.batch)
        super().setup_training(source_deltas, delta)

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        next(part for name, part in self.parts.items() if name[0] in "ui").out_shape(inputs)
        return Shape(next(reversed(self.parts.values())).outputs_count)

    def operations(self, dialect: Dialect) -> int:
        return sum(part.operations(dialect) for part in self.parts.values())


@dataclass(kw_only=True, eq=False, repr=False)
class Rnn(RnnSteps, _ConnectedRecurrent):
    """`[rnn]`: s' = input(x) + self(s) (+ s with `shortcut`), y = output(s')."""

    shortcut: bool = flag()

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> "Rnn":
        inputs, outputs = context.before.outputs, section.positive("output", 1)
        hidden = section.positive("hidden", 1) if "hidden" not in section.foreign else outputs
        section.ignore("hidden", "logistic")
        outer = read_activation(section, context.dialect, "logistic")
        inner = {1: LOGISTIC, 2: LOGGY}.get(section.integer("logistic", 0), outer)
        sizes = {"input": (inputs, hidden, outer), "self": (hidden, hidden, inner), "output": (hidden, outputs, outer)}
        parts = {name: Connected.part(section, context, *size) for name, size in sizes.items()}
        return cls.build(section, context, parts=parts)

    def state_size(self) -> int:
        return self.parts["self"].outputs_count


@dataclass(kw_only=True, eq=False, repr=False)
class Gru(_ConnectedRecurrent):
    """`[gru]`: y = h' = z h + (1 - z) g, with z, r = logistic(U x + W h) and g = logistic or tanh(U x + W (r h))."""

    made_in_order: ClassVar[Iterable[str]] = ("uz", "wz", "ur", "wr", "uh", "wh")
    tanh: bool = flag()

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> "Gru":
        names = [side + gate for side in ("uw" if context.dialect.gru_input_first else "wu") for gate in "zrh"]
        return cls.build(section, context, parts=cls.gates(section, context, names))

    def step(self, run: Run, apply: Apply, x: Array, state: States) -> tuple[Array, tuple[Array, ...]]:
        h = state["h"]
        z = apply(LOGISTIC, run("uz", x) + run("wz", h))
        r = apply(LOGISTIC, run("ur", x) + run("wr", h))
        g = apply(TANH if self.tanh else LOGISTIC, run("uh", x) + run("wh", r * h))
        state["h"] = z * h + (1 - z) * g
        return state["h"], (h, z, r, g)

    def step_backward(self, t: int, kept: tuple[Array, ...], delta: Array, later: States) -> Array:
        back, (h, z, r, g) = partial(self.backward_step, t), kept
        delta_h = delta + later["h"]
        delta_g = delta_h * (1 - z) * (1 - g * g if self.tanh else g * (1 - g))
        delta_z = delta_h * (h - g) * z * (1 - z)
        delta_rh = back("wh", delta_g)
        delta_r = delta_rh * h * r * (1 - r)
        later["h"] = delta_h * z + delta_rh * r + back("wz", delta_z) + back("wr", delta_r)
        return back("uh", delta_g) + back("uz", delta_z) + back("ur", delta_r)


@dataclass(kw_only=True, eq=False, repr=False)
class Lstm(LstmSteps, _ConnectedRecurrent):
    """`[lstm]`: the formulas of `LstmSteps` without its options.

    As in darknet, the backward pass of the first time step takes its own output and cell for those before it;
    the cell's delta, and the state after that step, continue in the next mini-batch.
    """

    carried_names: ClassVar[Mapping[str, str]] = {**LstmSteps.state_names, "delta_c": "cell_delta"}
    summed = "ogif"
    peephole: bool = False
    gate: Activation = TANH
    constrain: float = 0.0

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> "Lstm":
        names = (side + gate for side in "wu" for gate in context.dialect.lstm_order)
        return cls.build(section, context, parts=cls.gates(section, context, names))

    def step_backward(self, t: int, kept: tuple[Array, ...], delta: Array, later: States) -> Array:
        if t == 0:
            *_, c, h = kept
            kept = c, *kept[1:]
            for gate in self.summed if self.time_steps > 1 else ():
                layer = self._copies[0][f"w{gate}"]
                fill(layer.source_tensors[0], h)
                layer.read_sources()
            self._carry({"h": h, "c": c})
        return super().step_backward(t, kept, delta, later)
