"""Imports run one way, and each outside package has one door."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "pydarknet"

# Lowest first: a module imports from lines above its own, and a folder's files from one another.
ORDER = [
    {"errors", "version"},
    {"kernels"},
    {"files", "resources", "boxes", "tensor", "streaming", "ahead"},
    {"config", "tree", "memory", "image", "box_gradients", "anchors", "figure"},
    {
        "dialect",
        "names",
        "schedule",
        "image_colour",
        "image_video",
        "text",
        "unfollowed",
        "cfg_text",
        "anchor_plot",
        "input_shape",
    },
    {"activations", "augment"},
    {"layers", "views"},
    {"building", "labels", "mixing", "plan", "weights", "loader"},
    {"pictures", "labelled"},
    {"dataset", "class_dataset", "dataset_check", "convert"},
    {"network", "optimizer", "rejection"},
    {"report", "classifier", "detector", "export", "recurrent", "speed", "averages"},
    {"training"},
    {"model", "journal", "naming", "evaluation", "video_threads"},
    {"video"},
    {"surgery", "weight_tables", "planes"},
    {"classifier_views", "filter_pictures", "input_gradient", "showcase"},
    {"classifier_evaluation", "dream"},
    {"tolerant"},
    {"probe"},
    {"cfg_check", "retarget"},
    {"sizes", "checkpoint", "records", "training_data"},
    {"measuring", "best", "chart"},
    {"run_plan"},
    {"keeping"},
    {"trainer"},
    {"text_trainer"},
    {"cli"},
    {"__init__", "__main__"},
]
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}

# Who alone may import what.
DOORS = {
    "numba": {"kernels"},
    "llvmlite": {"kernels"},
    "cv2": {"image", "image_colour", "image_video"},
    "click": {"cli"},
    "onnx": {"export"},
    "matplotlib": {"figure", "anchor_plot", "evaluation", "chart"},
}

FILES = sorted(PACKAGE.rglob("*.py"))
IDS = [str(path.relative_to(PACKAGE)) for path in FILES]


def room_of(path):
    """The folder below the package that a file stands in, or the module that it is."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """(room of this package, None) or (None, outside package) of every import in a file."""
    folder = path.relative_to(PACKAGE).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((None, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield None, node.module.partition(".")[0]
        elif isinstance(node, ast.ImportFrom):
            base = folder[: len(folder) + 1 - node.level] + tuple((node.module or "").split(".") if node.module else ())
            yield from ((base[0] if base else alias.name, None) for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_a_module_imports_only_what_stands_below_it(path):
    room = room_of(path)
    assert room in LEVEL, f"{room} has no place in the order yet"
    inside = {name for name, _ in imports(path) if name and name != room}
    assert {name for name in inside if LEVEL[name] >= LEVEL[room]} == set()


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_outside_packages_have_one_door(path):
    outside = {name for _, name in imports(path) if name in DOORS}
    assert {name for name in outside if room_of(path) not in DOORS[name]} == set()
    assert "pydarknet" not in {name for _, name in imports(path)}, "imports inside the package are relative"


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_the_library_never_prints_nor_exits_nor_reads_the_command_line(path):
    if room_of(path) in ("cli", "__main__"):
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"print", "exit", "quit", "input", "SystemExit", "exec", "eval"}
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sys":
            assert node.attr not in {"exit", "argv", "stdout", "stderr", "stdin"}


def test_the_order_names_no_module_that_is_gone():
    assert set(LEVEL) == {room_of(path) for path in FILES}
