"""The activation functions by their cfg names."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..config.dialect import Dialect
from ..config.sections import Section, did_you_mean
from ..kernels import activation as ids
from ..kernels.activation import activate, activate_segments
from ..runtime.program import Call, KernelCall
from ..tensor import Tensor
from ..utils.arrays import Array


@dataclass(frozen=True)
class Activation:
    """An activation function, by one of three means.

    negative_slope: x where x > 0, else the slope times x (1: linear, 0.1: leaky ReLU, 0: ReLU).
    id: the function of one number that the kernels know by this number; NONE where the slope says all.
    over_channels: a softmax-like function of all channels of a pixel, computed by NumPy.
    """

    name: str
    negative_slope: float = 1.0
    id: int = ids.NONE
    over_channels: bool = False

    @property
    def is_linear(self) -> bool:
        return self.negative_slope == 1.0 and self.id == ids.NONE and not self.over_channels

    @property
    def fusable(self) -> bool:
        """Whether a kernel that stores its output, such as a convolution, can apply it."""
        return not self.over_channels and (self.id == ids.NONE or self.id in ids.FUSED)

    @property
    def fused_slope(self) -> np.float32:
        """The negative slope that such a kernel applies; 1 where it applies none."""
        return np.float32(self.negative_slope if self.fusable and self.id == ids.NONE else 1.0)

    @property
    def fused_id(self) -> int:
        """The id of the function that such a kernel applies, or NONE."""
        return self.id if self.fusable else ids.NONE

    def apply(self, tensor: Tensor) -> None:
        """Apply in place to a whole blocked tensor."""
        if self.is_linear:
            return
        if self.over_channels:
            values = tensor.plain()
            shape = tensor.shape
            tensor.fill(_over_channels(self.name, values.reshape(-1, shape.channels, shape.height, shape.width)))
            return
        activate(*self._arguments(tensor))

    def calls(self, tensor: Tensor) -> list[Call]:
        """The calls that `apply` makes, to be repeated."""
        if self.is_linear:
            return []
        return [partial(self.apply, tensor) if self.over_channels else KernelCall(activate, *self._arguments(tensor))]

    def _arguments(self, tensor: Tensor) -> tuple[Any, ...]:
        """The arguments of the kernel."""
        return tensor.data, tensor.planes, tensor.shape.channels, np.float32(self.negative_slope), self.id

    def apply_nchw(self, values: Array) -> None:
        """Apply in place to a contiguous (batch, outputs) float32 array in NCHW order."""
        if self.is_linear:
            return
        if self.over_channels:
            values[:] = _over_channels(self.name, values.reshape(len(values), -1, 1, 1)).reshape(values.shape)
            return
        flat = values.reshape(-1)
        edges = np.linspace(0, flat.size, 5).astype(np.int64)
        segments = np.stack([edges[:-1], np.diff(edges)], axis=1)
        activate_segments(flat, np.ascontiguousarray(segments), np.float32(self.negative_slope), self.id)


def _over_channels(name: str, x: Array) -> Array:
    """AlexeyAB's functions over the channels of each pixel, of x (n, c, h, w); a new array of that shape."""
    if name == "normalize_channels":
        e = np.maximum(x, np.float32(0))
    elif name == "normalize_channels_softmax":
        e = np.exp(x)
    else:
        e = np.exp(x - x.max(axis=1, keepdims=True))
    return np.ascontiguousarray(e / (np.float32(1e-4) + e.sum(axis=1, keepdims=True)))


LINEAR = Activation("linear")
LOGISTIC = Activation("logistic", id=ids.LOGISTIC)
LOGGY = Activation("loggy", id=ids.LOGGY)
TANH = Activation("tanh", id=ids.TANH)
RELU = Activation("relu", negative_slope=0.0)

ACTIVATIONS = {
    activation.name: activation
    for activation in (
        LINEAR,
        LOGISTIC,
        LOGGY,
        TANH,
        RELU,
        Activation("leaky", negative_slope=0.1),
        Activation("revleaky", negative_slope=0.1),
        Activation("relie", negative_slope=0.01),
        Activation("relu6", id=ids.RELU6),
        Activation("elu", id=ids.ELU),
        Activation("selu", id=ids.SELU),
        Activation("gelu", id=ids.GELU),
        Activation("ramp", id=ids.RAMP),
        Activation("plse", id=ids.PLSE),
        Activation("stair", id=ids.STAIR),
        Activation("hardtan", id=ids.HARDTAN),
        Activation("lhtan", id=ids.LHTAN),
        Activation("swish", id=ids.SWISH),
        Activation("mish", id=ids.MISH),
        Activation("hard_mish", id=ids.HARD_MISH),
        Activation("normalize_channels", over_channels=True),
        Activation("normalize_channels_softmax", over_channels=True),
        Activation("normalize_channels_softmax_maxval", over_channels=True),
    )
}


def read_activation(section: Section, dialect: Dialect, default: str, key: str = "activation") -> Activation:
    """The activation that `key` names; for a name that the dialect does not know, ReLU with a warning, as in
    darknet."""
    name = section.text(key, default) or default
    if name in ACTIVATIONS and name not in dialect.foreign_activations:
        return ACTIVATIONS[name]
    known = set(ACTIVATIONS) - dialect.foreign_activations
    message = f"Couldn't find activation function {name}, going with ReLU{did_you_mean(name, known)}"
    section.warn(message, key)
    return RELU
