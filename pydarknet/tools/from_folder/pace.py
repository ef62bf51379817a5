"""The number of training iterations that fit into some minutes, from the time of the first ones."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...datasets.recognise import Recognised
from ...runtime.compile_time import clock
from ...training.trainer import Trainer
from ...training.validation import LEAST_INTERVAL
from .plan import Plan
from .run_files import DATA, write_run

WARM_UP, MEASURED = 2, 8  # iterations; the first ones compile kernels and fill caches
OVERHEAD = 10.0  # seconds for loading, the last validation and the report
LEAST = 100  # iterations
STEP_COST = 3  # forward passes that a training step takes, about


def iterations_in(
    minutes: float, found: Recognised, lists: Mapping[str, Sequence[Path]], plan: Plan, began: float, **options: Any
) -> tuple[int, float]:
    """(the number of iterations that end about `minutes` after `began`, at least LEAST; the seconds of one iteration).

    began: a value of `runtime.compile_time.clock`, which excludes compilation. options: keyword arguments of Trainer.
    """
    seconds = seconds_per_iteration(found, lists, plan, **options)
    pictures, measured = len(lists["train"]), len(lists["valid"])
    interval = max(LEAST_INTERVAL, 4 * pictures // plan.batch)
    measuring = seconds / plan.batch / STEP_COST * measured / interval
    left = 60 * minutes - OVERHEAD - (clock() - began)
    return max(LEAST, int(left / (seconds + measuring))), seconds


def seconds_per_iteration(found: Recognised, lists: Mapping[str, Sequence[Path]], plan: Plan, **options: Any) -> float:
    """Seconds of an iteration, including loading, without compilation, measured by a run in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="pydarknet-") as temporary:
        folder = Path(temporary, "run")
        write_run(folder, found, lists, plan, {})
        trainer = Trainer(folder / DATA, folder / f"{plan.choice.name}.cfg", chart=False, checks=False, **options)
        began = clock()
        for number, _ in enumerate(trainer.run(), start=1):
            if number == WARM_UP:
                began = clock()
            if number == WARM_UP + MEASURED:
                trainer.stop()
                elapsed = clock() - began
    return max(elapsed, 1e-3) / MEASURED
