"""`cfg check` and `cfg set`."""

from pathlib import Path

import pytest
from support.processes import process

BAD = """\
[net]
width=8
height=8
channels=3
max_batches=10

[convolutional]
filtres=3
size=one
horse=1
"""


@pytest.mark.slow
def test_check_as_a_process(folder):
    Path("bad.cfg").write_text(BAD)
    result = process("cfg", "check", "bad.cfg", "yolov3.cfg")
    assert result.returncode == 1
    assert result.stderr == ""
    *lines, last = result.stdout.splitlines()
    assert lines == [
        "bad.cfg:8: error: layer 0 [convolutional] Unused field: 'filtres = 3'; did you mean filters?",
        "bad.cfg:9: error: layer 0 [convolutional] size=one: expected an integer",
        "bad.cfg:10: warning: layer 0 [convolutional] Unused field: 'horse = 1'",
        "bad.cfg: 2 errors, 1 warning (1 layers, pjreddie dialect)",
    ]
    assert last.endswith("yolov3.cfg: 0 errors, 0 warnings (107 layers, pjreddie dialect)")


def test_warnings_are_errors_where_asked(run, folder):
    Path("net.cfg").write_text(BAD.replace("filtres", "filters").replace("one", "1"))
    assert run("cfg", "check", "net.cfg").exit_code == 0
    assert run("cfg", "check", "net.cfg", "--strict").exit_code == 1


def test_check_with_a_data_file(run, detector):
    Path("net.data").write_text("classes=3\n")
    result = run("cfg", "check", detector.cfg, "--data", "net.data")
    assert result.exit_code == 1
    assert "error: layer 1 [yolo] classes=2; expected 3, the number of classes in net.data\n" in result.stdout


def test_a_file_that_is_not_there_does_not_end_the_check(run, detector):
    result = run("cfg", "check", "none.cfg", detector.cfg)
    assert result.exit_code == 1
    assert result.stderr == "Couldn't open file: none.cfg (No such file or directory)\n"
    assert "0 errors" in result.stdout


@pytest.mark.slow
def test_set_as_a_process(run, detector):
    before = Path(detector.cfg).read_text()
    result = process("cfg", "set", detector.cfg, "new.cfg", "--classes", "5", "--net", "max_batches=100")
    assert (result.returncode, result.stderr) == (0, "new.cfg: written\n")
    assert result.stdout.splitlines() == [
        "5: [net] max_batches= -> 100",
        "8: layer 0 [convolutional] filters=7 -> 10",
        "17: layer 1 [yolo] classes=2 -> 5",
    ]
    assert Path(detector.cfg).read_text() == before
    assert run("cfg", "check", "new.cfg").exit_code == 0


def test_set_in_place(run, detector):
    assert run("cfg", "set", detector.cfg, detector.cfg, "--classes", 1).exit_code == 0
    assert "filters=6\n" in Path(detector.cfg).read_text()


def test_set_anchors(run, detector):
    result = run("cfg", "set", detector.cfg, "--out", "new.cfg", "--anchors", "16,20, 3,4")
    assert "layer 1 [yolo] mask=0 -> 0,1\n" in result.stdout
    assert "layer 0 [convolutional] filters=7 -> 14\n" in result.stdout
    assert "anchors=3.0000,4.0000, 16.0000,20.0000\n" in Path("new.cfg").read_text()


def test_set_needs_something_to_set_and_a_file_to_write(run, detector):
    for words in (["--classes", 3], ["new.cfg"], ["new.cfg", "--net", "x"]):
        assert run("cfg", "set", detector.cfg, *words).exit_code == 2
    assert not Path("new.cfg").exists()


def test_set_on_a_file_that_does_not_fit(run, detector):
    Path("bad.cfg").write_text(BAD)
    result = run("cfg", "set", "bad.cfg", "new.cfg", "--net", "batch=2")
    assert result.exit_code == 1
    assert result.stderr == (
        "bad.cfg: [convolutional] Unused field: 'filtres = 3'; did you mean filters? (line 9 of the changed file and 1 "
        "more errors, see `cfg check`)\n"
    )
    assert not Path("new.cfg").exists()
