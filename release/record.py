"""The kernels that wheels contain, and the kinds of their arguments: those that the work of `networks.py` calls."""

import tempfile
from collections.abc import Collection
from pathlib import Path

from .networks import OTHER_WORK, ROOT, RUN, TRAINED, small_networks
from .object_code import Wanted

# Kernels for processors above every level.
NOT_SHIPPED = (
    "convolution.amx.",
    "convolution.bf16.",
    "convolution.int8.",
    "pooling.maxpool_bf16",
    "pooling.maxpool_int8",
)


def recorded(names: Collection[str] = ()) -> list[Wanted]:
    """The kernels that the work calls, sorted by name. To be called in a process in which no kernel has run.

    names: those of the kernels to record, such as `reorder.softmax_rows`; empty for all. Raises ValueError if one
    is never called.
    """
    from pydarknet.runtime.jit import description, recording

    expected = {name for name in kernels() if not names or name in names}
    with recording() as found:
        from pydarknet.tools.profile import warm_up

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
    """The names of all kernels that wheels contain."""
    from pydarknet.runtime.object_writer import catalogue

    names = [f"{module}.{name}" for module, (kernels, _) in catalogue().items() for name in kernels]
    return [name for name in names if not name.startswith(NOT_SHIPPED)]
