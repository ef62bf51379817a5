"""Update rules: SGD with momentum and Adam, as in darknet's GPU builds.

An update is minus the sum of the gradients over all pictures of an iteration, which backward passes accumulate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ..config.dialect import Dialect
from ..config.sections import Section
from ..kernels.optimizer import adam_step, sgd_step
from ..layers import Layer
from ..layers.base import Trainable
from ..utils.arrays import Array

Parameters = Mapping[str, tuple[Layer, Trainable]]  # by their names in checkpoints


@dataclass(frozen=True)
class Step:
    """The values that all parameters of one update share.

    iteration: that of the network, counted from 1. number: that of the update, counted from 1 in this run; a resumed
    run continues the count. lr: the learning rate. pictures: the number of gradients that were summed. decay: the
    weight decay per picture.
    """

    iteration: int
    number: int
    lr: float
    pictures: int
    decay: float


class Rule(Protocol):
    """An update rule."""

    def step(self, name: str, parameter: Trainable, step: Step, lr: float) -> None:
        """Update one parameter. name: its name in checkpoints. lr: the learning rate times the layer's own factor."""

    def state_of(self, name: str, parameter: Trainable) -> dict[str, Array]:
        """The arrays that the rule keeps for a parameter between updates, of its shape, not copied."""


@dataclass
class SGD:
    """Stochastic gradient descent: update -= decay * weights; weights += lr / pictures * update; update *= momentum.

    Biases and scales do not decay.
    """

    momentum: float

    def step(self, name: str, parameter: Trainable, step: Step, lr: float) -> None:
        decay = step.decay * step.pictures if parameter.decays else 0.0
        weights, update = parameter.array.reshape(-1), parameter.update.reshape(-1)
        sgd_step(weights, update, np.float32(lr / step.pictures), np.float32(decay), np.float32(self.momentum))

    def state_of(self, name: str, parameter: Trainable) -> dict[str, Array]:
        """No arrays: the momentum is part of the accumulated update."""
        return {}


@dataclass
class Adam:
    """Adam (Kingma and Ba, 2015) as darknet computes it: updates are not divided by the number of pictures, and biases
    and scales decay like weights. by_iteration: the bias correction counts iterations of the network, not updates of
    the run."""

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-7
    by_iteration: bool = False
    _moments: dict[str, tuple[Array, Array]] = field(default_factory=dict, repr=False)

    def step(self, name: str, parameter: Trainable, step: Step, lr: float) -> None:
        weights, update = parameter.array.reshape(-1), parameter.update.reshape(-1)
        mean, square = (moment.reshape(-1) for moment in self._moments_of(name, parameter))
        count = step.iteration if self.by_iteration else step.number
        betas = np.float32(self.beta1), np.float32(self.beta2)
        adam_step(
            weights,
            update,
            mean,
            square,
            np.float32(lr),
            np.float32(step.decay * step.pictures),
            *betas,
            *(np.float32(1 - float(beta) ** count) for beta in betas),
            np.float32(self.epsilon),
        )

    def state_of(self, name: str, parameter: Trainable) -> dict[str, Array]:
        mean, square = self._moments_of(name, parameter)
        return {"mean": mean, "square": square}

    def _moments_of(self, name: str, parameter: Trainable) -> tuple[Array, Array]:
        """The running means of a parameter's updates and of their squares, zeros before its first update."""
        if name not in self._moments:
            shape = parameter.array.shape
            self._moments[name] = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        return self._moments[name]


def read_rule(net: Section, dialect: Dialect) -> Rule:
    """The update rule of `[net]`: SGD, or Adam with `adam=1`."""
    if not net.flag("adam"):
        return SGD(net.real("momentum", 0.9))
    return Adam(
        beta1=net.real("B1", 0.9),
        beta2=net.real("B2", 0.999),
        epsilon=net.real("eps", dialect.adam_epsilon),
        by_iteration=dialect.adam_by_iteration,
    )


class Optimizer:
    """Applies the update rule to every parameter that is not frozen."""

    def __init__(self, layers: Sequence[Layer], net: Section, dialect: Dialect) -> None:
        """Read the options of `[net]` for updates."""
        self.rule = read_rule(net, dialect)
        self.updates = 0  # since the run began
        self.momentum, self.decay = net.real("momentum", 0.9), net.real("decay", 0.0001)
        self._clip, self._burn_in = net.real("clip", 0.0), net.natural("burn_in", 0, 1 << 40)
        self._mends = dialect.mends_updates
        last = max((i for i, layer in enumerate(layers) if layer.learning_options.norm_only), default=-1)
        self._norm_only = {id(layer) for layer in layers[: last + 1]}

    def step(self, parameters: Parameters, iteration: int, lr: float, pictures: int) -> None:
        """Update the parameters after iteration `iteration`, counted from 1, with the gradients of `pictures`
        pictures."""
        self.updates += 1
        step = Step(iteration, self.updates, lr, pictures, self.decay)
        for name, (layer, parameter) in parameters.items():
            if self._is_frozen(layer, iteration):
                continue
            self._mend_update(layer, parameter)
            self.rule.step(name, parameter, step, lr * layer.learning_options.rate)
            limit = layer.learning_options.clip or (self._clip if layer.has_filters else 0.0)
            if limit and parameter.decays:
                np.clip(parameter.array, -limit, limit, out=parameter.array)

    def state_dict(self, parameters: Parameters) -> dict[str, Array]:
        """The arrays that the next update needs, besides parameters and accumulated updates; not copied."""
        return {
            f"{name}.{kind}": array
            for name, (_, parameter) in parameters.items()
            for kind, array in self.rule.state_of(name, parameter).items()
        }

    def _is_frozen(self, layer: Layer, iteration: int) -> bool:
        options = layer.learning_options
        if not layer.training or id(layer) in self._norm_only:
            return True
        return iteration <= options.from_iteration or iteration < options.from_burn_in * self._burn_in

    def _mend_update(self, layer: Layer, parameter: Trainable) -> None:
        update = parameter.update
        if self._mends and not np.isfinite(update.sum(dtype=np.float64)):
            update[~np.isfinite(update)] = 0
        if layer.learning_options.centred and parameter.decays and getattr(layer, "norm", None) is not None:
            update -= update.mean(axis=(1, 2, 3), keepdims=True)
