"""Numba's own C libraries, opened without importing Numba: its pool of threads, and what compiled code calls."""

import builtins
import ctypes
import os
import sys
from functools import cache
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from types import ModuleType
from typing import Any

from ..errors import OptionError
from .cache import package_folder

# GNU's OpenMP threads spin for milliseconds at the end of each parallel loop, and keep the processors of a busy machine
# from others. A short spin costs nothing on an idle one. Read when it is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

LOOP = "numba_parallel_for"  # the name by which compiled code knows it
LAYERS = {"omp": "omppool", "workqueue": "workqueue"}
SCHEDULING = (
    "get_num_threads", "set_num_threads", "get_thread_id", "set_parallel_chunksize", "get_parallel_chunksize",
    "get_sched_size", "do_scheduling_signed", "do_scheduling_unsigned", "allocate_sched", "deallocate_sched",
)  # fmt: skip


def most_threads() -> int:
    """As many as there are processors for this process, or what $NUMBA_NUM_THREADS says. The rule is Numba's.

    Raises OptionError where that is no number of threads: Numba would wait for ever without any.
    """
    wanted = os.environ.get("NUMBA_NUM_THREADS")
    if wanted:
        if not wanted.strip().isdecimal() or int(wanted) < 1:
            raise OptionError(f"NUMBA_NUM_THREADS={wanted}: expected a whole number from 1, the number of threads")
        return int(wanted)
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


@cache
def extension(name: str) -> ModuleType:
    """One of Numba's extension modules, such as `core.runtime._nrt_python`; where Numba is imported, its own.
    Raises ImportError."""
    if "numba" in sys.modules:
        return import_module(f"numba.{name}")
    *folders, _ = name.split(".")
    spec = PathFinder.find_spec(f"numba.{name}", [str(package_folder("numba").joinpath(*folders))])
    if spec is None or spec.loader is None:
        raise ImportError(f"numba.{name}: no such extension module")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Pool:
    """The pool of threads of one threading layer, started."""

    def __init__(self, layer: str) -> None:
        """layer: one of LAYERS. Raises ImportError, AttributeError where this Numba has it not."""
        library = extension(f"np.ufunc.{LAYERS[layer]}")
        ctypes.CFUNCTYPE(None, ctypes.c_int)(library.launch_threads)(most_threads())
        self._set = ctypes.CFUNCTYPE(None, ctypes.c_int)(library.set_num_threads)
        self._get = ctypes.CFUNCTYPE(ctypes.c_int)(library.get_num_threads)
        self.value = most_threads()

    @property
    def value(self) -> int:
        """How many threads loops spread over, at most all that were started."""
        return self._get()

    @value.setter
    def value(self, number: int) -> None:
        self._set(number)


@cache
def symbols(layer: str) -> dict[str, int]:
    """The address of everything of Numba's and Python's that compiled code may call or name.

    Raises ImportError, AttributeError where this Numba is built otherwise.
    """
    found: dict[str, int] = {"_Py_NoneStruct": id(None)}
    for name in ("_helperlib", "_dynfunc"):
        found |= {f"numba_{key}": address for key, address in extension(name).c_helpers.items()}
    runtime: dict[str, int] = extension("core.runtime._nrt_python").c_helpers
    found |= {key if key.startswith("_") else f"NRT_{key}": address for key, address in runtime.items()}
    classes = [value for value in vars(builtins).values() if isinstance(value, type)]
    found |= {f"PyExc_{kind.__name__}": id(kind) for kind in classes if issubclass(kind, BaseException)}
    library = extension(f"np.ufunc.{LAYERS[layer]}")
    return found | {name: getattr(library, name) for name in SCHEDULING} | {LOOP: library.parallel_for}


def address_of(symbol: str, layer: str) -> int | None:
    """Where a name is that compiled code refers to; None where nobody here knows it."""
    if symbol in symbols(layer):
        return symbols(layer)[symbol]
    try:
        function = getattr(ctypes.CDLL(None), symbol)  # Python's and C's own
    except AttributeError:
        return None
    return ctypes.cast(function, ctypes.c_void_p).value


def native_machine() -> Any:
    """LLVM's generator of code for this machine."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(jit=True)
