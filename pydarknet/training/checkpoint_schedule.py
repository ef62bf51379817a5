"""The schedule of checkpoints during training, and their file names, as in darknet."""

from __future__ import annotations

import os
from dataclasses import dataclass, field


def base_name(cfg: str | os.PathLike[str], backslashes: bool = False) -> str:
    """The name of a cfg file up to its first dot; AlexeyAB's darknet takes backslashes for separators as well."""
    name = os.fspath(cfg).rpartition("/")[2]
    return (name.rpartition("\\")[2] if backslashes else name).partition(".")[0]


@dataclass
class CheckpointSchedule:
    """The checkpoints that are due after an iteration, by dialect and command.

    batch: pictures of an iteration. pictures: those of the training list. every: the interval, in iterations, of
    further rolling checkpoints. saved: for AlexeyAB's dialect, the iteration of the last save of each kind.
    """

    base: str
    alexeyab: bool
    detector: bool
    batch: int
    pictures: int
    weights_interval: int = 1000  # AlexeyAB's keys saveweights and savelast of the .data file
    last_interval: int = 100
    every: int | None = None
    saved: dict[str, int] = field(default_factory=dict)

    @property
    def rolling(self) -> str:
        """The name of the checkpoint that each save overwrites."""
        return f"{self.base}_last.weights" if self.alexeyab else f"{self.base}.backup"

    @property
    def final(self) -> str:
        """The name of the final weights."""
        return f"{self.base}_final.weights" if self.alexeyab or self.detector else f"{self.base}.weights"

    def due(self, iteration: int, seen: int) -> list[str]:
        """The file names of the checkpoints that are due now, the rolling one last."""
        names = self._alexeyab(iteration) if self.alexeyab else self._pjreddie(iteration, seen)
        if self.every and iteration % self.every == 0 and self.rolling not in names:
            names.append(self.rolling)
        return names

    def _pjreddie(self, iteration: int, seen: int) -> list[str]:
        names = []
        if self.detector:
            if iteration % 10000 == 0 or (iteration < 1000 and iteration % 100 == 0):
                names.append(f"{self.base}_{iteration}.weights")
        elif (epoch := seen // self.pictures) > (seen - self.batch) // self.pictures:
            names.append(f"{self.base}_{epoch}.weights")
        if iteration % (100 if self.detector else 1000) == 0:
            names.append(self.rolling)
        return names

    def _alexeyab(self, iteration: int) -> list[str]:
        names = []
        every, last = (self.weights_interval, self.last_interval) if self.detector else (1000, 100)
        if self._is_due("weights", iteration, every, multiples=self.detector):
            names.append(f"{self.base}_{iteration}.weights")
        if every > last and self._is_due("last", iteration, last, multiples=self.detector and iteration > 1):
            names.append(self.rolling)
        return names

    def _is_due(self, kind: str, iteration: int, interval: int, multiples: bool) -> bool:
        due = iteration >= self.saved[kind] + interval or (multiples and iteration % interval == 0)
        if due:
            self.saved[kind] = iteration
        return due
