"""`classify` and `classifier predict`: what they print, to the character."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

LINES = ["Eskimo dog: 0.506480", "hen: 0.307196", "cat: 0.186324"]


def without_time(text):
    return re.sub(r"\d+\.\d{6} seconds", "T seconds", text)


def test_lines(run, classifier):
    result = run("classify", classifier.cfg, classifier.weights, "dog.png", "--names", classifier.names)
    assert result.exit_code == 0
    assert re.fullmatch(r"dog\.png: Predicted in \d+\.\d{6} seconds\.", result.stdout.splitlines()[0])
    assert result.stdout.splitlines()[1:] == LINES
    assert result.stderr == ""


def test_numbers_where_no_list_has_as_many_names(run, classifier):
    result = run("classify", classifier.cfg, classifier.weights, "dog.png", "-t", 1)
    assert result.stdout.splitlines()[1:] == ["1: 0.506480"]


@pytest.mark.parametrize("flag", [["-t", "2"], ["-t2"], ["-top", "2"], ["--top", "2"], ["--top=2"], ["-top=2"]])
def test_top(run, classifier, flag):
    result = run("classify", classifier.cfg, *flag, classifier.weights, "dog.png", "-names", classifier.names)
    assert result.stdout.splitlines()[1:] == LINES[:2]


def test_classes(run, classifier):
    words = ["classify", classifier.cfg, classifier.weights, "dog.png", "-names", classifier.names, "--classes"]
    third, second = LINES[2], LINES[1]
    names = [line.rpartition(":")[0] for line in (third, second)]
    assert run(*words, ",".join(names)).stdout.splitlines()[1:] == [second, third]
    assert run(*words, names[0]).stdout.splitlines()[1:] == [third]
    assert run(*words, ",".join(names), "-t1").stdout.splitlines()[1:] == [second]
    result = run(*words, "cow")
    assert result.exit_code == 1
    assert result.stderr.startswith('--classes: no class is called "cow"; expected names of the 3 classes')


@pytest.mark.parametrize("fit", ["auto", "shorter", "crop", "letterbox", "stretch"])
def test_fits(run, classifier, fit):
    result = run("classify", classifier.cfg, classifier.weights, "dog.png", "--fit", fit)
    assert result.stdout.splitlines()[1] == "1: 0.506480"


def test_tree(run, classifier, folder):
    (folder / "tree.txt").write_text("animal -1\ndog 0\ncat 0\n")
    cfg = Path(classifier.cfg)
    cfg.write_text(cfg.read_text().replace("[softmax]", "[softmax]\ntree=tree.txt"))
    result = run("classify", cfg, classifier.weights, "dog.png", "--names", classifier.names)
    assert result.stdout.splitlines()[1:] == [
        "0, cat: 1.000000, parent: Root ",
        "1, Eskimo dog: 0.622459, parent: cat ",
        "2, hen: 0.377541, parent: cat ",
    ]


def test_predict_prints_as_many_as_the_data_file_says(run, classifier, folder):
    data = folder / "pets.data"
    data.write_text("names = classify.names\n")
    words = ["classifier", "predict", data, classifier.cfg, classifier.weights, "dog.png"]
    assert run(*words).stdout.splitlines()[1:] == LINES[:1]
    assert run(*words, "-t", "2").stdout.splitlines()[1:] == LINES[:2]
    data.write_text("labels = classify.names\ntop=3\n")
    assert run(*words).stdout.splitlines()[1:] == LINES


def test_names_of_a_data_file_are_looked_for_beside_it(run, classifier, folder, monkeypatch):
    (folder / "sub").mkdir()
    (folder / "pets.data").write_text("names = classify.names\n")
    monkeypatch.chdir(folder / "sub")
    words = [f"../{name}" for name in (classifier.cfg, classifier.weights, "dog.png")]
    result = run("classify", *words, "--data", "../pets.data", "-t", 1)
    assert without_time(result.stdout) == "../dog.png: Predicted in T seconds.\nEskimo dog: 0.506480\n"


def test_bytes_of_names_leave_as_they_came(run, classifier):
    Path(classifier.names).write_bytes(b"cat\nh\xfcndin\nhen\n")
    result = run("classify", classifier.cfg, classifier.weights, "dog.png", "-t1", "--names", classifier.names)
    assert result.stdout_bytes.endswith(b"\nh\xfcndin: 0.506480\n")


def test_a_sliver_is_letterboxed_where_nobody_chose(run, classifier, folder):
    import cv2

    cv2.imwrite("sliver.png", np.zeros((1, 30000, 3), np.uint8))
    result = run("classify", classifier.cfg, classifier.weights, "sliver.png")
    assert result.exit_code == 0
    assert "sliver.png: Predicted" in result.stdout


def test_a_picture_that_no_network_could_take(run, classifier, folder):
    import cv2

    cv2.imwrite("sliver.png", np.zeros((1, 30000, 3), np.uint8))
    result = run("classify", classifier.cfg, classifier.weights, "sliver.png", "dog.png", "--fit", "shorter")
    assert result.exit_code == 1
    assert "dog.png: Predicted" in result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith('Cannot use image "sliver.png": ')


def test_json(run, classifier):
    words = ["classify", classifier.cfg, classifier.weights, "--names", classifier.names, "-t", "1"]
    (line,) = run(*words, "dog.png", "--json").stdout.splitlines()
    content = json.loads(line)
    assert content.pop("seconds") > 0
    assert content == {
        "filename": "dog.png",
        "classes": [{"class_id": 1, "name": "Eskimo dog", "probability": 0.50648}],
    }
    assert run(*words, "dog.png", "--quiet").output == ""


def test_batches_of_pictures_of_several_sizes(run, classifier):
    sizes = [(8, 8), (8, 16), (8, 8), (16, 8), (8, 16)]
    for number, (height, width) in enumerate(sizes):
        cv2.imwrite(f"{number}.png", np.full((height, width, 3), 50 * number, np.uint8))
    words = ["classify", classifier.cfg, classifier.weights, "[0-9].png", "--fit", "shorter", "--json"]
    one, many = (
        [json.loads(line) for line in run(*words, "--batch", batch).stdout.splitlines()] for batch in ("1", "4")
    )
    for each in (*one, *many):
        del each["seconds"]
    assert one == many
    assert [each["filename"] for each in one] == [f"{number}.png" for number in range(5)]
