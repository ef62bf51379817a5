"""`DetectionModel` and `ClassificationModel`. OpenCV's own are compared in test_opencv.py."""

import cv2
import numpy as np
import pytest

from dnn.networks import ROOT, write_small
from pydarknet import dnn

FRAME = cv2.imread(str(ROOT / "data" / "sample.jpg"))


@pytest.fixture
def toys():
    model = dnn.DetectionModel("toys.weights", "toys.cfg")
    model.setInputParams(scale=1 / 255, size=(224, 160), swapRB=True)
    return model


def test_results_are_arrays_of_these_types(toys):
    ids, scores, boxes = toys.detect(FRAME, 0.3, 0.4)
    assert (ids.dtype, scores.dtype, boxes.dtype) == (np.int32, np.float32, np.int32)
    assert len(ids) == len(scores) == len(boxes) > 0
    height, width, _ = FRAME.shape
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= [width, height]).all()
    assert [each.shape for each in toys.detect(FRAME, 1.1, 0.4)] == [(0,), (0,), (0, 4)]


def test_they_are_what_the_tutorials_steps_give(toys):
    net = dnn.readNetFromDarknet("toys.cfg", "toys.weights")
    net.setInput(dnn.blobFromImage(FRAME, 1 / 255, (224, 160), swapRB=True, crop=False))
    rows = np.concatenate(net.forward(net.getUnconnectedOutLayersNames()))
    best = rows[:, 5:].max(axis=1)
    ids, scores, boxes = toys.detect(FRAME, 0.3, 0)
    np.testing.assert_allclose(scores, best[best >= 0.3], atol=1e-6)
    np.testing.assert_array_equal(ids, rows[best >= 0.3, 5:].argmax(axis=1))
    height, width, _ = FRAME.shape
    whole = (boxes[:, :2] > 0).all(axis=1) & (boxes[:, :2] + boxes[:, 2:] < [width, height]).all(axis=1)
    assert np.count_nonzero(whole) > 10  # others are cut off at the frame's border
    expected = rows[best >= 0.3][whole, :4] * [width, height, width, height]
    assert np.abs(boxes[whole, 2:] - expected[:, 2:]).max() <= 1
    assert np.abs(boxes[whole, :2] - (expected[:, :2] - expected[:, 2:] / 2)).max() <= 2


def test_suppression_is_within_classes_or_across(toys):
    ids, scores, boxes = toys.detect(FRAME, 0.05, 0.3)
    across = toys.setNmsAcrossClasses(True).detect(FRAME, 0.05, 0.3)
    assert toys.getNmsAcrossClasses()
    assert list(ids) == sorted(ids)
    assert list(across[1]) == sorted(across[1], reverse=True)
    assert len(across[0]) <= len(ids) < len(toys.detect(FRAME, 0.05, 0)[0])
    assert scores.min() >= 0.05
    assert boxes.min() >= 0


def test_settings_one_by_one_are_those_of_set_input_params(toys):
    expected = toys.detect(FRAME, 0.3, 0.4)
    model = dnn.DetectionModel(dnn.readNet("toys.cfg", "toys.weights"))
    model.setInputSize(224, 160).setInputScale(1 / 255).setInputSwapRB(True).setInputMean(0).setInputCrop(False)
    for ours, theirs in zip(model.detect(FRAME, 0.3, 0.4), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    model.setInputSize((224, 160)).setInputScale((1 / 255, 1 / 255, 1 / 255))
    np.testing.assert_allclose(model.detect(FRAME, 0.3, 0.4)[1], expected[1], atol=1e-6)


def test_predict_gives_the_outputs_asked_for(toys):
    assert [each.shape[1] for each in toys.predict(FRAME)] == [toys.predict(FRAME)[0].shape[1]] * 2
    (only,) = toys.setOutputNames(["leaky_1"]).predict(FRAME)
    assert only.ndim == 4


def test_a_classifier_gives_its_best_class(tmp_path):
    net = dnn.readNetFromDarknet(*write_small("connected", tmp_path))
    model = dnn.ClassificationModel(net)
    model.setInputParams(1 / 255, (8, 8), 0, True)
    best, score = model.classify(FRAME)
    (probabilities,) = model.predict(FRAME)
    assert (best, score) == (int(probabilities.argmax()), pytest.approx(float(probabilities.max())))
    assert not model.getEnableSoftmaxPostProcessing()
    _, flat = model.setEnableSoftmaxPostProcessing(True).classify(FRAME)
    exponentials = np.exp(probabilities)
    assert flat == pytest.approx(float(exponentials.max() / exponentials.sum()), rel=1e-5)


@pytest.mark.parametrize("call, message", [
    (lambda model: dnn.DetectionModel("toys.weights", "toys.cfg").detect(FRAME),
     "input size (0, 0): expected setInputSize or setInputParams before"),
    (lambda model: model.detect(None), "a frame must be an array (height, width, channels), not NoneType"),
    (lambda model: model.detect(FRAME[:0]), "a frame must be an array (height, width, channels), not (0, 640, 3)"),
    (lambda model: model.detect(FRAME.astype(object)), "cannot use a frame of (480, 640, 3) object: "),
    (lambda model: model.detect(FRAME[:, :, 0]), "the input has shape (1, 1, 160, 224); expected (n, 3, "),
    (lambda model: model.setInputSize(224), "input size 224: expected width and height in pixels"),
    (lambda model: model.setInputScale("big"), "'big': expected a number, or up to four"),
    (lambda model: dnn.ClassificationModel(model._net).setInputSize(224, 160).classify(FRAME),
     "classify: the network has 2 outputs; expected one"),
])  # fmt: skip
def test_bad_input_is_one_line(toys, call, message):
    with pytest.raises(dnn.error) as raised:
        call(toys)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_a_classifier_does_not_detect(tmp_path):
    model = dnn.DetectionModel(dnn.readNetFromDarknet(*write_small("connected", tmp_path)))
    with pytest.raises(dnn.error, match="the network has no detection layer"):
        model.setInputSize(8, 8).detect(FRAME)
