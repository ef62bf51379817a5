"""A learner whose mini-batches may be computed by copies of it, and give the bits that it would give alone.

On one machine, mini-batch after mini-batch adds its gradient g to each update u: ((u + g1) + g2) + ... A copy
computes g alone, beginning with -0.0, because -0.0 + g is g for every g, also for -0.0. Whoever adds these
gradients to u in the order of the mini-batches rounds as one machine does. Running statistics r become
0.99 r + c; a mini-batch that begins with r = -0.0 leaves c.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..layers.batchnorm import MOMENTUM
from ..network.network import Network
from ..utils.arrays import Array
from .learner import Learner, running_statistics

REJECTING = ("badlabels_rejection_percentage", "num_sigmas_reject_badlabels", "equidistant_point")
NOTHING = np.float32(-0.0)  # what changes no number to which it is added


class DividedLearner(Learner):
    """update: all updates that backward passes add to, (numbers,) float32. gradient: the same of one mini-batch.

    Raises ConfigError where a mini-batch needs what earlier ones have left besides parameters.
    """

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        check_divisible(network)
        layers = network.layers[self.first_trained :]
        learning = {id(layer) for layer in layers if not layer.learning_options.forward_only}
        self._trained = [each for layer, each in self.parameters.values() if id(layer) in learning]
        self.update = np.zeros(sum(each.update.size for each in self._trained), np.float32)
        self.gradient = np.empty_like(self.update)
        trained = [layer for layer in network.layers if layer.training]
        self._running = [array for layer in trained for array in running_statistics(layer).values()]
        self._accumulate_in(self.update)

    def _accumulate_in(self, flat: Array) -> None:
        ends = np.cumsum([each.update.size for each in self._trained])
        for each, part in zip(self._trained, np.split(flat, ends[:-1]), strict=True):
            each.update = part.reshape(each.array.shape)

    def alone(self, images: Array, truth: Sequence[Array], ahead: int = 0) -> tuple[float, Array]:
        """Compute a mini-batch: its loss as of `step`, and what it adds to running statistics, (n,) float32; its
        gradient becomes `gradient`. Nothing else changes.

        ahead: how many mini-batches come before it, none of which is the last one before an update.
        """
        with self._ready(images, truth), self._apart(ahead):
            loss = self._pass(images, truth, then=lambda: None)
            return loss, np.concatenate([np.empty(0, np.float32), *self._running])

    @contextlib.contextmanager
    def _apart(self, ahead: int) -> Iterator[None]:
        counters, before = self.counters(), [array.copy() for array in self._running]
        try:
            self.seen += ahead * self.mini_batch
            self._mini_batches += ahead
            for array in [self.gradient, *self._running]:
                array.fill(NOTHING)
            self._accumulate_in(self.gradient)
            yield
        finally:
            self._accumulate_in(self.update)
            self._load_counters(counters)
            for array, values in zip(self._running, before, strict=True):
                array[:] = values

    def advance(self, update: Sequence[Array], statistics: Sequence[Array]) -> None:
        """Do what `step` would have done with the mini-batches that `alone` has computed, at most `until_update`.

        update: the parts of `update`, with the gradients added in order. statistics: of each mini-batch.
        """
        ends = np.cumsum([array.size for array in self._running])
        with self.network.held(), self._uninterrupted():
            np.concatenate(update, out=self.update)
            for values in statistics:
                for array, change in zip(self._running, np.split(values, ends[:-1]), strict=False):
                    array[:] = MOMENTUM * array + change
                self.seen += self.mini_batch
                self._end_mini_batch()


def check_divisible(network: Network) -> None:
    """Raise ConfigError, with file, line and reason, for a network of which mini-batches depend on earlier ones."""
    net, one = network.config.net, "such a network is trained by one process"
    for key in REJECTING:
        if net.real(key, 0.0):
            raise net.error(f"{key}: each mini-batch needs the deltas of the one before; {one}", key)
    for index, layer in enumerate(network.layers):
        if layer.state_dict() or layer.carried():
            raise layer.section.error(f"layer {index} hands its state from mini-batch to mini-batch; {one}")
        shared: Any = getattr(layer, "shares", None)
        if shared is not None:
            what = f"share_index: layer {index} adds to another layer's gradient"
            raise layer.section.error(f"{what}; {one}", "share_index")
