"""Compile kernels for one level: `python -m release.compile_level LEVEL FOLDER [KERNEL ...]`.

KERNEL is a name such as `reorder.softmax_rows`; without names, all kernels are compiled.

`build.py` starts this program in the environment of the level, in which Numba compiles for it. Each kernel is compiled
in a process forked from one that has loaded Numba and compiled nothing, so that its code does not depend on what was
compiled before.
"""

import json
import logging
import multiprocessing
import os
import re
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydarknet.runtime.cache import encode, file_of, sources_digest
from pydarknet.runtime.object_writer import catalogue

from . import object_code
from .levels import ASKED, Target, targets
from .object_code import ObjectCode, Wanted
from .record import recorded
from .support_code import emit_support

# Constants of kernels that describe the processor that compiles, not the compiled code.
HOST_CONSTANTS = {"PROCESSOR", "MISSING", "MISSING_BF16", "MISSING_INT8"}
SUPPORT = "support"


def symbol_of(wanted: Wanted) -> str:
    """The symbol of a kernel for arguments of these kinds."""
    return "kernel_" + re.sub(r"\W", "_", file_of(*wanted).removesuffix(".saved"))


def compile_level(target: Target, folder: Path, processes: int, names: Collection[str] = ()) -> None:
    """Write object files and the catalogue of one level into a folder. Existing object files are kept. names: those of
    the kernels; empty for all."""
    folder.mkdir(parents=True, exist_ok=True)
    context, modules = multiprocessing.get_context("fork"), catalogue()  # loads all kernels, and compiles none
    with context.Pool(1) as pool:
        print(f"{target.level}: recording the kernels that are called", file=sys.stderr, flush=True)
        wanted = pool.apply(recorded, (names,))
    (folder / f"{SUPPORT}.o").write_bytes(emit_support(target))
    jobs = [(each, target, folder) for each in wanted]
    with context.Pool(processes, maxtasksperchild=1) as pool:
        for number, name in enumerate(pool.imap_unordered(_compile, jobs, chunksize=1), 1):
            print(f"{target.level}: compiled {number}/{len(jobs)}, {name}", file=sys.stderr, flush=True)
    kernels = {}
    for each in wanted:
        symbol = symbol_of(each)
        errors = json.loads((folder / f"{symbol}.json").read_text())
        kernels[tuple(each)] = symbol, tuple(errors)
    portable = {name: (names, _portable(constants)) for name, (names, constants) in modules.items()}
    content = {
        "sources": sources_digest().hex(), "level": target.level, "target": (target.cpu, target.features),
        "features": ASKED[target.level], "modules": portable,
        "kernels": kernels,
    }  # fmt: skip
    (folder / "catalogue").write_bytes(encode(content))


def _compile(job: tuple[Wanted, Target, Path]) -> str:
    """Compile one kernel into its files, unless they exist. Returns its name."""
    wanted, target, folder = job
    symbol = symbol_of(wanted)
    if not (folder / f"{symbol}.json").exists():
        made: ObjectCode = object_code.compile_kernel(wanted, symbol, target)
        (folder / f"{symbol}.o").write_bytes(made.code)
        (folder / f"{symbol}.json").write_text(json.dumps(made.errors))
    return wanted.kernel


def _portable(constants: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in constants.items() if name not in HOST_CONSTANTS}


if __name__ == "__main__":
    level, folder, *names = sys.argv[1:]
    logging.getLogger("pydarknet").setLevel(logging.ERROR)  # warnings about bundled networks are known
    processes = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    compile_level(next(target for target in targets() if target.level == level), Path(folder), processes, names)
