"""The files in which compiled kernels are kept for processes without Numba; see `object_loader.py`."""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import platform
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any

from .cache import CACHE_FOLDER, package_folder

log = logging.getLogger("pydarknet")

CATALOGUE, TEAM = "modules.saved", "team.saved"
OWN_SETTINGS = {"NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS"}  # what of Numba's environment is followed here too


def is_possible() -> bool:
    """Whether saved code may be used or made here: on Linux, with none of Numba's own settings in force."""
    settings = {name for name in os.environ if name.startswith("NUMBA_")} - OWN_SETTINGS
    return (
        sys.platform == "linux"
        and sys.byteorder == "little"
        and not settings
        and not Path(".numba_config.yaml").exists()
    )


@cache
def folder() -> Path:
    """The folder for this processor and this llvmlite. Raises ImportError without llvmlite."""
    import llvmlite.binding as llvm

    digest = hashlib.sha256((package_folder("llvmlite") / "_version.py").read_bytes())
    features = llvm.get_host_cpu_features().flatten()
    digest.update(f"{platform.machine()} {llvm.get_host_cpu_name()} {features}".encode())
    return CACHE_FOLDER / f"saved-{digest.hexdigest()[:16]}"


def file_of(kernel: str, kinds: tuple[str, ...]) -> str:
    """The name of the file with the code of `module.name` for arguments of these kinds."""
    return f"{kernel}-{hashlib.sha256(' '.join(kinds).encode()).hexdigest()[:16]}.saved"


def write(name: str, content: Any) -> None:
    """Keep something in a file of the folder, whole or not at all. Raises OSError."""
    data = pickle.dumps(content)
    folder().mkdir(parents=True, exist_ok=True)
    path = folder() / name
    temporary = path.with_name(f"{name}.{os.getpid()}.{threading.get_ident()}")
    temporary.write_bytes(hashlib.sha256(data).digest() + data)
    temporary.replace(path)


def read(name: str) -> Any:
    """What `write` kept, or None where there is nothing, or nothing whole; a damaged file is taken away."""
    path = folder() / name
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(data[32:]).digest() == data[:32]:
        return pickle.loads(data[32:])
    log.warning("%s: the kernel cache is damaged and is made anew", path)
    path.unlink(missing_ok=True)
    return None
