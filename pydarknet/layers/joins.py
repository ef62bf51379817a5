"""Layers that read earlier ones: `[route]`, `[shortcut]`, `[scale_channels]`, `[sam]`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from ..config.dialect import Dialect
from ..config.sections import Section, flag, real
from ..kernels import elementwise
from ..kernels.elementwise import add_channels
from ..kernels.reorder import copy_channels
from ..kernels.views import Extent, Strides
from ..runtime.program import Call, KernelCall
from ..tensor import Numbers, Shape, Tensor
from ..utils.arrays import LANES, Array
from .activations import LINEAR, Activation, read_activation
from .base import NOTHING, BuildContext, Layer, NchwLayer, Parameter, padded_lanes, sizes

_WEIGHTS = {"none": "none", "per_feature": "per_feature", "per_layer": "per_feature", "per_channel": "per_channel"}
_NORMALIZATIONS = {"none": "none", "relu": "relu", "avg_relu": "relu", "softmax": "softmax"}


def _sources(
    section: Section, context: BuildContext, key: str, references: Iterable[int], *first: int
) -> tuple[int, ...]:
    """`first` and what references name, told of another reader. Raises ConfigError."""
    sources = *first, *(context.resolve(section, key, reference) for reference in references)
    for source in sources:
        if source >= 0:
            context.layers[source].mark_branch()
    return sources


@dataclass(kw_only=True, eq=False, repr=False)
class Route(Layer):
    """The channels of sources of equal sides, one source after another. With `groups`, only slice `group_id`
    of each. Where source and output share memory, nothing is copied."""

    groups: int = 1
    group_id: int = 0

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> Layer:
        references = section.integers("layers")
        if not references:
            raise section.error("Route Layer must specify input layers: layers=...; expected layer numbers")
        sources = _sources(section, context, "layers", references)
        groups, group_id = section.positive("groups", 1), section.natural("group_id", 0)
        section.ignore("stream", "wait_stream")
        if group_id >= groups:
            raise section.error(
                f"group_id={group_id}: expected a number from 0 to {groups - 1} (groups={groups})", "group_id"
            )
        shapes = [context.shape(source) for source in sources]
        if any((s.height, s.width) != (shapes[0].height, shapes[0].width) for s in shapes):
            if groups > 1:
                raise section.shape_error(
                    "groups needs sources of equal width and height, found " + ", ".join(map(str, shapes)), "layers"
                )
            return FlatRoute(section=section, sources=sources)
        return cls(section=section, sources=sources, groups=groups, group_id=group_id)

    @property
    def is_alias(self) -> bool:  # type: ignore[override]
        return len(self.sources) == 1 and self.groups == 1

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        first = inputs[0]
        for source, shape in zip(self.sources, inputs, strict=True):
            if (shape.height, shape.width) != (first.height, first.width):
                raise self.section.shape_error(
                    f"layers {self.sources[0]} and {source} differ in size: {first} and {shape} (width x height x "
                    "channels)",
                    "layers",
                )
            if shape.channels % self.groups:
                raise self.section.shape_error(
                    f"groups={self.groups} does not divide the {shape.channels} channels of layer {source}", "groups"
                )
        return Shape(sum(shape.channels for shape in inputs) // self.groups, first.height, first.width)

    def concat_offsets(self) -> list[int]:
        if self.groups > 1:
            return []
        return list(accumulate((shape.channels for shape in self.inputs[:-1]), initial=0))

    def split_offset(self) -> int | None:
        return self.group_id * self.shape.channels if self.groups > 1 and len(self.sources) == 1 else None

    def passes_on(self, numbers: Numbers) -> bool:
        unit = LANES * numbers.factors
        return all(shape.channels // self.groups % unit == 0 for shape in self.inputs)

    def bind(self) -> list[Call]:
        copies: list[Call] = []
        y, to = self.output, 0
        words = y.layout.numbers.factors  # the kernel counts channels of one word each
        for x in self.source_tensors:
            count = x.shape.channels // self.groups // words
            first = count * self.group_id
            if not _is_same_memory(x, first, y, to):
                copies.append(KernelCall(copy_channels, x.data, x.planes, first, count, y.data, y.planes, to))
            to += count
        return copies

    def backward(self) -> None:
        delta, first = self.delta, 0
        for source, target in zip(self.inputs, self.source_deltas, strict=True):
            count = source.channels // self.groups
            if target is not None:
                to = target.data, target.planes, count * self.group_id
                add_channels(delta.data, delta.planes, first, count, *to)
            first += count

    def table_row(self) -> str:
        return _route_row(self.sources, f"{self.group_id}/{self.groups}" if self.groups > 1 else "   ", self.shape)


def _is_same_memory(source: Tensor, first: int, output: Tensor, to: int) -> bool:
    if first % LANES or to % LANES or source.layout.block != output.layout.block:
        return False
    begin, end = (
        tensor.data.ctypes.data + channel // LANES * tensor.layout.block * 4
        for tensor, channel in ((source, first), (output, to))
    )
    return begin == end


@dataclass(kw_only=True, eq=False, repr=False)
class FlatRoute(NchwLayer):
    """Sources of different sizes as one vector; pjreddie's darknet does so."""

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        return Shape(sum(shape.outputs for shape in inputs))

    def compute(self, x: np.ndarray, y: np.ndarray) -> None:
        np.concatenate(self.nchw_inputs, axis=1, out=y)

    def compute_backward(self, delta: np.ndarray) -> list[np.ndarray]:
        return np.split(delta, np.cumsum([x.shape[1] for x in self.nchw_inputs])[:-1], axis=1)

    def table_row(self) -> str:
        return _route_row(self.sources, "   ", NOTHING)


