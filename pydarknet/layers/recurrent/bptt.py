"""Back-propagation through time: recurrent layers in training, unrolled over the T time steps of a sequence.

A mini-batch of T x b samples holds b sequences, ordered by time: time step t of sequence i is sample t b + i. Each part
of a layer has T copies with tensors of their own; all copies share their parameters and updates. The classes here give
the forward and the backward pass of each layer over a sequence. Arrays x, y and their deltas are (T, b, n) float32; in
the formulas a prime marks the state after a step, and `delta_` minus the gradient of the loss.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from ...tensor import Layout, Tensor
from ...utils.arrays import Array
from ..base import Layer, Trainable


class Unrolled:
    """`time_steps` copies of every part of a recurrent layer, each bound to tensors and deltas of its own."""

    def __init__(self, parts: Mapping[str, Layer], time_steps: int, sequences: int) -> None:
        """sequences: the batch of each copy."""
        self.time_steps = time_steps
        self._trainables: list[Trainable] = []
        self._copies: list[dict[str, Layer]] = [{} for _ in range(time_steps)]
        for name, part in parts.items():
            first: Layer | None = None
            for copies in self._copies:
                layer = copy.copy(first or part)
                layer.batch = sequences
                x = Tensor(Layout(sequences, part.inputs[0], part.halo()))
                y = Tensor(Layout(sequences, part.shape))
                layer.setup([x], y)
                layer.setup_training([Tensor(Layout(sequences, part.inputs[0]))], Tensor(Layout(sequences, part.shape)))
                copies[name] = layer
                first = first or layer
            assert first is not None
            for trainable in first.trainables():
                trainable.name = f"{name}.{trainable.name}"
                self._trainables.append(trainable)

    def trainables(self) -> list[Trainable]:
        """The parameters of the parts, which all copies share."""
        return self._trainables

    def forward(self, t: int, part: str, x: Array) -> Array:
        """The part's output (b, outputs) for x (b, inputs) at time step t."""
        layer = self._copies[t][part]
        assert layer.output is not None
        layer.source_tensors[0].fill(np.ascontiguousarray(x, np.float32))
        layer.forward_training()
        return layer.output.plain()

    def begin_backward(self) -> None:
        """To be called between the forward and the backward pass.

        darknet keeps one mean and variance a layer: all time steps use those of the last one in the backward pass.
        """
        for copies in self._copies:
            for name, layer in copies.items():
                layer.use_statistics_of(self._copies[-1][name])

    def backward(self, t: int, part: str, delta: Array) -> Array:
        """Accumulate the part's updates from the delta of its output at time step t; the delta of its input."""
        layer = self._copies[t][part]
        assert layer.delta is not None and layer.source_deltas[0] is not None
        layer.delta.fill(np.ascontiguousarray(delta, np.float32))
        layer.source_deltas[0].data.fill(0)
        layer.backward()
        return layer.source_deltas[0].plain()

    def pre_norm_delta(self, t: int, part: str) -> Array:
        """After `backward`, the delta of the part before its activation and normalisation."""
        return self._copies[t][part].pre_norm_delta

    def replace_input(self, t: int, part: str, x: Array) -> None:
        """Let the part's weight gradient at time step t use x instead of the input of the forward pass."""
        layer = self._copies[t][part]
        layer.source_tensors[0].fill(np.ascontiguousarray(x, np.float32))
        layer.inputs_changed()


class SequencePass(Protocol):
    """The passes of a recurrent layer over a sequence."""

    def forward(self, x: Array) -> Array:
        """y of x; keeps what `backward` needs."""

    def backward(self, delta: Array) -> Array:
        """The delta of x from that of y; accumulates the updates of the parts."""

    def carried(self) -> dict[str, Array]:
        """The state that continues in the next mini-batch: (b, n) each, no copies. Checkpoints use the names."""


