"""`--csv` of detect and classify."""

import csv
import json
from pathlib import Path

import pytest

from pydarknet.cli.outputs import file_name


def rows(path):
    with Path(path).open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


def test_a_line_for_each_object(run, detector):
    Path(detector.names).write_text('dog, "big"\ncat\n')
    words = ["detect", detector.cfg, detector.weights, "--names", detector.names, "--dialect", "alexeyab"]
    result = run(*words, "dog.png", "dog.png", "--csv", "found.csv", "--quiet", "--no-picture")
    assert (result.exit_code, result.output) == (0, "")
    dog = ["dog.png", "", "0", 'dog, "big"', "0.880797", "16.000", "18.000", "48.000", "30.000"]
    cat = ["dog.png", "", "1", "cat", "0.268941", *dog[5:]]
    header = ["filename", "frame", "class_id", "name", "confidence", "left", "top", "right", "bottom"]
    assert rows("found.csv") == [header, dog, cat, dog, cat]


def test_a_line_for_each_class(run, classifier):
    words = ["classify", classifier.cfg, classifier.weights, "--names", classifier.names, "-t", "2"]
    result = run(*words, "dog.png", "--csv", "classes.csv", "--json")
    assert json.loads(result.stdout)["classes"][0]["name"] == "Eskimo dog"
    assert rows("classes.csv") == [
        ["filename", "frame", "rank", "class_id", "name", "probability", "parent"],
        ["dog.png", "", "1", "1", "Eskimo dog", "0.506480", ""],
        ["dog.png", "", "2", "2", "hen", "0.307196", ""],
    ]


def test_a_table_without_objects_has_its_header(run, detector):
    run("detect", detector.cfg, detector.weights, "dog.png", "--thresh", ".9", "--csv", "found.csv")
    assert len(rows("found.csv")) == 1


def test_a_table_that_cannot_be_written(run, detector, classifier):
    for words in (["detect", detector.cfg, detector.weights], ["classify", classifier.cfg, classifier.weights]):
        result = run(*words, "dog.png", "--csv", "no/found.csv")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == "no/found.csv: cannot write: No such file or directory\n"


def test_an_old_table_stays_where_a_run_breaks_off(run, detector, monkeypatch):
    Path("found.csv").write_text("old")
    monkeypatch.setattr("pydarknet.cli.commands.detect.print_found", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("detect", detector.cfg, detector.weights, "dog.png", "--csv", "found.csv")
    assert Path("found.csv").read_text() == "old"
    assert sorted(map(str, Path().iterdir())) == [
        "detect.cfg",
        "detect.names",
        "detect.weights",
        "dog.png",
        "found.csv",
    ]


@pytest.mark.parametrize("path, name", [
    ("a/b.jpg", "b.jpg"), ("http://h:80/x/y.jpg?z=1", "y.jpg"), ("rtsp://cam.local:554/", "cam_local"),
    ("rtsp://u:p@cam/live/ch1", "ch1"), ("camera:0", "camera_0"), ("standard input", "standard_input"),
    ("http://h/%2e%2e", "%2e%2e"),
])  # fmt: skip
def test_names_for_files(path, name):
    assert file_name(path) == name