def _route_row(sources: Sequence[int], part: str, shape: Shape) -> str:
    listed = "".join(f" {source}" for source in sources)
    filler = " \t\t            " if len(sources) == 1 else " \t            " if len(sources) <= 3 else " \t    "
    return f"route {listed}{filler}           {part} -> {sizes(shape)} "


@dataclass(kw_only=True, eq=False, repr=False)
class _Activated(Layer):
    """A layer of the previous layer, x_0, and those that `from` names."""

    activation: Activation

    @classmethod
    def joining(cls, section: Section, context: BuildContext, references: Iterable[int] | None, **options: Any) -> Any:
        """The layer with these references, which there must be. Raises ConfigError."""
        if not references:
            raise section.error("has no from=; expected the number of an earlier layer")
        sources = _sources(section, context, "from", references, context.index - 1)
        activation = read_activation(section, context.dialect, "linear")
        return cls.build(section, context, sources=sources, activation=activation, **options)

    def setup_training(self, source_deltas: list[Tensor | None], delta: Tensor | None) -> None:
        super().setup_training(source_deltas, delta)
        # The pre-activation.
        self._before = Tensor(self.output.layout) if self.activation.needs_input else self.output

    def joined(self, y: Tensor) -> list[Call]:
        """The calls that write the pre-activation to y."""
        raise NotImplementedError

    def bind(self) -> list[Call]:
        return [*self.joined(self.output), *self.activation.calls(self.output)]

    def forward_training(self) -> None:
        for call in self.joined(self._before):
            call()
        if self._before is not self.output:
            self.output.data[:] = self._before.data
        self.activation.apply(self.output)


@dataclass(kw_only=True, eq=False, repr=False)
class Sam(_Activated):
    """`[sam]`: y = activation(x_0 * x_1), element by element."""

    row = "scale Layer: {self.sources[1]}"
    per_cell: bool = flag(key="scale_wh")

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> Layer:
        return cls.joining(section, context, [section.integer("from", 0)] if section.has("from") else None)

    def wanted(self, shape: Shape) -> tuple[Shape, str]:
        """The shape of x_0 where x_1 has this one, and how errors describe it."""
        return shape, "equal sizes"

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        wanted, expected = self.wanted(inputs[1])
        if inputs[0] != wanted:
            raise self.section.shape_error(
                f"the previous layer gives {inputs[0]}, layer {self.sources[1]} {inputs[1]} (width x height x "
                f"channels); expected {expected}",
                "from",
            )
        return inputs[1]

    def factors(self, strides: Strides) -> tuple[Strides, int]:
        """Where the kernel finds x_0, and floats between its lanes; a stride of 0 repeats."""
        return strides, 1

    def joined(self, y: Tensor) -> list[Call]:
        x, other = self.source_tensors
        factors = self.factors(x.layout.strides())
        return [KernelCall(elementwise.multiply, x.data, *factors, other.data, other.planes, y.data, y.planes)]

    def backward(self) -> None:
        self.activation.backward(self.delta, self.output, self._before)
        change, first, second = (
            t.plain().reshape(self.batch, t.shape.channels, t.shape.height, t.shape.width)
            for t in (self.delta, *self.source_tensors)
        )
        to_first, to_second = self.source_deltas
        if to_first is not None:
            shared = tuple(axis for axis in (1, 2, 3) if first.shape[axis] != change.shape[axis])
            to_first.add_plain((change * second).sum(axis=shared, keepdims=True).reshape(self.batch, -1))
        if to_second is not None:
            to_second.add_plain((change * first).reshape(self.batch, -1))


