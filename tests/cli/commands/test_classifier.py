"""`classifier valid` and its relatives, `label`, `test`, `csv`, `fout`: darknet's lines, as processes, and bad input.

The forms were compared with the output of both programs.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from support.class_files import write_classifier, write_pictures
from support.processes import process

PICTURES = [("red", "red"), ("red", "green"), ("green", "green"), ("blue", "red"), ("grey", "blue")]
FILES = ["net.data", "net.cfg", "net.weights"]
ON, OFF = np.exp(4) / (np.exp(4) + 2), 1 / (np.exp(4) + 2)
# After each picture: its class first, or among the two best.
RUNNING = ["1.000000, top 2: 1.000000", "0.500000, top 2: 1.000000", "0.666667, top 2: 1.000000",
           "0.500000, top 2: 0.750000", "0.400000, top 2: 0.600000"]  # fmt: skip
LINES = [f"{i}: top 1: {running}" for i, running in enumerate(RUNNING)]
REMARKS = ["1 x red taken for green", "1 x blue taken for red", "1 pictures with no class in their path count as wrong"]


@pytest.fixture
def files(folder):
    write_classifier(folder)
    return write_pictures(folder, PICTURES, "top=2\n")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["valid10", "validmulti", "validfull"])
def test_accuracies_as_a_process(files, command):
    result = process("classifier", command, *FILES)
    assert (result.returncode, result.stdout.splitlines()) == (0, LINES)
    *remarks, speed = [line for line in result.stderr.splitlines() if not line.startswith("Compiling")]
    assert remarks == REMARKS
    assert re.fullmatch(r"5 pictures in \d+\.\d\d seconds: \d+\.\d images/s", speed)


@pytest.mark.slow
def test_valid_as_pjreddie_prints_it(files):
    result = process("classifier", "valid", *FILES)
    truths, red_green = [0, 0, 1, 2, -1], [(ON, OFF), (OFF, ON), (OFF, ON), (ON, OFF), (OFF, OFF)]
    expected = []
    for path, truth, (red, green), line in zip(files, truths, red_green, LINES, strict=True):
        expected += [f"{path}, {truth}, {red:f}, {green:f}, ", line]
    assert result.stdout.splitlines() == expected


def test_valid_as_alexeyab_prints_it(run, files):
    result = run("classifier", "valid", *FILES, "--dialect", "alexeyab")
    assert result.stdout == " TOP calculation...\n\n" + "\n".join(LINES)
    assert result.stderr.startswith("\n1 x red taken for green\n")


def test_top_is_limited_in_alexeyabs_only(run, files):
    for dialect, top in (("pjreddie", 7), ("alexeyab", 3)):
        result = run("classifier", "valid", *FILES, "-t", "7", "--dialect", dialect)
        assert result.stdout.endswith(f"4: top 1: 0.400000, top {top}: 0.800000" + "\n" * (dialect == "pjreddie"))


def test_json(run, files):
    result = run("classifier", "valid", *FILES, "--json", "figures.json", "--batch", "3")
    assert result.exit_code == 0
    figures = json.loads(Path("figures.json").read_text())
    assert (figures["pictures"], figures["unlabelled"], figures["unreadable"]) == (5, 1, 0)
    assert (figures["top1"], figures["top"], figures["topk"]) == (0.4, 2, 0.6)
    assert [(row["name"], row["pictures"], row["correct"]) for row in figures["classes"]] == [
        ("red", 2, 1), ("green", 1, 1), ("blue", 1, 0),
    ]  # fmt: skip
    assert figures["classes"][2]["taken_for"] == [{"class_id": 0, "name": "red", "count": 1}]


@pytest.mark.slow
def test_validcrop(files):
    result = process("classifier", "validcrop", *FILES)
    complaint, loaded, line = result.stdout.splitlines()
    assert complaint == f"Too many or too few labels: 0, {files[4]}"
    assert re.fullmatch(r"Loaded: 5 images in \d+\.\d{6} seconds", loaded)
    assert re.fullmatch(r"1: top 1: 0\.400000, top 2: 0\.600000, \d+\.\d{6} seconds, 5 images", line)


def test_validcrop_in_parts(run, files, monkeypatch):
    """Parts of equal size; what is left over at the end of a part is not looked at."""
    monkeypatch.setattr("pydarknet.cli.commands.classifier.SPLIT", 2)
    result = run("classifier", "validcrop", *FILES)
    lines = [line for line in result.stdout.splitlines() if "top" in line]
    assert [line.split(" seconds")[0].rpartition(",")[0] for line in lines] == [
        "1: top 1: 0.500000, top 2: 1.000000",
        "2: top 1: 0.500000, top 2: 0.750000",
    ]
    assert "1 pictures are left out, so that the parts have the same size, as in darknet" in result.stderr


@pytest.mark.slow
def test_label(files):
    result = process("classifier", "label", *FILES)
    assert result.stdout.splitlines() == ["red", "green", "green", "red", "blue"]


def rows(stdout):
    return [line.split("\t") for line in stdout.splitlines()]


def outputs(*colours):
    return [[f"{ON if c == colour else OFF:g}" for c in ("red", "green", "blue")] for colour in colours]


@pytest.mark.slow
def test_test(files):
    result = process("classifier", "test", *FILES)
    paths, found = [row[0] for row in rows(result.stdout)], [row[1:] for row in rows(result.stdout)]
    assert paths == files[:4]
    assert np.allclose(np.array(found, float), np.array(outputs("red", "green", "green", "red"), float), rtol=1e-5)
    remarks = [line for line in result.stderr.splitlines() if not line.startswith("Compiling")]
    assert re.fullmatch(r"Loaded: 2 images in \d+\.\d{6} seconds", remarks[0])
    assert re.fullmatch(r"\d+\.\d{6} seconds, 2 images, 4 total", remarks[3])
    assert remarks[4] == "1 pictures are left out, as in darknet; --all prints them"


def test_test_leaves_out_a_last_group_that_is_whole(run, files):
    for count, printed in ((4, 2), (3, 2), (2, 0)):
        Path("list.txt").write_text("\n".join(files[:count]) + "\n")
        assert len(rows(run("classifier", "test", *FILES).stdout)) == printed
        everything = run("classifier", "test", *FILES, "0", "--all")
        assert [row[0] for row in rows(everything.stdout)] == files[:count]


@pytest.mark.slow
def test_csv(files):
    result = process("classifier", "csv", *FILES)
    assert rows(result.stdout) == [
        [path, *best] for path, best in zip(files, ("01", "10", "10", "01", "20"), strict=True)
    ]  # fmt: skip
    assert re.search(r"^\d+\.\d{6} seconds, 5 images, 5 total$", result.stderr, re.M)


@pytest.mark.slow
def test_fout(files):
    Path("some.txt").write_text(f"{files[4]}\n{files[0]}\n")
    Path("net.data").write_text("classes=2\n")
    result = process("classifier", "fout", *FILES, "some.txt")
    found = rows(result.stdout)
    assert [row[0] for row in found] == [files[4], files[0]]
    expected = [row[:2] for row in outputs("blue", "red")]
    assert np.allclose(np.array([row[1:] for row in found], float), np.array(expected, float), rtol=1e-5)


@pytest.mark.parametrize("command", ["valid", "label", "csv", "fout", "test"])
def test_pictures_that_cannot_be_read(run, files, command):
    Path(files[1]).unlink()
    result = run("classifier", command, *FILES, *(["list.txt"] if command == "fout" else []))
    assert result.exit_code == 1
    assert f'Cannot load image "{files[1]}": No such file or directory; it counts as a wrong answer' in result.stderr
    assert result.stderr.endswith("1 pictures cannot be read\n")
    expected = {
        "valid": f"{files[1]}, 0, nan, nan, ", "label": "", "csv": files[1], "fout": files[1], "test": files[1],
    }[command]  # fmt: skip
    assert result.stdout.splitlines()[2 if command == "valid" else 1] == expected


@pytest.mark.parametrize(("data", "message"), [
    ("classes=4\nvalid=list.txt\nlabels=labels.txt\n", "net.data:1: [data] classes=4: expected at most 3"),
    ("valid=gone.txt\nlabels=labels.txt\n", "Couldn't open file: gone.txt (no such file; tried "),
    ("valid=list.txt\n", "Couldn't open file: data/labels.list (no such file; tried "),
    ("valid=list.txt\nlabels=two.txt\n", "two.txt: 2 names; expected 3"),
    ("valid=list.txt\nlabels=labels.txt\nleaves=two.txt\n", "net.data:3: [data] leaves: the network has no tree"),
    ("valid=list.txt\nlabels=labels.txt\ntop=0\n", "net.data:3: [data] top=0: expected a number from 1 to"),
])  # fmt: skip
def test_errors_are_one_line(run, files, data, message):
    Path("net.data").write_text(data)
    Path("two.txt").write_text("red\ngreen\n")
    result = run("classifier", "valid", *FILES)
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(message)


def test_detectors_are_refused(run, files, detector):
    result = run("classifier", "label", "net.data", detector.cfg, detector.weights)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "not a classifier" in result.stderr


def test_every_command_has_help_with_an_example(run):
    for command in ("valid", "valid10", "validmulti", "validfull", "validcrop", "label", "test", "csv", "fout"):
        assert f"pydarknet classifier {command} " in run("classifier", command, "--help").stdout
