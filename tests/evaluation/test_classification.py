"""Classifiers on lists: answers in order, trees, counts."""

import numpy as np
import pytest
from support.class_files import write_classifier, write_pictures

import pydarknet
from pydarknet.config.names import read_tree
from pydarknet.config.sections import read_data
from pydarknet.errors import ConfigError, DataError, OptionError
from pydarknet.evaluation.classification import (
    UNKNOWN,
    Answer,
    BatchClassifier,
    ConfusionCounts,
    ListedPicture,
    class_count,
    class_of,
    leaves_of,
    matching,
    read_labels,
    read_list,
    read_pictures,
)
from pydarknet.images.image import load_image
from pydarknet.inference import classifier as views

PICTURES = [("red", "red"), ("red", "green"), ("green", "green"), ("blue", "red"), ("grey", "blue"), ("blue", "blue")]
ON, OFF = np.exp(4) / (np.exp(4) + 2), 1 / (np.exp(4) + 2)  # probabilities of the picture's colour and of others


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_classifier(tmp_path)
    write_pictures(tmp_path, PICTURES, "top=2\n")
    return tmp_path


@pytest.fixture
def model(folder):
    return pydarknet.load("net.cfg", "net.weights")


def run(model, kind=views.middle, pictures=None, **options):
    return list(BatchClassifier(model, read_list("list.txt") if pictures is None else pictures, kind, **options))


@pytest.mark.parametrize("batch", [1, 4, 10])
@pytest.mark.parametrize("kind", [views.middle, views.ten_crops, views.several_sizes, views.whole])
def test_answers_in_order_whatever_the_batch(model, batch, kind):
    answers = run(model, kind, batch=batch)
    assert [answer.index for answer in answers] == list(range(6))
    for answer, (name, colour) in zip(answers, PICTURES, strict=True):
        assert answer.picture.name == f"pictures/{name}_{answer.index}.png"
        shown = len(kind(load_image(answer.picture.path), model))
        expected = [shown * (ON if colour == c else OFF) for c in ("red", "green", "blue")]
        assert np.allclose(answer.outputs, expected, rtol=1e-5)


def test_counts(model):
    tally = ConfusionCounts(["red", "green", "blue"], 2)
    truths = [tally.add(answer) for answer in run(model)]
    assert truths == [0, 0, 1, 2, UNKNOWN, 2]
    assert (tally.pictures, tally.unlabelled, tally.hits) == (6, 1, 3)
    assert tally.top_hits == 4  # a red picture, of equal others the lower class: so green's place is second
    assert (tally.accuracy, tally.top_accuracy) == (0.5, 4 / 6)
    assert tally.mistakes(5) == [("red", "green", 1), ("blue", "red", 1)]
    red, green, blue = tally.table()
    assert red == {
        "class_id": 0, "name": "red", "pictures": 2, "correct": 1,
        "taken_for": [
            {"class_id": 0, "name": "red", "count": 1}, {"class_id": 1, "name": "green", "count": 1},
        ],
    }  # fmt: skip
    assert (green["correct"], blue["correct"], blue["pictures"]) == (1, 1, 2)


def test_nothing_counted_yet():
    tally = ConfusionCounts(["a"], 1)
    assert (tally.accuracy, tally.top_accuracy, tally.table(), tally.mistakes(3)) == (0, 0, [], [])


def test_the_best_classes():
    answer = Answer(0, ListedPicture("", "."), np.array([0.1, 0.3, 0.1, 0.5], np.float32))
    assert answer.top(4, 3) == [3, 1, 0]  # of equal ones the lower class first
    assert answer.top(3, 2) == [1, 0]  # among the first three
    assert answer.top(2, 5) == [1, 0]
    assert Answer(0, ListedPicture("", "."), None).top(4, 3) == []


