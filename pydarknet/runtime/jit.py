"""The decorators that every kernel uses, the cache behind them, and which kernels some work calls: found by doing it
without computing anything."""

import contextlib
import hashlib
import logging
import pickle
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from . import object_writer  # isort: skip  (sets what has to be set before Numba is loaded)
import numba
import numpy as np
from numba.core.caching import FunctionCache
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

codegen.follow()
if numba_is_known():
    codegen.install()

_kernels: list[Any] = []  # all dispatchers that are called from Python
_parallel: list[Any] = []  # those of kernels that use Numba's threads


def _name_of(function: Callable[..., Any]) -> str:
    """The name of a kernel's function, with its module's in `kernels`."""
    return f"{function.__module__.removeprefix(f'{PACKAGE}.')}.{function.__name__}"


class TakenError(Exception):
    """Another process compiles this kernel; only who has other things to do is told so."""


class _CheckedFiles:
    """The files of one function in the place of Numba's: one for each key, with a checksum.

    Numba's own have none, and two processes that compile at a time can give two signatures one file. What is read is a
    pickle, which only this user can have written (`cache.py`).
    """

    def __init__(self, folder: Path, base: str) -> None:
        self._folder, self._base = folder, base

    def path(self, key: Any) -> Path:
        return self._folder / f"{self._base}.{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.nbc"

    def load(self, key: Any) -> Any:
        data = read_checked(self.path(key))
        return None if data is None else pickle.loads(data)

    def save(self, key: Any, data: Any) -> None:
        write_checked(self.path(key), dumps(data))

    def flush(self) -> None:
        for path in self._folder.glob(f"{self._base}.*.nbc"):
            path.unlink(missing_ok=True)


@cache
def _tell_once(reason: str) -> None:
    log.warning("%s: compiled kernels cannot be kept (%s)", CACHE_FOLDER, reason)


class _QuickCache(FunctionCache):
    """Numba's cache without the 0.1 s in which it gets ready to compile, before it looks whether it has to.

    What is not in the cache is compiled in the ordinary way, which gets ready by itself.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._kernel = _name_of(function)
        self._cache_file: Any = _CheckedFiles(Path(self.cache_path), self._impl.filename_base)

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        """Numba's without what a function closes over: it depends on the sources, as the folder's name does."""
        return sig, codegen.magic_tuple(), hashlib.sha256(self._py_func.__code__.co_code).hexdigest()

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        rtsys.initialize(target_context)
        found = self._load_overload(sig, target_context) or self._claimed(sig, target_context)
        if found is not None and object_writer.is_wanted(self._kernel, sig):
            key = self._index_key(sig, target_context.codegen())
            object_writer.save(self._kernel, sig, self._cache_file.load(key)[0], found.fndesc)
        return found

    def file(self, sig: Any, target_context: Any) -> Path:
        """Where the code for arguments of these types is kept."""
        return self._cache_file.path(self._index_key(sig, target_context.codegen()))

    def _claimed(self, sig: Any, target_context: Any) -> Any:
        """Claim the kernel; what another process, which had claimed it, has compiled, or None.

        Raises TakenError where another process has the claim and this one never waits.
        """
        file = self.file(sig, target_context)
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
        found = self._load_overload(sig, target_context) if file.exists() else None
        if found is not None:
            compile_ahead.release(file)
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        remove_old()
        try:
            self._save_overload(sig, data)
            if object_writer.is_wanted(self._kernel, sig):
                object_writer.save(self._kernel, sig, data.library.serialize_using_object_code(), data.fndesc)
        except OSError as error:
            _tell_once(error.strerror or str(error))
            self.disable()
        finally:
            compile_ahead.release(self.file(sig, data.target_context))


def _compile(function: Callable[..., Any], **options: Any) -> Any:
    dispatcher = numba.njit(nogil=True, error_model="numpy", **options)(function)
    codegen.add_kernel(dispatcher)
    _kernels.append(dispatcher)
    if options.get("parallel"):
        _parallel.append(dispatcher)
    if CACHE_FOLDER is None:
        return dispatcher
    # Numba asks for the folder when the cache is made; the setting of the user's own Numba functions is put back.
    config: Any = numba.config
    previous, config.CACHE_DIR = config.CACHE_DIR, str(CACHE_FOLDER)
    try:
        dispatcher._cache = _QuickCache(function) if numba_is_known() else FunctionCache(function)
    finally:
        config.CACHE_DIR = previous
    if numba_is_known():
        _give_claims_back(dispatcher)
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
    return [kernel for kernel in _kernels if isinstance(kernel._cache, _QuickCache)]


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
    for dispatcher in _parallel:
        dispatcher._clear()
        dispatcher._compile_for_args = refuse
    KernelCall.__call__ = refuse  # type: ignore[method-assign]


in_child(_refuse_kernels)


def kernel(function: Callable[..., Any]) -> Any:
    """A kernel that spreads its outermost `prange` over the threads. Each task writes its own part of the output, so
    the result does not depend on the number of threads."""
    return _compile(function, parallel=True)


def named(module: str, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The decorator for a kernel's function that another one makes: `name` of `module` will be its one name."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        function.__module__, function.__name__, function.__qualname__ = module, name, name
        return function

    return decorate


def reducing_kernel(function: Callable[..., Any]) -> Any:
    """A kernel whose inner sums may be reordered into SIMD lanes, the same way at every thread count.

    Only reassociation and contraction are allowed: infinities and NaN keep their meaning.
    """
    return _compile(function, parallel=True, fastmath={"reassoc", "contract", "nsz"})


def one_thread_kernel(function: Callable[..., Any]) -> Any:
    """A kernel that stays in the thread that calls it, for what several threads do at a time or what is soon done."""
    return _compile(function)


# --- which kernels some work calls ------------------------------------------------------------------------------------


def description(kernel: Any, types: tuple[Any, ...]) -> tuple[str, tuple[str, ...] | None]:
    """The name of a kernel, with its module's in `kernels`, and the kinds of its arguments, as saved and shipped code
    is looked for; None for kinds of which no code is kept."""
    return _name_of(kernel.py_func), kinds_of_types(types)


def _nothing(*_: Any, **__: Any) -> int:
    """Stands for a kernel's code. Kernels that return something return a count, or a flag."""
    return 0


@contextlib.contextmanager
def recording() -> Iterator[Recorded]:
    """Calls of kernels in the block compute nothing and are noted.

    Only for a process of its own: kernels that have run in it before are still called, and numpy.empty gives zeros, so
    that code between the kernels finds no numbers that make no sense.
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


# --- what kernels call ------------------------------------------------------------------------------------------------

# A function compiled into the kernels that call it.
device = numba.njit(error_model="numpy", nogil=True)

# The same, but inlined: a call, which takes seven numbers for each array, would cost as much as what it does.
inlined = numba.njit(error_model="numpy", nogil=True, forceinline=True)

# A function of a few numbers, inlined so that loops over it become SIMD.
scalar = inlined
