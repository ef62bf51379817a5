"""Operations that the backward passes of several layers share."""

from __future__ import annotations

import numpy as np

from ..kernels.activation import activation_gradient
from ..kernels.elementwise import channel_total, spread_cells
from ..tensor import Tensor
from ..utils.arrays import LANES, Array
from .activations import Activation


def channel_sums(tensor: Tensor) -> Array:
    """(channels,) float32: the sum over batch and pixels, of each sample first and then over samples in order."""
    at = tensor.layout
    out = np.empty((at.batch, at.blocks * LANES), np.float32)
    channel_total(tensor.data, tensor.planes, out.reshape(-1))
    return out.sum(axis=0, dtype=np.float64)[: tensor.shape.channels].astype(np.float32)


def activation_backward(activation: Activation, delta: Tensor, y: Tensor, x: Tensor) -> None:
    """delta *= f' in place; y is the output of the activation f, x its input (the pre-activation)."""
    if activation.is_linear:
        return
    if activation.over_channels:
        delta.fill(_channel_softmax_backward(activation.name, delta, y))
        return
    activation_gradient(
        delta.data,
        delta.planes,
        y.data,
        y.planes,
        x.data,
        x.planes,
        np.float32(activation.negative_slope),
        activation.id,
    )


def needs_input(activation: Activation) -> bool:
    """Whether the derivative needs the pre-activation, which must then be kept; else the output is enough."""
    return activation.name in ("swish", "mish", "hard_mish")


def _channel_softmax_backward(name: str, delta: Tensor, y: Tensor) -> Array:
    """(batch, outputs): delta times the sum over channels of y delta, as darknet has it (not the true derivative).

    Where y is 0, normalize_channels leaves delta as it is."""
    shape = delta.shape
    values = y.plain().reshape(-1, shape.channels, shape.cells)
    change = delta.plain().reshape(values.shape)
    scaled = change * (values * change).sum(axis=1, keepdims=True)
    if name == "normalize_channels":
        scaled = np.where(values > 0, scaled, change)
    return np.ascontiguousarray(scaled).reshape(len(values), -1)


def write_dilated(delta: Tensor, out: Tensor, stride_y: int = 1, stride_x: int = 1) -> None:
    """Copy delta to `out`, its pixels `stride` apart; the pixels between stay as they are."""
    spread_cells(delta.data, delta.planes, out.data, out.layout.strides(stride_y, stride_x))
