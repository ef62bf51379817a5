"""Recurrent layers in training: a sequence of T steps, each with copies of the parts that share their parameters.

A mini-batch of T x b pictures is ordered by time: element (t, i) stands at t b + i.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from ...tensor import Layout, Tensor
from ...utils.arrays import Array
from ..activations import Activation
from ..base import Layer, Trainable


class Unrolled:
    """`steps` copies of every part, each with tensors and deltas of its own."""

    def __init__(self, parts: Mapping[str, Layer], steps: int, batch: int) -> None:
        """`batch` counts the sequences."""
        self.steps = steps
        self._trainables: list[Trainable] = []
        self._copies: list[dict[str, Layer]] = [{} for _ in range(steps)]
        for name, part in parts.items():
            first: Layer | None = None
            for at_step in self._copies:
                layer = copy.copy(first or part)
                layer.batch = batch
                x = Tensor(Layout(batch, part.inputs[0], part.halo()))
                y = Tensor(Layout(batch, part.shape))
                layer.setup([x], y)
                layer.setup_training([Tensor(Layout(batch, part.inputs[0]))], Tensor(Layout(batch, part.shape)))
                at_step[name] = layer
                first = first or layer
            assert first is not None
            for trainable in first.trainables():
                trainable.name = f"{name}.{trainable.name}"
                self._trainables.append(trainable)

    def trainables(self) -> list[Trainable]:
        """The parameters of the parts, which all steps share."""
        return self._trainables

    def run(self, step: int, part: str, x: Array) -> Array:
        """Part's output (b, outputs) for x (b, inputs) at one step."""
        layer = self._copies[step][part]
        assert layer.output is not None
        layer.source_tensors[0].fill(np.ascontiguousarray(x, np.float32))
        layer.forward_training()
        return layer.output.plain()

    def turn(self) -> None:
        """After the last step forward, before the first one back.

        As in darknet, which keeps one mean and variance a layer, all steps go back with those of the last.
        """
        for at_step in self._copies:
            for name, layer in at_step.items():
                layer.use_statistics_of(self._copies[-1][name])

    def set_input(self, step: int, part: str, x: Array) -> None:
        """Put another input in place of the one that the part's filter gradient at one step would use."""
        layer = self._copies[step][part]
        layer.source_tensors[0].fill(np.ascontiguousarray(x, np.float32))
        layer.inputs_changed()

    def pre_norm_delta(self, step: int, part: str) -> Array:
        return self._copies[step][part].pre_norm_delta

    def back(self, step: int, part: str, delta: Array) -> Array:
        """Accumulate the part's updates from the delta of its output at one step; the delta of its input."""
        layer = self._copies[step][part]
        assert layer.delta is not None and layer.source_deltas[0] is not None
        layer.delta.fill(np.ascontiguousarray(delta, np.float32))
        layer.source_deltas[0].data.fill(0)
        layer.backward()
        return layer.source_deltas[0].plain()


class Steps(Protocol):
    """A recurrent layer over a sequence: x, y and their deltas are (T, b, n)."""

    def forward(self, x: Array) -> Array: ...

    def backward(self, delta: Array) -> Array: ...

    def carried(self) -> dict[str, Array]:
        """What goes on into the next mini-batch: (b, n) each, no copies. The names stand in checkpoints."""


