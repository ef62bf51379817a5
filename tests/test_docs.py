"""The documents: links lead somewhere, files and symbols that they name exist, Python in them runs where it can."""

import ast
import re
import shlex
import sys
from pathlib import Path

import click
import pytest
from support.documents import listings, program, stage

from pydarknet.cli.app import COMMANDS, pydarknet as program_of_commands

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pydarknet"
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("tests/**/*.md"), *ROOT.glob("benchmarks/*.md")]
)
IDS = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
EXTRAS = {
    "docs/export.md": ["onnxruntime"],
    "docs/video.md": ["trackers"],
    "docs/batch.md": ["ray"],
}  # what examples need beside pydarknet
SLOW = {"README.md", "docs/export.md"}  # whose examples build whole networks
PROGRAMS = [
    pytest.param(name, id=name, marks=pytest.mark.slow if name in SLOW else ())
    for path in DOCUMENTS
    if program(path.read_text(encoding="utf-8"))
    for name in [str(path.relative_to(ROOT))]
]
EXAMPLES = [
    pytest.param(path, code, id=f"{path.relative_to(ROOT)}-{number}")
    for path in DOCUMENTS
    for number, (code, _) in enumerate(listings(path.read_text(encoding="utf-8")))
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


def source_of(name):
    """The stripped lines of `file.py: Symbol`."""
    file, _, symbol = name.partition(": ")
    text = (PACKAGE / file).read_text(encoding="utf-8")
    nodes = [ast.parse(text)]
    for part in symbol.split("."):
        nodes = [node for above in nodes for node in ast.walk(above) if getattr(node, "name", None) == part]
    (node,) = nodes
    return [line.strip() for line in text.splitlines()[node.lineno - 1 : node.end_lineno]]


def test_the_excerpts_of_the_tour_are_the_code():
    tour = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
    excerpts = re.findall(r"`([\w/]+\.py: [\w.]+)`\n\n```py\n(.*?)```", tour, re.S)
    assert len(excerpts) == tour.count("```py") >= 10
    assert len(tour.splitlines()) <= 120
    for name, excerpt in excerpts:
        code = "\n".join(["", *source_of(name), ""])
        for part in excerpt.split("...\n"):
            lines = "\n".join(["", *(line.strip() for line in part.strip().splitlines()), ""])
            assert lines in code, (name, part)


@pytest.mark.parametrize("path, code", EXAMPLES)
def test_examples_are_python_and_what_they_import_exists(path, code):
    tree = ast.parse(code, str(path))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    for module in EXTRAS.get(str(path.relative_to(ROOT)), ()):
        pytest.importorskip(module, reason="belongs to an extra")
    exec(compile(ast.Module(imports, []), str(path), "exec"), {})


@pytest.mark.parametrize("document", PROGRAMS)
def test_the_examples_of_a_document_run(document, tmp_path, monkeypatch):
    """One after the other, as one program, in a folder with the files that they name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYDARKNET_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(sys, "argv", [document])  # programs look for their file there
    for module in EXTRAS.get(document, ()):
        pytest.importorskip(module, reason="belongs to an extra")
    names = stage(tmp_path, document)
    exec(compile(program((ROOT / document).read_text(encoding="utf-8")), document, "exec"), {"__name__": "x", **names})


def test_what_is_not_run_says_why():
    text = "<!-- not run: needs a camera -->\n```python\nopen_camera()\n```\n\n```python\nx = 1\n```\n"
    assert listings(text) == [("open_camera()\n", "needs a camera"), ("x = 1\n", None)]
    assert program(text) == "x = 1\n"


def command_lines(text):
    """The commands of a page in code spans and listings, `./darknet` as `pydarknet`; those with `...` left out."""
    text = re.sub(r"\s+#.*$|<.*$", "", text, flags=re.M)
    found = re.findall(r"`(?:\./darknet|pydarknet) ([^`\n]+)`", text) + re.findall(r"^\$ pydarknet (.+)$", text, re.M)
    return [line.split("|")[0].strip() for line in found if "..." not in line and " " in line]


def parse(words):
    """Let click read a command line, without running it."""
    command = program_of_commands
    context = command.make_context("pydarknet", list(words))
    while isinstance(command, click.Group):
        protected = getattr(context, "_protected_args", None) or getattr(context, "protected_args", [])
        rest = [*protected, *context.args]  # click 8.2, 8.1, and 9
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)


@pytest.mark.parametrize("page", ["from-darknet.md", "from-ultralytics.md", "published-weights.md"])
def test_commands_of_the_pages_are_understood(page):
    lines = command_lines((ROOT / "docs" / page).read_text(encoding="utf-8"))
    assert len(lines) > 5
    for line in lines:
        parse(shlex.split(line))


def test_commands_that_are_not_understood_are_noticed():
    for line in ("detector tset x", "detector test a b c -threshh .2", "download --lost"):
        with pytest.raises(click.UsageError):
            parse(line.split())
