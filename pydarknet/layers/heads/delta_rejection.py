"""AlexeyAB's options that set deltas of `[yolo]` to 0 late in a run: very large ones, which wrong labels cause, and
very small ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ...config.sections import Section, natural, read_options, real
from ...utils.arrays import Array
from ..base import TrainingProgress

MOMENTUM = 0.99  # part of the running values that a mini-batch of a head leaves
SMALL_DELTA = 1.4  # times the progress: the part of the average below which deltas are rejected
STEP = 0.01  # by which the threshold of `percentage` moves


@dataclass
class DeltaRejection:
    """The rejection of deltas, one object for all [yolo] heads of a network.

    percentage: `badlabels_rejection_percentage`, the part of deltas that may be rejected as too large.
    sigmas: `num_sigmas_reject_badlabels`, how many deviations above the average a delta is too large.
    Both begin after three quarters of the run.
    equidistant: `equidistant_point`, the iteration after which more and more small deltas are rejected.
    rolling: running values over the mini-batches of all heads, which checkpoints keep.
    """

    percentage: float = real(key="badlabels_rejection_percentage")
    sigmas: float = real(key="num_sigmas_reject_badlabels")
    equidistant: int = natural(key="equidistant_point", largest=1 << 40)
    rolling: dict[str, float] = field(
        default_factory=lambda: {"largest": 0.0, "average": 0.0, "deviation": 0.0, "threshold": 0.0}
    )

    @classmethod
    def from_section(cls, net: Section) -> DeltaRejection:
        """Read the keys of `[net]`."""
        return cls(**read_options(cls, net))

    def state_dict(self) -> dict[str, float]:
        """The running values."""
        return dict(self.rolling)

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Continue from a state of the same names."""
        self.rolling = {name: float(state[name]) for name in self.rolling}

    def apply(self, delta: Array, entries: int, progress: TrainingProgress) -> None:
        """Reject deltas of one head, in place. entries: numbers of one prediction."""
        start = progress.max_batches * 3 // 4
        late = progress.done > start
        has_percentage, has_sigmas = bool(self.percentage) and late, bool(self.sigmas) and late
        has_equidistant = 0 < self.equidistant < progress.done
        sizes = np.abs(delta[delta != 0], dtype=np.float64)
        if not (has_percentage or has_sigmas or has_equidistant) or not sizes.size:
            return
        share = (progress.done - self.equidistant) / max(1, progress.max_batches - self.equidistant)
        rolling = self.rolling
        least = rolling["average"] * share * SMALL_DELTA
        rolling["largest"] = self._roll(rolling["largest"] or float(sizes.max()), float(sizes.max()))
        rolling["average"] = self._roll(rolling["average"], float(sizes.mean()))
        if has_sigmas:
            limit = self._by_deviation(delta, (progress.done - start) / max(1, start))
            least = min(limit, rolling["average"]) * share
        if has_percentage:
            self._by_percentage(delta, entries)
        if has_equidistant:
            delta[np.abs(delta) < least] = 0

    @staticmethod
    def _roll(before: float, now: float) -> float:
        return MOMENTUM * before + (1 - MOMENTUM) * now

    def _by_deviation(self, delta: Array, share: float) -> float:
        """Reject by deviation; the limit at the end of the run, to which that of now falls from the largest delta."""
        rolling = self.rolling
        limit = rolling["average"] + rolling["deviation"] * self.sigmas
        around = delta[delta != 0].astype(np.float64) - rolling["average"]
        rolling["deviation"] = self._roll(rolling["deviation"], float(np.sqrt(np.square(around).mean())))
        now = max(limit, rolling["largest"] - share * abs(rolling["largest"] - limit))
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
