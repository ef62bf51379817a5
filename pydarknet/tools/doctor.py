"""The facts of a bug report: machine, installation, kernel cache, and problems with them."""

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from .. import kernels  # noqa: F401  (its import decides what runs kernels; `threads` depends on it)
from ..inference.video.capture import opencv_formats
from ..runtime import cache as runtime_cache, object_loader, shipped
from ..runtime.cache import CACHE_FOLDER, is_cold, numba_is_known
from ..runtime.threads import threads
from ..utils.arrays import machine_memory
from ..version import __version__

PACKAGES = ("numpy", "numba", "llvmlite", "click", "onnx", "onnxruntime", "matplotlib", "supervision")
OPENCV = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
VARIABLES = ("NUMBA_NUM_THREADS", "NUMBA_CACHE_DIR", "NUMBA_CPU_NAME", "NUMBA_DISABLE_JIT", shipped.CHOICE,
             "XDG_CACHE_HOME")  # fmt: skip
MEGABYTE = 1 << 20
COLD = "no kernel is compiled yet, so the first run takes nine to twenty seconds longer; `pydarknet warm-up` " \
       "compiles them now"  # fmt: skip


def diagnose() -> dict[str, Any]:
    """All facts, as values for JSON; `problems` is a list of sentences."""
    facts = {
        "pydarknet": {"version": __version__, "folder": str(Path(__file__).parents[1])},
        "python": {"version": platform.python_version(), "program": sys.executable, "system": platform.platform()},
        "processor": processor(),
        "packages": packages(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "kernels": kernel_cache(),
        "opencv": opencv_formats(),
    }
    return facts | {"problems": list(problems(facts))}


def processor() -> dict[str, Any]:
    """What is known of the processor, its threads and the memory."""
    cpu = runtime_cache.processor()
    return {
        "name": cpu.name or platform.processor() or platform.machine(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "threads": threads(),
        "memory_mb": machine_memory() // MEGABYTE,
        "level": cpu.levels[0] if cpu.levels else None,
        "bf16": "avx512_bf16" in cpu.flags,
    }


def packages() -> dict[str, str | None]:
    """The versions of the packages that are used; None for one that is not installed."""
    versions: dict[str, str | None] = dict.fromkeys(PACKAGES)
    for name in (*PACKAGES, *OPENCV):
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions if versions.keys() & set(OPENCV) else versions | {OPENCV[0]: None}


def kernel_cache() -> dict[str, Any]:
    """The folder of compiled kernels, their number, and the code that this process would run."""
    library, folder = shipped.library(), CACHE_FOLDER
    files = [path for path in folder.rglob("*") if path.is_file()] if folder else []
    others = [other for other in folder.parent.glob("kernels-*") if other != folder] if folder else []
    return {
        "folder": str(folder) if folder else None,
        "size_mb": round(sum(path.stat().st_size for path in files) / MEGABYTE, 1),
        "compiled": sum(path.suffix == ".nbc" for path in files),
        "is_cold": is_cold(),
        "writable": folder is not None and os.access(folder if folder.exists() else folder.parent, os.W_OK),
        "other_versions": len(others),
        "shipped": library.level if library else None,
        "code": "shipped" if library else "saved machine code" if object_loader.is_used() else "Numba",
        "numba_is_known": numba_is_known(),
    }


def problems(facts: dict[str, Any]) -> Iterator[str]:
    """Each problem in one sentence, with its remedy."""
    cpu, cache, opencv = facts["processor"], facts["kernels"], facts["opencv"]
    place, found = cache["folder"] or "the cache folder", facts["packages"]
    without_jit = os.environ.get("NUMBA_DISABLE_JIT") not in (None, "", "0")
    for is_one, problem in (
        (cpu["level"] in ("x86-64", "x86-64-v2"),
         f"the processor has {cpu['level']} only: without AVX2 and FMA networks run several times slower"),
        (not cache["writable"],
         f"{place}: cannot be written, so each run compiles its kernels again; set NUMBA_CACHE_DIR"),
        (not cache["numba_is_known"],
         "this version of Numba is unknown, so Numba loads the kernels, and programs start more slowly"),
        (without_jit, "NUMBA_DISABLE_JIT is set: kernels cannot be compiled, and nothing works; unset it"),
        *((found[name] is None, f"{name} has no version: its installation is damaged")
          for name in ("numpy", "numba", "llvmlite", "click")),
        (sum(name in OPENCV for name in found) > 1,
         "several packages of OpenCV are installed and overwrite each other; keep one of them"),
        *((not opencv["pictures"].get(name), f"this OpenCV cannot read {name} files; install opencv-python")
          for name in ("JPEG", "PNG")),
        (not any(opencv["video"].values()), "this OpenCV cannot read video; install opencv-python"),
    ):  # fmt: skip
        if is_one:
            yield problem


def lines(facts: dict[str, Any]) -> Iterator[str]:
    """The facts as text, for a bug report."""
    for title, content in facts.items():
        if title == "problems" or not content:
            continue
        yield title
        for name, value in content.items():
            if isinstance(value, dict):
                value = ", ".join(key for key, has in value.items() if has) or "none"
            yield f"  {name:<16} {'-' if value is None else value}"
    if facts["kernels"]["is_cold"] and not facts["kernels"]["shipped"]:
        yield COLD
    yield "problems" if facts["problems"] else "no problems found"
    for problem in facts["problems"]:
        yield f"  {problem}"
