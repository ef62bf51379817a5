"""mAP on a cluster: the figures of `evaluate`, bit for bit."""

from functools import partial

import pytest
from support.evaluation_files import evaluation_files

import pydarknet
from pydarknet.config.sections import read_data
from pydarknet.evaluation import GroundTruth, evaluate
from pydarknet.ray import measure
from pydarknet.ray.spread import Spread

pytestmark = pytest.mark.cluster


def test_the_figures_are_those_of_one_process(nodes, tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "BLOCK", 3)
    files, weights = evaluation_files(tmp_path)
    model = pydarknet.load(files.cfg, weights, dialect="alexeyab")
    truth = GroundTruth.from_data(read_data(files.data), model.classes)
    (tmp_path / "broken.png").write_text("no picture")
    truth = GroundTruth([*truth.paths, tmp_path / "broken.png"], [*truth.boxes, truth.boxes[0]])
    here = evaluate(model, truth, coco=True)
    there = evaluate(model, truth, coco=True, detector=partial(measure.SpreadDetector, Spread()))
    assert there.report == here.report
    assert repr(there.coco) == repr(here.coco)  # where there are no objects of a size, NaN
    assert (there.unreadable, there.timing.pictures) == (here.unreadable, here.timing.pictures) == (1, len(truth))
