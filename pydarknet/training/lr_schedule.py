"""Learning-rate policies: functions of the number of updates, in one table."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..config.sections import Section, integer, natural, read_options, real


@dataclass(frozen=True)
class LearningRateSchedule:
    """The options of `[net]` that determine the learning rate."""

    learning_rate: float = real(0.001)
    policy: str = "constant"
    max_batches: int = natural(largest=1 << 40)
    burn_in: int = natural(largest=1 << 40)  # updates
    power: float = real(4.0)
    step: int = 1
    scale: float = real(1.0)
    gamma: float = real(1.0)
    steps: tuple[int, ...] = ()
    scales: tuple[float, ...] = ()
    learning_rate_min: float = real(1e-5)
    sgdr_cycle: int = 0
    sgdr_mult: int = integer(2)

    @classmethod
    def from_section(cls, net: Section) -> "LearningRateSchedule":
        """An unknown policy counts as constant, with a warning. Raises ConfigError."""
        policy = net.text("policy", "constant") or "constant"
        if policy not in POLICIES:
            net.warn(f"Couldn't find policy {policy}, going with constant")
            policy = "constant"
        steps, scales = net.integers("steps") or [], net.reals("scales") or []
        if policy == "steps" and (not steps or len(steps) != len(scales)):
            raise net.error(
                f"STEPS policy must have steps and scales in cfg file: found {len(steps)} steps and {len(scales)} "
                "scales; expected the same number of both",
                "steps" if steps else "policy",
            )
        options = read_options(cls, net)
        return cls(
            policy=policy,
            step=max(1, net.integer("step", 1)),
            steps=tuple(steps),
            scales=tuple(scales),
            sgdr_cycle=net.integer("sgdr_cycle", options["max_batches"]),
            **options,
        )

    def at(self, update: int) -> float:
        """Of an update, counted from 1; infinite or NaN if the formula overflows."""
        with np.errstate(all="ignore"):
            if update < self.burn_in:
                return self.learning_rate * float(np.power(update / self.burn_in, self.power))
            return float(POLICIES[self.policy](self, update))


def _steps(s: LearningRateSchedule, update: int) -> float:
    factors = [scale for step, scale in zip(s.steps, s.scales, strict=True) if step <= update]
    return s.learning_rate * float(np.prod(factors))


def _sgdr(s: LearningRateSchedule, update: int) -> float:
    """Cosine down to learning_rate_min in growing cycles (Loshchilov and Hutter, 2017)."""
    start, cycle = 0, max(1, s.sgdr_cycle)
    while start + cycle < update:
        start += cycle
        cycle *= max(1, s.sgdr_mult)
    height = s.learning_rate - s.learning_rate_min
    return s.learning_rate_min + 0.5 * height * float(1 + np.cos(np.pi * (update - start) / cycle))


# By their names in cfg files; each is a function from the number of updates to the learning rate.
POLICIES: Mapping[str, Callable[[LearningRateSchedule, int], float]] = {
    "constant": lambda s, update: s.learning_rate,
    "step": lambda s, update: s.learning_rate * np.power(s.scale, update // s.step),
    "steps": _steps,
    "exp": lambda s, update: s.learning_rate * np.power(s.gamma, update),
    "poly": lambda s, update: s.learning_rate * np.power(1 - update / max(1, s.max_batches), s.power),
    "random": lambda s, update: s.learning_rate * np.power(random.Random(update).random(), s.power),
    "sigmoid": lambda s, update: s.learning_rate / (1 + np.exp(s.gamma * (update - s.step))),
    "sgdr": _sgdr,
}
