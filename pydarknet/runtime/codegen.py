"""Numba's code generation, without what it does for code that nobody calls.

Of a kernel with a parallel loop Numba makes four libraries, each linked into the next one: the loop's body, two
wrappers round it, and the kernel. It optimises all four and makes machine code of all four, although only the kernel's
is called. With `install`, machine code is made of the kernel's library only, and the wrappers are optimised as a part
of it. That saves a fifth of the time in which kernels are compiled.
"""

from __future__ import annotations

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.cpu import CPUContext

BODY = "__numba_parfor_gufunc"  # Numba's name for the body of a parallel loop begins so
WRAPPERS = "parallelgufuncwrapper", "<numba.np.ufunc.wrappers._GufuncWrapper"


def install() -> None:
    """Change Numba's classes. Wrappers of other users, as of parallel ufuncs, are completed when somebody asks for
    an address in them. A version of Numba that lacks what is changed here is left as it is."""
    try:
        optimize, complete = JITCodeLibrary._optimize_final_module, JITCodeLibrary._finalize_final_module
        address, executable = JITCodeLibrary.get_pointer_to_function, CPUContext.get_executable
    except AttributeError:
        return

    def optimize_final_module(library: Any) -> None:
        if not library.name.startswith(WRAPPERS):
            optimize(library)

    def finalize_final_module(library: Any) -> None:
        if library.name.startswith((BODY, *WRAPPERS)):
            library._finalize_dynamic_globals()
            library._finalized, library._is_partial = True, True
        else:
            complete(library)

    def get_pointer_to_function(library: Any, name: str) -> int:
        library._ensure_finalized()
        if getattr(library, "_is_partial", False):
            library._is_partial = False
            if library.name.startswith(WRAPPERS):
                optimize(library)
            complete(library)
        return address(library, name)

    def get_executable(context: Any, library: Any, description: Any, environment: Any) -> Any:
        if description.qualname.startswith(BODY):
            return None
        return executable(context, library, description, environment)

    JITCodeLibrary._optimize_final_module = optimize_final_module
    JITCodeLibrary._finalize_final_module = finalize_final_module
    JITCodeLibrary.get_pointer_to_function = get_pointer_to_function
    CPUContext.get_executable = get_executable
