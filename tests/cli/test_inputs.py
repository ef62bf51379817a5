"""Where the pictures come from."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import subprocess
import sys

import pytest

from pydarknet.cli import console
from pydarknet.cli.inputs import paths_of


@pytest.fixture
def classify(run, classifier):
    def call(*images, stdin=""):
        return run("classify", classifier.cfg, classifier.weights, *images, "-t1", stdin=stdin)

    return call


def predicted(result):
    return [line.split(":")[0] for line in result.stdout.splitlines() if "Predicted" in line]


def test_files_folders_and_patterns(folder):
    (folder / "sub").mkdir()
    for name in ("b.JPG", "a.png", "notes.txt", "c.jpeg", "[x].png"):
        (folder / "sub" / name).touch()
    assert paths_of(["dog.png", "sub"]) == ["dog.png", "sub/[x].png", "sub/a.png", "sub/b.JPG", "sub/c.jpeg"]
    assert paths_of(["sub/*.*g"]) == ["sub/[x].png", "sub/a.png", "sub/c.jpeg"]
    assert paths_of(["sub/[x].png", "none-*.png", "x" * 300]) == ["sub/[x].png", "none-*.png", "x" * 300]


def test_what_cannot_be_read_is_reported_and_the_rest_go_on(classify, folder):
    (folder / "empty.png").touch()
    result = classify("missing.png", "dog.png", "empty.png", "none-*.jpg", "dog.png")
    assert result.exit_code == 1
    assert predicted(result) == ["dog.png", "dog.png"]
    assert result.stderr.splitlines() == [
        'Cannot load image "missing.png": No such file or directory',
        'Cannot load image "empty.png": the file is empty',
        'Cannot load image "none-*.jpg": No such file or directory',
    ]


def test_a_folder_without_pictures(classify, folder):
    (folder / "sub").mkdir()
    result = classify("sub")
    assert result.exit_code == 1
    assert result.stderr.startswith("sub: no pictures in this folder")


def test_paths_from_standard_input(classify):
    result = classify(stdin="dog.png\n\n  \nmissing.png\r\ndog.png")
    assert result.exit_code == 1
    assert predicted(result) == ["dog.png", "dog.png"]
    assert "Enter" not in result.stdout  # nobody sits at this terminal
    assert result.stderr == 'Cannot load image "missing.png": No such file or directory\n'


def test_a_picture_itself_on_standard_input(classify, folder):
    result = classify(stdin=b"dog.png\n" + (folder / "dog.png").read_bytes())
    assert predicted(result) == ["dog.png"]
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("standard input: expected the paths of pictures, one a line")


@pytest.mark.slow
def test_prompt_at_a_terminal(classifier):
    ours, theirs = pty.openpty()
    words = ["classify", classifier.cfg, classifier.weights, "-t1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pydarknet", *words], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    os.write(ours, b"dog.png\n\x04")
    out, _ = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 0
    first, second, last = out.decode().splitlines()
    assert first.startswith("Enter Image Path: dog.png: Predicted in ")
    assert second == "1: 0.506480"
    assert last == "Enter Image Path: "


def test_bar_for_many_pictures_at_a_terminal(classify, monkeypatch):
    shown = []
    monkeypatch.setattr(console.click, "progressbar", lambda length, **_: shown.append(length) or Bar(shown))
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda stream: True)
    for count in (10, 11):
        assert predicted(classify(*["dog.png"] * count)) == ["dog.png"] * count
    assert shown == ["all"]


class Bar(contextlib.AbstractContextManager):
    """As much of click's bar as is used: the number shown last is what is left to do."""

    def __init__(self, shown):
        self.shown = shown

    def __exit__(self, *_):
        assert self.shown[-1] == 0
        self.shown[-1] = "all"

    def update(self, count):
        self.shown[-1] -= count


def test_names_of_pictures_may_be_any_bytes(classify):
    shutil.copy("dog.png", b"h\xfcndin.png")
    result = classify(os.fsdecode(b"h\xfcndin.png"))
    assert result.exit_code == 0
    assert result.stdout_bytes.startswith(b"h\xfcndin.png: Predicted")
