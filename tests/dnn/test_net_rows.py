"""Rows of detection heads. OpenCV's own are compared in test_opencv.py."""

import numpy as np
import pytest

from dnn.networks import blob, small, write_small
from pydarknet import dnn
from pydarknet.dnn.net import thresholds

X = blob((3, 8, 8))


def test_rows_go_cell_by_cell_then_anchor_by_anchor(tmp_path):
    net = dnn.readNetFromDarknet(*write_small("yolo", tmp_path))
    net.setInput(X)
    rows = net.forward("yolo_2").reshape(8, 8, 2, 7)
    row, column = np.indices((8, 8))
    assert (np.floor(rows[..., 0] * 8) == column[..., None]).all()
    assert (np.floor(rows[..., 1] * 8) == row[..., None]).all()


def test_a_region_has_the_same_rows_in_both_dialects(tmp_path):
    """The two engines keep them in another order, with and without the logistic function."""
    cfg, weights = write_small("region", tmp_path)
    alexeyab = cfg.read_text().replace("[convolutional]", "[convolutional]\ndilation=1")
    outputs = []
    for text in (cfg.read_text(), alexeyab):
        net = dnn.readNetFromDarknet(text.encode(), weights.read_bytes())
        net.setInput(X)
        outputs.append((net.model.dialect.name, net.forward()))
    (first, ours), (second, theirs) = outputs
    assert (first, second) == ("pjreddie", "alexeyab")
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_thresholds_are_those_of_the_cfg_or_opencvs():
    heads = {}
    for name in ("yolo", "yolo_nms", "region", "region_classfix"):
        net = dnn.readNetFromDarknet(small(name).encode())
        heads[name] = [thresholds(net.model.layers[head]) for head in net.model.heads]
    assert heads == {
        "yolo": [(0.2, 0.0), (0.1, 0.0)],
        "yolo_nms": [(0.05, 0.2)],
        "region": [(0.2, 0.4)],
        "region_classfix": [(0.001, 0.4)],
    }


def test_scores_are_zero_or_above_the_threshold(tmp_path):
    net = dnn.readNetFromDarknet(*write_small("yolo_nms", tmp_path))
    net.setInput(X)
    scores = net.forward()[:, 5:]
    assert scores.any()
    assert scores[scores > 0].min() > 0.05
    dnn.DetectionModel(net)  # from now on nothing is suppressed
    assert np.count_nonzero(net.forward()[:, 5:]) > np.count_nonzero(scores)


def test_yolo_of_the_first_version_has_rows_too():
    text = (
        "[net]\nwidth=4\nheight=4\nchannels=3\n[connected]\noutput=48\nactivation=linear\n"
        "[detection]\nclasses=2\ncoords=4\nside=2\nnum=2\nsqrt=1\n"
    )
    rng = np.random.default_rng(0)
    weights = np.array([0, 2, 0, 0, 0], "<i4").tobytes() + rng.standard_normal(48 * 49).astype("<f4").tobytes()
    net = dnn.readNetFromDarknet(text.encode(), weights)
    net.setInput(X[..., :4, :4])
    assert net.getLayerNames()[-1] == "detection_1"
    assert net.forward().shape == (8, 7)


def test_broken_weights_are_named(tmp_path):
    cfg, weights = write_small("yolo", tmp_path)
    content = np.frombuffer(weights.read_bytes(), np.uint8).copy()
    content[20:24] = 255  # the first bias is NaN
    net = dnn.readNetFromDarknet(str(cfg), content)
    net.setInput(X)
    with pytest.raises(dnn.error, match=r"yolo\.cfg:\d+: \[yolo\] the output is not finite"):
        net.forward()
