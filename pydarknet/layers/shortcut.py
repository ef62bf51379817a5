"""`[shortcut]`: the previous layer plus earlier ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..config.dialect import Dialect
from ..config.sections import Section
from ..kernels import elementwise
from ..kernels.views import Extent
from ..runtime.program import Call, KernelCall
from ..tensor import Shape, Tensor
from ..utils.arrays import Array
from .activations import LINEAR, Activation, read_activation
from .backward_ops import activation_backward, needs_input
from .base import BuildContext, KernelLayer, Parameter, Trainable, padded_lanes
from .summary_row import sizes

_WEIGHTS = {"none": "none", "per_feature": "per_feature", "per_layer": "per_feature", "per_channel": "per_channel"}
_NORMALIZATIONS = {"none": "none", "relu": "relu", "avg_relu": "relu", "softmax": "softmax"}


@dataclass(kw_only=True, eq=False, repr=False)
class Shortcut(KernelLayer):
    """out = activation(w0 x + sum of w_j from_j).

    pjreddie's: one source of any size, w0 = alpha, w1 = beta, where the sizes overlap. AlexeyAB's: several sources
    of one size, of which the channels that both have are added; weights per source or per source and channel,
    normalised.
    """

    activation: Activation
    resamples: bool
    alpha: float = 1.0
    beta: float = 1.0
    weights_type: str = "none"
    normalization: str = "none"
    weights: Array | None = field(default=None, repr=False)
    _first: Array = field(default_factory=lambda: np.empty(0, np.float32), repr=False)
    _terms: list[tuple[Tensor, Array, Array]] = field(default_factory=list, repr=False)
    _sum: Tensor = field(init=False, repr=False)
    _trainables: list[Trainable] = field(default_factory=list, repr=False)

    @classmethod
    def from_section(cls, section: Section, place: BuildContext) -> Shortcut:
        references = section.integers("from")
        if not references:
            raise section.error("has no from=; expected the number of an earlier layer")
        resamples = place.dialect.shortcut_resamples
        if resamples:
            references = references[:1]
        sources = tuple(place.resolve(section, "from", reference) for reference in references)
        weights_type = _WEIGHTS[section.choice("weights_type", "none", _WEIGHTS)]
        normalization = _NORMALIZATIONS[section.choice("weights_normalization", "none", _NORMALIZATIONS)]
        if weights_type != "none" and normalization == "none":
            raise section.error("weights_type needs weights_normalization=relu or softmax", "weights_type")
        for source in (place.index - 1, *sources):
            if source >= 0:
                place.layers[source].mark_branch()
        layer = cls(
            section=section,
            sources=(place.index - 1, *sources),
            activation=read_activation(section, place.dialect, "linear"),
            resamples=resamples,
            alpha=section.real("alpha", 1.0),
            beta=section.real("beta", 1.0),
            weights_type=weights_type,
            normalization=normalization,
        )
        if weights_type != "none":
            per_source = place.shape(place.index - 1).channels if weights_type == "per_channel" else 1
            layer.weights = np.ones((len(layer.sources), per_source), np.float32)
        return layer

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        first = inputs[0]
        for source, shape in zip(self.sources[1:], inputs[1:], strict=True):
            if self.resamples:
                down, up = max(1, shape.width // first.width), max(1, first.width // shape.width)
                rows = max(1, shape.height // first.height), max(1, first.height // shape.height)
                fits = (down, up) == rows
            else:
                fits = (shape.height, shape.width) == (first.height, first.width)
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
        """(sources, channels or 1) float32: the factors of the sum. AlexeyAB's test commands, which fold them, do
        not let one fall to 0."""
        assert self.weights is not None
        if self.normalization == "relu":
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

    def setup(self, sources: list[Tensor], output: Tensor | None) -> None:
        super().setup(sources, output)
        assert output is not None
        channels, blocks = self.shape.channels, output.layout.blocks
        factors = (
            np.full((len(sources), 1), self.beta, np.float32) if self.weights is None else self.normalised_weights()
        )
        factors = np.broadcast_to(factors, (len(sources), channels))
        first = factors[0] if self.weights is not None else np.ones(channels, np.float32)
        self._first = padded_lanes(first, blocks)
        self._terms = []
        for other, factor in zip(sources[1:], factors[1:], strict=True):
            common = min(channels, other.shape.channels)  # only channels that both have are touched
            keep, gain = np.ones(channels, np.float32), np.zeros(channels, np.float32)
            keep[:common], gain[:common] = self.alpha, factor[:common]
            self._terms.append((other, padded_lanes(keep, blocks), padded_lanes(gain, blocks)))

    def bind(self) -> list[Call]:
        assert self.output is not None
        y, x = self.output, self.source_tensors[0]
        if self._is_plain_sum:
            slope = self.activation.fused_slope
            other = self.source_tensors[1]
            total = KernelCall(elementwise.add, x.data, x.planes, other.data, other.planes, slope, y.data, y.planes)
            return [total, *(self.activation.calls(y) if slope == 1 else [])]
        return [*self._sums(y), *self.activation.calls(y)]

    def _sums(self, y: Tensor) -> list[Call]:
        """What gives y its first term, and then adds the others."""
        x, nothing = self.source_tensors[0], np.zeros_like(self._first)
        factors = self._first, nothing, np.float32(1)
        first = KernelCall(elementwise.scale, x.data, x.planes, *factors, y.data, y.planes)
        return [first, *(self._addition(other, keep, gain, y) for other, keep, gain in self._terms)]

    def _addition(self, other: Tensor, keep: Array, gain: Array, y: Tensor) -> Call:
        """y = keep y + gain other, on a coarser grid where the widths differ."""
        mine, theirs = self.shape, other.shape
        down, up = max(1, theirs.width // mine.width), max(1, mine.width // theirs.width)
        height, width = min(mine.height, theirs.height), min(mine.width, theirs.width)
        extent = Extent(y.layout.batch, min(y.layout.blocks, other.layout.blocks), height, width)
        x_at, y_at = other.layout.strides(down, down), y.layout.strides(up, up)
        return KernelCall(elementwise.add_scaled, other.data, x_at, keep, gain, y.data, y_at, extent)

    # --- training ---

    def setup_training(self, source_deltas: list[Tensor | None], delta: Tensor | None) -> None:
        super().setup_training(source_deltas, delta)
        self._trainables = [] if self.weights is None else [Trainable("weights", self.weights, decays=True)]
        assert self.output is not None
        self._sum = Tensor(self.output.layout) if needs_input(self.activation) else self.output

    def trainables(self) -> list[Trainable]:
        return self._trainables

    def forward_training(self) -> None:
        """Without the plain sum's short cut, so that the sum before the activation is kept where it is needed."""
        assert self.output is not None
        y = self._sum
        if self.weights is not None:
            self.setup(self.source_tensors, self.output)  # the weights have changed
        for call in self._sums(y):
            call()
        if y is not self.output:
            self.output.data[:] = y.data
        self.activation.apply(self.output)

    def backward(self) -> None:
        assert self.delta is not None and self.output is not None
        delta = self.delta
        activation_backward(self.activation, delta, self.output, self._sum)
        if self.weights is not None:
            self._add_weight_gradients(delta)
        self._give_back(delta, np.full_like(self._first, self.alpha) if self.resamples else self._first, 0)
        for position, (_, _, gain) in enumerate(self._terms, start=1):
            self._give_back(delta, gain, position)

    def _give_back(self, delta: Tensor, gain: Array, position: int) -> None:
        target = self.source_deltas[position]
        if target is None:
            return
        mine, theirs = self.shape, self.inputs[position]
        down, up = max(1, theirs.width // mine.width), max(1, mine.width // theirs.width)
        height, width = min(mine.height, theirs.height), min(mine.width, theirs.width)
        extent = Extent(target.layout.batch, min(target.layout.blocks, delta.layout.blocks), height, width)
        x_at, y_at = delta.layout.strides(up, up), target.layout.strides(down, down)
        elementwise.add_scaled(delta.data, x_at, np.ones_like(gain), gain, target.data, y_at, extent)

    def _add_weight_gradients(self, delta: Tensor) -> None:
        """As in darknet, products of delta and source with the normalised weights left out of the derivative."""
        change = delta.plain().reshape(self.batch, self.shape.channels, -1)
        update, per_channel = self._trainables[0].update, self.weights_type == "per_channel"
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
        kind = {"none": 0, "per_feature": 1, "per_channel": 2}[self.weights_type]
        normalization = {"none": 0, "relu": 1, "softmax": 2}[self.normalization]
        row = (
            f"Shortcut Layer: {listed} wt = {kind}, wn = {normalization}, outputs:{sizes(self.shape)} "
            f"{self.table_operations() / 1e9:5.3f} BF"
        )
        differing = [f"\n ({sizes(self.shape)}) + ({sizes(s)}) " for s in self.inputs[1:] if s != self.shape]
        return row + "".join(differing)