class RnnSteps:
    """s' = input(x) + self(s) (+ s with shortcut), y = output(s'), from s = 0 in every mini-batch."""

    def __init__(self, unrolled: Unrolled, shortcut: bool, hidden: int) -> None:
        self.unrolled, self.shortcut, self.hidden = unrolled, shortcut, hidden

    def forward(self, x: Array) -> Array:
        state = np.zeros((x.shape[1], self.hidden), np.float32)
        outputs = []
        for t, frame in enumerate(x):
            following = self.unrolled.run(t, "input", frame) + self.unrolled.run(t, "self", state)
            state = following + state if self.shortcut else following
            outputs.append(self.unrolled.run(t, "output", state))
        return np.stack(outputs)

    def carried(self) -> dict[str, Array]:
        return {}

    def backward(self, delta: Array) -> Array:
        changes, carried = [], np.zeros((delta.shape[1], self.hidden), np.float32)
        for t in reversed(range(len(delta))):
            of_state = self.unrolled.back(t, "output", delta[t]) + carried
            carried = self.unrolled.back(t, "self", of_state)
            of_self = self.unrolled.pre_norm_delta(t, "self")
            if self.shortcut:
                carried = carried + of_self
            changes.append(self.unrolled.back(t, "input", of_self))
        return np.stack(changes[::-1])


