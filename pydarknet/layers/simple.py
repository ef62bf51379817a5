"""Layers of a few lines each: `[empty]`, `[silence]`, `[crop]`, `[implicit]`, `[history]`, `[iseg]`, `[normalization]`,
`[l2norm]`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..config.dialect import Dialect
from ..config.sections import flag, natural, positive, real
from ..tensor import Shape, Tensor
from ..utils.arrays import Array
from .activations import LOGISTIC
from .base import Layer, Parameter, Trainable
from .nchw_layer import NchwLayer

LARGEST_IMPLICIT = 1 << 29  # weights of one layer


@dataclass(kw_only=True, eq=False, repr=False)
class Identity(Layer):
    """A layer that passes its source on unchanged at inference, without a copy."""

    is_alias: ClassVar[bool] = True

    def forward(self) -> None:
        return

    def backward(self) -> None:
        return


@dataclass(kw_only=True, eq=False, repr=False)
class Empty(Identity):
    """`[empty]`, `[silence]`: the identity."""

    row: ClassVar[str] = "empty "


@dataclass(kw_only=True, eq=False, repr=False)
class Crop(NchwLayer):
    """`[crop]`: the centre of the picture; in training a random window of that size, with `flip` mirrored at random.

    Values are moved from 0..1 to -1..1 unless `noadjust`.
    """

    row: ClassVar[str] = "Crop Layer: {x.height} x {x.width} -> {y.height} x {y.width} x {x.channels} image"
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
    """`[implicit]`: trained values that do not depend on the picture, of shape (filters, atoms, 1).

    Their initial values are uniform in mean - deviation to mean + deviation.
    """

    row: ClassVar[str] = (
        "implicit Layer: {self.filters} x {self.atoms} \t mean={self.mean:.2f}, std={self.deviation:.2f} "
    )
    sets_channels: ClassVar[bool] = True
    sets_size: ClassVar[bool] = True
    filters: int = positive(128)
    atoms: int = positive()
    mean: float = real()
    deviation: float = real(0.2, key="std")
    weights: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.filters * self.atoms > LARGEST_IMPLICIT:
            raise self.section.shape_error(
                f"has {self.filters} x {self.atoms} weights; expected at most {LARGEST_IMPLICIT}"
            )
        self.weights = np.zeros(self.filters * self.atoms, np.float32)

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        return Shape(self.filters, self.atoms, 1)

    def named_parameters(self) -> list[Parameter]:
        return [Parameter("weights", self.weights)]

    def initialise(self, rng: np.random.Generator, dialect: Dialect) -> None:
        self.weights[:] = self.mean + self.deviation * (2 * rng.random(self.weights.size, np.float32) - 1)

    def setup_training(self, source_deltas: list[Tensor | None], delta: Tensor | None) -> None:
        super().setup_training(source_deltas, delta)
        self._trainables = [Trainable("weights", self.weights, decays=True)]

    def forward(self) -> None:
        self.output.fill(np.tile(self.weights, (self.output.layout.batch, 1)))

    def backward(self) -> None:
        self._trainables[0].update += self.delta.plain().sum(axis=0)


@dataclass(kw_only=True, eq=False, repr=False)
class History(NchwLayer):
    """`[history]`: at inference, x in the first channels and zeros in those of earlier frames."""

    row: ClassVar[str] = "HISTORY b = {self.batch}, s = {self.history_size:2d}, steps =  1   {x_sizes} -> {y_sizes} "
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

    The sum is darknet's recurrence from channel to channel, whose first window is shorter than the textbook's.
    """

    row: ClassVar[str] = (
        "Local Response Normalization Layer: {x.width} x {x.height} x {x.channels} image, {self.size} size"
    )
    alpha: float = real(0.0001)
    beta: float = real(0.75)
    kappa: float = real(1.0)
    size: int = positive(5)
    _factors: Array = field(init=False, repr=False)

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
        return [delta * self._factors]  # darknet leaves out the derivative by the other channels of the window


@dataclass(kw_only=True, eq=False, repr=False)
class L2Norm(NchwLayer):
    """`[l2norm]`: the channels of each pixel divided by their Euclidean norm."""

    row: ClassVar[str] = "l2norm                                         {x.outputs:4d}"

    def compute(self, x: Array, y: Array) -> None:
        planes = x.reshape(len(x), self.shape.channels, -1)
        with np.errstate(invalid="ignore", divide="ignore"):  # as in C, a pixel of zeros gives NaN
            y[:] = (planes / np.sqrt(np.square(planes).sum(axis=1, keepdims=True))).reshape(y.shape)