def test_a_picture_that_cannot_be_read_counts_as_wrong(model, warnings):
    pictures = read_list("list.txt")
    pictures[1].path.write_bytes(b"no picture")
    classifying = BatchClassifier(model, pictures, views.middle, batch=3)
    answers = list(classifying)
    assert [answer.outputs is None for answer in answers] == [False, True, False, False, False, False]
    assert classifying.unreadable == 1
    assert warnings()[-1].endswith("it counts as a wrong answer")
    tally = ConfusionCounts(["red", "green", "blue"], 1)
    for answer in answers:
        tally.add(answer)
    assert (tally.pictures, tally.hits, sum(tally.confusion.values())) == (6, 3, 5)
    assert classifying.timing.pictures == 6
    assert 0 < classifying.timing.forward < classifying.timing.total


def test_trees(folder):
    (folder / "tree.txt").write_text("red -1\ngreen 0\nblue 0\n")
    write_classifier(folder, "tree=tree.txt")
    model = pydarknet.load("net.cfg", "net.weights")
    given = np.exp([0, 4]) / np.exp([0, 4]).sum()  # a blue picture: red is the root
    blue = read_list("list.txt")[4:5]
    assert np.allclose(run(model, pictures=blue)[0].outputs, [0, *given], rtol=1e-5)
    assert np.allclose(run(model, pictures=blue, only_leaves=False)[0].outputs, [1, *given], rtol=1e-5)
    leaves = np.array([True, False, True])
    assert np.allclose(run(model, pictures=blue, leaves=leaves)[0].outputs, [1, 0, given[1]], rtol=1e-5)
    assert np.allclose(run(model, pictures=blue, only_leaves=None)[0].outputs, [1, *given], rtol=1e-5)
    several = run(model, views.several_sizes, pictures=blue)[0].outputs  # mirrored views keep the inner node
    assert np.allclose(several, [4, 8 * given[0], 8 * given[1]], rtol=1e-5)


def test_deeper_trees_multiply_down(folder):
    (folder / "tree.txt").write_text("red -1\ngreen 0\nblue 1\n")
    write_classifier(folder, "tree=tree.txt")
    model = pydarknet.load("net.cfg", "net.weights")
    assert np.allclose(run(model, pictures=read_list("list.txt")[:1])[0].outputs, [0, 0, 1])


def test_leaves(folder, warnings):
    (folder / "tree.txt").write_text("red -1\ngreen 0\nblue 0\n")
    (folder / "leaves.txt").write_text("red\nblue\npink\n")
    (folder / "leaves.data").write_text("leaves=leaves.txt\n")
    tree = read_tree("tree.txt")
    assert leaves_of(read_data("leaves.data"), tree).tolist() == [True, False, True]
    assert warnings()[-1] == "Found 2 leaves."
    assert leaves_of(read_data("net.data"), tree) is None
    with pytest.raises(ConfigError, match=r"leaves\.data:1: \[data\] leaves: the network has no tree"):
        leaves_of(read_data("leaves.data"), None)


def test_what_a_data_file_says(folder, model):
    data = read_data("net.data")
    assert class_count(data, model) == 3
    assert read_labels(data, 2) == ["red", "green"]
    assert read_pictures(data, "valid", "none")[0].name == "pictures/red_0.png"
    (folder / "other.data").write_text("classes=4\n")
    with pytest.raises(ConfigError, match="classes=4: expected at most 3"):
        class_count(read_data("other.data"), model)
    (folder / "other.data").write_text("top=1\n")
    assert class_count(read_data("other.data"), model) == 3
    with pytest.raises(DataError, match=r"data/labels\.list"):
        read_labels(read_data("other.data"), 3)
    with pytest.raises(DataError, match=r"data/test\.list"):
        read_pictures(read_data("other.data"), "test", "data/test.list")


def test_classes_told_by_paths():
    assert class_of("a/catfish.png", ["dog", "cat", "fish"]) == 1
    assert class_of("a/bird.png", ["dog", "cat"]) == UNKNOWN
    assert matching("a/catfish.png", ["dog", "cat", "fish"]) == [1, 2]


def test_detectors_are_refused(build):
    text = "[net]\nchannels=3\nheight=32\nwidth=32\n[convolutional]\nfilters=7\nsize=1\nstride=32\n"
    network = build(text + "[yolo]\nmask=0\nanchors=16,8\nnum=1\nclasses=2\n")
    with pytest.raises(OptionError, match=r"a detector \(it has a \[yolo\] layer\), not a classifier"):
        BatchClassifier(network, [], views.middle)
