"""Which weights are due after an iteration, and their names."""

import pytest

from pydarknet.training.checkpoint import base_name
from pydarknet.training.checkpoint_schedule import CheckpointSchedule


@pytest.mark.parametrize(
    ("path", "backslashes", "expected"),
    [("cfg/yolo.v3.cfg", False, "yolo"), ("a\\b.cfg", True, "b"), ("a\\b.cfg", False, "a\\b"), ("net", False, "net")],
)
def test_base_name(path, backslashes, expected):
    assert base_name(path, backslashes) == expected


def due(schedule, upto, batch=8):
    return {i: names for i in range(1, upto + 1) if (names := schedule.due(i, i * batch))}


def test_pjreddie_detector_names():
    found = due(CheckpointSchedule("n", alexeyab=False, kind="detector", batch=8, pictures=100), 20000)
    assert found[100] == ["n_100.weights", "n.backup"]
    assert found[900] == ["n_900.weights", "n.backup"]
    assert found[1000] == ["n.backup"]
    assert found[10000] == ["n_10000.weights", "n.backup"]
    assert len(found) == 200


def test_pjreddie_classifier_names():
    schedule = CheckpointSchedule("n", alexeyab=False, kind="classifier", batch=8, pictures=20)
    assert due(schedule, 8) == {3: ["n_1.weights"], 5: ["n_2.weights"], 8: ["n_3.weights"]}
    assert schedule.due(1000, 8000) == ["n_400.weights", "n.backup"]
    assert schedule.final == "n.weights"


def test_alexeyab_detector_names():
    saved = {"weights": 50, "last": 50}
    schedule = CheckpointSchedule("n", alexeyab=True, kind="detector", batch=8, pictures=20, saved=saved)
    found = {i: names for i in range(51, 1101) if (names := schedule.due(i, 0))}
    assert list(found) == [100, 200, 300, 400, 500, 600, 700, 800, 900, 1000, 1100]
    assert found[1000] == ["n_1000.weights", "n_last.weights"]
    assert schedule.final == "n_final.weights"


def test_alexeyab_keeps_no_last_where_weights_are_as_frequent():
    schedule = CheckpointSchedule(
        "n", alexeyab=True, kind="detector", batch=8, pictures=20, weights_interval=100, saved={"weights": 0, "last": 0}
    )
    assert due(schedule, 250) == {100: ["n_100.weights"], 200: ["n_200.weights"]}


def test_alexeyab_classifier_counts_from_the_last_one():
    saved = {"weights": 50, "last": 50}
    schedule = CheckpointSchedule("n", alexeyab=True, kind="classifier", batch=8, pictures=20, saved=saved)
    found = {i: names for i in range(51, 1101) if (names := schedule.due(i, 0))}
    assert list(found)[:2] == [150, 250]
    assert found[1050] == ["n_1050.weights", "n_last.weights"]


def test_every_so_often():
    schedule = CheckpointSchedule("n", alexeyab=False, kind="detector", batch=8, pictures=9, every=40)
    rolling = {iteration: ["n.backup"] for iteration in (40, 80, 120)}
    assert due(schedule, 130) == rolling | {100: ["n_100.weights", "n.backup"]}
