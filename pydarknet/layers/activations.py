"""The activation functions, their derivatives, and `[activation]`."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from ..config.dialect import Dialect
from ..config.sections import Section, did_you_mean
from ..kernels import activation as ids
from ..kernels.activation import activate, activate_segments, activation_gradient
from ..kernels.elementwise import add_channels
from ..kernels.reorder import copy_channels
from ..runtime.program import Call, KernelCall
from ..tensor import Layout, Shape, Tensor
from ..utils.arrays import Array
from .base import BuildContext, Layer


@dataclass(frozen=True)
class Activation:
    """An activation function, by one of three means.

    negative_slope: below zero; 1: linear, 0.1: leaky ReLU, 0: ReLU.
    id: the kernels' number of the function; NONE where the slope says all.
    over_channels: a softmax-like function of a pixel's channels.
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
        """Whether a kernel can apply it as it stores."""
        return not self.over_channels and (self.id == ids.NONE or self.id in ids.FUSED)

    @property
    def fused_slope(self) -> np.float32:
        """The negative slope that such a kernel applies."""
        return np.float32(self.negative_slope if self.fusable and self.id == ids.NONE else 1.0)

    @property
    def fused_id(self) -> int:
        """The id of the function that such a kernel applies."""
        return self.id if self.fusable else ids.NONE

    @property
    def needs_input(self) -> bool:
        """Whether the derivative needs the pre-activation."""
        return self.name in ("swish", "mish", "hard_mish")

    def apply(self, tensor: Tensor) -> None:
        """Apply in place to a tensor."""
        for call in self.calls(tensor):
            call()

    def calls(self, tensor: Tensor) -> list[Call]:
        """The calls of `apply`."""
        if self.is_linear or self.over_channels:
            return [partial(self._apply_over_channels, tensor)] if self.over_channels else []
        slope = np.float32(self.negative_slope)
        return [KernelCall(activate, tensor.data, tensor.planes, tensor.shape.channels, slope, self.id)]

    def apply_nchw(self, values: Array) -> Array:
        """Apply in place to a contiguous (batch, outputs) array. Returns what `backward_nchw` takes as x."""
        before = values.copy() if self.needs_input else values
        if self.over_channels:
            values[:] = self._of_channels(values.reshape(len(values), -1, 1)).reshape(values.shape)
        elif not self.is_linear:
            flat = values.reshape(-1)
            edges = np.linspace(0, flat.size, 5).astype(np.int64)
            segments = np.stack([edges[:-1], np.diff(edges)], axis=1)
            activate_segments(flat, segments, np.float32(self.negative_slope), self.id)
        return before

    def _apply_over_channels(self, tensor: Tensor) -> None:
        tensor.fill(self._of_channels(tensor.plain().reshape(-1, tensor.shape.channels, tensor.shape.cells)))

    def _of_channels(self, x: Array) -> Array:
        if self.name == "normalize_channels":
            e = np.maximum(x, np.float32(0))
        elif self.name == "normalize_channels_softmax":
            e = np.exp(x)
        else:
            e = np.exp(x - x.max(axis=1, keepdims=True))
        return np.ascontiguousarray(e / (np.float32(1e-4) + e.sum(axis=1, keepdims=True)))

    def backward(self, delta: Tensor, y: Tensor, x: Tensor) -> None:
        """delta *= f' in place; y = f(x)."""
        if self.over_channels:
            delta.fill(self._backward_over_channels(delta, y))
        elif not self.is_linear:
            slope = np.float32(self.negative_slope)
            activation_gradient(delta.data, delta.planes, y.data, y.planes, x.data, x.planes, slope, self.id)

    def backward_nchw(self, delta: Array, y: Array, x: Array) -> Tensor:
        """The delta of x, a tensor of vectors, from that of y, all (batch, outputs)."""
        tensors = [Tensor(Layout(len(y), Shape(y.shape[1]))) for _ in range(3)]
        for tensor, values in zip(tensors, (delta, y, x), strict=True):
            tensor.fill(values)
        self.backward(*tensors)
        return tensors[0]

    def _backward_over_channels(self, delta: Tensor, y: Tensor) -> Array:
        """As darknet has it, which is not the true derivative."""
        values = y.plain().reshape(-1, delta.shape.channels, delta.shape.cells)
        change = delta.plain().reshape(values.shape)
        scaled = change * (values * change).sum(axis=1, keepdims=True)
        if self.name == "normalize_channels":
            scaled = np.where(values > 0, scaled, change)
        return np.ascontiguousarray(scaled).reshape(len(values), -1)


_SLOPES = {"linear": 1.0, "relu": 0.0, "leaky": 0.1, "revleaky": 0.1, "relie": 0.01}
_IN_KERNELS = (
    "logistic", "loggy", "tanh", "relu6", "elu", "selu", "gelu", "ramp", "plse", "stair", "hardtan", "lhtan", "swish",
    "mish", "hard_mish",
)  # fmt: skip
_OVER_CHANNELS = ("normalize_channels", "normalize_channels_softmax", "normalize_channels_softmax_maxval")
ACTIVATIONS = {
    **{name: Activation(name, negative_slope=slope) for name, slope in _SLOPES.items()},
    **{name: Activation(name, id=getattr(ids, name.upper())) for name in _IN_KERNELS},
    **{name: Activation(name, over_channels=True) for name in _OVER_CHANNELS},
}
LINEAR, RELU, LOGISTIC = ACTIVATIONS["linear"], ACTIVATIONS["relu"], ACTIVATIONS["logistic"]
LOGGY, TANH = ACTIVATIONS["loggy"], ACTIVATIONS["tanh"]


def read_activation(section: Section, dialect: Dialect, default: str, key: str = "activation") -> Activation:
    """The activation of `key`; ReLU with a warning for an unknown name."""
    name = section.text(key, default) or default
    if name in ACTIVATIONS and name not in dialect.foreign_activations:
        return ACTIVATIONS[name]
    known = set(ACTIVATIONS) - dialect.foreign_activations
    section.warn(f"Couldn't find activation function {name}, going with ReLU{did_you_mean(name, known)}", key)
    return RELU


@dataclass(kw_only=True, eq=False, repr=False)
class ActivationLayer(Layer):
    """`[activation]`: y = f(x) for each element."""

    row = "Activation Layer: {x.outputs} inputs"
    activation: Activation

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> "ActivationLayer":
        return cls.build(section, context, activation=read_activation(section, context.dialect, "linear"))

    def bind(self) -> list[Call]:
        (x,), y = self.source_tensors, self.output
        copy = KernelCall(copy_channels, x.data, x.planes, 0, self.shape.channels, y.data, y.planes, 0)
        return [copy, *self.activation.calls(y)]

    def backward(self) -> None:
        self.activation.backward(self.delta, self.output, self.source_tensors[0])
        (target,), delta = self.source_deltas, self.delta
        if target is not None:
            add_channels(delta.data, delta.planes, 0, self.shape.channels, target.data, target.planes, 0)
