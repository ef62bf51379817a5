"""The confusion matrix on cases that can be counted by hand."""

import numpy as np
import pytest
from support.evaluation_files import evaluation_files

import pydarknet
from pydarknet.boxes import Candidates
from pydarknet.evaluation import GroundTruth, evaluate
from pydarknet.evaluation.average_precision import found_above, match_boxes
from pydarknet.evaluation.report import ReportCollector, count_confusions

LEFT, RIGHT, CENTRE = (0.2, 0.5, 0.2, 0.2), (0.8, 0.5, 0.2, 0.2), (0.5, 0.5, 0.2, 0.2)


def candidates(*found, classes=2):
    """Boxes with (class, probability) each."""
    probabilities = np.zeros((len(found), classes), np.float32)
    for row, (_, number, probability) in enumerate(found):
        probabilities[row, number] = probability
    boxes = np.array([box for box, _, _ in found], np.float32).reshape(-1, 4)
    return Candidates(boxes, np.ones(len(found), np.float32), probabilities)


def objects(*found):
    return np.array([(number, *box) for box, number in found], np.float32).reshape(-1, 5)


@pytest.mark.parametrize(("found", "truth", "cells"), [
    ([(LEFT, 0, 0.9)], [(LEFT, 0)], {(0, 0): 1}),
    ([(LEFT, 1, 0.9)], [(LEFT, 0)], {(0, 1): 1}),  # taken for another class
    ([(LEFT, 0, 0.9)], [(RIGHT, 0)], {(0, 2): 1, (2, 0): 1}),  # missed, and found where nothing is
    ([(LEFT, 0, 0.2)], [(LEFT, 0)], {(0, 2): 1}),  # below the threshold
    ([(LEFT, 0, 0.9), (LEFT, 1, 0.8)], [(LEFT, 0)], {(0, 0): 1, (2, 1): 1}),  # one box for one object
    ([], [(LEFT, 1), (RIGHT, 1)], {(1, 2): 2}),
    ([(CENTRE, 1, 0.5)], [], {(2, 1): 1}),
])  # fmt: skip
def test_cells(found, truth, cells):
    confusion = np.zeros((3, 3), np.int64)
    count_confusions(confusion, candidates(*found), objects(*truth), 0.25, 0.5)
    assert {(int(r), int(c)): int(confusion[r, c]) for r, c in zip(*np.nonzero(confusion), strict=True)} == cells


def test_the_best_overlap_pairs_first():
    near = (0.22, 0.5, 0.2, 0.2)
    boxes, _, _ = found_above(candidates((near, 0, 0.9), (LEFT, 0, 0.8)), 0.25)
    assert match_boxes(boxes, objects((LEFT, 0)), 0.5) == [(1, 0)]


def test_sums_of_a_whole_set(tmp_path):
    files, weights = evaluation_files(tmp_path)
    model = pydarknet.load(files.cfg, weights, dialect="alexeyab", names=tmp_path / "names")
    truth = GroundTruth.read(tmp_path / "train.txt", 2)
    seen = ReportCollector(model, model.names, truth)
    result = evaluate(model, truth, each=seen.add)
    assert seen.confusion[:2].sum() == result.report.truths == 10
    assert seen.confusion[0, 0] + seen.confusion[1, 1] <= result.report.tp
    assert len(seen.random) == 6 and len({each.index for _, each in seen.random}) == 6
    np.testing.assert_allclose(seen.sizes, np.full((10, 2), 32 / 3), rtol=1e-5)
    assert seen.anchors.tolist() == [[12, 12]]
    assert seen.picture_sizes == {(48, 48): 10}
