"""Learning-rate policies: pure functions of the number of updates."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from ..config.sections import Section

POLICIES = ("constant", "step", "steps", "exp", "poly", "random", "sigmoid", "sgdr")


@dataclass(frozen=True)
class Schedule:
    """The options of `[net]` that decide the learning rate."""

    rate: float
    policy: str = "constant"
    max_batches: int = 0
    burn_in: int = 0
    power: float = 4.0
    step: int = 1
    scale: float = 1.0
    gamma: float = 1.0
    steps: tuple[int, ...] = ()
    scales: tuple[float, ...] = ()
    rate_min: float = 1e-5
    cycle: int = 0
    cycle_growth: int = 2

    @classmethod
    def from_section(cls, net: Section) -> Schedule:
        """Read `[net]`. An unknown policy counts as constant, with a warning; raises ConfigError for missing lists."""
        policy = net.text("policy", "constant") or "constant"
        if policy not in POLICIES:
            net.warn(f"Couldn't find policy {policy}, going with constant")
            policy = "constant"
        steps, scales = net.integers("steps") or [], net.reals("scales") or []
        if policy == "steps" and (not steps or len(steps) != len(scales)):
            raise net.error(
                f"STEPS policy must have steps and scales in cfg file: found {len(steps)} steps and {len(scales)} "
                "scales; expected as many of both",
                "steps" if steps else "policy",
            )
        max_batches = net.natural("max_batches", 0, 1 << 40)
        return cls(
            rate=net.real("learning_rate", 0.001),
            policy=policy,
            max_batches=max_batches,
            burn_in=net.natural("burn_in", 0, 1 << 40),
            power=net.real("power", 4.0),
            step=max(1, net.integer("step", 1)),
            scale=net.real("scale", 1.0),
            gamma=net.real("gamma", 1.0),
            steps=tuple(steps),
            scales=tuple(scales),
            rate_min=net.real("learning_rate_min", 1e-5),
            cycle=net.integer("sgdr_cycle", max_batches),
            cycle_growth=net.integer("sgdr_mult", 2),
        )

    def at(self, update: int) -> float:
        """The rate of update number `update`, counted from 1."""
        if update < self.burn_in:
            return self.rate * (update / self.burn_in) ** self.power
        if self.policy == "steps":
            return self.rate * math.prod(s for at, s in zip(self.steps, self.scales, strict=True) if at <= update)
        formulas = {
            "constant": lambda: 1.0,
            "step": lambda: self.scale ** (update // self.step),
            "exp": lambda: self.gamma**update,
            "poly": lambda: (1 - update / max(1, self.max_batches)) ** self.power,
            "random": lambda: random.Random(update).random() ** self.power,
            "sigmoid": lambda: 1 / (1 + math.exp(self.gamma * (update - self.step))),
            "sgdr": lambda: self._restarts(update) / self.rate,
        }
        return self.rate * formulas[self.policy]()

    def _restarts(self, update: int) -> float:
        """Cosine from the rate down to the least one, in cycles that grow (Loshchilov and Hutter, SGDR, 2017)."""
        start, cycle = 0, max(1, self.cycle)
        while start + cycle < update:
            start += cycle
            cycle *= max(1, self.cycle_growth)
        return self.rate_min + 0.5 * (self.rate - self.rate_min) * (1 + math.cos(math.pi * (update - start) / cycle))