class GruSteps:
    """z and r logistic, g logistic or tanh of U x + W (r h), h' = z h + (1 - z) g; h stays between mini-batches."""

    def __init__(self, unrolled: Unrolled, uses_tanh: bool, state: Array) -> None:
        self.unrolled, self.uses_tanh = unrolled, uses_tanh
        self.h = np.zeros((len(state) // unrolled.steps, state.shape[1]), np.float32)

    def forward(self, x: Array) -> Array:
        run, outputs = self.unrolled.run, []
        self._kept = []
        for t, frame in enumerate(x):
            h = self.h
            z = _logistic(run(t, "uz", frame) + run(t, "wz", h))
            r = _logistic(run(t, "ur", frame) + run(t, "wr", h))
            total = run(t, "uh", frame) + run(t, "wh", r * h)
            g = np.tanh(total) if self.uses_tanh else _logistic(total)
            self.h = z * h + (1 - z) * g
            self._kept.append((h, z, r, g))
            outputs.append(self.h)
        return np.stack(outputs)

    def carried(self) -> dict[str, Array]:
        return {"hidden": self.h}

    def backward(self, delta: Array) -> Array:
        back, changes, carried = self.unrolled.back, [], np.zeros_like(delta[0])
        for t in reversed(range(len(delta))):
            h, z, r, g = self._kept[t]
            of_h = delta[t] + carried
            of_g = of_h * (1 - z) * (1 - g * g if self.uses_tanh else g * (1 - g))
            of_z = of_h * (h - g) * z * (1 - z)
            of_gated = back(t, "wh", of_g)
            of_r = of_gated * h * r * (1 - r)
            carried = of_h * z + of_gated * r + back(t, "wz", of_z) + back(t, "wr", of_r)
            changes.append(back(t, "uh", of_g) + back(t, "uz", of_z) + back(t, "ur", of_r))
        return np.stack(changes[::-1])


class LstmSteps:
    """c' = f c + i g, h' = o tanh(c'); h and c stay between mini-batches.

    As darknet has it: on the way back the first step of a sequence takes its own output and cell for those before
    it, the cell's delta goes on into the next mini-batch, and what the next one starts from is the state after the
    first step.
    """

    gates = "fiog"

    def __init__(self, unrolled: Unrolled, batch: int, size: int) -> None:
        self.unrolled = unrolled
        self.h, self.c = np.zeros((batch, size), np.float32), np.zeros((batch, size), np.float32)
        self.of_c = np.zeros((batch, size), np.float32)

    def forward(self, x: Array) -> Array:
        run, outputs = self.unrolled.run, []
        self._kept = []
        for t, frame in enumerate(x):
            sums = {gate: run(t, f"w{gate}", self.h) + run(t, f"u{gate}", frame) for gate in self.gates}
            f, i, o = (_logistic(sums[gate]) for gate in "fio")
            g = np.tanh(sums["g"])
            self.c = f * self.c + i * g
            self.h = o * np.tanh(self.c)
            self._kept.append((f, i, o, g, self.c, self.h))
            outputs.append(self.h)
        return np.stack(outputs)

    def carried(self) -> dict[str, Array]:
        return {"hidden": self.h, "cell": self.c, "cell_delta": self.of_c}

    def backward(self, delta: Array) -> Array:
        back, changes, carried = self.unrolled.back, [], np.zeros_like(delta[0])
        for t in reversed(range(len(delta))):
            f, i, o, g, c, _ = self._kept[t]
            before = self._kept[max(t - 1, 0)][4]
            of_h = delta[t] + carried
            top = np.tanh(c)
            of_cell = of_h * o * (1 - top * top) + self.of_c
            of_gate = {
                "o": of_h * top * o * (1 - o),
                "g": of_cell * i * (1 - g * g),
                "i": of_cell * g * i * (1 - i),
                "f": of_cell * before * f * (1 - f),
            }
            self._rewind(t)
            carried = sum(back(t, f"w{gate}", change) for gate, change in of_gate.items())
            changes.append(sum(back(t, f"u{gate}", change) for gate, change in of_gate.items()))
            self.of_c = of_cell * f
        *_, self.c, self.h = self._kept[0]
        return np.stack(changes[::-1])

    def _rewind(self, t: int) -> None:
        """Let the parts of step 0 see the output of step 0 as the state before it."""
        if t == 0 and self.unrolled.steps > 1:
            for gate in self.gates:
                self.unrolled.set_input(0, f"w{gate}", self._kept[0][5])


class ConvLstmSteps:
    """The same with convolutions, an activation of its own for the cell, and peepholes; the cell is clipped."""

    def __init__(
        self, unrolled: Unrolled, batch: int, size: int, gate: Activation, peephole: bool, constrain: float
    ) -> None:
        self.unrolled, self.gate, self.peephole, self.constrain = unrolled, gate, peephole, constrain
        self.h, self.c = np.zeros((batch, size), np.float32), np.zeros((batch, size), np.float32)

    def forward(self, x: Array) -> Array:
        run, outputs = self.unrolled.run, []
        self._kept = []
        for t, frame in enumerate(x):
            sums = {gate: run(t, f"w{gate}", self.h) + run(t, f"u{gate}", frame) for gate in "figo"}
            if self.peephole:
                for gate in "fi":
                    sums[gate] += run(t, f"v{gate}", self.c)
            before, f, i, g = self.c, _logistic(sums["f"]), _logistic(sums["i"]), np.tanh(sums["g"])
            cell = f * before + i * g
            if self.peephole:
                sums["o"] += run(t, "vo", cell)
            o = _logistic(sums["o"])
            self.h = o * np.tanh(cell)
            self.c = np.clip(cell, -self.constrain, self.constrain) if self.constrain else cell
            self._kept.append((before, f, i, g, o, cell))
            outputs.append(self.h)
        return np.stack(outputs)

    def carried(self) -> dict[str, Array]:
        return {"hidden": self.h, "cell": self.c}

    def backward(self, delta: Array) -> Array:
        back, changes = self.unrolled.back, []
        carried, of_c = np.zeros_like(delta[0]), np.zeros_like(delta[0])
        for t in reversed(range(len(delta))):
            before, f, i, g, o, cell = self._kept[t]
            of_h, top = delta[t] + carried, np.tanh(cell)
            of_o = of_h * top * o * (1 - o)
            of_cell = of_h * o * (1 - top * top) + of_c
            if self.peephole:
                of_cell = of_cell + back(t, "vo", of_o)
            of_gate = {
                "f": of_cell * before * f * (1 - f),
                "i": of_cell * g * i * (1 - i),
                "g": of_cell * i * (1 - g * g),
                "o": of_o,
            }
            carried = sum(back(t, f"w{gate}", change) for gate, change in of_gate.items())
            changes.append(sum(back(t, f"u{gate}", change) for gate, change in of_gate.items()))
            of_c = of_cell * f
            if self.peephole:
                of_c = of_c + back(t, "vf", of_gate["f"]) + back(t, "vi", of_gate["i"])
        return np.stack(changes[::-1])


def _logistic(x: Array) -> Array:
    return np.float32(1) / (np.float32(1) + np.exp(-x))