class RnnPass:
    """s' = input(x) + self(s) (+ s with `shortcut`), y = output(s'), from s = 0 in every mini-batch."""

    def __init__(self, unrolled: Unrolled, shortcut: bool, hidden: int) -> None:
        self.unrolled, self.shortcut, self.hidden = unrolled, shortcut, hidden

    def forward(self, x: Array) -> Array:
        run, state = self.unrolled.forward, np.zeros((x.shape[1], self.hidden), np.float32)
        outputs = []
        for t, x_t in enumerate(x):
            new = run(t, "input", x_t) + run(t, "self", state)
            state = new + state if self.shortcut else new
            outputs.append(run(t, "output", state))
        return np.stack(outputs)

    def carried(self) -> dict[str, Array]:
        return {}

    def backward(self, delta: Array) -> Array:
        back, deltas, delta_s = self.unrolled.backward, [], np.zeros((delta.shape[1], self.hidden), np.float32)
        for t in reversed(range(len(delta))):
            delta_new = back(t, "output", delta[t]) + delta_s
            delta_s = back(t, "self", delta_new)
            delta_self = self.unrolled.pre_norm_delta(t, "self")
            if self.shortcut:
                delta_s = delta_s + delta_self
            deltas.append(back(t, "input", delta_self))
        return np.stack(deltas[::-1])


