"""The levels of processors for which kernels are compiled into a wheel."""

import os
from typing import NamedTuple

from pydarknet.runtime.cache import processor


class Target(NamedTuple):
    """The target of LLVM for a level, which has a name of `pydarknet.runtime.cache`."""

    level: str
    cpu: str  # LLVM's name
    features: str  # features added to it, in LLVM's form
    tune: str = ""  # LLVM's name of the processor whose timing decides the order of instructions; "": cpu's

    def environment(self) -> dict[str, str]:
        """The environment in which Numba compiles for this target, always with the same result."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
        return own | {
            "NUMBA_CPU_NAME": self.cpu,
            "NUMBA_CPU_FEATURES": self.features,
            "PYTHONHASHSEED": "0",  # Numba iterates over sets of names
        }


# The targets of each architecture: level, LLVM's name, and features. Numba's settings name each feature that kernels
# query (`microkernel.has_feature`), although the level implies it. LLVM's model of v4 prefers vectors of 256 bits;
# these kernels are written for 512. The model also has the timing of the first processors with AVX-512: in its order of
# instructions, the innermost loops are up to a tenth slower on newer ones. Hence `tune`.
TARGETS = {
    "x86_64": (
        Target("x86-64-v4", "x86-64-v4", "+avx512f,-prefer-256-bit", tune="znver4"),
        Target("x86-64-v3", "x86-64-v3", "+avx2,+fma"),
    ),
    "aarch64": (Target("aarch64", "generic", "+neon"),),
}


# Processor flags on which constants of kernels depend (`microkernel.has_feature`), and whether each level has them. On
# a processor that has more of them, kernels divide their work in another way, so it cannot use the level's code.
ASKED = {
    "x86-64-v4": {"avx512f": True},
    "x86-64-v3": {"avx512f": False},
    "aarch64": {"avx512f": False},
}


def targets() -> tuple[Target, ...]:
    """The targets for this machine's architecture, the best first. Raises ValueError if there are none."""
    machine = processor().machine
    if machine not in TARGETS:
        raise ValueError(f"{machine}: expected a machine for which kernels are compiled: {', '.join(TARGETS)}")
    return TARGETS[machine]
