"""The plot: its points, its file, what it refuses."""

import sys

import cv2
import numpy as np
import pytest

from pydarknet.boxes import Candidates
from pydarknet.errors import OptionError, OutputError
from pydarknet.evaluation import MeanAveragePrecision
from pydarknet.evaluation.average_precision import Curve
from pydarknet.evaluation.plot import check_plot, steps, write_plot


@pytest.fixture
def records():
    collected = MeanAveragePrecision(2)
    truth = np.array([[0, 0.5, 0.5, 0.2, 0.2]], np.float32)
    candidates = Candidates(truth[:, 1:], np.ones(1, np.float32), np.array([[0.9, 0]], np.float32))
    collected.add(candidates, truth)
    return collected


def test_steps():
    curve = Curve(np.array([1, 0.5, 2 / 3]), np.array([0.5, 0.5, 1]), np.zeros(3, np.float32))
    recall, precision = steps(curve)
    assert recall.tolist() == [0, 0.5, 0.5, 1, 1]
    assert precision.tolist() == pytest.approx([1, 1, 2 / 3, 2 / 3, 0])
    empty = steps(Curve(np.zeros(0), np.zeros(0), np.zeros(0, np.float32)))
    assert [part.tolist() for part in empty] == [[0], [0]]


def test_a_picture(records, tmp_path):
    pytest.importorskip("matplotlib", reason="needs matplotlib (extra plot)")
    write_plot(tmp_path / "out.png", records.report(), records.curves(), ["_$x_{", "b"])
    picture = cv2.imread(str(tmp_path / "out.png"))
    assert picture.shape == (720, 960, 3)
    assert (picture == [180, 119, 31]).all(axis=2).any()  # the first class's line, in BGR


def test_refusals(records, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="needs matplotlib (extra plot)")
    with pytest.raises(OptionError, match=r"cannot draw a txt file; expected one of .*png"):
        check_plot(tmp_path / "out.txt")
    with pytest.raises(OutputError, match="No such file"):
        write_plot(tmp_path / "nowhere" / "out.png", records.report(), records.curves(), ["a", "b"])
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(OptionError, match=r"pip install 'pydarknet\[plot\]'"):
        check_plot(tmp_path / "out.png")
