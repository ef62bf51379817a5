"""`[shortcut]`: the sum of the previous layer and earlier ones (a residual connection)."""

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
from .base import BuildContext, KernelLayer, Parameter, Trainable, padded_lanes, sizes

_WEIGHTS = {"none": "none", "per_feature": "per_feature", "per_layer": "per_feature", "per_channel": "per_channel"}
_NORMALIZATIONS = {"none": "none", "relu": "relu", "avg_relu": "relu", "softmax": "softmax"}


@dataclass(kw_only=True, eq=False, repr=False)
class Shortcut(KernelLayer):
    """y = activation(w_0 x_0 + w_1 x_1 + ...), with x_0 the previous layer. y has its shape.

    pjreddie's: one further source of any size, with w_0 = alpha and w_1 = beta. Where the widths differ by a factor,
    pixels are skipped on the wider side; channels that only x_0 has stay as they are.
    AlexeyAB's: several sources of one size. With `weights_type`, trained weights for each source, or for each source
    and channel, normalised over the sources.
    """

    activation: Activation
    resamples: bool
    alpha: float = 1.0
    beta: float = 1.0
    weights_type: str = "none"
    normalization: str = "none"
    weights: Array | None = field(default=None, repr=False)
    _sum: Tensor = field(init=False, repr=False)  # the pre-activation, in training

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> Shortcut:
        references = section.integers("from")
        if not references:
            raise section.error("has no from=; expected the number of an earlier layer")
        resamples = context.dialect.shortcut_resamples
        if resamples:
            references = references[:1]
        sources = tuple(context.resolve(section, "from", reference) for reference in references)
        weights_type = _WEIGHTS[section.choice("weights_type", "none", _WEIGHTS)]
        normalization = _NORMALIZATIONS[section.choice("weights_normalization", "none", _NORMALIZATIONS)]
        if weights_type != "none" and normalization == "none":
            raise section.error("weights_type needs weights_normalization=relu or softmax", "weights_type")
        for source in (context.index - 1, *sources):
            if source >= 0:
                context.layers[source].mark_branch()
        layer = cls(
            section=section,
            sources=(context.index - 1, *sources),
            activation=read_activation(section, context.dialect, "linear"),
            resamples=resamples,
            alpha=section.real("alpha", 1.0),
            beta=section.real("beta", 1.0),
            weights_type=weights_type,
            normalization=normalization,
        )
        if weights_type != "none":
            per_source = context.shape(context.index - 1).channels if weights_type == "per_channel" else 1
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
        """(sources, channels or 1) float32: the weights divided by their sum over the sources.

        With `relu`, inference keeps each weight at 0.001 or more, as AlexeyAB's test commands do."""
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

    def _first_factors(self) -> Array:
        """(blocks x 16,): w_0 of each channel as the sum begins; alpha is applied with the next term."""
        channels = self.shape.channels
        first = np.ones(channels, np.float32) if self.weights is None else self.normalised_weights()[0]
        return padded_lanes(np.broadcast_to(first, channels), self.output.layout.blocks)

    def _factors(self, position: int) -> tuple[Array, Array]:
        """(blocks x 16,) each: of the term at `position`, the factor of the sum so far and that of the source."""
        channels, blocks = self.shape.channels, self.output.layout.blocks
        common = min(channels, self.inputs[position].channels)
        kept, gain = np.ones(channels, np.float32), np.zeros(channels, np.float32)
        kept[:common] = self.alpha
        factor = np.float32(self.beta) if self.weights is None else self.normalised_weights()[position]
        gain[:common] = np.broadcast_to(factor, channels)[:common]
        return padded_lanes(kept, blocks), padded_lanes(gain, blocks)

    def bind(self) -> list[Call]:
        y, x = self.output, self.source_tensors[0]
        if self._is_plain_sum:
            slope = self.activation.fused_slope
            other = self.source_tensors[1]
            total = KernelCall(elementwise.add, x.data, x.planes, other.data, other.planes, slope, y.data, y.planes)
            return [total, *(self.activation.calls(y) if slope == 1 else [])]
        return [*self._sums(y), *self.activation.calls(y)]

    def _sums(self, y: Tensor) -> list[Call]:
        """The calls that write the first term to y and add the others."""
        x, first = self.source_tensors[0], self._first_factors()
        scale = first, np.zeros_like(first), np.float32(1)
        calls: list[Call] = [KernelCall(elementwise.scale, x.data, x.planes, *scale, y.data, y.planes)]
        for position, other in enumerate(self.source_tensors[1:], start=1):
            down, up, extent = self._common(position, y, other)
            x_at, y_at = other.layout.strides(down, down), y.layout.strides(up, up)
            factors = self._factors(position)
            calls.append(KernelCall(elementwise.add_scaled, other.data, x_at, *factors, y.data, y_at, extent))
        return calls

    def _common(self, position: int, own: Tensor, other: Tensor) -> tuple[int, int, Extent]:
        """How the source at `position` and the output overlap: strides in the source and in the output, and the size.

        own, other: tensors of the output's and of the source's shape."""
        mine, theirs = self.shape, self.inputs[position]
        down, up = max(1, theirs.width // mine.width), max(1, mine.width // theirs.width)
        height, width = min(mine.height, theirs.height), min(mine.width, theirs.width)
        return down, up, Extent(own.layout.batch, min(own.layout.blocks, other.layout.blocks), height, width)

    # === Training ===

    def setup_training(self, source_deltas: list[Tensor | None], delta: Tensor | None) -> None:
        super().setup_training(source_deltas, delta)
        self._trainables = [] if self.weights is None else [Trainable("weights", self.weights, decays=True)]
        self._sum = Tensor(self.output.layout) if needs_input(self.activation) else self.output

    def forward_training(self) -> None:
        """The sum and the activation one after the other, so that the pre-activation is kept where it is needed."""
        y = self._sum
        for call in self._sums(y):
            call()
        if y is not self.output:
            self.output.data[:] = y.data
        self.activation.apply(self.output)

    def backward(self) -> None:
        activation_backward(self.activation, self.delta, self.output, self._sum)
        if self.weights is not None:
            self._add_weight_gradients(self.delta)
        first = self._first_factors()
        self._add_source_delta(np.full_like(first, self.alpha) if self.resamples else first, 0)
        for position in range(1, len(self.source_tensors)):
            self._add_source_delta(self._factors(position)[1], position)

    def _add_source_delta(self, gain: Array, position: int) -> None:
        target, delta = self.source_deltas[position], self.delta
        if target is None or delta is None:
            return
        down, up, extent = self._common(position, delta, target)
        x_at, y_at = delta.layout.strides(up, up), target.layout.strides(down, down)
        elementwise.add_scaled(delta.data, x_at, np.ones_like(gain), gain, target.data, y_at, extent)

    def _add_weight_gradients(self, delta: Tensor) -> None:
        """Products of delta and source; as in darknet, without the derivative of the weights' normalisation."""
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
