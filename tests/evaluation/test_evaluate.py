"""Pictures on the disk through a network, against what is known to be in them."""

import cv2
import numpy as np
import pytest
from reference import average_precision as naive_map
from support.training_files import detection_files

import pydarknet
from pydarknet.config.dialect import ALEXEYAB
from pydarknet.config.sections import read_data
from pydarknet.errors import ConfigError, DataError, OptionError
from pydarknet.evaluation import MAP, BatchDetector, GroundTruth, InferenceOptions, evaluate
from pydarknet.runtime import threads


@pytest.fixture
def files(tmp_path):
    return detection_files(tmp_path)


@pytest.fixture
def truth(files):
    return GroundTruth.read(files.folder.parent / "train.txt", 2)


@pytest.fixture
def model(files):
    """A network with random filters that finds something of the anchor's size in every cell."""
    model = pydarknet.load(files.cfg, dialect="alexeyab", seed=4)
    _, filters = model.layers[2].parameters()
    filters[2:4] = 0
    model.parameters_changed()
    return model


def test_equals_pictures_looked_at_one_by_one(model, truth):
    result = evaluate(model, truth, thresh=0.1, iou_thresh=0.3)
    pictures = []
    for path, rows in zip(truth.paths, truth.boxes, strict=True):
        found = model.find(path, thresh=MAP.thresh, nms=MAP.nms, hier=0).candidates
        pictures.append((found.boxes, found.probabilities, rows, np.zeros((0, 5))))
    records, counts, average_iou = naive_map.collect(pictures, 2, 0.1, 0.3)
    report = result.report
    assert np.array_equal([(c.tp, c.fp, c.truths) for c in report.classes], counts.T)
    assert report.tp > 0
    assert report.average_iou == average_iou
    expected = naive_map.average_precisions(records, counts[2], 0)
    np.testing.assert_allclose([c.ap for c in report.classes], expected, rtol=1e-12)
    assert (result.timing.pictures, result.unreadable) == (10, 0)
    assert 0 < result.timing.forward <= result.timing.total
    assert result.timing.rate > 0


@pytest.mark.parametrize(("batch", "threads"), [(3, 1), (4, 3), (16, 2)])
def test_batches_and_threads_change_nothing(model, truth, batch, threads):
    one = list(BatchDetector(model, truth.paths, MAP))
    many = list(BatchDetector(model, truth.paths, MAP, batch, threads))
    assert [result.index for result in many] == list(range(10))
    for a, b in zip(one, many, strict=True):
        np.testing.assert_allclose(a.candidates.boxes, b.candidates.boxes, rtol=1e-5)
        np.testing.assert_allclose(a.candidates.probabilities, b.candidates.probabilities, rtol=1e-5)


def test_kernels_spread_over_as_many_threads_as_the_caller_s(model, truth, monkeypatch):
    seen, before = [], threads.threads()
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda x: seen.append(threads.threads()) or forward(x))
    try:
        threads.set_threads(1)
        list(BatchDetector(model, truth.paths, MAP, batch=5))
    finally:
        threads.set_threads(before)
    assert seen == [1, 1]


def test_each_tells_what_was_missed(model, truth):
    missed = []
    result = evaluate(model, truth, thresh=0.1, iou_thresh=0.3, each=lambda result, count: missed.append(count))
    assert sum(missed) == result.report.fn
    assert len(missed) == 10


def test_letterbox(model, truth, tmp_path):
    cv2.imwrite(str(tmp_path / "wide.png"), np.random.default_rng(3).integers(0, 255, (20, 60, 3), np.uint8))
    for letterbox in (False, True):
        (result,) = BatchDetector(model, [tmp_path / "wide.png"], InferenceOptions(letterbox=letterbox))
        found = model.find(tmp_path / "wide.png", thresh=0.005, letterbox=letterbox).candidates
        np.testing.assert_array_equal(result.candidates.boxes, found.boxes)
        assert (result.width, result.height) == (60, 20)


def test_a_picture_that_cannot_be_read_counts_as_one_where_nothing_is_found(model, truth, warnings):
    truth.paths[1].write_bytes(b"no picture")
    result = evaluate(model, truth, thresh=0.1, batch=2)
    assert result.unreadable == 1
    assert result.timing.pictures == 10
    assert [line for line in warnings() if str(truth.paths[1]) in line and "without detections" in line]


def test_a_classifier_is_refused(build, truth):
    network = build("[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nfilters=2\nsize=1\n[avgpool]\n[softmax]\n")
    with pytest.raises(OptionError, match="no detection layer"):
        evaluate(network, truth)


def test_label_files_that_are_missing_empty_or_elsewhere(tmp_path, model):
    """A picture without a label file has no objects; a folder beside that of the pictures is looked into."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for name in ("a", "b", "c"):
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "images" / "a.txt").write_text("")
    (tmp_path / "labels" / "b.txt").write_text("1 .5 .5 .2 .2\n0 .1 .1 .1 .1\n")
    (tmp_path / "list.txt").write_text("images/a.png\nimages/b.png\nimages/c.png\n")
    truth = GroundTruth.read(tmp_path / "list.txt", 2)
    assert [rows.shape for rows in truth.boxes] == [(0, 5), (2, 5), (0, 5)]
    assert truth.boxes[1][0].tolist() == pytest.approx([1, 0.5, 0.5, 0.2, 0.2])
    assert truth.missing == [tmp_path / "images" / "c.txt"]


@pytest.mark.parametrize(("line", "message"), [("1 .5 .5 .2", "found '1 .5 .5 .2'"), ("0 .5 nan .2 .2", "not finite")])
def test_a_wrong_label_is_an_error(truth, files, line, message):
    label = truth.paths[2].with_suffix(".txt")
    label.write_text(line)
    with pytest.raises(DataError, match=message) as error:
        GroundTruth.read(files.folder.parent / "train.txt", 2)
    assert str(label) in str(error.value)


def test_an_unknown_class_is_a_warning(truth, files, warnings):
    label = truth.paths[2].with_suffix(".txt")
    label.write_text("5 .5 .5 .2 .2")
    assert len(GroundTruth.read(files.folder.parent / "train.txt", 2).boxes[2]) == 1
    assert warnings() == [f"{label}: class 5; the network has classes 0 to 1"]


def test_a_data_file_names_the_lists(files, tmp_path):
    files.data.write_text("valid = train.txt\ndifficult = hard.txt\n")
    (tmp_path / "hard.txt").write_text((tmp_path / "train.txt").read_text())
    truth = GroundTruth.from_data(read_data(files.data), 2, ALEXEYAB)
    assert len(truth) == 10
    assert np.array_equal(truth.difficult_in(3), truth.boxes[3])
    (tmp_path / "hard.txt").write_text("a.png\n")
    with pytest.raises(DataError, match="1 pictures; expected 10"):
        GroundTruth.from_data(read_data(files.data), 2, ALEXEYAB)
    files.data.write_text("train = train.txt\n")
    assert len(GroundTruth.from_data(read_data(files.data), 2, ALEXEYAB, "valid", "train")) == 10
    with pytest.raises(ConfigError, match="valid= is missing"):
        GroundTruth.from_data(read_data(files.data), 2, ALEXEYAB)