class GruPass:
    """z, r = logistic(U x + W h), g = logistic or tanh(U x + W (r h)), y = h' = z h + (1 - z) g.

    h continues in the next mini-batch.
    """

    def __init__(self, unrolled: Unrolled, uses_tanh: bool, state: Array) -> None:
        self.unrolled, self.uses_tanh = unrolled, uses_tanh
        self.h = np.zeros((len(state) // unrolled.time_steps, state.shape[1]), np.float32)

    def forward(self, x: Array) -> Array:
        run, outputs = self.unrolled.forward, []
        self._kept = []
        for t, x_t in enumerate(x):
            h = self.h
            z = _logistic(run(t, "uz", x_t) + run(t, "wz", h))
            r = _logistic(run(t, "ur", x_t) + run(t, "wr", h))
            total = run(t, "uh", x_t) + run(t, "wh", r * h)
            g = np.tanh(total) if self.uses_tanh else _logistic(total)
            self.h = z * h + (1 - z) * g
            self._kept.append((h, z, r, g))
            outputs.append(self.h)
        return np.stack(outputs)

    def carried(self) -> dict[str, Array]:
        return {"hidden": self.h}

    def backward(self, delta: Array) -> Array:
        back, deltas, from_next = self.unrolled.backward, [], np.zeros_like(delta[0])
        for t in reversed(range(len(delta))):
            h, z, r, g = self._kept[t]
            delta_h = delta[t] + from_next
            delta_g = delta_h * (1 - z) * (1 - g * g if self.uses_tanh else g * (1 - g))
            delta_z = delta_h * (h - g) * z * (1 - z)
            delta_rh = back(t, "wh", delta_g)
            delta_r = delta_rh * h * r * (1 - r)
            from_next = delta_h * z + delta_rh * r + back(t, "wz", delta_z) + back(t, "wr", delta_r)
            deltas.append(back(t, "uh", delta_g) + back(t, "uz", delta_z) + back(t, "ur", delta_r))
        return np.stack(deltas[::-1])


class LstmPass:
    """c' = f c + i g, y = h' = o tanh(c'), with f, i, o = logistic and g = tanh of U x + W h.

    Three oddities are darknet's: in the backward pass, the first time step takes its own output and cell for those
    before it; the delta of the cell continues in the next mini-batch; and the state from which that begins is the one
    after the first time step.
    """

    gates = "fiog"

    def __init__(self, unrolled: Unrolled, sequences: int, size: int) -> None:
        self.unrolled = unrolled
        self.h, self.c = np.zeros((sequences, size), np.float32), np.zeros((sequences, size), np.float32)
        self.delta_c = np.zeros((sequences, size), np.float32)

    def forward(self, x: Array) -> Array:
        run, outputs = self.unrolled.forward, []
        self._kept = []
        for t, x_t in enumerate(x):
            sums = {gate: run(t, f"w{gate}", self.h) + run(t, f"u{gate}", x_t) for gate in self.gates}
            f, i, o = (_logistic(sums[gate]) for gate in "fio")
            g = np.tanh(sums["g"])
            self.c = f * self.c + i * g
            self.h = o * np.tanh(self.c)
            self._kept.append((f, i, o, g, self.c, self.h))
            outputs.append(self.h)
        return np.stack(outputs)

    def carried(self) -> dict[str, Array]:
        return {"hidden": self.h, "cell": self.c, "cell_delta": self.delta_c}

    def backward(self, delta: Array) -> Array:
        back, deltas, from_next = self.unrolled.backward, [], np.zeros_like(delta[0])
        for t in reversed(range(len(delta))):
            f, i, o, g, c, _ = self._kept[t]
            previous_c = self._kept[max(t - 1, 0)][4]
            delta_h, tanh_c = delta[t] + from_next, np.tanh(c)
            delta_c = delta_h * o * (1 - tanh_c * tanh_c) + self.delta_c
            gate_deltas = {
                "o": delta_h * tanh_c * o * (1 - o),
                "g": delta_c * i * (1 - g * g),
                "i": delta_c * g * i * (1 - i),
                "f": delta_c * previous_c * f * (1 - f),
            }
            self._replace_first_state(t)
            from_next = sum(back(t, f"w{gate}", change) for gate, change in gate_deltas.items())
            deltas.append(sum(back(t, f"u{gate}", change) for gate, change in gate_deltas.items()))
            self.delta_c = delta_c * f
        *_, self.c, self.h = self._kept[0]
        return np.stack(deltas[::-1])

    def _replace_first_state(self, t: int) -> None:
        """At time step 0, let the weight gradients use its own output as the state before it."""
        if t == 0 and self.unrolled.time_steps > 1:
            for gate in self.gates:
                self.unrolled.replace_input(0, f"w{gate}", self._kept[0][5])


class ConvLstmPass:
    """The LSTM of convolutional parts. With `peephole`, f, i = logistic(U x + W h + V c), and o reads c' so.

    The new cell is clipped to -constrain to constrain, unless that is 0. h and c continue in the next mini-batch.
    """

    def __init__(self, unrolled: Unrolled, sequences: int, size: int, peephole: bool, constrain: float) -> None:
        self.unrolled, self.peephole, self.constrain = unrolled, peephole, constrain
        self.h, self.c = np.zeros((sequences, size), np.float32), np.zeros((sequences, size), np.float32)

    def forward(self, x: Array) -> Array:
        run, outputs = self.unrolled.forward, []
        self._kept = []
        for t, x_t in enumerate(x):
            sums = {gate: run(t, f"w{gate}", self.h) + run(t, f"u{gate}", x_t) for gate in "figo"}
            if self.peephole:
                for gate in "fi":
                    sums[gate] += run(t, f"v{gate}", self.c)
            previous_c, f, i, g = self.c, _logistic(sums["f"]), _logistic(sums["i"]), np.tanh(sums["g"])
            c = f * previous_c + i * g
            if self.peephole:
                sums["o"] += run(t, "vo", c)
            o = _logistic(sums["o"])
            self.h = o * np.tanh(c)
            self.c = np.clip(c, -self.constrain, self.constrain) if self.constrain else c
            self._kept.append((previous_c, f, i, g, o, c))
            outputs.append(self.h)
        return np.stack(outputs)

    def carried(self) -> dict[str, Array]:
        return {"hidden": self.h, "cell": self.c}

    def backward(self, delta: Array) -> Array:
        back, deltas = self.unrolled.backward, []
        from_next, next_c = np.zeros_like(delta[0]), np.zeros_like(delta[0])  # the deltas of h and c of later steps
        for t in reversed(range(len(delta))):
            previous_c, f, i, g, o, c = self._kept[t]
            delta_h, tanh_c = delta[t] + from_next, np.tanh(c)
            delta_o = delta_h * tanh_c * o * (1 - o)
            delta_c = delta_h * o * (1 - tanh_c * tanh_c) + next_c
            if self.peephole:
                delta_c = delta_c + back(t, "vo", delta_o)
            gate_deltas = {
                "f": delta_c * previous_c * f * (1 - f),
                "i": delta_c * g * i * (1 - i),
                "g": delta_c * i * (1 - g * g),
                "o": delta_o,
            }
            from_next = sum(back(t, f"w{gate}", change) for gate, change in gate_deltas.items())
            deltas.append(sum(back(t, f"u{gate}", change) for gate, change in gate_deltas.items()))
            next_c = delta_c * f
            if self.peephole:
                next_c = next_c + back(t, "vf", gate_deltas["f"]) + back(t, "vi", gate_deltas["i"])
        return np.stack(deltas[::-1])


def _logistic(x: Array) -> Array:
    return np.float32(1) / (np.float32(1) + np.exp(-x))
