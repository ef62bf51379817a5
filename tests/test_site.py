"""The site of the documents: it builds without a warning, every link leads somewhere, and a broken one is noticed."""

import html
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytest.importorskip("mkdocs", reason="needs the extra `docs`")
pytest.importorskip("mkdocstrings_handlers.python", reason="needs the extra `docs`")


def build(root, site):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300)


def module(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    result = build(ROOT, folder)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.mark.slow
def test_every_document_is_a_page(site):
    pages = {path.stem for path in site.glob("*.html")}
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} - {"README"} <= pages
    assert {"index", "introduction", "changelog", "contributing", "security"} <= pages


@pytest.mark.slow
def test_every_link_of_every_page_leads_somewhere(site):
    broken = []
    texts = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    names = {
        path: {html.unescape(name) for name in re.findall(r'\bid="([^"]+)"', text)} for path, text in texts.items()
    }
    for path, text in texts.items():
        if path.name == "404.html":  # its links begin at the root of a server
            continue
        for link in re.findall(r'(?:href|src)="([^"]*)"', text):
            file, _, anchor = unquote(html.unescape(link)).partition("#")
            if re.match(r"[a-z]+:|//", link):
                continue
            target = (path.parent / file).resolve() if file else path
            if target.is_dir():
                target = target / "index.html"
            if not target.exists() or (anchor and anchor not in names.get(target, ())):
                broken.append(f"{path.name}: {link}")
    assert broken == []


@pytest.mark.slow
def test_the_reference_shows_the_public_names(site):
    text = (site / "reference.html").read_text(encoding="utf-8")
    for name in ("pydarknet.api.load", "pydarknet.model.Model.detect", "pydarknet.inference.detections.Detections.xyxy",
                 "pydarknet.errors.DownloadError"):  # fmt: skip
        assert f'id="{name}"' in text
    assert "<li><code>width</code>, <code>height</code>" in text or "<code>width, height</code>" in text


@pytest.mark.slow
@pytest.mark.parametrize("text", ["[x](nowhere.md)", "[x](python.md#nowhere)", "::: pydarknet.api.nothing"])
def test_what_leads_nowhere_ends_the_build(tmp_path, text):
    for name in ("docs", "pydarknet", "mkdocs.yml", *module("site_hooks").PAGES):
        source, target = ROOT / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    with (tmp_path / "docs" / "python.md").open("a", encoding="utf-8") as page:
        page.write(f"\n{text}\n")
    result = build(tmp_path, tmp_path / "site")
    assert result.returncode != 0
    assert "nowhere" in result.stderr or "nothing" in result.stderr


def test_tables_of_names_become_lists():
    with_lists = module("site_docstrings").with_lists
    text = (
        "What it is.\n\nname          how it is called,\n              in full\nwidth, height   pixels\n\nRaises X.\n"
    )
    assert with_lists(text).splitlines() == [
        "What it is.", "", "- `name`: how it is called,", "    in full", "- `width, height`: pixels", "", "Raises X.",
    ]  # fmt: skip
    assert with_lists("Two words  here stay. So do\nlines.") == "Two words  here stay. So do\nlines."


def test_the_navigation_has_every_page_once():
    nav = module("site_hooks").navigation((ROOT / "docs" / "README.md").read_text(encoding="utf-8"))
    pages = [
        page for entry in nav for value in entry.values() for page in ([value] if isinstance(value, str) else value)
    ]
    assert len(pages) == len(set(pages))
    assert {path.name for path in (ROOT / "docs").glob("*.md")} <= set(pages)
    assert set(module("site_hooks").PAGES.values()) <= set(pages)


def test_links_of_listings_stay():
    hooks = module("site_hooks")

    class Page:
        class file:  # noqa: N801
            src_uri = "introduction.md"

    markdown = "[a](docs/python.md#types) [b](CHANGELOG.md) [c](https://x.org/a.md)\n```\n[d](docs/python.md)\n```\n"
    assert hooks.on_page_markdown(markdown, Page, None, None) == (
        "[a](python.md#types) [b](changelog.md) [c](https://x.org/a.md)\n```\n[d](docs/python.md)\n```\n"
    )
