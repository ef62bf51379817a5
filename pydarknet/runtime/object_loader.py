"""Kernels that an earlier process compiled, or that were shipped, run without importing Numba.

Importing Numba takes longer than everything else that a command does before it computes. A process that compiles
therefore also keeps each kernel's object code (`object_writer.py`), and wheels hold code for each level of
processors (`shipped.py`). Later processes run it through proxies: `docs/runtime.md` draws the states of a module
of kernels. The first call with arguments of some kinds reads the object code and links it; later calls find the
machine code by the types of the arguments.

All modules become real at once, and stay so; but where code was shipped, imports go on finding proxies. Callers
that hold a SavedKernel keep using it: it passes on to the real kernel what has no saved code.
"""

import contextlib
import ctypes
import logging
import os
import sys
import threading
from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from ..errors import OptionError
from . import shipped, threads
from .arguments import KINDS, kinds_of
from .cache import CATALOGUE, KNOWN_NUMBA, TEAM, file_of, is_possible, numba_is_known, numba_version, read, write
from .forking import hold_at_fork, in_child, refuse
from .numba_libraries import LOOP, Pool, address_of, extension, most_threads, native_machine
from .threads import start_team

log = logging.getLogger("pydarknet")

PACKAGE = "pydarknet.kernels"
JIT = "pydarknet.runtime.jit"
LOCK = threading.RLock()
hold_at_fork(LOCK)

_proxies: dict[str, ModuleType] = {}
_real: dict[str, ModuleType] = {}
_pool_of: int | None = None  # the process that has started the pool's threads, which Numba would use
thunks: "dict[Callable[..., Any], Thunk]" = {}  # of the functions that `load` has given

# What is compared in each call besides the types of the arguments: the position of an array, its dtype and dimensions;
# the position of a tuple, the types of its members and TUPLE.
Checks = list[tuple[int, Any, int]]
TUPLE = -1


# --- the modules ------------------------------------------------------------------------------------------------------


def is_used() -> bool:
    """Whether kernels run without Numba in this process."""
    return bool(_proxies) and not _real


def install() -> None:
    """Put proxies in the place of the modules of kernels, where code was shipped or an earlier process has saved
    it.

    Raises OptionError for a value of $PYDARKNET_KERNELS that names no code that can be used here.
    """
    if JIT in sys.modules:  # this process is there to compile
        return
    global _pool_of
    if library := shipped.library():
        threads.use_pool(library.threads)
        _make_proxies(library.modules)
        return
    if not numba_is_known():
        oldest, newest = (".".join(map(str, version)) for version in KNOWN_NUMBA)
        log.warning(
            "numba %s is unknown here (%s to %s are known): kernels are run with it, which takes longer to start",
            numba_version(), oldest, newest,
        )  # fmt: skip
    if "numba" in sys.modules:
        return
    try:
        catalogue = own_catalogue()
        if catalogue is None:
            return
        threads.use_pool(Pool(catalogue["layer"]))
    except (ImportError, AttributeError, OSError) as error:  # without llvmlite, without the pool's own library
        log.info("compiled kernels need Numba here: %s", error)
        return
    _pool_of = os.getpid()
    _make_proxies(catalogue["modules"])


@cache
def own_catalogue() -> Any:
    """What an earlier process has written of the kernels that this machine has compiled, a dictionary:
    `modules`, and the threading `layer` of their code; None where it has none."""
    return read(CATALOGUE) if is_possible() else None


def _make_proxies(modules: dict[str, tuple[list[str], dict[str, Any]]]) -> None:
    for name, (kernels, constants) in modules.items():
        module = _proxies[name] = ModuleType(f"{PACKAGE}.{name}")
        saved = {kernel: SavedKernel(name, kernel) for kernel in kernels}
        vars(module).update(constants, **saved, __getattr__=partial(_missing, name))
    _put_proxies()


def _put_proxies() -> None:
    for proxy in _proxies.values():
        sys.modules[proxy.__name__] = proxy
        folder, _, name = proxy.__name__.rpartition(".")
        if folder in sys.modules:
            setattr(sys.modules[folder], name, proxy)


