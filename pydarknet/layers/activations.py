"""The activation functions by their cfg names."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..config.dialect import Dialect
from ..config.sections import Section, did_you_mean
from ..kernels import activation as codes
from ..kernels.activation import activate, activate_segments
from ..runtime.program import Call, KernelCall
from ..tensor import Tensor
from ..utils.arrays import Array


@dataclass(frozen=True)
class Activation:
    """A function of one number: `slope` below zero, or what `code` names; or one over the channels of each pixel."""

    name: str
    slope: float = 1.0
    code: int = codes.NONE
    over_channels: bool = False

    @property
    def is_linear(self) -> bool:
        return self.slope == 1.0 and self.code == codes.NONE and not self.over_channels

    @property
    def fusable(self) -> bool:
        """Whether a convolution can apply it as it stores."""
        return not self.over_channels and (self.code == codes.NONE or self.code in codes.FUSED)

    @property
    def fused_slope(self) -> np.float32:
        """The factor below zero that a storing kernel applies; 1 when it has nothing to do."""
        return np.float32(self.slope if self.fusable and self.code == codes.NONE else 1.0)

    @property
    def fused_code(self) -> int:
        """The code that a storing kernel applies, or NONE."""
        return self.code if self.fusable else codes.NONE

    def apply(self, tensor: Tensor) -> None:
        """Apply in place to a whole blocked tensor."""
        if self.is_linear:
            return
        if self.over_channels:
            values = tensor.plain()
            shape = tensor.shape
            tensor.fill(_normalise(self.name, values.reshape(-1, shape.channels, shape.height, shape.width)))
            return
        activate(*self._arguments(tensor))

    def calls(self, tensor: Tensor) -> list[Call]:
        """What `apply` does, to be done as often as wanted."""
        if self.is_linear:
            return []
        return [partial(self.apply, tensor) if self.over_channels else KernelCall(activate, *self._arguments(tensor))]

    def _arguments(self, tensor: Tensor) -> tuple[Any, ...]:
        """As the kernel takes them."""
        return tensor.data, tensor.planes, tensor.shape.channels, np.float32(self.slope), self.code

    def apply_plain(self, values: Array) -> None:
        """Apply in place to a contiguous float32 array of plain order."""
        if self.is_linear:
            return
        if self.over_channels:
            values[:] = _normalise(self.name, values.reshape(len(values), -1, 1, 1)).reshape(values.shape)
            return
        flat = values.reshape(-1)
        edges = np.linspace(0, flat.size, 5).astype(np.int64)
        segments = np.stack([edges[:-1], np.diff(edges)], axis=1)
        activate_segments(flat, np.ascontiguousarray(segments), np.float32(self.slope), self.code)


def _normalise(name: str, x: Array) -> Array:
    """AlexeyAB's functions over the channels of each pixel; x: (n, c, h, w)."""
    if name == "normalize_channels":
        e = np.maximum(x, np.float32(0))
    elif name == "normalize_channels_softmax":
        e = np.exp(x)
    else:
        e = np.exp(x - x.max(axis=1, keepdims=True))
    return np.ascontiguousarray(e / (np.float32(1e-4) + e.sum(axis=1, keepdims=True)))


LINEAR = Activation("linear")
LOGISTIC = Activation("logistic", code=codes.LOGISTIC)
LOGGY = Activation("loggy", code=codes.LOGGY)
TANH = Activation("tanh", code=codes.TANH)
RELU = Activation("relu", slope=0.0)

ACTIVATIONS = {
    activation.name: activation
    for activation in (
        LINEAR,
        LOGISTIC,
        LOGGY,
        TANH,
        RELU,
        Activation("leaky", slope=0.1),
        Activation("revleaky", slope=0.1),
        Activation("relie", slope=0.01),
        Activation("relu6", code=codes.RELU6),
        Activation("elu", code=codes.ELU),
        Activation("selu", code=codes.SELU),
        Activation("gelu", code=codes.GELU),
        Activation("ramp", code=codes.RAMP),
        Activation("plse", code=codes.PLSE),
        Activation("stair", code=codes.STAIR),
        Activation("hardtan", code=codes.HARDTAN),
        Activation("lhtan", code=codes.LHTAN),
        Activation("swish", code=codes.SWISH),
        Activation("mish", code=codes.MISH),
        Activation("hard_mish", code=codes.HARD_MISH),
        Activation("normalize_channels", over_channels=True),
        Activation("normalize_channels_softmax", over_channels=True),
        Activation("normalize_channels_softmax_maxval", over_channels=True),
    )
}


def read_activation(section: Section, dialect: Dialect, default: str, key: str = "activation") -> Activation:
    """The activation that `key` names. A name that the dialect does not know counts as relu, as in darknet, with a
    warning."""
    name = section.text(key, default) or default
    if name in ACTIVATIONS and name not in dialect.foreign_activations:
        return ACTIVATIONS[name]
    known = set(ACTIVATIONS) - dialect.foreign_activations
    message = f"Couldn't find activation function {name}, going with ReLU{did_you_mean(name, known)}"
    section.warn(message, key)
    return RELU
