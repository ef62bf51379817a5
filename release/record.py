"""Which kernels the work of a network calls, and with arguments of which kinds: found without computing anything.

Recorders take the place of all kernels before a layer has seen them. What a recorder is called with is noted, and its
outputs keep what they held, which are zeros. What a program does after that is the same as always, as long as it does
not depend on numbers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection
from importlib import import_module
from pathlib import Path
from typing import Any

from .networks import OTHER_WORK, ROOT, RUN, TRAINED, small_networks
from .object_code import Wanted

NOT_SHIPPED = {"convolution.bf16"}  # modules for processors that are more than a level


class Recorder:
    """Called like a kernel; notes the kinds of its arguments."""

    def __init__(self, module: str, name: str, noted: set[Wanted]) -> None:
        self.module, self.name, self._noted = module, name, noted

    def compile(self, signature: tuple) -> Callable[..., None]:
        """As a kernel's own: called by `program.KernelCall`. Raises TypeError for types of which no code can be
        kept."""
        from pydarknet.runtime.arguments import kinds_of_types

        kinds = kinds_of_types(signature)
        if kinds is None:
            raise TypeError(f"{self.module}.{self.name}: {signature}: expected contiguous arrays, numbers and tuples")
        self._noted.add(Wanted(self.module, self.name, kinds))
        return lambda *_: None

    def __call__(self, *arguments: Any) -> None:
        import numba

        self.compile(tuple(map(numba.typeof, arguments)))


def install() -> set[Wanted]:
    """Put recorders in the place of all kernels; what they will note. Called before anything else of the package."""
    import numpy as np

    from pydarknet.runtime.object_loader import PACKAGE
    from pydarknet.runtime.object_writer import catalogue

    np.empty, np.empty_like = np.zeros, np.zeros_like  # numbers that are left from something else may be no index
    noted: set[Wanted] = set()
    for module, (names, _) in catalogue().items():
        real = import_module(f"{PACKAGE}.{module}")
        for name in names:
            setattr(real, name, Recorder(module, name, noted))
    return noted


def recorded(names: Collection[str] = ()) -> list[Wanted]:
    """What the work of `networks.py` needs, in order of names. Leaves the recorders in the place of the kernels.

    names: of the kernels that are looked for, as `head_output.softmax_rows`; none: all. Raises ValueError where a
    kernel is never called.
    """
    expected = {each for each in kernels() if not names or ".".join(each) in names}
    noted = install()
    from pydarknet.tools.warm_up import warm_up

    def is_called(each: tuple[str, str]) -> bool:
        return any((wanted.module, wanted.name) == each for wanted in noted)

    with tempfile.TemporaryDirectory() as folder:
        for path in [*(ROOT / "cfg" / f"{name}.cfg" for name in RUN), *small_networks(Path(folder))]:
            if not names or not all(map(is_called, expected)):
                warm_up(path, train=path.stem in TRAINED or path.parent.name != "cfg")
    for work in OTHER_WORK:
        work()
    if missing := [".".join(each) for each in sorted(expected) if not is_called(each)]:
        raise ValueError(f"{', '.join(missing)}: expected work in release/networks.py that calls each kernel")
    return sorted(wanted for wanted in noted if (wanted.module, wanted.name) in expected)


def kernels() -> set[tuple[str, str]]:
    """Module and name of each kernel that wheels hold."""
    from pydarknet.runtime.object_writer import catalogue

    return {(module, name) for module, (names, _) in catalogue().items() for name in names if module not in NOT_SHIPPED}
