"""What processor this is, found without LLVM: code that was compiled for a kind of processor runs only on such."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import NamedTuple

CPUINFO = Path("/proc/cpuinfo")

# The microarchitecture levels of the x86-64 psABI, each with the flags of /proc/cpuinfo that it adds.
LEVELS = {
    "x86-64-v2": {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"},
    "x86-64-v3": {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"},
    "x86-64-v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}
BASES = {"x86_64": "x86-64", "aarch64": "aarch64"}  # what every processor of a machine's kind can run
ALIASES = {"AMD64": "x86_64", "arm64": "aarch64"}  # as other systems name them

# The lines of /proc/cpuinfo that tell one kind of processor from another: of x86-64, and of ARM.
_TELLING = {
    "vendor_id", "cpu family", "model", "model name", "stepping", "flags",
    "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features",
}  # fmt: skip


class Processor(NamedTuple):
    """The first processor of this machine."""

    machine: str  # its kind: x86_64, aarch64, ...
    name: str  # its model; "" where the system does not tell
    flags: frozenset[str]  # its features, as Linux names them; empty where the system does not tell
    identity: str  # a text that is the same for processors with the same instructions; "" likewise

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels whose code it runs, the best first; none where its flags are not known."""
        if self.machine not in BASES or not self.flags:
            return ()
        found = [BASES[self.machine]]
        if self.machine == "x86_64":
            for level, needed in LEVELS.items():
                if not needed <= self.flags:
                    break
                found.append(level)
        return tuple(reversed(found))


@cache
def processor() -> Processor:
    """This machine's; see `read`."""
    return read(CPUINFO)


def read(cpuinfo: Path) -> Processor:
    """The first processor that a file like Linux's /proc/cpuinfo describes; of other systems only the kind is known."""
    machine = ALIASES.get(platform.machine(), platform.machine())
    try:
        text = cpuinfo.read_text(errors="replace")
    except OSError:
        return Processor(machine, "", frozenset(), "")
    lines: dict[str, str] = {}
    for line in text.partition("\n\n")[0].splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        lines.setdefault(key, value)
    flags = frozenset(lines.get("flags", lines.get("Features", "")).split())
    telling = [f"{key}: {value}" for key, value in lines.items() if key in _TELLING]
    return Processor(machine, lines.get("model name", ""), flags, "\n".join(telling) if flags else "")
