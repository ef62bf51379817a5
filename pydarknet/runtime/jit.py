"""The decorators that every kernel uses, the cache behind them, and which kernels some work calls: found by
doing it without computing anything."""

import contextlib
import hashlib
import logging
import pickle
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

from . import object_writer  # isort: skip  (sets what has to be set before Numba is loaded)
import numba
import numpy as np
from numba.core.caching import FunctionCache
from numba.core.compiler import CompileResult
from numba.core.runtime import rtsys
from numba.core.serialize import dumps

from . import codegen, compile_ahead, compile_time
from .arguments import kinds_of_types
from .cache import CACHE_FOLDER, numba_is_known, read_checked, remove_old, write_checked
from .forking import in_child, refuse
from .object_loader import PACKAGE
from .program import KernelCall

log = logging.getLogger("pydarknet")

Recorded = list[tuple[Any, tuple[Any, ...]]]  # kernels and the types of their arguments, each once, in order

codegen.install()


def _name_of(function: Callable[..., Any]) -> str:
    """The name of a kernel's function, with its module's in `kernels`."""
    return f"{function.__module__.removeprefix(f'{PACKAGE}.')}.{function.__name__}"


class TakenError(Exception):
    """Another process compiles this kernel; only who has other things to do is told so."""


@cache
def _tell_once(reason: str) -> None:
    log.warning("%s: compiled kernels cannot be kept (%s)", CACHE_FOLDER, reason)


class _SourcesCache(FunctionCache):
    """Numba's cache, but for a kernel that another function makes: what it closes over is as the sources are."""

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return sig, codegen.magic_tuple(), hashlib.sha256(self._py_func.__code__.co_code).hexdigest()


class _KernelCache(_SourcesCache):
    """The compiled code of a kernel: a file for each kind of arguments, with a checksum.

    Numba's own files have none, and two processes that compile at a time can give two signatures one file. They
    are also others for a package at another path, where those here, and saved code, depend on the sources alone.
    What is read is a pickle, which only this user can have written (`cache.py`).

    Numba gets ready to compile, 0.1 s, before it looks whether it has to; here, only what is compiled waits for
    that.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._py_func, self._kernel = function, _name_of(function)

    def file(self, sig: Any, target_context: Any) -> Path:
        """Where the code for arguments of these types is kept."""
        key = repr(self._index_key(sig, target_context.codegen()))
        assert CACHE_FOLDER is not None
        return CACHE_FOLDER / f"{self._kernel}.{hashlib.sha256(key.encode()).hexdigest()[:16]}.nbc"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        rtsys.initialize(target_context)
        file = self.file(sig, target_context)
        data = read_checked(file) or _claimed(file)
        if data is None:
            return None
        content = pickle.loads(data)
        found = CompileResult._rebuild(target_context, *content)
        object_writer.save(self._kernel, sig, content[0], found.fndesc)
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        remove_old()
        file = self.file(sig, data.target_context)
        try:
            if not data.library.has_dynamic_globals:  # addresses, which the next process does not have
                content = data._reduce()
                write_checked(file, dumps(content))
                object_writer.save(self._kernel, sig, content[0], data.fndesc)
        except OSError as error:
            _tell_once(error.strerror or str(error))
        finally:
            compile_ahead.release(file)


def _claimed(file: Path) -> bytes | None:
    """Claim the kernel of a file; what another process, which had claimed it, has put into the file, or None.

    Raises TakenError where another process has the claim and this one never waits.
    """
    if compile_ahead.claim(file):
        compile_ahead.kernel_is_missing()
    elif compile_ahead.never_waits:
        raise TakenError
    else:
        compile_time.begin()
        try:
            compile_ahead.wait(file, meanwhile=_compile_another)
        finally:
            compile_time.end()
    data = read_checked(file)
    if data is not None:
        compile_ahead.release(file)
    return data


def _compile(function: Callable[..., Any], **options: Any) -> Any:
    dispatcher = numba.njit(nogil=True, error_model="numpy", **options)(function)
    codegen.kernels.append(dispatcher)
    if CACHE_FOLDER is None:
        return dispatcher
    if numba_is_known():
        dispatcher._cache = _KernelCache(function)
        _give_claims_back(dispatcher)
        return dispatcher
    # Numba asks for the folder when the cache is made; the setting of the user's own Numba functions is put back.
    config: Any = numba.config
    previous, config.CACHE_DIR = config.CACHE_DIR, str(CACHE_FOLDER)
    try:
        dispatcher._cache = _SourcesCache(function)
    finally:
        config.CACHE_DIR = previous
    return dispatcher


def pickled(kernel: Any, types: tuple[Any, ...]) -> bytes:
    """What `compile_pickled` in another process compiles: a kernel for arguments of these Numba types."""
    return dumps((kernel.py_func.__module__, kernel.py_func.__name__, types))


def compile_pickled(data: bytes) -> None:
    """Compile what another process of the same user has pickled. Raises TakenError where somebody else compiles it."""
    module, name, types = pickle.loads(data)
    before, compile_ahead.never_waits = compile_ahead.never_waits, True
    try:
        getattr(import_module(module), name).compile(types)
    finally:
        compile_ahead.never_waits = before


def _compile_another() -> bool:
    """Compile a kernel that helpers have found missing. False: there is none that nobody has claimed."""
    while (found := compile_ahead.next_missing()) is not None:
        with contextlib.suppress(TakenError):
            compile_pickled(found.kernel)
            return True
    return False


def _give_claims_back(dispatcher: Any) -> None:
    """Ctrl-C or an error while a kernel is compiled gives its claim back: other programs would wait for this one."""
    compile_it = dispatcher.compile

    def compiled_or_given_back(types: Any) -> Any:
        try:
            return compile_it(types)
        except BaseException:
            compile_ahead.release(cache_file(dispatcher, types))
            raise

    dispatcher.compile = compiled_or_given_back


def all_kernels() -> list[Any]:
    """The dispatchers of all kernels that have been imported and are called from Python."""
    return [kernel for kernel in codegen.kernels if isinstance(kernel._cache, _KernelCache)]


def cache_file(kernel: Any, types: tuple[Any, ...]) -> Path:
    """The file that holds, or will hold, a kernel's code for arguments of these Numba types."""
    return kernel._cache.file(types, kernel.targetctx)


