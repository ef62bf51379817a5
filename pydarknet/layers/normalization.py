"""Small layers on plain order: crop, normalization, l2norm, logistic, iseg."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..config.sections import Section
from ..tensor import Shape
from ..utils.arrays import Array
from .activations import LOGISTIC
from .base import BuildContext
from .nchw_layer import NchwLayer


@dataclass(kw_only=True, eq=False, repr=False)
class Crop(NchwLayer):
    """The centre of the picture, in training any part of that size and with `flip` half of them mirrored; with values
    moved to -1..1 unless `noadjust`."""

    height: int
    width: int
    noadjust: bool
    flip: bool = False

    @classmethod
    def from_section(cls, section: Section, place: BuildContext) -> Crop:
        section.ignore("angle", "saturation", "exposure", "shift")
        return cls(
            section=section,
            sources=place.previous,
            height=section.positive("crop_height", 1),
            width=section.positive("crop_width", 1),
            noadjust=section.flag("noadjust"),
            flip=section.flag("flip"),
        )

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
        self._cut(x, y, (shape.height - self.height) // 2, (shape.width - self.width) // 2)

    def _cut(self, x: Array, y: Array, top: int, left: int, mirror: bool = False) -> None:
        shape = self.inputs[0]
        planes = x.reshape(len(x), shape.channels, shape.height, shape.width)
        cut = planes[:, :, top : top + self.height, left : left + self.width][..., :: -1 if mirror else 1]
        y[:] = (cut if self.noadjust else cut * np.float32(2) - np.float32(1)).reshape(y.shape)

    def forward_training(self) -> None:
        if not self.training:
            self.forward()
            return
        self.source_tensors[0].read_into(self.plain_inputs[0])
        shape = self.inputs[0]
        for x, y in zip(self.plain_inputs[0], self.values, strict=True):
            top = int(self.rng.integers(shape.height - self.height + 1))
            left = int(self.rng.integers(shape.width - self.width + 1))
            self._cut(x[None], y[None], top, left, self.flip and self.rng.random() < 0.5)
        if self.output is not None:
            self.output.fill(self.values)

    def compute_backward(self, delta: Array) -> list[Array | None]:
        return [None]  # as in darknet: pictures are cropped, and nothing before them learns

    def table_row(self) -> str:
        shape = self.inputs[0]
        return f"Crop Layer: {shape.height} x {shape.width} -> {self.height} x {self.width} x {shape.channels} image"


@dataclass(kw_only=True, eq=False, repr=False)
class Normalization(NchwLayer):
    """Local response normalisation by darknet's recurrence over channels, which is not quite the textbook window."""

    alpha: float
    beta: float
    kappa: float
    size: int

    @classmethod
    def from_section(cls, section: Section, place: BuildContext) -> Normalization:
        return cls(
            section=section,
            sources=place.previous,
            alpha=section.real("alpha", 0.0001),
            beta=section.real("beta", 0.75),
            kappa=section.real("kappa", 1.0),
            size=section.positive("size", 5),
        )

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
        self.factors = np.power(norms, np.float32(-self.beta)).reshape(x.shape)
        y[:] = x * self.factors

    def compute_backward(self, delta: Array) -> list[Array]:
        return [delta * self.factors]  # darknet leaves the terms between channels out

    def table_row(self) -> str:
        s = self.inputs[0]
        return f"Local Response Normalization Layer: {s.width} x {s.height} x {s.channels} image, {self.size} size"


@dataclass(kw_only=True, eq=False, repr=False)
class L2Norm(NchwLayer):
    """Each pixel divided by the Euclidean norm of its channels."""

    def compute(self, x: Array, y: Array) -> None:
        planes = x.reshape(len(x), self.shape.channels, -1)
        with np.errstate(invalid="ignore", divide="ignore"):  # as in C, a pixel of zeros gives NaN
            y[:] = (planes / np.sqrt(np.square(planes).sum(axis=1, keepdims=True))).reshape(y.shape)

    def compute_backward(self, delta: Array) -> list[Array]:
        return [delta]  # as in darknet

    def table_row(self) -> str:
        return f"l2norm                                         {self.inputs[0].outputs:4d}"


@dataclass(kw_only=True, eq=False, repr=False)
class Logistic(NchwLayer):
    """`[logistic]`: 1 / (1 + e^-x), with a cross-entropy loss in training."""

    def compute(self, x: Array, y: Array) -> None:
        y[:] = x
        LOGISTIC.apply_plain(y)

    has_loss: ClassVar[bool] = True

    def loss(self, truth: Sequence[Array], network_size: tuple[int, int], seen: int) -> float:
        """Cross entropy with truth, (batch, outputs) from 0 to 1."""
        target, p = np.stack([np.asarray(t, np.float32).reshape(-1) for t in truth]), self.values
        self.value_deltas[:] = target - p
        tiny = np.float32(1e-38)
        entropy = target * np.log(np.maximum(p, tiny)) + (1 - target) * np.log(np.maximum(1 - p, tiny))
        return float(-entropy.sum(dtype=np.float64))

    def compute_backward(self, delta: Array) -> list[Array]:
        return [delta]

    def table_row(self) -> str:
        return f"logistic x entropy                             {self.inputs[0].outputs:4d}"


@dataclass(kw_only=True, eq=False, repr=False)
class Iseg(NchwLayer):
    """`[iseg]`: the first `classes` channels through the logistic function, `ids` more as they are."""

    classes: int
    ids: int

    @classmethod
    def from_section(cls, section: Section, place: BuildContext) -> Iseg:
        return cls(
            section=section,
            sources=place.previous,
            classes=section.positive("classes", 20),
            ids=section.natural("ids", 32),
        )

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        if inputs[0].channels != self.classes + self.ids:
            raise self.section.shape_error(
                f"reads {inputs[0].channels} channels; expected classes + ids = {self.classes + self.ids}"
            )
        return inputs[0]

    def compute(self, x: Array, y: Array) -> None:
        y[:] = x
        cells = self.shape.cells * self.classes
        for item in y:
            LOGISTIC.apply_plain(item[:cells])

    def table_row(self) -> str:
        return "iseg"
