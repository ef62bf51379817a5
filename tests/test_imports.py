"""Imports run one way, and each outside package has one door."""

import ast
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "pydarknet"

# Lowest first: a module imports from lines above its own, and a folder's files from one another.
ORDER = [
    {"errors", "version"},
    {"utils"},
    {"runtime"},
    {"kernels"},
    {"tensor", "boxes"},
    {"config", "images"},
    {"layers", "datasets"},
    {"network"},
    {"inference", "zoo"},
    {"evaluation", "export", "model", "archive"},
    {"training"},
    {"tools", "api", "server", "dnn"},
    {"ray"},
    {"cli"},
    {"__init__", "__main__"},
]
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}

# Who alone may import what.
DOORS = {
    "numba": {"kernels", "runtime"},
    "llvmlite": {"kernels", "runtime"},
    "cv2": {"images", "inference", "dnn"},
    "click": {"cli"},
    "onnx": {"export"},
    "supervision": {"inference"},
    "trackers": {"inference"},
    "onnxruntime": {"export"},
    "tensorboardX": {"training"},
    "starlette": {"server"},
    "uvicorn": {"server"},
    "python_multipart": {"server"},
    "pooch": {"zoo"},
    "requests": {"zoo"},
    "ray": {"ray"},
    "pyarrow": {"archive"},
    "matplotlib": {"utils", "tools", "evaluation", "training"},
}

FILES = sorted(PACKAGE.rglob("*.py"))
# Each module, as the names that lead to it from the package on, and its file; a folder's name is its `__init__`'s.
MODULES = {tuple(p for p in path.relative_to(PACKAGE).with_suffix("").parts if p != "__init__"): path for path in FILES}


def room_of(path):
    """The folder below the package that a file stands in, or the module that it is."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def nodes(path):
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def import_statements(path):
    """The import statements of a file, also those in functions and for type checkers; and for relative ones the names
    that lead from the package to where they look, else None."""
    folder = path.relative_to(PACKAGE).parent.parts
    for node in nodes(path):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield node, folder[: len(folder) + 1 - node.level] + tuple(node.module.split(".") if node.module else ())
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield node, None


def imports(path):
    """(room of this package, None) or (None, outside package) of every import in a file."""
    for node, base in import_statements(path):
        if base is not None:
            yield from ((base[0] if base else alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield None, node.module.partition(".")[0]
        else:
            yield from ((None, alias.name.partition(".")[0]) for alias in node.names)


def imported_modules(path):
    """The modules of this package that a file imports, as in MODULES. `from .room import name` is `room.name` where
    there is such a module, else `room`, that is its `__init__`.

    That Python runs a folder's `__init__` before the folder's modules does not count: what it imports of them would be
    a circle each time. Nor is seen what is imported by a name that is put together when the program runs: layers by the
    table of `layers/__init__`, commands by that of `cli/app`, kernels by `kernels/saved`, which so gives way to Numba.
    """
    for base, name in ((b, alias.name) for node, b in import_statements(path) if b is not None for alias in node.names):
        yield (*base, name) if (*base, name) in MODULES else base


def circles(arrows):
    """The largest groups in a graph, {node: nodes}, of which each node leads to each, itself among them."""
    reached = {node: set() for node in arrows}
    for node, found in reached.items():
        to_do = list(arrows[node])
        while to_do:
            if (each := to_do.pop()) not in found:
                found.add(each)
                to_do += arrows[each]
    groups = {frozenset(other for other in reached[node] if node in reached[other]) for node in arrows}
    return sorted(sorted(group) for group in groups if group)


def test_a_module_imports_only_what_stands_below_it():
    assert {room_of(path) for path in FILES} <= set(LEVEL), "has no place in the order yet"
    inside = [(path, room_of(path), name) for path in FILES for name, _ in imports(path) if name]
    assert [each for each in inside if each[1] != each[2] and LEVEL[each[2]] >= LEVEL[each[1]]] == []


def test_outside_packages_have_one_door():
    outside = [(path, name) for path in FILES for _, name in imports(path) if name]
    assert [(path, name) for path, name in outside if room_of(path) not in DOORS.get(name, {room_of(path)})] == []
    assert [path for path, name in outside if name == "pydarknet"] == [], "imports inside the package are relative"


def test_the_library_never_prints_nor_exits_nor_reads_the_command_line():
    library = [path for path in FILES if room_of(path) not in ("cli", "__main__")]
    for file, node in ((path, node) for path in library for node in nodes(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            calls = {"print", "exit", "quit", "input", "SystemExit", "exec", "eval"}
            assert node.func.id not in calls, f"{file}:{node.lineno}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sys":
            assert node.attr not in {"exit", "argv", "stdout", "stderr", "stdin"}, f"{file}:{node.lineno}"


def test_no_two_files_import_each_other_in_a_circle():
    arrows = {module: set(imported_modules(path)) for module, path in MODULES.items()}
    assert all(target in MODULES for targets in arrows.values() for target in targets)
    assert [[".".join(module) for module in circle] for circle in circles(arrows)] == []


def test_circles_are_found():
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": {"e"}, "e": {"f"}, "f": {"f"}}
    assert circles(arrows) == [["b", "c"], ["f"]]


def test_the_order_names_no_module_that_is_gone():
    assert set(LEVEL) == {room_of(path) for path in FILES}
