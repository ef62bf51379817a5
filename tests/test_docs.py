"""The documents: links lead somewhere, files and symbols that they name exist, Python in them runs where it can."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.networks import randomise

import pydarknet
from pydarknet.cli.app import COMMANDS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pydarknet"
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("tests/**/*.md"), *ROOT.glob("benchmarks/*.md")]
)
IDS = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
RUN = ("docs/kernels.md", "docs/layouts.md")  # whose listings are one program
EXAMPLES = [
    pytest.param(path, code, id=f"{path.relative_to(ROOT)}-{number}")
    for path in DOCUMENTS
    for number, code in enumerate(re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S))
]


def prose(path):
    """A document without its listings."""
    return re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)


def anchors(path):
    """The names by which the headings of a document are linked to."""
    headings = re.findall(r"^#+ (.*)", prose(path), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_relative_links_lead_somewhere(path):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if re.match(r"https?:|mailto:", link):
            continue
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_index_lists_every_page():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert {name for name in pages if f"({name})" not in index} == set()


def test_every_command_is_named_in_a_page():
    pages = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))
    assert [name for name in COMMANDS if not re.search(rf"`{name}\b|pydarknet {name}\b", pages)] == []


def missing(name, *folders):
    """What of `file.py: Symbol`, or of a path, does not exist. Paths are relative to the repository, to the package, or
    to one of `folders`."""
    file, _, symbol = name.partition(": ")
    found = next((folder / file for folder in (ROOT, PACKAGE, *folders) if (folder / file).exists()), None)
    if found is None:
        return file
    if not symbol:
        return None
    last = re.escape(symbol.removesuffix("()").rpartition(".")[2])
    defined = re.search(rf"^\s*(?:def|class) {last}\b|^\s*{last}\b[^=\n]*=", found.read_text(encoding="utf-8"), re.M)
    return None if defined else name


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_files_and_symbols_that_a_document_names_exist(path):
    text = path.read_text(encoding="utf-8")
    names = re.findall(r"`((?:[\w.*-]+/)+[\w.]+\.py(?:: [\w.()]+)?)`", text)
    names += re.findall(r"`((?:api|model|boxes|tensor|errors)\.py(?:: [\w.()]+)?)`", text)
    if path.name == "architecture.md":  # in its drawings too
        names += re.findall(r"(?:^|\s)((?:\w+/)+\w+\.py(?:: \w+(?:\.\w+)?)?)", text, re.M)
    assert [gone for name in names if "*" not in name and (gone := missing(name, path.parent))] == []


def test_names_that_do_not_exist_are_found():
    assert missing("network/network.py: Network.forward") is None
    assert missing("network/network.py: Network.forwards") == "network/network.py: Network.forwards"
    assert missing("network/networks.py: Network") == "network/networks.py"


@pytest.mark.parametrize("path, code", EXAMPLES)
def test_examples_are_python_and_what_they_import_exists(path, code):
    tree = ast.parse(code, str(path))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(imports, []), str(path), "exec"), {})


@pytest.mark.parametrize("document", RUN)
def test_listings_run(document):
    code = re.findall(r"^```python\n(.*?)^```", (ROOT / document).read_text(encoding="utf-8"), re.M | re.S)
    assert code
    exec(compile("\n".join(code), document, "exec"), {})


@pytest.mark.slow
def test_the_example_of_the_readme_runs(tmp_path, monkeypatch):
    (code,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    monkeypatch.chdir(tmp_path)
    for name in ("yolov3-tiny", "tiny"):
        network = pydarknet.load(f"{name}.cfg")
        randomise(network)  # darknet's initial variances of 0 would overflow
        network.save_weights(f"{name}.weights")
    cv2.imwrite("dog.jpg", cv2.imread(str(ROOT / "data" / "sample.jpg")))
    exec(compile(code, "README.md", "exec"), {"x": np.zeros((1, 3, 416, 416), np.float32)})
    assert Path("copy.weights").stat().st_size > 1000
