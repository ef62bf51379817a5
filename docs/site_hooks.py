"""What MkDocs does for this project's site besides its own: pages from outside of `docs/`, with links that fit."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
# Files of the repository that become pages of the site.
PAGES = {
    "README.md": "introduction.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "tests/README.md": "tests.md",
    "tests/golden/README.md": "golden.md",
    "benchmarks/README.md": "benchmarks.md",
}
LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")


def navigation(index):
    """The pages in the order of the tables of docs/README.md, in a section for each of its headings."""
    sections = []
    for part in re.split(r"^## ", index, flags=re.M)[1:]:
        title, _, table = part.partition("\n")
        links = re.findall(r"\]\(([^)#]+\.md)\)", "".join(line for line in table.splitlines(True) if line[0] == "|"))
        pages = [PAGES.get(posixpath.normpath(f"docs/{link}"), link) for link in links]
        sections.append({title.strip(): list(dict.fromkeys(pages))})
    listed = {page for section in sections for pages in section.values() for page in pages}
    about = [page for page in PAGES.values() if page not in listed and page != "introduction.md"]
    return [{"Documents": "README.md"}, {"Introduction": "introduction.md"}, *sections, {"About": about}]


def on_config(config):
    """Set the navigation."""
    config.nav = navigation((ROOT / "docs" / "README.md").read_text(encoding="utf-8"))
    return config


def on_files(files, config):
    """Add the pages from outside."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown, page, config, files):
    """Let links between files of the repository lead to the pages that these became."""
    source = next((name for name, uri in PAGES.items() if uri == page.file.src_uri), f"docs/{page.file.src_uri}")

    def on_site(match):
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[2]))
        uri = PAGES.get(target, target.removeprefix("docs/"))
        return match[1] + posixpath.relpath(uri, posixpath.dirname(page.file.src_uri) or ".") + match[3]

    parts = re.split(r"(^```.*?^```)", markdown, flags=re.M | re.S)  # listings stay as they are
    return "".join(part if part.startswith("```") else LINK.sub(on_site, part) for part in parts)
