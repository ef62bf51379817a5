"""The results of a block of pictures, each a line of JSON or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from ..errors import DarknetError
from ..images.image import Picture
from ..images.operations import one_thread_per_call
from ..utils.prefetch import BATCHES_AHEAD, prefetch
from .store import Store

Input = TypeVar("Input")
Result = TypeVar("Result")


class Failure(NamedTuple):
    """A picture without a result, and why."""

    name: str
    reason: str


Outcome = str | Failure  # a line of JSON


@dataclass(frozen=True)
class Work:
    """What is done with the pictures of an archive. steps: a detector's or a classifier's. batch: pictures per pass."""

    store: Store
    steps: Any  # DetectorSteps | ClassifierSteps
    batch: int = 1

    def check(self, name: str) -> None:
        """Raise DataError where this machine does not see the pictures."""
        self.store.check(name)

    def __call__(self, names: Sequence[str]) -> list[Outcome]:
        """What each picture gives, in order."""
        return outcomes_of(names, self.store.load, self.steps, self.batch)


def outcomes_of(names: Sequence[str], load: Callable[[str], Picture], steps: Any, batch: int) -> list[Outcome]:
    """What each picture gives, in order. Threads call `load` for the next ones while the network computes."""

    def prepared(name: str) -> Any:
        try:
            return steps.prepare(load(name))
        except DarknetError as error:
            return error

    outcomes: list[Outcome] = []
    with one_thread_per_call(), closing(prefetch(prepared, names, count=batch * (1 + BATCHES_AHEAD))) as inputs:
        while ready := list(islice(inputs, batch)):
            good = iter(compute_each(steps.compute, [each for each in ready if not isinstance(each, DarknetError)]))
            found = [each if isinstance(each, DarknetError) else next(good) for each in ready]
            for name, each in zip(names[len(outcomes) :], found, strict=False):
                outcomes.append(Failure(name, str(each)) if isinstance(each, DarknetError) else each.to_json(name))
    return outcomes


def compute_each(
    compute: Callable[[Sequence[Input]], Sequence[Result]], inputs: Sequence[Input]
) -> list[Result | DarknetError]:
    """The result for each input, or why there is none: where a batch fails, each of it is tried alone."""
    try:
        return list(compute(inputs)) if inputs else []
    except DarknetError as error:
        if len(inputs) == 1:
            return [error]
        return [result for each in inputs for result in compute_each(compute, [each])]
