"""How many iterations of a training run fit into a number of minutes: measured on its first ones."""

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
AROUND = 10.0  # seconds for loading, the last measurement and the report
LEAST = 100  # iterations
BACKWARD = 3  # a step of training takes about so many forward passes


def batches_in(
    minutes: float, found: Recognised, lists: Mapping[str, Sequence[Path]], plan: Plan, began: float, **options: Any
) -> tuple[int, float]:
    """(iterations that end `minutes` after `began`, seconds of an iteration). At least `LEAST` iterations.

    began: of `runtime.compile_time.clock`, which does not count the time of compiling. options: of the Trainer.
    """
    seconds = seconds_of_iteration(found, lists, plan, **options)
    pictures, measured = len(lists["train"]), len(lists["valid"])
    interval = max(LEAST_INTERVAL, 4 * pictures // plan.batch)
    measuring = seconds / plan.batch / BACKWARD * measured / interval
    left = 60 * minutes - AROUND - (clock() - began)
    return max(LEAST, int(left / (seconds + measuring))), seconds


def seconds_of_iteration(found: Recognised, lists: Mapping[str, Sequence[Path]], plan: Plan, **options: Any) -> float:
    """Seconds of an iteration, loading included, without compiling; of a run in a temporary folder."""
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