def _missing(name: str, wanted: str) -> Any:
    """A name that a proxy lacks, from the real module."""
    if wanted.startswith("__"):
        raise AttributeError(f"module {PACKAGE}.{name} has no attribute {wanted}")
    return getattr(real_module(name), wanted)


def real_module(name: str) -> ModuleType:
    """The real module, with Numba, which from then on compiles and runs what has not been saved."""
    with LOCK:
        if not _real:
            if _pool_of not in (None, os.getpid()):
                refuse()
            count, library = threads.threads(), shipped.library()
            if library and shipped.is_forced():  # for a better processor Numba would divide the work otherwise
                if "numba" in sys.modules:
                    expected = "expected a program that does not import numba by itself"
                    raise OptionError(f"{shipped.CHOICE}={library.level}: {expected}")
                os.environ["NUMBA_CPU_NAME"], os.environ["NUMBA_CPU_FEATURES"] = library.target
            for proxy in _proxies.values():
                sys.modules.pop(proxy.__name__, None)
            _real.update({each: import_module(f"{PACKAGE}.{each}") for each in _proxies})
            if library:  # what was shipped is used by whoever is imported from now on, too
                _put_proxies()
            threads.use_pool(library and library.threads, with_numba=True)
            threads.set_threads(count)
        return _real[name]


# --- calls ------------------------------------------------------------------------------------------------------------


class SavedKernel:
    """Called like the kernel that it stands for."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name
        self._loaded: dict[tuple[type, ...], list[tuple[Callable[..., Any], Checks]]] = {}
        self._codes: dict[tuple[str, ...], Callable[..., Any]] = {}

    def __call__(self, *arguments: Any) -> Any:
        for function, checks in self._loaded.get(tuple(map(type, arguments)), ()):
            for position, expected, dimensions in checks:
                argument = arguments[position]
                if dimensions == TUPLE:
                    if tuple(map(type, argument)) != expected:
                        break
                elif (
                    argument.ndim != dimensions
                    or not argument.flags.carray
                    or (argument.dtype is not expected and argument.dtype != expected)  # equal types can be two
                ):
                    break
            else:
                return function(*arguments)
        return self._first_call(arguments)

    def __getattr__(self, wanted: str) -> Any:
        return getattr(self.dispatcher, wanted)

    @property
    def dispatcher(self) -> Any:
        return getattr(real_module(self.module), self.name)

    def code_for(self, arguments: tuple) -> Callable[..., Any]:
        kinds = kinds_of(arguments)
        if kinds is None:
            return compiled(self.dispatcher, *arguments)
        if kinds not in self._codes:
            self._codes[kinds] = load(self.module, self.name, kinds) or compiled(self.dispatcher, *arguments)
        return self._codes[kinds]

    def _first_call(self, arguments: tuple) -> Any:
        with LOCK:
            if kinds_of(arguments) is None:
                return self.dispatcher(*arguments)
            function = self.code_for(arguments)
            checks = checks_of(arguments)
            if checks is not None:
                self._loaded.setdefault(tuple(map(type, arguments)), []).append((function, checks))
        return function(*arguments)


def checks_of(arguments: tuple) -> Checks | None:
    """What a call has to compare before it uses the code for these arguments; None where a tuple has members
    that are no numbers, whose kinds are then looked at anew in each call."""
    checks: Checks = []
    for position, argument in enumerate(arguments):
        if isinstance(argument, tuple):
            if not all(type(member) in KINDS for member in argument):
                return None
            checks.append((position, tuple(map(type, argument)), TUPLE))
        elif type(argument) is np.ndarray:
            checks.append((position, argument.dtype, argument.ndim))
    return checks


def compiled(kernel: Any, *arguments: Any) -> Callable[..., Any]:
    """The machine code of a kernel for arguments of these types, in contiguous arrays; its calls do not look at
    the types anew."""
    if isinstance(kernel, SavedKernel):
        with LOCK:
            return kernel.code_for(arguments)
    import numba

    try:
        return kernel.compile(tuple(map(numba.typeof, arguments)))
    except KeyboardInterrupt:
        free_compiler()
        raise


def free_compiler() -> None:
    """Release Numba's lock where Ctrl-C came between taking it and noting so: other threads would wait for ever."""
    from numba.core.compiler_lock import global_compiler_lock

    while global_compiler_lock.is_locked():  # by this thread
        global_compiler_lock.release()


