"""Where the pictures come from."""

import contextlib
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pydarknet.cli import console
from pydarknet.cli.sources import camera_number, expand_inputs, expand_path, is_video


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
    assert expand_path("dog.png") == ["dog.png"]
    assert expand_path("sub") == ["sub/[x].png", "sub/a.png", "sub/b.JPG", "sub/c.jpeg"]
    assert expand_path("sub/*.*g") == ["sub/[x].png", "sub/a.png", "sub/c.jpeg"]
    for name in ("sub/[x].png", "none-*.png", "x" * 300):
        assert expand_path(name) == [name]


def test_lists_videos_and_addresses(folder):
    (folder / "sub").mkdir()
    for name in ("a.png", "b.MP4", "notes.md"):
        (folder / "sub" / name).touch()
    (folder / "lists").mkdir()
    (folder / "lists" / "train.txt").write_text("dog.png\r\n\nsub/a.png\nhttp://x.y/z.jpg\nmissing.png\n")
    listed = ["dog.png", "sub/a.png", "http://x.y/z.jpg", "missing.png"]
    assert expand_inputs(["lists/train.txt", "sub", "camera:0", "rtsp://a/b*.txt"]) == [
        *listed, "sub/a.png", "sub/b.MP4", "camera:0", "rtsp://a/b*.txt"]  # fmt: skip
    assert expand_inputs(["su?", "sub/**"]) == ["sub/a.png", "sub/b.MP4", "sub/a.png", "sub/b.MP4"]
    assert expand_inputs(["sub/*.md"]) == ["sub/notes.md"]
    (folder / "lists" / "one.txt").write_text("dog.png\n")
    assert expand_inputs(["lists/*.txt"]) == ["dog.png", *listed]
    (folder / "sub.txt").mkdir()
    (folder / "sub.txt" / "a.png").touch()
    assert expand_inputs(["sub.txt"]) == ["sub.txt/a.png"]
    for number in (10, 9):
        (folder / f"f{number}.png").touch()
    assert expand_inputs(["f%d.png", "100%.png"]) == ["f9.png", "f10.png", "100%.png"]
    (folder / "empty.txt").touch()
    (error,) = expand_inputs(["empty.txt"])
    assert str(error) == "empty.txt:1: the list is empty; expected one picture per line"


def test_kinds_of_inputs():
    assert [camera_number(name) for name in ("camera:0", "camera:12", "camera:", "camera:x", "0")] == [
        0, 12, None, None, None]  # fmt: skip
    moving = ["camera:0", "rtsp://host/path", "RTMP://host/x", "udp://@:1234", "street.mp4", "a/b.WEBM"]
    assert all(is_video(name) for name in moving)
    assert not any(is_video(name) for name in ("dog.jpg", "http://host/dog.mp4", "mp4", "train.txt"))


def test_a_list_of_pictures(classify, folder):
    (folder / "sub").mkdir()
    shutil.copy("dog.png", "sub/cat.png")
    (folder / "sub" / "list.txt").write_text("dog.png\nsub/cat.png\ncat.png\nmissing.png\n")
    result = classify("sub/list.txt")
    assert result.exit_code == 1
    assert predicted(result) == ["dog.png", "sub/cat.png", "sub/cat.png"]  # the last beside the list
    assert result.stderr == 'Cannot load image "missing.png": No such file or directory\n'
    result = classify("no.txt")
    assert (result.exit_code, result.stderr) == (1, "Couldn't open file: no.txt (No such file or directory)\n")


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
    assert result.stderr.splitlines()[-1].startswith(
        "standard input: found binary data; expected paths of pictures, one per line"
    )


def test_a_picture_alone_on_standard_input(classify, folder):
    content = (folder / "dog.png").read_bytes()
    for arguments in ((), ("-",)):
        assert predicted(classify(*arguments, stdin=content)) == ["standard input"]
    result = classify("dog.png", "-", "dog.png", stdin="missing.png\ndog.png\n")
    assert predicted(result) == ["dog.png"] * 3
    result = classify(stdin=content[:40])
    assert result.exit_code == 1
    assert (
        result.stderr
        == 'Cannot use image "standard input": Cannot load image from 40 bytes: unknown or damaged format\n'
    )


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


def test_darknets_spellings_print_its_prompt_in_pipes_too(run, classifier, detector):
    """`detector test ... < train.txt > result.txt`: programs look for the prompt in such files."""
    Path("c.data").write_text("names = dog.names\n")
    Path("dog.names").write_text("dog\ncat\n")
    pairs = {"classifier predict": classifier, "detector test": detector}
    for words, files in pairs.items():
        Path("dog.names").write_text("".join(f"{n}\n" for n in range(2 if files is detector else 9)))
        call = [*words.split(), "c.data", files.cfg, files.weights]
        stdout = run(*call, stdin="dog.png\ndog.png\n").stdout
        assert stdout.startswith("Enter Image Path: ")
        assert stdout.count("\nEnter Image Path: ") == 2
        assert stdout.endswith("\nEnter Image Path: ")
        for quiet in (["-"], ["--json"], ["--batch", "2"], ["dog.png"]):
            assert "Enter" not in run(*call, *quiet, stdin="dog.png\ndog.png\n").output
    assert "Enter" not in run("detect", detector.cfg, detector.weights, stdin="dog.png\n").output


def test_byte_order_mark_before_the_first_path(classify):
    assert predicted(classify(stdin="\ufeffdog.png\r\ndog.png\r\n")) == ["dog.png", "dog.png"]


def test_bar_for_many_pictures_at_a_terminal(classify, monkeypatch):
    shown = []
    monkeypatch.setattr(console.click, "progressbar", lambda length, **_: shown.append(length) or Bar(shown))
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda stream: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    for count in (10, 11):
        assert predicted(classify(*["dog.png"] * count)) == ["dog.png"] * count
    assert shown == ["all"]


@pytest.mark.parametrize(("term", "columns", "width"), [
    ("xterm", 80, 36), ("xterm", 60, 20), ("xterm", 44, 4), ("xterm", 43, None), ("dumb", 80, None), ("", 80, 36),
])  # fmt: skip
def test_bar_fits_the_terminal(classify, monkeypatch, term, columns, width):
    shown = []

    def progressbar(length, **options):
        shown.append(options["width"])
        return Bar([length])

    monkeypatch.setattr(console.click, "progressbar", progressbar)
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda stream: True)
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("COLUMNS", str(columns))
    result = classify(*["dog.png"] * 11)
    assert predicted(result) == ["dog.png"] * 11
    assert shown == ([] if width is None else [width])


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
