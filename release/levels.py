"""The kinds of processors for which kernels are compiled into a wheel."""

from __future__ import annotations

import os
from typing import NamedTuple

from pydarknet.runtime.processor import processor


class Target(NamedTuple):
    """What LLVM compiles for. A level's name is that of `pydarknet.runtime.processor`."""

    level: str
    cpu: str  # LLVM's name
    features: str  # what is added to it, as LLVM writes it
    tune: str = ""  # LLVM's name of the processor whose timing decides the order of instructions; "": cpu's

    def environment(self) -> dict[str, str]:
        """The environment in which Numba compiles for this target, the same way each time."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
        return own | {
            "NUMBA_CPU_NAME": self.cpu,
            "NUMBA_CPU_FEATURES": self.features,
            "PYTHONHASHSEED": "0",  # Numba walks over sets of names
        }


# What is compiled, for each kind of machine: level, LLVM's name, and features. Numba's settings name each feature that
# kernels ask for (`microkernel.has_feature`), though the level implies it. LLVM's model of v4 prefers vectors of 256
# bits, where these kernels are written for 512, and has the timing of the first processors with AVX-512: in its order,
# the innermost loops are up to a tenth slower on newer ones.
TARGETS = {
    "x86_64": (
        Target("x86-64-v4", "x86-64-v4", "+avx512f,-prefer-256-bit", tune="znver4"),
        Target("x86-64-v3", "x86-64-v3", "+avx2,+fma"),
    ),
    "aarch64": (Target("aarch64", "generic", "+neon"),),
}


# Flags that constants of kernels depend on (`microkernel.has_feature`), and whether each level has them. A processor
# that has more than its level would divide work otherwise in what it compiles itself, and cannot use the level's code.
ASKED = {
    "x86-64-v4": {"avx512f": True},
    "x86-64-v3": {"avx512f": False},
    "aarch64": {"avx512f": False},
}


def targets() -> tuple[Target, ...]:
    """The targets for this machine's kind of processor, the best first. Raises ValueError where there are none."""
    machine = processor().machine
    if machine not in TARGETS:
        raise ValueError(f"{machine}: expected a machine for which kernels are compiled: {', '.join(TARGETS)}")
    return TARGETS[machine]
