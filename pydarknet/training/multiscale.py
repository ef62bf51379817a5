"""Multi-scale training: the input size of each iteration, and the memory for the largest size."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..errors import OptionError
from ..layers.heads.base import Head
from ..model import Model
from ..tensor import Layout, Shape

CLASSIFIER_PERIOD, DETECTOR_PERIOD = 40, 10  # iterations at one size
SMALLEST, LARGEST = 320, 608  # pixels, sides of pjreddie's detectors
LAST_AT_LARGEST = 200  # iterations at the end of a run, which have the largest size
_SIZES = 0x517E  # part of the seed, so that sizes do not repeat the random numbers of other draws


@dataclass(frozen=True)
class MultiScaleSchedule:
    """The input size of each iteration: every `period` iterations another one is drawn, from the seed alone, so that a
    resumed run has the same sizes."""

    width: int
    height: int
    period: int = 0  # 0: always the cfg's size
    rule: str = ""  # square, classifier, coefficient
    coefficient: float = 0.0
    step: int = 32
    seed: int = 0
    max_batches: int = 0
    smallest: int = SMALLEST  # side, of the rule "square"
    mini_batch: int = 1
    grows_batch: bool = False  # mini-batches are larger at smaller sizes

    @classmethod
    def of(cls, model: Model, seed: int, max_batches: int, smallest: int | None = None) -> MultiScaleSchedule:
        """Read `random` of the last head, or of [net] for pjreddie's classifiers. smallest: instead of 320 pixels.

        Raises OptionError for networks without that rule.
        """
        net, alexeyab = model.config.net, model.dialect.name == "alexeyab"
        sizes = cls(model.input.width, model.input.height, seed=seed, max_batches=max_batches, mini_batch=model.batch)
        head = model.layers[model.heads[-1]] if alexeyab and model.heads else model.layers[-1]
        random = head.pictures.random if isinstance(head, Head) else 0.0
        if not model.heads and not alexeyab and net.flag("random"):
            sizes = replace(sizes, period=CLASSIFIER_PERIOD, rule="classifier")
        elif random and not alexeyab:
            sizes = replace(sizes, period=DETECTOR_PERIOD, rule="square")
        elif random:
            sizes = replace(
                sizes,
                period=DETECTOR_PERIOD,
                rule="coefficient",
                coefficient=1.4 if random == 1 else random,
                step=net.positive("resize_step", 32),
                grows_batch=net.flag("dynamic_minibatch"),
            )
        if smallest is None:
            return sizes
        if sizes.rule != "square":
            raise OptionError(
                f"min_size {smallest}: only pjreddie's detectors with random=1 in the last layer change between "
                f"{SMALLEST} and {LARGEST}"
            )
        if smallest % 32 or not 32 <= smallest <= LARGEST:
            raise OptionError(f"min_size {smallest}: expected a multiple of 32 from 32 to {LARGEST}")
        return replace(sizes, smallest=smallest)

    @property
    def vary(self) -> bool:
        return self.period > 0

    @property
    def largest(self) -> tuple[int, int]:
        """(width, height)"""
        if self.rule == "coefficient":
            return self._scaled(max(self.coefficient, 1 / self.coefficient))
        side = {"square": LARGEST, "classifier": 448}.get(self.rule)
        return (side, side) if side else (self.width, self.height)

    def at(self, done: int, start: int) -> tuple[int, int]:
        """(width, height) of the iteration after `done` iterations, in a run that started after `start`."""
        if not self.vary:
            return self.width, self.height
        done = start + (done - start) // self.period * self.period
        rng = np.random.default_rng([self.seed, _SIZES, done])
        if self.rule == "classifier":
            side = 32 * int(rng.integers(4, 15))
            return side, side
        if self.rule == "square":
            side = 32 * int(rng.integers(self.smallest // 32, LARGEST // 32 + 1))
            side = LARGEST if done + LAST_AT_LARGEST > self.max_batches else side
            return side, side
        if done == start or done > self.max_batches - 100:
            return self._scaled(self.coefficient)
        factor = 1 + (self.coefficient - 1) * rng.random()
        factor = 1 / factor if rng.random() < 0.5 else factor
        width, height = self._scaled(factor)
        if factor < 1 and (width > self.width or height > self.height):
            return self.width, self.height
        return width, height

    def batch_at(self, width: int, height: int) -> int:
        """The pictures of a mini-batch. With `dynamic_minibatch`: about 0.8 times the number that takes as much memory
        as a mini-batch at the largest size."""
        if not self.grows_batch:
            return self.mini_batch
        fits = self.mini_batch * math.prod(self._scaled(self.coefficient)) // (width * height)
        return int(fits * 0.8) if int(fits * 0.8) > self.mini_batch else max(1, fits)

    def _scaled(self, factor: float) -> tuple[int, int]:
        sides = (math.floor(factor * side / self.step + 1 + 0.5) for side in (self.width, self.height))
        width, height = (max(1, steps) * self.step for steps in sides)
        return width, height


def training_bytes(model: Model, width: int, height: int, validates: bool = False) -> int:
    """An estimate of the memory for training: each layer's output, its delta and arrays kept for its backward pass;
    parameters as stored, their updates, packed for both passes, Adam's moments and averages. validates: with a second
    network."""
    given = Shape(model.input.channels, height, width)
    total = 4 * Layout(1, given, halo=1).size
    for layer, shape in zip(model.layers, model.shapes_at(given), strict=True):
        kept = 2 + layer.section.flag("batch_normalize")
        activation = getattr(layer, "activation", None)
        kept += activation is not None and activation.needs_input
        kept += layer.kind in ("convolutional", "conv", "deconvolutional")
        total += kept * 4 * Layout(1, shape, halo=1).size
    net = model.config.net
    copies = 5 + 2 * net.flag("adam") + bool(net.real("ema_alpha", 0.0)) + 2 * validates
    return total * model.batch + 4 * copies * model.parameter_count
