"""Activation functions as ONNX operators, by their cfg names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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


def _node(operator: str, **attributes: Any) -> Function:
    return lambda graph, x: graph.add(operator, x, **attributes)


def _clip(low: float, high: float) -> Function:
    return lambda graph, x: graph.add("Clip", x, graph.constant(low), graph.constant(high))


def _piecewise_linear(low: float, high: float, inner: float, offset: float, outer: float) -> Function:
    """inner x + offset from `low` to `high`, continued on both sides with the slope `outer`."""

    def function(graph: Graph, x: str) -> str:
        middle = _clip(low, high)(graph, x)
        beyond = graph.times(graph.add("Sub", x, middle), outer)
        return graph.add("Add", graph.plus(graph.times(middle, inner), offset), beyond)

    return function


def _gelu(graph: Graph, x: str) -> str:
    """x / 2 (1 + tanh u) = x logistic(2 u), with u = 0.797885 x + 0.035677 x^3"""
    factor = graph.plus(graph.times(graph.add("Mul", x, x), 2 * 0.035677), 2 * 0.797885)
    return graph.add("Mul", x, graph.add("Sigmoid", graph.add("Mul", x, factor)))


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


def _over_channels(operator: str, from_largest: bool = False) -> Function:
    """operator(x) as shares of its sum over the channels. from_largest: of x minus its largest channel."""

    def function(graph: Graph, x: str) -> str:
        if from_largest:
            x = graph.add("Sub", x, graph.add("ReduceMax", x, axes=[1], keepdims=1))
        positive = graph.add(operator, x)
        total = graph.add("ReduceSum", positive, graph.integers([1]), keepdims=1)
        return graph.add("Div", positive, graph.plus(total, 1e-4))

    return function


FUNCTIONS: dict[str, Function] = {
    "elu": _node("Elu"),
    "gelu": _gelu,
    "hard_mish": _hard_mish,
    "hardtan": _clip(-1.0, 1.0),
    "leaky": _node("LeakyRelu", alpha=0.1),
    "lhtan": _piecewise_linear(0.0, 1.0, 1.0, 0.0, 0.001),
    "loggy": lambda graph, x: graph.add("Tanh", graph.times(x, 0.5)),  # 2 / (1 + e^-x) - 1
    "logistic": _node("Sigmoid"),
    "mish": lambda graph, x: graph.add("Mul", x, graph.add("Tanh", graph.add("Softplus", x))),
    "normalize_channels": _over_channels("Relu"),
    "normalize_channels_softmax": _over_channels("Exp"),
    "normalize_channels_softmax_maxval": _over_channels("Exp", from_largest=True),
    "plse": _piecewise_linear(-4.0, 4.0, 0.125, 0.5, 0.01),
    "ramp": lambda graph, x: graph.add("Add", graph.add("Relu", x), graph.times(x, 0.1)),
    "relie": _node("LeakyRelu", alpha=0.01),
    "relu": _node("Relu"),
    "relu6": _clip(0.0, 6.0),
    "revleaky": _node("LeakyRelu", alpha=0.1),
    "selu": _node("Selu", alpha=1.6732, gamma=1.0507),
    "stair": _stair,
    "swish": lambda graph, x: graph.add("Mul", x, graph.add("Sigmoid", x)),
    "tanh": _node("Tanh"),
}
