"""The worst pictures: which are kept, and what is drawn."""

from pathlib import Path

import cv2
import numpy as np

from pydarknet.boxes import Candidates
from pydarknet.config.dialect import ALEXEYAB
from pydarknet.evaluation.evaluate import GREEN, RED, ImageResult, Worst, annotated


def result(index, path="x.png", boxes=(), probabilities=(), size=100):
    k = len(boxes)
    found = Candidates(np.float32(boxes).reshape(k, 4), np.ones(k, np.float32), np.float32(probabilities).reshape(k, 2))
    return ImageResult(index, Path(path), size, size, found)


def test_the_worst_are_kept_and_ranked():
    worst = Worst(3)
    missed = [1, 4, 0, 2, 4, 2, 1]
    for index, count in enumerate(missed):
        worst.add(result(index), count)
    assert [(count, one.index) for count, one in worst.ranked()] == [(4, 1), (4, 4), (2, 3)]


def test_nothing_missed_is_never_kept():
    worst = Worst()
    worst.add(result(0), 0)
    assert worst.ranked() == []


def test_truth_is_green_and_what_was_found_red(tmp_path):
    path = tmp_path / "x.png"
    cv2.imwrite(str(path), np.zeros((100, 100, 3), np.uint8))
    one = result(0, path, [[0.25, 0.5, 0.25, 0.375], [0.7, 0.5, 0.1, 0.1]], [[0.9, 0], [0.1, 0]])
    truth = np.float32([[1, 0.75, 0.5, 0.25, 0.375], [7, 0.75, 0.9, 0.1, 0.1]])
    picture = annotated(one, truth, ["a", "b"], 0.25, ALEXEYAB)
    assert picture[50, 62].tolist() == picture[68, 75].tolist() == list(GREEN)
    assert picture[50, 12].tolist() == picture[68, 25].tolist() == list(RED)
    assert not picture[45:56, 64:78].any()  # what is below the threshold is not drawn
