"""The chart: what it shows, that it goes on, and that a run does without it."""

import json
import sys

import cv2
import numpy as np
import pytest

from pydarknet.training.run_folder import Chart

BLUE, RED = (180, 119, 31), (40, 39, 214)  # matplotlib's tab:blue and tab:red, as OpenCV has them


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "train.jsonl"


def write(journal, count, first=1, loss=5.0, measured=()):
    with journal.open("a") as stream:
        for i in range(first, first + count):
            entry = {"iteration": i, "loss": loss, "average": loss}
            stream.write(json.dumps(entry | ({"map": 0.3} if i in measured else {})) + "\n")


def columns(path, colour):
    """The columns of a picture in which there are pixels of a colour, as parts of its width."""
    picture = cv2.imread(str(path)).astype(int)
    found = np.flatnonzero((np.abs(picture - colour).max(axis=2) < 12)[100:].any(axis=0))
    return found / picture.shape[1]


def test_loss_and_map_over_iterations(tmp_path, journal):
    pytest.importorskip("matplotlib", reason="needs matplotlib (extra plot)")
    write(journal, 50, measured=(20, 40))
    chart = Chart(tmp_path / "chart.png", journal, "ne$t", 100, top=10)
    chart.draw()
    loss, red = columns(chart.path, BLUE), columns(chart.path, RED)
    assert 0.03 < loss.min() < 0.1 and 0.45 < loss.max() < 0.6  # of 100 iterations
    assert loss.min() + 0.1 < red.min() < 0.3 and 0.35 < red.max() < 0.5
    write(journal, 50, 51)
    chart.draw()
    longer = columns(chart.path, BLUE)
    assert longer.min() == loss.min() and longer.max() > 0.85
    assert (np.diff(longer) < 0.01).all(), "one curve without a gap"


def test_an_empty_journal_is_an_empty_chart(tmp_path, journal):
    pytest.importorskip("matplotlib", reason="needs matplotlib (extra plot)")
    journal.write_text("")
    chart = Chart(tmp_path / "chart.png", journal, "net", 0)
    chart.draw()
    assert chart.path.exists()


@pytest.mark.parametrize(("averages", "top", "expected"), [
    ([400.0, 300.0], None, 420.0),
    ([400.0, 30.0], None, 75.0),
    ([400.0, 3.0], None, 20.0),
    ([2.0, 1.0], None, 2.1),
    ([400.0, 3.0], 8.0, 8.0),
    ([], None, 1.0),
])  # fmt: skip
def test_the_top_of_the_loss(tmp_path, journal, averages, top, expected):
    assert Chart(tmp_path / "c.png", journal, "", 1, top)._top(averages) == pytest.approx(expected)


def test_without_matplotlib_there_is_one_note(tmp_path, journal, monkeypatch, warnings):
    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    write(journal, 3)
    chart = Chart(tmp_path / "chart.png", journal, "net", 10)
    chart.draw()
    chart.draw()
    assert warnings() == [
        "chart.png is not drawn: drawing a plot needs the matplotlib package: pip install 'pydarknet[plot]'"
    ]
    assert not chart.path.exists()


def test_a_chart_that_cannot_be_written_costs_no_run(tmp_path, journal, monkeypatch, warnings):
    pytest.importorskip("matplotlib", reason="needs matplotlib (extra plot)")

    def full(handle):
        raise OSError(28, "No space left on device")

    write(journal, 3)
    chart = Chart(tmp_path / "chart.png", journal, "net", 10)
    monkeypatch.setattr("pydarknet.utils.files.os.fsync", full)
    chart.draw()
    chart.draw()
    assert warnings() == [f"chart.png is not drawn: {chart.path}: cannot write: No space left on device"]
    assert not list(tmp_path.glob("*.p*"))
