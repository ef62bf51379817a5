"""The sizes a network is trained at, and the memory that the largest one takes."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .layers.head import Head
from .layers.training import needs_input
from .model import Model
from .tensor import LANES, Shape

if TYPE_CHECKING:
    pass

log = logging.getLogger("pydarknet")

CLASSIFIER_PERIOD, DETECTOR_PERIOD = 40, 10  # iterations at one size
JOURNAL = "train.jsonl"
_SIZES = 0x517E  # sets the random numbers of sizes apart from others of the same seed


@dataclass(frozen=True)
class Sizes:
    """The input size of every iteration: one that is drawn anew after each `period`, by the dialect's rule.

    A pure function of the seed, so that a run that goes on finds the size it had.
    """

    width: int
    height: int
    period: int = 0  # 0: always the cfg's size
    rule: str = ""  # square, classifier, coefficient
    coefficient: float = 0.0
    step: int = 32
    seed: int = 0
    max_batches: int = 0

    @classmethod
    def of(cls, model: Model, seed: int, max_batches: int) -> Sizes:
        """By `random` of the last head, or for pjreddie's classifiers of [net]."""
        net, last = model.config.net, model.layers[-1]
        width, height = model.input.width, model.input.height
        alexeyab = model.dialect.name == "alexeyab"
        if not model.heads:
            if alexeyab or not net.flag("random"):
                return cls(width, height)
            return cls(width, height, CLASSIFIER_PERIOD, "classifier", seed=seed, max_batches=max_batches)
        head = model.layers[model.heads[-1]] if alexeyab else last
        random = head.pictures.random if isinstance(head, Head) else 0.0
        if not random:
            return cls(width, height)
        if alexeyab and net.flag("dynamic_minibatch"):
            log.warning("%s:%d: dynamic_minibatch is not supported: mini-batches keep their size", net.path, net.line)
        return cls(
            width,
            height,
            DETECTOR_PERIOD,
            "coefficient" if alexeyab else "square",
            coefficient=1.4 if random == 1 else random,
            step=net.positive("resize_step", 32),
            seed=seed,
            max_batches=max_batches,
        )

    @property
    def vary(self) -> bool:
        return self.period > 0

    @property
    def largest(self) -> tuple[int, int]:
        """(width, height), the most that may come."""
        if self.rule == "coefficient":
            factor = max(self.coefficient, 1 / self.coefficient)
            return self._scaled(self.width, factor), self._scaled(self.height, factor)
        side = {"square": 608, "classifier": 448}.get(self.rule)
        return (side, side) if side else (self.width, self.height)

    def at(self, done: int, start: int) -> tuple[int, int]:
        """(width, height) of the iteration after `done` ones, in a run that began after `start`."""
        if not self.vary:
            return self.width, self.height
        done = start + (done - start) // self.period * self.period
        rng = np.random.default_rng([self.seed, _SIZES, done])
        if self.rule == "classifier":
            side = 32 * int(rng.integers(4, 15))
            return side, side
        if self.rule == "square":
            side = 32 * int(rng.integers(10, 20))
            side = 608 if done + 200 > self.max_batches else side
            return side, side
        if done == start or done > self.max_batches - 100:
            return self._scaled(self.width, self.coefficient), self._scaled(self.height, self.coefficient)
        factor = 1 + (self.coefficient - 1) * rng.random()
        factor = 1 / factor if rng.random() < 0.5 else factor
        width, height = self._scaled(self.width, factor), self._scaled(self.height, factor)
        if factor < 1 and (width > self.width or height > self.height):
            return self.width, self.height
        return width, height

    def _scaled(self, side: int, factor: float) -> int:
        return max(self.step, math.floor(factor * side / self.step + 1 + 0.5) * self.step)


def training_bytes(model: Model, width: int, height: int) -> int:
    """About the memory that training at this size takes: each layer's output, delta and what its way back keeps, and
    parameters as stored, accumulated and packed twice."""
    shapes = model._shapes(Shape(model.input.channels, height, width))
    total = _bytes(Shape(model.input.channels, height, width))
    for layer, shape in zip(model.layers, shapes, strict=True):
        kept = 2 + layer.section.flag("batch_normalize")
        activation = getattr(layer, "activation", None)
        kept += activation is not None and needs_input(activation)
        kept += layer.kind in ("convolutional", "conv", "deconvolutional")
        total += kept * _bytes(shape)
    return total * model.batch + 5 * 4 * model.parameter_count


def _bytes(shape: Shape) -> int:
    return 4 * LANES * -(-shape.channels // LANES) * (shape.height + 2) * (shape.width + 2)
