"""Links object files into a shared object, with the system's linker."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from .support_code import EXPORTED

LINKERS = ("cc", "gcc", "clang")
# Only exported names; nothing that differs between builds; every symbol is found in C's library.
FLAGS = (
    "-shared", "-nostartfiles", "-Wl,--strip-all", "-Wl,-z,defs", "-Wl,-z,noexecstack", "-Wl,-z,relro", "-Wl,-z,now",
    "-Wl,--build-id=none", "-Wl,--hash-style=gnu", "-Wl,--as-needed",
)  # fmt: skip
OLDEST_GLIBC = (2, 17)  # the oldest one with a platform tag for wheels


class LinkError(Exception):
    """A shared object cannot be made."""


def linker() -> str:
    """The program that links: $CC, or the first of LINKERS that exists. Raises LinkError if there is none."""
    wanted = [os.environ["CC"]] if os.environ.get("CC") else LINKERS
    found = next(filter(None, map(shutil.which, wanted)), None)
    if found is None:
        raise LinkError(f"{' or '.join(wanted)}: not found; a wheel needs a C linker (Debian's package gcc, or set CC)")
    return found


def link(objects: list[Path], symbols: list[str], out: Path) -> None:
    """Link object files into a shared object that exports the symbols. Raises LinkError with the linker's message."""
    script = out.with_suffix(".map")  # the exported symbols
    script.write_text("{ global: " + " ".join(f"{name};" for name in (*EXPORTED, *symbols)) + " local: *; };\n")
    files = [str(path) for path in sorted(objects)]
    command = [linker(), *FLAGS, f"-Wl,--version-script={script}", "-o", str(out), *files, "-lm", "-lc"]
    done = subprocess.run(command, capture_output=True, text=True)
    script.unlink()
    if done.returncode:
        raise LinkError(f"{out}: {done.stderr.strip()}")


def glibc_of(code: bytes) -> tuple[int, int]:
    """The newest version of C's library that a shared object requires, at least OLDEST_GLIBC."""
    asked = {(int(major), int(minor)) for major, minor in re.findall(rb"\0GLIBC_(\d+)\.(\d+)", code)}
    return max(asked | {OLDEST_GLIBC})