@dataclass(kw_only=True, eq=False, repr=False)
class ScaleChannels(Sam):
    """`[scale_channels]`: with one x_0 for each channel, or with `scale_wh` for each pixel."""

    def wanted(self, shape: Shape) -> tuple[Shape, str]:
        if self.per_cell:
            return Shape(1, shape.height, shape.width), f"one channel of {shape.width} x {shape.height}"
        return Shape(shape.channels), f"1 x 1 x {shape.channels}"

    def factors(self, strides: Strides) -> tuple[Strides, int]:
        if self.per_cell:
            return strides._replace(block_stride=0), 0
        return strides._replace(row_stride=0, column_stride=0), 1


@dataclass(kw_only=True, eq=False, repr=False)
class Shortcut(_Activated):
    """y = activation(w_0 x_0 + w_1 x_1 + ...), of x_0's shape.

    pjreddie's: one further source of any size, with w_0 = alpha and w_1 = beta. Where the widths differ by a
    factor, pixels are skipped on the wider side; channels that only x_0 has stay as they are. AlexeyAB's:
    several sources of one size, with `weights_type` with trained weights, normalised over the sources.
    """

    resamples: bool
    alpha: float = real(1.0)
    beta: float = real(1.0)
    weights_type: str = "none"
    normalization: str = "none"
    weights: Array | None = None

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> "Shortcut":
        resamples, references = context.dialect.shortcut_resamples, section.integers("from") or ()
        if resamples:
            references = references[:1]
        weights_type = _WEIGHTS[section.choice("weights_type", "none", _WEIGHTS)]
        normalization = _NORMALIZATIONS[section.choice("weights_normalization", "none", _NORMALIZATIONS)]
        weights = None
        if weights_type != "none":
            if normalization == "none":
                raise section.error("weights_type needs weights_normalization=relu or softmax", "weights_type")
            per_source = context.before.channels if weights_type == "per_channel" else 1
            weights = np.ones((1 + len(references), per_source), np.float32)
        return cls.joining(
            section, context, references, resamples=resamples, weights_type=weights_type, normalization=normalization,
            weights=weights,
        )  # fmt: skip

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        first = inputs[0]
        for source, shape in zip(self.sources[1:], inputs[1:], strict=True):
            fits = (shape.height, shape.width) == (first.height, first.width)
            if self.resamples:
                fits = _steps(shape.width, first.width) == _steps(shape.height, first.height)
            if not fits:
                raise self.section.shape_error(
                    f"from: layer {source} gives {shape}, the previous layer {first} (width x height x channels); "
                    "expected sizes that match",
                    "from",
                )
        return first

    def named_parameters(self) -> list[Parameter]:
        return [] if self.weights is None else [Parameter("weights", self.weights)]

    def initialise(self, rng: np.random.Generator, dialect: Dialect) -> None:
        if self.weights is not None:
            self.weights[:] = 1

    def normalised_weights(self) -> Array:
        """(sources, channels or 1): weights divided by their sum."""
        assert self.weights is not None
        if self.normalization == "relu":
            # As in AlexeyAB's test commands.
            positive = np.maximum(self.weights, np.float32(0 if self.training else 0.001))
        else:
            positive = np.exp(self.weights - self.weights.max(axis=0))
        return positive / (np.float32(0.0001) + positive.sum(axis=0))

    @property
    def is_residual_add(self) -> bool:
        return self._is_plain_sum and self.activation is LINEAR and self.sources[0] != self.sources[1]

    @property
    def _is_plain_sum(self) -> bool:
        same = all(shape == self.inputs[0] for shape in self.inputs)
        return same and len(self.sources) == 2 and self.weights is None and self.alpha == self.beta == 1.0

    def _gain(self, position: int) -> Array:
        """(blocks x 16,): the factor of each channel of a source; that of x_0 is without alpha."""
        common, factor = min(self.shape.channels, self.inputs[position].channels), self.beta if position else 1.0
        weights = np.float32(factor) if self.weights is None else self.normalised_weights()[position]
        return padded_lanes(np.broadcast_to(weights, self.shape.channels)[:common], self.output.layout.blocks)

    def _kept(self, position: int) -> Array:
        kept = np.ones(self.shape.channels, np.float32)
        kept[: self.inputs[position].channels] = self.alpha
        return padded_lanes(kept, self.output.layout.blocks)

    def bind(self) -> list[Call]:
        if not self._is_plain_sum:
            return super().bind()
        (x, other), y, slope = self.source_tensors, self.output, self.activation.fused_slope
        total = KernelCall(elementwise.add, x.data, x.planes, other.data, other.planes, slope, y.data, y.planes)
        return [total, *(self.activation.calls(y) if slope == 1 else [])]

    def joined(self, y: Tensor) -> list[Call]:
        x, first = self.source_tensors[0], self._gain(0)
        scale = first, np.zeros_like(first), np.float32(1)
        calls: list[Call] = [KernelCall(elementwise.scale, x.data, x.planes, *scale, y.data, y.planes)]
        for position, other in enumerate(self.source_tensors[1:], start=1):
            down, up, extent = self._common(position, y, other)
            x_at, y_at = other.layout.strides(down, down), y.layout.strides(up, up)
            factors = self._kept(position), self._gain(position)
            calls.append(KernelCall(elementwise.add_scaled, other.data, x_at, *factors, y.data, y_at, extent))
        return calls

    def _common(self, position: int, own: Tensor, other: Tensor) -> tuple[int, int, Extent]:
        mine, theirs = self.shape, self.inputs[position]
        down, up = _steps(theirs.width, mine.width)
        height, width = min(mine.height, theirs.height), min(mine.width, theirs.width)
        return down, up, Extent(own.layout.batch, min(own.layout.blocks, other.layout.blocks), height, width)

    def backward(self) -> None:
        delta = self.delta
        self.activation.backward(delta, self.output, self._before)
        if self.weights is not None:
            self._add_weight_gradients(delta)
        for position, target in enumerate(self.source_deltas):
            if target is not None:
                gain = self._gain(position)
                if position == 0 and self.resamples:
                    gain = np.full_like(gain, self.alpha)
                down, up, extent = self._common(position, delta, target)
                x_at, y_at = delta.layout.strides(up, up), target.layout.strides(down, down)
                elementwise.add_scaled(delta.data, x_at, np.ones_like(gain), gain, target.data, y_at, extent)

    def _add_weight_gradients(self, delta: Tensor) -> None:
        """As in darknet, without the derivative of the weights' normalisation."""
        change = delta.plain().reshape(self.batch, self.shape.channels, -1)
        update, per_channel = self.learned["weights"].update, self.weights_type == "per_channel"
        for position, source in enumerate(self.source_tensors):
            common = min(self.shape.channels, source.shape.channels)
            values = source.plain().reshape(self.batch, source.shape.channels, -1)
            products = (change[:, :common] * values[:, :common]).sum(axis=(0, 2))
            update[position, : common if per_channel else 1] += products if per_channel else products.sum()

    def table_operations(self) -> float:
        operations = self.shape.outputs * (len(self.sources) - 1)
        return float(2 * operations if self.weights is not None else operations)

    def table_row(self) -> str:
        listed = "".join(f"{source}, " for source in self.sources[1:])
        kind = list(dict.fromkeys(_WEIGHTS.values())).index(self.weights_type)
        normalization = list(dict.fromkeys(_NORMALIZATIONS.values())).index(self.normalization)
        row = (
            f"Shortcut Layer: {listed} wt = {kind}, wn = {normalization}, outputs:{sizes(self.shape)} "
            f"{self.table_operations() / 1e9:5.3f} BF"
        )
        differing = [f"\n ({sizes(self.shape)}) + ({sizes(s)}) " for s in self.inputs[1:] if s != self.shape]
        return row + "".join(differing)


def _steps(theirs: int, mine: int) -> tuple[int, int]:
    return max(1, theirs // mine), max(1, mine // theirs)
