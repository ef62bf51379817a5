"""Layers of a few lines each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..config.dialect import Dialect
from ..config.sections import Section, flag, integer, natural, positive, real
from ..tensor import Shape, Tensor
from ..utils.arrays import Array
from .activations import LOGISTIC
from .base import BuildContext, Layer, NchwLayer, Parameter

GROWTH_PART = 0.85  # of a run, in which dropped squares and their probability grow
DEFAULT_SQUARE = 7  # pixels


@dataclass(kw_only=True, eq=False, repr=False)
class Empty(Layer):
    """`[empty]`, `[silence]`, and others that pass their source on at inference."""

    row = "empty "
    is_alias = True

    def forward(self) -> None:
        return


@dataclass(kw_only=True, eq=False, repr=False)
class Dropout(Empty):
    """`[dropout]`: the identity at inference; in training, values are dropped at random and the others scaled
    up.

    Each value is dropped with `probability`, or with `squares` at most one square of each plane. Its side is a
    number of pixels or, where that is 0, a part of the plane's sides.
    """

    probability: float
    squares: bool = flag(key="dropblock")
    pixels: int = integer(key="dropblock_size_abs")
    part: float = real(key="dropblock_size_rel")

    @property
    def is_alias(self) -> bool:  # type: ignore[override]
        return not self.training

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> "Dropout":
        layer = cls.build(section, context, probability=section.real("probability", context.dialect.dropout))
        if layer.pixels or not layer.part:
            layer.pixels, layer.part = layer.pixels or DEFAULT_SQUARE, 0.0
        return layer

    def side(self, width: int, height: int, progress: float) -> int:
        """Of squares in a plane, after `progress` (0 to 1) of their growth."""
        wanted = (max(1, int((self.part * side or self.pixels) * progress)) for side in (width, height))
        return min(*wanted, width, height)

    def forward_training(self) -> None:
        x = self.source_tensors[0].plain()
        if self.squares:
            self._factors = self._without_squares(len(x))
        else:
            kept = self.rng.random(x.shape, np.float32) >= np.float32(self.probability)
            self._factors = kept * np.float32(1 / (1 - self.probability))
        self.output.fill(x * self._factors)

    def _without_squares(self, batch: int) -> Array:
        shape, end = self.shape, GROWTH_PART * self.progress.max_batches
        progress = self.progress.done / end if self.progress.done < end else 1.0
        side = self.side(shape.width, shape.height, progress)
        draws = self.rng.random((batch, shape.channels, shape.cells), np.float32)
        factors = np.ones((batch, shape.channels, shape.height, shape.width), np.float32)
        dropped = np.zeros(batch, np.int64)
        hit = draws.min(axis=2) < self.probability * progress / side**2
        for sample, channel in np.argwhere(hit).tolist():
            row, column = divmod(int(draws[sample, channel].argmin()), shape.width)
            top, left = self._wrapped(row, shape.height - side), self._wrapped(column, shape.width - side)
            factors[sample, channel, top : top + side, left : left + side] = 0
            dropped[sample] += side * side
        # A sample of which nothing is kept stays 0.
        factors /= np.maximum(1 - dropped / shape.outputs, 1 / shape.outputs)[:, None, None, None].astype(np.float32)
        return factors.reshape(batch, -1)

    @staticmethod
    def _wrapped(start: int, last: int) -> int:
        return max(0, min(start - last if start > last else start, last))

    @property
    def can_overwrite(self) -> bool:
        return True

    def add_gradient(self, target: Tensor) -> None:
        write = target.fill if self.overwrites else target.add_plain
        write(self.delta.plain() * self._factors)

    def table_row(self) -> str:
        x = self.inputs[0]
        size = f"l.dropblock_size_abs = {min(self.pixels, x.width, x.height)}"
        if self.part:
            size = f"l.dropblock_size_rel = {self.part:.2f}"
        name, shown = ("dropblock", f"   {size}    ") if self.squares else ("dropout", "        ")
        return f"{name}    p = {self.probability:.3f}{shown}{x.outputs:4d}  ->   {x.outputs:4d}"


@dataclass(kw_only=True, eq=False, repr=False)
class Crop(NchwLayer):
    """`[crop]`: the centre of the picture; in training a random window of that size, with `flip` mirrored at
    random. Values are moved from 0..1 to -1..1 unless `noadjust`."""

    row = "Crop Layer: {x.height} x {x.width} -> {y.height} x {y.width} x {x.channels} image"
    ignored: ClassVar[Sequence[str]] = ("angle", "saturation", "exposure", "shift")
    height: int = positive(key="crop_height")
    width: int = positive(key="crop_width")
    noadjust: bool = flag()
    flip: bool = flag()

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        (shape,) = inputs
        if self.height > shape.height or self.width > shape.width:
            raise self.section.shape_error(
                f"crops {self.width} x {self.height} out of {shape} (width x height x channels); expected a smaller "
                "crop"
            )
        return Shape(shape.channels, self.height, self.width)

    def compute(self, x: Array, y: Array) -> None:
        shape = self.inputs[0]
        self._crop(x, y, (shape.height - self.height) // 2, (shape.width - self.width) // 2)

    def _crop(self, x: Array, y: Array, top: int, left: int, mirror: bool = False) -> None:
        shape = self.inputs[0]
        planes = x.reshape(len(x), shape.channels, shape.height, shape.width)
        window = planes[:, :, top : top + self.height, left : left + self.width][..., :: -1 if mirror else 1]
        y[:] = (window if self.noadjust else window * np.float32(2) - np.float32(1)).reshape(y.shape)

    def forward_training(self) -> None:
        if not self.training:
            self.forward()
            return
        self.read_sources()
        shape = self.inputs[0]
        for x, y in zip(self.nchw_inputs[0], self.values, strict=True):
            top = int(self.rng.integers(shape.height - self.height + 1))
            left = int(self.rng.integers(shape.width - self.width + 1))
            self._crop(x[None], y[None], top, left, self.flip and self.rng.random() < 0.5)
        self.write_output()

    def compute_backward(self, delta: Array) -> list[Array | None]:
        return [None]  # as in darknet: crops are made of pictures, and nothing before them learns


@dataclass(kw_only=True, eq=False, repr=False)
class Implicit(Layer):
    """`[implicit]`: trained values that do not depend on the picture, of shape (filters, atoms, 1)."""

    row = "implicit Layer: {self.filters} x {self.atoms} \t mean={self.mean:.2f}, std={self.deviation:.2f} "
    sets_channels = True
    sets_size = True
    filters: int = positive(128)
    atoms: int = positive()
    mean: float = real()
    deviation: float = real(0.2, key="std")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.weights = self.new_weights(self.filters, self.atoms).reshape(-1)

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        return Shape(self.filters, self.atoms, 1)

    def named_parameters(self) -> list[Parameter]:
        return [Parameter("weights", self.weights)]

    def initialise(self, rng: np.random.Generator, dialect: Dialect) -> None:
        self.weights[:] = self.mean + self.deviation * (2 * rng.random(self.weights.size, np.float32) - 1)

    def forward(self) -> None:
        self.output.fill(np.tile(self.weights, (self.output.layout.batch, 1)))

    def backward(self) -> None:
        self.learned["weights"].update += self.delta.plain().sum(axis=0)


@dataclass(kw_only=True, eq=False, repr=False)
class History(NchwLayer):
    """`[history]`: at inference, x in the first channels and zeros in those of earlier frames."""

    row = "HISTORY b = {self.batch}, s = {self.history_size:2d}, steps =  1   {x_sizes} -> {y_sizes} "
    history_size: int = positive(4, largest=1 << 10)

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        (shape,) = inputs
        return Shape(shape.channels * self.history_size, shape.height, shape.width)

    def compute(self, x: Array, y: Array) -> None:
        y[:, : x.shape[1]] = x

    def compute_backward(self, delta: Array) -> list[Array]:
        return [delta[:, : self.nchw_inputs[0].shape[1]]]


@dataclass(kw_only=True, eq=False, repr=False)
class Iseg(NchwLayer):
    """`[iseg]`: the logistic function of the first `classes` channels, and `ids` more channels unchanged."""

    classes: int = positive(20)
    ids: int = natural(32)

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        if inputs[0].channels != self.classes + self.ids:
            raise self.section.shape_error(
                f"reads {inputs[0].channels} channels; expected classes + ids = {self.classes + self.ids}"
            )
        return inputs[0]

    def compute(self, x: Array, y: Array) -> None:
        y[:] = x
        end = self.shape.cells * self.classes
        for sample in y:
            LOGISTIC.apply_nchw(sample[:end])


@dataclass(kw_only=True, eq=False, repr=False)
class Normalization(NchwLayer):
    """Local response normalisation: y[k] = x[k] (kappa + alpha * sum over a window of channels of x^2) ^ -beta.

    The sum is darknet's recurrence from channel to channel.
    """

    row = "Local Response Normalization Layer: {x.width} x {x.height} x {x.channels} image, {self.size} size"
    alpha: float = real(0.0001)
    beta: float = real(0.75)
    kappa: float = real(1.0)
    size: int = positive(5)

    def compute(self, x: Array, y: Array) -> None:
        channels = self.shape.channels
        squares = np.square(x.reshape(len(x), channels, -1)) * np.float32(self.alpha)
        norms = np.empty_like(squares)
        norms[:, 0] = np.float32(self.kappa) + squares[:, : self.size // 2].sum(axis=1)
        for k in range(1, channels):
            norms[:, k] = norms[:, k - 1]
            leaving, entering = k - (self.size - 1) // 2 - 1, k + self.size // 2
            if leaving >= 0:
                norms[:, k] -= squares[:, leaving]
            if entering < channels:
                norms[:, k] += squares[:, entering]
        self._factors = np.power(norms, np.float32(-self.beta)).reshape(x.shape)
        y[:] = x * self._factors

    def compute_backward(self, delta: Array) -> list[Array]:
        return [delta * self._factors]  # as in darknet, without other channels


@dataclass(kw_only=True, eq=False, repr=False)
class L2Norm(NchwLayer):
    """`[l2norm]`: the channels of each pixel divided by their Euclidean norm."""

    row = "l2norm                                         {x.outputs:4d}"

    def compute(self, x: Array, y: Array) -> None:
        planes = x.reshape(len(x), self.shape.channels, -1)
        with np.errstate(invalid="ignore", divide="ignore"):  # as in C, a pixel of zeros gives NaN
            y[:] = (planes / np.sqrt(np.square(planes).sum(axis=1, keepdims=True))).reshape(y.shape)
