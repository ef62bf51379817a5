"""Which kernels wheels hold, for arguments of which kinds: what the work of `networks.py` calls."""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from pathlib import Path

from .networks import OTHER_WORK, ROOT, RUN, TRAINED, small_networks
from .object_code import Wanted

NOT_SHIPPED = "convolution.bf16."  # kernels for processors that are more than a level


def recorded(names: Collection[str] = ()) -> list[Wanted]:
    """What the work needs, in order of names. For a process of its own, in which no kernel has run.

    names: of the kernels that are looked for, as `head_output.softmax_rows`; none: all. Raises ValueError where a
    kernel is never called.
    """
    from pydarknet.runtime.record import description, recording

    expected = {name for name in kernels() if not names or name in names}
    with recording() as found:
        from pydarknet.tools.warm_up import warm_up

        def missing() -> set[str]:
            return expected - {description(*each)[0] for each in found}

        with tempfile.TemporaryDirectory() as folder:
            for path in [*(ROOT / "cfg" / f"{name}.cfg" for name in RUN), *small_networks(Path(folder))]:
                if not names or missing():
                    warm_up(path, train=path.stem in TRAINED or path.parent.name != "cfg")
        for work in OTHER_WORK:
            work()
        if missing():
            lacking = ", ".join(sorted(missing()))
            raise ValueError(f"{lacking}: expected work in release/networks.py that calls each kernel")
    described = [description(*each) for each in found]
    return sorted(Wanted(name, kinds) for name, kinds in described if name in expected and kinds is not None)


def kernels() -> list[str]:
    """The names of all kernels that wheels hold."""
    from pydarknet.runtime.object_writer import catalogue

    names = [f"{module}.{name}" for module, (kernels, _) in catalogue().items() for name in kernels]
    return [name for name in names if not name.startswith(NOT_SHIPPED)]