# --- machine code -----------------------------------------------------------------------------------------------------


class Team(NamedTuple):
    """Addresses in the team's code."""

    board: int  # see `threads.py`
    serve: int  # what its threads run
    parallel_for: int  # runs loops in the pool's place
    run: int  # runs kernels one after another, see `program.py`


class Thunk(NamedTuple):
    """Addresses of a kernel's thunk (`object_writer.py`) and of the kernel itself, 0 where the thunk knows it."""

    code: int
    kernel: int


@cache
def team() -> Team | None:
    """The team's code, its threads started; None where the system lacks what they call."""
    if library := shipped.library():
        team = Team(*map(library.address, Team._fields))
    else:
        names = "sem_wait", "sem_post", "sched_yield"
        called = {name: address_of(name, own_catalogue()["layer"]) for name in names}
        if None in called.values():
            return None
        code = read(TEAM)
        if code is None:
            from .thread_team_ir import object_file, write_module

            code = object_file(write_module())
            with contextlib.suppress(OSError):  # without it, the next process makes it too
                write(TEAM, code)
        engine = linked(code, called)
        team = Team(*map(engine.get_global_value_address, Team._fields))
        engine.detach()  # its threads run until the process ends, and so long their code stays
    start = partial(start_team, team.board, team.serve, most_threads() - 1)
    start()
    in_child(start)
    return team


def linked(code: bytes, addresses: dict[str, int | None], thunk: bytes | None = None) -> Any:
    """An engine of llvmlite's with an object file, in which the names have these addresses, and perhaps a thunk's."""
    import llvmlite.binding as llvm

    # An engine of its own for each: the names of inner functions are unique in one process only.
    for symbol, address in addresses.items():
        llvm.add_symbol(symbol, address)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), native_machine())
    for file in filter(None, (code, thunk)):
        engine.add_object_file(llvm.ObjectFileRef.from_data(file))
    engine.finalize_object()
    return engine


def load(module: str, name: str, kinds: tuple[str, ...]) -> Callable[..., Any] | None:
    """Code as a function: this machine's own, else what was shipped; None where there is none that can be used here."""
    library = shipped.library()
    if not shipped.is_forced() and own_catalogue() is not None and (own := load_own(module, name, kinds)):
        return own
    if library is None or (kernel := library.kernel(f"{module}.{name}", kinds)) is None:
        return None
    thunks[kernel] = Thunk(kernel.address, 0)
    return kernel


def load_own(module: str, name: str, kinds: tuple[str, ...]) -> Callable[..., Any] | None:
    found = read(file_of(f"{module}.{name}", kinds))
    if found is None:
        return None
    addresses = {symbol: address_of(symbol, own_catalogue()["layer"]) for symbol in found["symbols"]}
    if None in addresses.values():  # LLVM would end the process
        return None
    if library := shipped.library():
        addresses |= {symbol: library.address(symbol) for symbol in shipped.SCHEDULING if symbol in addresses}
    if LOOP in addresses and (loops := team()):
        addresses[LOOP] = loops.parallel_for
    engine = linked(found["code"], addresses, found["thunk"])
    dynfunc = extension("_dynfunc")
    environment = dynfunc.Environment({})
    place = engine.get_global_value_address(found["environment"])
    ctypes.c_void_p.from_address(place).value = id(environment)
    start = engine.get_function_address(found["function"])
    function = dynfunc.make_function(sys.modules[PACKAGE], name, "", start, environment, (engine, environment))
    if found["thunk"] and (kernel := engine.get_function_address(found["kernel"])):
        thunks[function] = Thunk(engine.get_function_address("thunk"), kernel)
    return function
