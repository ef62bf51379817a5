"""Where compiled code is kept between runs."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
SOURCES = (PACKAGE / "kernels", PACKAGE / "runtime")


@cache
def package_folder(package: str) -> Path:
    """Where an installed package lies, found without importing it."""
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


def fingerprint() -> str:
    """A hash of all kernel sources and versions.

    Numba's own cache looks at one file only and would miss a change in a function that a kernel inlines, so every
    state of the sources gets a folder of its own.
    """
    digest = hashlib.sha256(f"{sys.implementation.cache_tag}".encode())
    digest.update((package_folder("numba") / "_version.py").read_bytes())
    for source in sorted(path for folder in SOURCES for path in folder.rglob("*.py")):
        digest.update(str(source.relative_to(PACKAGE)).encode() + source.read_bytes())
    return digest.hexdigest()[:16]


def base_folder() -> Path:
    """The first writable one of: $NUMBA_CACHE_DIR, the user's cache folder, the temporary folder."""
    candidates = []
    if os.environ.get("NUMBA_CACHE_DIR"):
        candidates.append(Path(os.environ["NUMBA_CACHE_DIR"]))
    else:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        candidates.append(Path(home) / "pydarknet")
    candidates.append(Path(tempfile.gettempdir()) / f"pydarknet-{os.getuid() if hasattr(os, 'getuid') else 'cache'}")
    for folder in candidates:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Compiled code is trusted when it is loaded: a folder of somebody else's will not do.
            if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
                continue
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return Path(tempfile.mkdtemp(prefix="pydarknet-"))


CACHE_FOLDER = base_folder() / f"kernels-{fingerprint()}"


def is_cold() -> bool:
    """Whether nothing has been compiled yet on this machine, so that the first run will take its time."""
    return not any(CACHE_FOLDER.glob("**/*.nbi"))
