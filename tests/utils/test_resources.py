"""Bundled files are found in both layouts, and paths in .data and .cfg files in the promised order."""

import ast
import sys
from pathlib import Path

import pytest

from pydarknet.errors import DataError
from pydarknet.utils import resources

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, so that nothing is found by chance."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def write(path: Path, text: str = "x\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_bundled_finds_both_folders(elsewhere: Path) -> None:
    names, network = resources.bundled("data/coco.names"), resources.bundled("cfg/tiny.cfg")
    assert names is not None
    assert names.is_file()
    assert network is not None
    assert network.read_text(encoding="utf-8").startswith("#")


@pytest.mark.parametrize("name", [
    "", "data", "data/", "cfg", "data/none.names", "coco.names", "pydarknet/errors.py", "data/../pyproject.toml",
    "/data/coco.names", "cfg/..", "../data/coco.names", "data/\0", "data/" + "x" * 5000,
])  # fmt: skip
def test_bundled_has_nothing_else(name: str) -> None:
    assert resources.bundled(name) is None


@pytest.mark.parametrize("wheel", [True, False], ids=["wheel", "checkout"])
def test_both_layouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wheel: bool) -> None:
    package = tmp_path / "site" / "pydarknet"
    home = package if wheel else package.parent
    package.mkdir(parents=True)
    expected = write(home / "data" / "coco.names")
    write(home / "cfg" / "tiny.cfg")
    monkeypatch.setattr(resources, "files", lambda _: package)
    assert resources.bundled("data/coco.names") == expected


def test_a_wheel_does_not_look_beside_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "pydarknet"
    write(package / "data" / "coco.names")
    write(package / "cfg" / "tiny.cfg")
    write(package.parent / "data" / "other.names")
    monkeypatch.setattr(resources, "files", lambda _: package)
    assert resources.bundled("data/other.names") is None


@pytest.mark.parametrize("name", ["toys.cfg", "toys.data", "toys.weights", "data/toys.weights"])
def test_a_network_is_found_by_its_bare_name(elsewhere: Path, name: str) -> None:
    found = Path(resources.network_file(name))
    assert found.is_file()
    assert found.name == Path(name).name
    write(elsewhere / name)
    assert resources.network_file(name) == name, "a file on the disk comes first"


def test_a_network_that_is_nowhere_keeps_its_name(elsewhere: Path) -> None:
    assert resources.network_file("toys.wheights") == "toys.wheights"


@pytest.mark.parametrize("classes", [20, 80, 601, 1000, 9418])
def test_bundled_names_have_exactly_that_many(classes: int) -> None:
    path = resources.bundled_names(classes)
    assert path is not None
    assert len(path.read_text(encoding="utf-8").splitlines()) == classes


@pytest.mark.parametrize("classes", [-1, 0, 1, 3, 79, 81, 1001])
def test_no_bundled_names_for_other_counts(classes: int) -> None:
    assert resources.bundled_names(classes) is None


def test_the_current_folder_comes_first(elsewhere: Path, tmp_path: Path) -> None:
    write(tmp_path / "near" / "data" / "coco.names")
    write(elsewhere / "data" / "coco.names")
    assert resources.find_file("data/coco.names", tmp_path / "near") == Path("data/coco.names")


def test_then_the_folder_of_the_file_that_names_it(elsewhere: Path, tmp_path: Path) -> None:
    expected = write(tmp_path / "near" / "data" / "coco.names")
    assert resources.find_file("data/coco.names", tmp_path / "near") == expected


def test_then_the_bundled_file(elsewhere: Path, tmp_path: Path) -> None:
    found = resources.find_file("data/9k.tree", tmp_path)
    assert found == resources.bundled("data/9k.tree")
    assert found == resources.find_file("./data/9k.tree", None)


@pytest.mark.parametrize("path", ["coco.names", "names/coco.names", "../coco.names"])
def test_then_the_bundled_file_of_that_bare_name(elsewhere: Path, path: str) -> None:
    assert resources.find_file(path, None) == resources.bundled("data/coco.names")


def test_a_folder_is_no_file(elsewhere: Path) -> None:
    (elsewhere / "data" / "coco.names").mkdir(parents=True)
    assert resources.find_file("data/coco.names", elsewhere) == resources.bundled("data/coco.names")


def test_an_absolute_path_is_taken_as_it_stands(elsewhere: Path, tmp_path: Path) -> None:
    expected = write(tmp_path / "my.names")
    assert resources.find_file(str(expected), None) == expected
    with pytest.raises(DataError) as caught:
        resources.find_file(str(tmp_path / "coco.names"), tmp_path)
    assert "bundled" not in str(caught.value)


def test_the_error_is_one_line_with_everything_that_was_tried(elsewhere: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        resources.find_file("lists/my.names", tmp_path / "near")
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("Couldn't open file: lists/my.names ")
    for tried in (
        "tried lists/my.names, ",
        str(tmp_path / "near" / "lists" / "my.names"),
        "bundled data/my.names",
    ):
        assert tried in text


@pytest.mark.parametrize("path", ["", ".", "\0", "x" * 5000])
def test_names_no_file_can_have(elsewhere: Path, path: str) -> None:
    with pytest.raises(DataError):
        resources.find_file(path, elsewhere)


def test_it_imports_only_the_standard_library_and_our_errors() -> None:
    tree = ast.parse((ROOT / "pydarknet" / "utils" / "resources.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert all(alias.name.partition(".")[0] in sys.stdlib_module_names for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").partition(".")[0]
            assert module == "errors" if node.level else module in sys.stdlib_module_names
