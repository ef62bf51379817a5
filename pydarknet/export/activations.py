"""Activation functions as ONNX operators, by their cfg names."""

from __future__ import annotations

from collections.abc import Callable

from ..layers.activations import Activation
from .graph import Graph, UnsupportedError

Function = Callable[[Graph, str], str]


def apply(graph: Graph, activation: Activation, x: str) -> str:
    """activation(x), with the channels on axis 1."""
    if activation.is_linear:
        return x
    if activation.name not in FUNCTIONS:
        raise UnsupportedError(f"activation={activation.name} has no ONNX form")
    return FUNCTIONS[activation.name](graph, x)


def _leaky(slope: float) -> Function:
    return lambda graph, x: graph.add("LeakyRelu", x, alpha=slope)


def _clip(low: float, high: float) -> Function:
    return lambda graph, x: graph.add("Clip", x, graph.constant(low), graph.constant(high))


def _piecewise_linear(low: float, high: float, inner: float, offset: float, outer: float) -> Function:
    """inner x + offset from `low` to `high`, continued on both sides with the slope `outer`."""

    def function(graph: Graph, x: str) -> str:
        middle = _clip(low, high)(graph, x)
        beyond = graph.times(graph.add("Sub", x, middle), outer)
        return graph.add("Add", graph.plus(graph.times(middle, inner), offset), beyond)

    return function


def _loggy(graph: Graph, x: str) -> str:
    return graph.add("Tanh", graph.times(x, 0.5))  # 2 / (1 + e^-x) - 1


def _swish(graph: Graph, x: str) -> str:
    return graph.add("Mul", x, graph.add("Sigmoid", x))


def _mish(graph: Graph, x: str) -> str:
    return graph.add("Mul", x, graph.add("Tanh", graph.add("Softplus", x)))


def _gelu(graph: Graph, x: str) -> str:
    """x / 2 (1 + tanh u) = x logistic(2 u), with u = 0.797885 x + 0.035677 x^3"""
    factor = graph.plus(graph.times(graph.add("Mul", x, x), 2 * 0.035677), 2 * 0.797885)
    return graph.add("Mul", x, graph.add("Sigmoid", graph.add("Mul", x, factor)))


def _ramp(graph: Graph, x: str) -> str:
    return graph.add("Add", graph.add("Relu", x), graph.times(x, 0.1))


def _stair(graph: Graph, x: str) -> str:
    """A step at every even number, and a slope of 1 before it: floor(x / 2) + max(x - 2 floor(x / 2) - 1, 0)"""
    half = graph.add("Floor", graph.times(x, 0.5))
    rest = graph.plus(graph.add("Sub", x, graph.times(half, 2.0)), -1.0)
    return graph.add("Add", half, graph.add("Relu", rest))


def _hard_mish(graph: Graph, x: str) -> str:
    """x^2 / 2 + x between -2 and 0, nothing below, x above"""
    low = _clip(-2.0, 0.0)(graph, x)
    curve = graph.add("Mul", low, graph.plus(graph.times(low, 0.5), 1.0))
    return graph.add("Add", curve, graph.add("Relu", x))


def _over_channels(graph: Graph, positive: str) -> str:
    total = graph.add("ReduceSum", positive, graph.integers([1]), keepdims=1)
    return graph.add("Div", positive, graph.plus(total, 1e-4))


def _normalize_channels(graph: Graph, x: str) -> str:
    return _over_channels(graph, graph.add("Relu", x))


def _normalize_softmax(graph: Graph, x: str) -> str:
    return _over_channels(graph, graph.add("Exp", x))


def _normalize_softmax_maxval(graph: Graph, x: str) -> str:
    return _normalize_softmax(graph, graph.add("Sub", x, graph.add("ReduceMax", x, axes=[1], keepdims=1)))


FUNCTIONS: dict[str, Function] = {
    "elu": lambda graph, x: graph.add("Elu", x),
    "gelu": _gelu,
    "hard_mish": _hard_mish,
    "hardtan": _clip(-1.0, 1.0),
    "leaky": _leaky(0.1),
    "lhtan": _piecewise_linear(0.0, 1.0, 1.0, 0.0, 0.001),
    "loggy": _loggy,
    "logistic": lambda graph, x: graph.add("Sigmoid", x),
    "mish": _mish,
    "normalize_channels": _normalize_channels,
    "normalize_channels_softmax": _normalize_softmax,
    "normalize_channels_softmax_maxval": _normalize_softmax_maxval,
    "plse": _piecewise_linear(-4.0, 4.0, 0.125, 0.5, 0.01),
    "ramp": _ramp,
    "relie": _leaky(0.01),
    "relu": lambda graph, x: graph.add("Relu", x),
    "relu6": _clip(0.0, 6.0),
    "revleaky": _leaky(0.1),
    "selu": lambda graph, x: graph.add("Selu", x, alpha=1.6732, gamma=1.0507),
    "stair": _stair,
    "swish": _swish,
    "tanh": lambda graph, x: graph.add("Tanh", x),
}
