"""How parameters follow from what backward passes have accumulated for them, by the rules of darknet's GPU builds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ..config.dialect import Dialect
from ..config.sections import Section
from ..kernels.training.optimizer import adam_step, sgd_step
from ..layers import Layer
from ..layers.base import Trainable
from ..utils.arrays import Array

Trainables = Mapping[str, tuple[Layer, Trainable]]  # by their names in checkpoints


@dataclass(frozen=True)
class Step:
    """What all parameters of an update have in common.

    number: counted from 1 over all runs. of_run: counted from 1 since the run began, which a resumed run continues.
    pictures: whose gradients have been summed up. decay: weight decay of one picture.
    """

    number: int
    of_run: int
    rate: float
    pictures: int
    decay: float


class Rule(Protocol):
    """One way to change a parameter. `name` tells parameters apart, `rate` includes the layer's own factor."""

    def change(self, name: str, parameter: Trainable, step: Step, rate: float) -> None: ...

    def state_of(self, name: str, parameter: Trainable) -> dict[str, Array]:
        """What the rule keeps of a parameter from update to update: arrays of its shape, no copies."""


@dataclass
class SGD:
    """Gradient descent; what is accumulated keeps `momentum` of itself for the next update. Weights decay."""

    momentum: float

    def change(self, name: str, parameter: Trainable, step: Step, rate: float) -> None:
        decay = step.decay * step.pictures if parameter.decays else 0.0
        weights, update = parameter.array.reshape(-1), parameter.update.reshape(-1)
        sgd_step(weights, update, np.float32(rate / step.pictures), np.float32(decay), np.float32(self.momentum))

    def state_of(self, name: str, parameter: Trainable) -> dict[str, Array]:
        """Nothing: momentum is part of what is accumulated."""
        return {}


@dataclass
class Adam:
    """Adam (Kingma and Ba, 2015) as darknet has it: sums are not divided by the number of pictures, and biases and
    scales decay like weights."""

    keeps_mean: float = 0.9
    keeps_square: float = 0.999
    epsilon: float = 1e-7
    by_iteration: bool = False
    _moments: dict[str, tuple[Array, Array]] = field(default_factory=dict, repr=False)

    def change(self, name: str, parameter: Trainable, step: Step, rate: float) -> None:
        weights, update = parameter.array.reshape(-1), parameter.update.reshape(-1)
        mean, square = (moment.reshape(-1) for moment in self._moments_of(name, parameter))
        past = step.number if self.by_iteration else step.of_run
        kept = np.float32(self.keeps_mean), np.float32(self.keeps_square)
        adam_step(
            weights,
            update,
            mean,
            square,
            np.float32(rate),
            np.float32(step.decay * step.pictures),
            *kept,
            *(np.float32(1 - float(share) ** past) for share in kept),
            np.float32(self.epsilon),
        )

    def state_of(self, name: str, parameter: Trainable) -> dict[str, Array]:
        mean, square = self._moments_of(name, parameter)
        return {"mean": mean, "square": square}

    def _moments_of(self, name: str, parameter: Trainable) -> tuple[Array, Array]:
        """The averages of a parameter's changes and of their squares, zeros before its first update."""
        if name not in self._moments:
            shape = parameter.array.shape
            self._moments[name] = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        return self._moments[name]


def read_rule(net: Section, dialect: Dialect) -> Rule:
    """The rule that `[net]` asks for."""
    if not net.flag("adam"):
        return SGD(net.real("momentum", 0.9))
    return Adam(
        keeps_mean=net.real("B1", 0.9),
        keeps_square=net.real("B2", 0.999),
        epsilon=net.real("eps", dialect.adam_epsilon),
        by_iteration=dialect.adam_by_iteration,
    )


class Optimizer:
    """Changes all parameters of a network by one rule, but for those that are told to rest."""

    def __init__(self, layers: Sequence[Layer], net: Section, dialect: Dialect) -> None:
        """Read the keys of `[net]` about updates."""
        self.rule = read_rule(net, dialect)
        self.updates = 0  # since the run began
        self.momentum, self.decay = net.real("momentum", 0.9), net.real("decay", 0.0001)
        self._clip, self._burn_in = net.real("clip", 0.0), net.natural("burn_in", 0, 1 << 40)
        self._mends = dialect.mends_updates
        last = max((i for i, layer in enumerate(layers) if layer.learning_options.norm_only), default=-1)
        self._kept = {id(layer) for layer in layers[: last + 1]}

    def update(self, trainables: Trainables, number: int, rate: float, pictures: int) -> None:
        """The update of that number, counted from 1, with the gradients of so many pictures."""
        self.updates += 1
        step = Step(number, self.updates, rate, pictures, self.decay)
        for name, (layer, parameter) in trainables.items():
            if self._rests(layer, number):
                continue
            self._prepare(layer, parameter)
            self.rule.change(name, parameter, step, rate * layer.learning_options.rate)
            limit = layer.learning_options.clip or (self._clip if layer.has_filters else 0.0)
            if limit and parameter.decays:
                np.clip(parameter.array, -limit, limit, out=parameter.array)

    def state_dict(self, trainables: Trainables) -> dict[str, Array]:
        """What the next update needs besides the parameters, what is accumulated for them, and `updates`: no copies."""
        return {
            f"{name}.{kind}": array
            for name, (_, parameter) in trainables.items()
            for kind, array in self.rule.state_of(name, parameter).items()
        }

    def _rests(self, layer: Layer, number: int) -> bool:
        options = layer.learning_options
        if not layer.training or id(layer) in self._kept:
            return True
        return number <= options.from_iteration or number < options.from_burn_in * self._burn_in

    def _prepare(self, layer: Layer, parameter: Trainable) -> None:
        update = parameter.update
        if self._mends and not np.isfinite(update.sum(dtype=np.float64)):
            update[~np.isfinite(update)] = 0
        if layer.learning_options.centred and parameter.decays and getattr(layer, "norm", None) is not None:
            update -= update.mean(axis=(1, 2, 3), keepdims=True)
