"""A helper process that compiles the kernels of a network ahead of the process that runs it
(`runtime/compile_ahead.py`)."""

import contextlib
import json
import logging
import os
import sys
import threading
import warnings
from typing import Any

import numpy as np

# First: with Numba, kernels are the real ones.
from ..runtime.jit import Recorded, TakenError, cache_file, description, pickled, recording  # isort: skip
from ..errors import DarknetError
from ..model import load_model
from ..runtime import compile_ahead
from ..runtime.compile_ahead import Work
from ..runtime.shipped import library
from ..tools.profile import train_once

# Measured compile times in seconds; every other kernel takes about OTHER.
COSTS = {
    "convolve_winograd": 5, "convolve_inverted_bottleneck": 5, "convolve": 4, "convolve_rows": 2.5,
    "convolve_picture": 2.5, "convolve_nchw_bottleneck": 2, "pack_winograd": 1.5, "suppress_classes": 1.5,
}  # fmt: skip
OTHER = 0.7


def find_kernels(work: Work) -> Recorded:
    """The kernels that the work calls, with the types of their arguments; after a failure, those called before it."""
    with recording() as found, warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        # The kernels compute nothing here, so the Python code between them may fail on their outputs.
        try:
            if work.train:
                train_once(work.cfg, work.width, work.height, work.batch, work.dialect)
            else:
                _run_once(work)
        except Exception as error:
            if isinstance(error, DarknetError):
                raise
    return found


def _run_once(work: Work) -> None:
    model = load_model(
        work.cfg, dialect=work.dialect, width=work.width, height=work.height, batch=work.batch,
        precision=work.precision,
    )  # fmt: skip
    model.forward(np.zeros((work.batch, *model.input_shape), np.float32))
    if model.heads:
        model.detect(np.zeros((model.input_shape[1], model.input_shape[2], 3), np.uint8))


def missing(found: Recorded) -> Recorded:
    """Those that are neither in the cache nor in the package, the slowest to compile first."""
    shipped = library()

    def is_shipped(kernel: Any, types: tuple[Any, ...]) -> bool:
        name, kinds = description(kernel, types)
        return shipped is not None and kinds is not None and shipped.kernel(name, kinds) is not None

    absent = [each for each in found if not (cache_file(*each).exists() or is_shipped(*each))]
    return sorted(absent, key=lambda each: -_cost(each[0]))


def _cost(kernel: object) -> float:
    return float(COSTS.get(kernel.__name__, OTHER))  # type: ignore[attr-defined]


def compile_all(kernels: Recorded) -> None:
    """Compile all kernels: first those that no other process is compiling, then those that such a process gave up."""
    for _ in range(2):
        for kernel, types in kernels:
            with contextlib.suppress(TakenError):
                kernel.compile(types)


def end_with_parent() -> None:
    """End when the process that started this one ends, which closes its standard input."""

    def wait() -> None:
        while os.read(0, 1 << 12):  # sys.stdin has a lock, and a process that ends while a thread holds it is aborted
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    compile_ahead.never_waits = True
    end_with_parent()
    logging.getLogger("pydarknet").setLevel(logging.CRITICAL)
    try:
        absent = missing(find_kernels(Work(*json.loads(sys.argv[1]))))
    except DarknetError:  # the parent process reports it
        return
    found = [(str(cache_file(*each)), _cost(each[0]), pickled(*each).hex()) for each in absent]
    print(json.dumps(found), flush=True)
    compile_all(absent)


if __name__ == "__main__":
    main()
