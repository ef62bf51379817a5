"""AlexeyAB's `ema_alpha`: an exponential moving average (EMA) of all convolutions in the second half of a run, which
replaces the parameters near its end."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

import numpy as np

from ..network.network import Network
from ..utils.arrays import Array

log = logging.getLogger("pydarknet")

UPDATES_AFTER = 1000  # the number of updates after the average has replaced the parameters


class MovingAverage:
    """ema = alpha * ema + (1 - alpha) * parameters, for all convolutions, after each update of a run's second half."""

    def __init__(self, network: Network, alpha: float, max_batches: int) -> None:
        """max_batches: the number of updates of the whole run."""
        self.network, self.alpha = network, alpha
        self.first, self.last = max_batches // 2, max_batches - UPDATES_AFTER
        self._averages: dict[str, Array] = {}
        if self.last <= self.first:
            net = network.config.net
            log.warning(
                "%s:%d: ema_alpha: with max_batches=%d the average would be used after iteration %d, before it starts; "
                "it has no effect",
                net.path,
                net.line,
                max_batches,
                max(0, self.last),
            )

    @property
    def begun(self) -> bool:
        return bool(self._averages)

    def update(self, number: int) -> bool:
        """Include the parameters after update `number`. Returns whether the averages have replaced them."""
        if number < self.first:
            return False
        current = self.parameters()
        if not self._averages:
            self._averages = {name: array.copy() for name, array in current.items()}
        if number == self.last:
            self._write(current, self._averages)
            return True
        if number < self.last:
            alpha = np.float32(self.alpha)
            for name, array in current.items():
                self._averages[name] *= alpha
                self._averages[name] += (1 - alpha) * array
        return False

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a .weights file with the averages in place of the parameters. Raises OutputError."""
        current = self.parameters()
        before = {name: array.copy() for name, array in current.items()}
        self._write(current, self._averages)
        try:
            self.network.save_weights(path)
        finally:
            self._write(current, before)

    def state_dict(self) -> dict[str, Array]:
        """The averages, not copied; empty before the first one."""
        return dict(self._averages)

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Restore the averages: nothing, or an array for each of `parameters`. The caller has checked the shapes."""
        self._averages = {name: state[name].copy() for name in self.parameters() if state}

    def parameters(self) -> dict[str, Array]:
        """Biases, scales and weights of every convolution with parameters of its own, by their names in checkpoints."""
        found: dict[str, Array] = {}
        for index, layer in enumerate(self.network.layers):
            trained = layer.trainables() if layer.has_filters else []
            found |= {f"layer.{index}.{parameter.name}": parameter.array for parameter in trained}
        return found

    @staticmethod
    def _write(to: Mapping[str, Array], values: Mapping[str, Array]) -> None:
        for name, array in to.items():
            array[:] = values[name]
