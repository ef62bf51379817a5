"""`[crnn]` and `[conv_lstm]`: recurrent layers of convolutional parts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...config.sections import Section, flag
from ...tensor import Shape, Tensor
from ...utils.arrays import Array
from ..activations import TANH, Activation, read_activation
from ..base import BuildContext, Trainable
from ..convolution.convolutional import Convolutional
from ..convolution.geometry import Window
from ..convolution.section import LARGEST_STRIDE, read_window
from .rnn import LstmSteps, Recurrent, RnnSteps, Run, States, activated, bind_alone, fill


@dataclass(kw_only=True, eq=False, repr=False)
class _ConvolutionalRecurrent(Recurrent):
    """A recurrent layer of convolutional parts, each bound to tensors of its own."""

    row = "{x.height} x {x.width} x {x.channels} image, {y.channels} filters"
    indent = ""
    sets_channels = True

    @staticmethod
    def window(section: Section) -> Window:
        """The window of all parts, in AlexeyAB's darknet."""
        stride = section.positive("stride", 1, LARGEST_STRIDE)
        return read_window(section, 3, stride, stride)

    def part_inputs(self, inputs: Shape) -> dict[str, Shape]:
        """The parts' input shapes."""
        raise NotImplementedError

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        out = inputs[0]
        for name, shape in self.part_inputs(inputs[0]).items():
            out = self.parts[name].out_shape([shape])
            if (out.height, out.width) != (shape.height, shape.width):
                raise self.section.shape_error(
                    f"makes {out.width} x {out.height} of {shape.width} x {shape.height}; a state must keep its size: "
                    "expected stride=1 and pad=1"
                )
        return out

    def reshape(self, inputs: Sequence[Shape], batch: int) -> None:
        super().reshape(inputs, batch)
        for name, shape in self.part_inputs(inputs[0]).items():
            self.parts[name].reshape([shape], batch)

    def setup(self, sources: list[Tensor], output: Tensor | None) -> None:
        super().setup(sources, output)
        for part in self.parts.values():
            bind_alone(part, sources[0].layout.batch)

    def run(self, part: str, x: Array) -> Array:
        layer = self.parts[part]
        fill(layer.source_tensors[0], x)
        layer.forward()
        return layer.output.plain()

    def table_operations(self) -> float:
        return sum(part.table_operations() for part in self.parts.values())


@dataclass(kw_only=True, eq=False, repr=False)
class Crnn(RnnSteps, _ConvolutionalRecurrent):
    """`[crnn]`: `[rnn]` with convolutions."""

    shortcut: bool = flag()
    swaps_sides: bool  # pjreddie's darknet exchanges height and width of its input
    learns: bool  # whether the dialect updates the parameters

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> "Crnn":
        channels = context.before.channels
        if "output" in section.foreign:
            hidden, outputs = section.positive("hidden_filters", 1), section.positive("output_filters", 1)
            window = Window(3, 1, 1, 1)
        else:
            hidden, outputs = section.positive("hidden", 1), section.positive("output", 1)
            window = cls.window(section)
        activation = read_activation(section, context.dialect, "logistic")
        sizes = {"input": (channels, hidden), "self": (hidden, hidden), "output": (hidden, outputs)}
        parts = {name: Convolutional.part(section, context, *size, window, activation) for name, size in sizes.items()}
        swaps_sides, learns = "output" in section.foreign, context.dialect.crnn_learns
        return cls.build(section, context, parts=parts, swaps_sides=swaps_sides, learns=learns)

    def part_inputs(self, inputs: Shape) -> dict[str, Shape]:
        if self.swaps_sides:
            inputs = Shape(inputs.channels, inputs.width, inputs.height)
        hidden = Shape(self.parts["self"].channels, inputs.height, inputs.width)
        return {"input": inputs, "self": hidden, "output": hidden}

    def state_size(self) -> int:
        return self.parts["self"].shape.outputs

    def trainables(self) -> list[Trainable]:
        return super().trainables() if self.learns else []


@dataclass(kw_only=True, eq=False, repr=False)
class ConvLstm(LstmSteps, _ConvolutionalRecurrent):
    """`[conv_lstm]`: `[lstm]` with convolutions. Parts called v... read the cell (`peephole`)."""

    peephole: bool = flag()
    bottleneck: bool = flag()  # one part reads state and input together, and all gates read its output
    shortcut: bool = flag()
    gate: Activation
    constrain: float

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> "ConvLstm":
        channels, filters = context.before.channels, section.positive("output", 1)
        window, activation = cls.window(section), read_activation(section, context.dialect, "linear")
        peephole, bottleneck = section.flag("peephole"), section.flag("bottleneck")
        if bottleneck and channels != filters:
            raise section.shape_error(
                f"bottleneck needs output={channels}, the channels of its input; found {filters}", "output"
            )
        reads = dict.fromkeys(("vf", "vi", "vo") if peephole else (), filters)
        reads |= {"wf": filters + channels} if bottleneck else dict.fromkeys(("wf", "wi", "wg", "wo"), filters)
        reads |= dict.fromkeys(("uf", "ui", "ug", "uo"), channels)
        parts = {
            name: Convolutional.part(section, context, n, filters, window, activation) for name, n in reads.items()
        }
        section.ignore("time_normalizer")
        limit = section.integer("state_constrain", 32 * max(1, context.net.integer("time_steps", 1)))
        gate = read_activation(section, context.dialect, "tanh", "lstm_activation")
        return cls.build(section, context, parts=parts, gate=gate, constrain=float(limit))

    def part_inputs(self, inputs: Shape) -> dict[str, Shape]:
        return {name: Shape(part.channels, inputs.height, inputs.width) for name, part in self.parts.items()}

    def gate_sums(self, run: Run, x: Array, h: Array) -> States:
        if not self.bottleneck:
            return super().gate_sums(run, x, h)
        self._bottleneck_output = activated(self.gate, run("wf", np.concatenate([h, x], axis=1)))
        return {gate: run(f"u{gate}", self._bottleneck_output) for gate in "figo"}

    def compute(self, x: Array, y: Array) -> None:
        super().compute(x, y)
        for state in (*self.states.values(), y):
            _replace_broken(state)
        if self.shortcut and self.bottleneck:
            y[:, : y.shape[1] // 2] += self._bottleneck_output[:, : y.shape[1] // 2]

    def setup_training(self, source_deltas: list[Tensor | None], delta: Tensor | None) -> None:
        if self.bottleneck:
            raise self.section.error("bottleneck: such layers cannot be trained", "bottleneck")
        if self.gate is not TANH:
            raise self.section.error(
                f"lstm_activation={self.gate.name}: such layers cannot be trained; expected tanh", "lstm_activation"
            )
        super().setup_training(source_deltas, delta)

    def table_operations(self) -> float:
        return super().table_operations() + (12 if self.peephole else 9) * self.shape.outputs * self.batch


def _replace_broken(state: Array) -> None:
    """NaN and infinite elements become 1 / index, as in darknet (index 0: 1)."""
    flat = state.reshape(-1)
    broken = np.flatnonzero(~np.isfinite(flat))
    flat[broken] = 1 / np.maximum(broken, 1)
