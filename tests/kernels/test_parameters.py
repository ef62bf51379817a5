"""How many parameters kernels and device functions have. A long list of numbers is where a swapped pair is no error.

Geometry travels in named tuples (`pydarknet/kernels/views.py`). What has more parameters than the bound is listed here
with its reason; who shortens one of these takes it off the list, which the second test asks for.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pydarknet

KERNELS = Path(pydarknet.__file__).parent / "kernels"
BOUNDS = {
    "kernel": 12, "reducing_kernel": 12, "one_thread_kernel": 12,
    "device": 14, "inlined": 14, "scalar": 14, "intrinsic": 14, "instructions": 14, "simd": 14,
}  # fmt: skip

INTRINSICS = {"intrinsic", "instructions", "simd"}

EXCEPTIONS: dict[str, str] = {}  # name: reason


def functions() -> Iterator[tuple[str, int, str]]:
    """(dotted name, parameters, decorator) of all compiled functions; without what an intrinsic is emitted with."""
    for path in sorted(KERNELS.rglob("*.py")):
        module = ".".join(path.relative_to(KERNELS).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                decorators = {d.id for d in node.decorator_list if isinstance(d, ast.Name)} & set(BOUNDS)
                for decorator in decorators:
                    parameters = node.args
                    count = len(parameters.posonlyargs + parameters.args + parameters.kwonlyargs)
                    yield f"{module}.{node.name}", count - (decorator in INTRINSICS), decorator


def long_ones() -> dict[str, int]:
    return {name: count for name, count, decorator in functions() if count > BOUNDS[decorator]}


def test_compiled_functions_are_found():
    found = {name: (count, decorator) for name, count, decorator in functions()}
    assert found["pooling.maxpool"] == (5, "kernel")
    assert found["addressing.cell"] == (5, "inlined")
    assert found["convolution.weight_gradient.tile_gradient"] == (14, "instructions")
    assert len(found) > 100


def test_no_kernel_has_more_than_twelve_parameters_and_no_device_function_more_than_fourteen():
    assert {name: count for name, count in long_ones().items() if name not in EXCEPTIONS} == {}


def test_every_exception_is_needed():
    assert set(EXCEPTIONS) <= set(long_ones())