def _refuse_kernels() -> None:
    """In a forked child: GNU's OpenMP would end the process without a way to catch it, so that kernels say why."""
    try:
        if numba.threading_layer() != "omp":
            return
    except ValueError:  # no parallel loop has run yet: the child starts threads of its own
        return
    for dispatcher in codegen.kernels:
        if dispatcher.targetoptions.get("parallel"):
            dispatcher._clear()
            dispatcher._compile_for_args = refuse
    KernelCall.__call__ = refuse  # type: ignore[method-assign]


in_child(_refuse_kernels)


# --- decorators -------------------------------------------------------------------------------------------------------

# A kernel that spreads its outermost `prange` over the threads. Each task writes its own part of the output, so the
# result does not depend on the number of threads.
kernel = partial(_compile, parallel=True)

# A kernel whose inner sums may be reordered into SIMD lanes, the same way at every thread count. Only reassociation
# and contraction are allowed: infinities and NaN keep their meaning.
reducing_kernel = partial(_compile, parallel=True, fastmath={"reassoc", "contract", "nsz"})

# A kernel that stays in the thread that calls it, for what several threads do at a time or what is soon done.
one_thread_kernel = _compile

# A function compiled into the kernels that call it.
device = numba.njit(error_model="numpy", nogil=True)

# The same, but inlined: a call, which takes seven numbers for each array, would cost as much as what it does. And a
# function of a few numbers, so that loops over it become SIMD.
inlined = scalar = numba.njit(error_model="numpy", nogil=True, forceinline=True)


def named(module: str, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The decorator for a kernel's function that another one makes: `name` of `module` will be its one name."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        function.__module__, function.__name__, function.__qualname__ = module, name, name
        return function

    return decorate


# --- which kernels some work calls ------------------------------------------------------------------------------------


def description(kernel: Any, types: tuple[Any, ...]) -> tuple[str, tuple[str, ...] | None]:
    """The name of a kernel, with its module's in `kernels`, and the kinds of its arguments, as saved and shipped
    code is looked for; None for kinds of which no code is kept."""
    return _name_of(kernel.py_func), kinds_of_types(types)


def _nothing(*_: Any, **__: Any) -> int:
    """Stands for a kernel's code. Kernels that return something return a count, or a flag."""
    return 0


@contextlib.contextmanager
def recording() -> Iterator[Recorded]:
    """Calls of kernels in the block compute nothing and are noted.

    Only for a process of its own: kernels that have run in it before are still called, and numpy.empty gives
    zeros, so that code between the kernels finds no numbers that make no sense.
    """
    found: Recorded = []

    def note(kernel: Any, types: tuple[Any, ...]) -> Callable[..., int]:
        if (kernel, types) not in found:
            found.append((kernel, types))
        return _nothing

    object_writer.modules()  # those that are imported later would not be noted
    kernels = all_kernels()
    for kernel in kernels:
        # Numba's dispatcher asks for these two where it has no code for the types of a call, and calls what they give.
        kernel.compile = lambda types, kernel=kernel: note(kernel, tuple(types))
        kernel._compile_for_args = lambda *arguments, kernel=kernel: note(kernel, tuple(map(numba.typeof, arguments)))
    empty, empty_like = np.empty, np.empty_like
    try:
        np.empty, np.empty_like = np.zeros, np.zeros_like  # type: ignore[misc, assignment]
        yield found
    finally:
        np.empty, np.empty_like = empty, empty_like  # type: ignore[misc]
        for kernel in kernels:
            del kernel.compile, kernel._compile_for_args
