"""AlexeyAB's options that leave out deltas of `[yolo]` late in a run: very large ones, which wrong labels give, and
very small ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ...config.sections import Section
from ...utils.arrays import Array
from ..options import TrainingProgress

KEPT = 0.99  # of the rolling values, at each mini-batch of a head
LESS_OF_AVERAGE = 1.4  # times the progress, the part of the average below which deltas are left out
STEP = 0.01  # by which the threshold of `percentage` moves


@dataclass
class DeltaRejection:
    """One for all [yolo] heads of a network.

    percentage: `badlabels_rejection_percentage`, how many deltas may be left out as too large; sigmas:
    `num_sigmas_reject_badlabels`, above the average as many deviations; both from three quarters of the run on.
    equidistant: `equidistant_point`, the iteration from which small deltas are left out, more and more.
    """

    percentage: float = 0.0
    sigmas: float = 0.0
    equidistant: int = 0
    rolling: dict[str, float] = field(
        default_factory=lambda: {"largest": 0.0, "average": 0.0, "deviation": 0.0, "threshold": 0.0}
    )

    @classmethod
    def from_section(cls, net: Section) -> DeltaRejection:
        """Read the keys of `[net]`."""
        return cls(
            percentage=net.real("badlabels_rejection_percentage", 0.0),
            sigmas=net.real("num_sigmas_reject_badlabels", 0.0),
            equidistant=net.natural("equidistant_point", 0, 1 << 40),
        )

    def state_dict(self) -> dict[str, float]:
        """What later mini-batches need of those before."""
        return dict(self.rolling)

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from a state, of the same names."""
        self.rolling = {name: float(state[name]) for name in self.rolling}

    def apply(self, delta: Array, entries: int, clock: TrainingProgress) -> None:
        """Set deltas of one head to 0, in place. entries: numbers of an anchor and cell."""
        start = clock.max_batches * 3 // 4
        late = clock.done > start
        has_percentage, has_sigmas = bool(self.percentage) and late, bool(self.sigmas) and late
        has_equidistant = 0 < self.equidistant < clock.done
        there = np.abs(delta[delta != 0], dtype=np.float64)
        if not (has_percentage or has_sigmas or has_equidistant) or not there.size:
            return
        progress = (clock.done - self.equidistant) / max(1, clock.max_batches - self.equidistant)
        rolling = self.rolling
        least = rolling["average"] * progress * LESS_OF_AVERAGE
        rolling["largest"] = self._roll(rolling["largest"] or float(there.max()), float(there.max()))
        rolling["average"] = self._roll(rolling["average"], float(there.mean()))
        if has_sigmas:
            limit = self._by_deviation(delta, (clock.done - start) / max(1, start))
            least = min(limit, rolling["average"]) * progress
        if has_percentage:
            self._by_percentage(delta, entries)
        if has_equidistant:
            delta[np.abs(delta) < least] = 0

    @staticmethod
    def _roll(before: float, now: float) -> float:
        return KEPT * before + (1 - KEPT) * now

    def _by_deviation(self, delta: Array, progress: float) -> float:
        """The limit at the end of the run; that of now comes down to it from the largest delta."""
        rolling = self.rolling
        limit = rolling["average"] + rolling["deviation"] * self.sigmas
        around = delta[delta != 0].astype(np.float64) - rolling["average"]
        rolling["deviation"] = self._roll(rolling["deviation"], float(np.sqrt(np.square(around).mean())))
        now = max(limit, rolling["largest"] - progress * abs(rolling["largest"] - limit))
        delta[np.abs(delta) > now] = 0
        return limit

    def _by_percentage(self, delta: Array, entries: int) -> None:
        rolling = self.rolling
        rolling["threshold"] = rolling["threshold"] or rolling["largest"]
        count = np.count_nonzero(delta)
        too_large = np.abs(delta) > rolling["threshold"]
        delta[too_large] = 0
        percent = 100 * np.count_nonzero(too_large) * entries / max(1, count)
        if percent > self.percentage:
            rolling["threshold"] += STEP
        elif rolling["threshold"] > STEP:
            rolling["threshold"] -= STEP
