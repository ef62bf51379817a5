"""`[region]` and `[detection]`: what they make of their input, and the boxes they decode."""

import numpy as np
import pytest
from reference import layers as naive
from support.networks import net
from support.tensors import assert_close, values

from pydarknet.errors import ShapeError

ANCHORS = [(1.5, 2), (3, 0.5)]
TREE = "animal -1\nplant -1\ndog 0\ncat 0\n"


def region(options="softmax=1\n"):
    return f"[region]\nnum=2\nclasses=4\nanchors=1.5,2, 3,0.5\n{options}"


def run(build, options="softmax=1\n", dialect="pjreddie", channels=18):
    network, x = build(net(channels, 3, 5) + region(options), dialect), values(2, channels, 3, 5)
    (found,) = network.forward(x)
    return network.layers[0], x.reshape(2, 2, channels // 2, 15).astype(np.float64), found


def activated(entries, coords=4, softmax=True, xy=True, classes=True):
    y = entries.copy()
    for entry in [*([0, 1] if xy else []), coords]:
        y[:, :, entry] = naive.sigmoid(y[:, :, entry])
    if softmax:
        y[:, :, coords + 1 :] = naive.softmax(y[:, :, coords + 1 :].swapaxes(2, 3)).swapaxes(2, 3)
    elif classes:
        y[:, :, coords + 1 :] = naive.sigmoid(y[:, :, coords + 1 :])
    return y


@pytest.mark.parametrize("softmax", [0, 1])
def test_pjreddies_output_is_nchw(build, softmax):
    _, entries, found = run(build, f"softmax={softmax}\n")
    assert found.shape == (2, 18, 3, 5)
    assert_close(found.reshape(2, 2, 9, 15), activated(entries, softmax=bool(softmax)))


@pytest.mark.parametrize("softmax", [0, 1])
def test_alexeyabs_output_goes_cell_by_cell_with_raw_centres(build, softmax):
    _, entries, found = run(build, f"softmax={softmax}\n", "alexeyab")
    expected = activated(entries, softmax=bool(softmax), xy=False, classes=False)
    assert_close(found.reshape(2, 15, 2, 9), expected.transpose(0, 3, 1, 2))


def test_further_coordinates_stand_before_the_objectness(build):
    _, entries, found = run(build, "softmax=1\ncoords=6\n", channels=22)
    assert_close(found.reshape(2, 2, 11, 15), activated(entries, coords=6))


def test_a_background_is_one_of_the_classes(build):
    _, entries, found = run(build, "softmax=1\nbackground=1\n")
    expected = entries.copy()
    expected[:, :, :2] = naive.sigmoid(expected[:, :, :2])
    expected[:, :, 4:] = naive.softmax(expected[:, :, 4:].swapaxes(2, 3)).swapaxes(2, 3)
    assert_close(found.reshape(2, 2, 9, 15), expected)


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_boxes_of_both_dialects_are_the_same_in_another_order(build, dialect):
    head, entries, _ = run(build, dialect=dialect)
    boxes, e = head.detections(1, (160, 96), 0, 0.5), activated(entries)[1]
    column, row = np.arange(15) % 5, np.arange(15) // 5
    expected = np.stack([
        (column + e[:, 0]) / 5, (row + e[:, 1]) / 3,
        np.exp(e[:, 2]) * np.array(ANCHORS)[:, :1] / 5, np.exp(e[:, 3]) * np.array(ANCHORS)[:, 1:] / 3,
    ], axis=-1)  # fmt: skip
    probabilities = (e[:, 4:5] * e[:, 5:]).swapaxes(1, 2)
    order = (0, 1, 2) if dialect == "pjreddie" else (1, 0, 2)
    assert_close(boxes.boxes, expected.transpose(order).reshape(-1, 4))
    assert_close(boxes.probabilities, probabilities.transpose(order).reshape(-1, 4))
    objectness = e[:, 4].ravel() if dialect == "pjreddie" else np.ones(30)
    assert_close(boxes.objectness, objectness)


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_only_boxes_above_the_threshold_count(build, dialect):
    head, entries, _ = run(build, dialect=dialect)
    e = activated(entries)[0]
    found = head.detections(0, (160, 96), 0.3, 0.5).probabilities
    expected = (e[:, 4:5] * e[:, 5:]).swapaxes(1, 2)
    assert (found > 0).sum() == (expected > 0.3).sum() > 0
    assert found[found > 0].min() > 0.3


def test_alexeyabs_class_fix_drops_doubtful_slots(build):
    head, entries, _ = run(build, "softmax=1\nclassfix=-1\n", "alexeyab")
    assert len(head.detections(0, (160, 96), 0.1, 0.5)) == (naive.sigmoid(entries[0, :, 4]) >= 0.5).sum()


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
@pytest.mark.parametrize("hier", [0.2, 0.5, 0.9])
def test_a_tree_gives_one_class_a_box(build, write_cfg, dialect, hier):
    write_cfg(TREE, "some.tree")
    head, entries, _ = run(build, "tree=some.tree\n", dialect)
    boxes = head.detections(0, (160, 96), 0.4, hier)
    slots = entries[0] if dialect == "pjreddie" else entries[0].transpose(2, 0, 1).reshape(-1, 9, 1)
    expected = []
    for e in slots.swapaxes(1, 2).reshape(-1, 9):
        scale = naive.sigmoid(e[4])
        if scale <= 0.4:
            continue
        first, second = naive.softmax(e[5:7]), naive.softmax(e[7:9])
        absolute = np.array([*first, *(second * first[0])])
        row = np.zeros(4)
        if dialect == "alexeyab":
            likely = [c for c in range(4) if absolute[c] > 0.5]
            if likely:
                row[likely[-1]] = absolute[likely[-1]]
        else:
            best = int(first.argmax())
            below = 2 + int(second.argmax())
            if best == 0 and first[0] * absolute[below] > hier:  # darknet's walk multiplies absolute values
                best = below
            row[best] = scale
        expected.append(row)
    assert_close(boxes.probabilities, expected)


def test_filters_that_do_not_fit_say_which_would(build):
    with pytest.raises(ShapeError, match="found 20 channels; expected filters=18"):
        build(net(20) + region())


def test_a_tree_of_another_size_is_an_error(build, write_cfg):
    write_cfg("a -1\nb -1\n", "some.tree")
    with pytest.raises(ShapeError, match="tree has 2 nodes; expected classes=4"):
        build(net(18) + region("tree=some.tree\n"))


DETECTION = "[detection]\nclasses=3\ncoords=4\nnum=2\nside=2\n"


@pytest.mark.parametrize("softmax", [0, 1])
def test_yolo1_keeps_its_flat_layout(build, softmax):
    network, x = build(f"[net]\ninputs=52\n{DETECTION}softmax={softmax}\n"), values(2, 52)
    expected = x.astype(np.float64)
    if softmax:
        expected[:, :12] = naive.softmax(expected[:, :12].reshape(2, 4, 3)).reshape(2, 12)
    assert_close(network.forward(x)[0], expected)


@pytest.mark.parametrize("root", [0, 1])
def test_yolo1_boxes_lie_in_their_cells(build, root):
    network, x = build(f"[net]\ninputs=52\n{DETECTION}sqrt={root}\n"), values(1, 52)
    network.forward(x)
    found = network.layers[0].detections(0, (7, 7), -9, 0.5)
    expected, probabilities = [], []
    for cell in range(4):
        for box in range(2):
            bx, by, w, h = x[0, 20 + (cell * 2 + box) * 4 :][:4].astype(np.float64)
            expected.append(((bx + cell % 2) / 2, (by + cell // 2) / 2, *((w * w, h * h) if root else (w, h))))
            probabilities.append(x[0, 12 + cell * 2 + box] * x[0, cell * 3 : cell * 3 + 3])
    assert_close(found.boxes, expected)
    assert_close(found.probabilities, probabilities)
    assert (found.objectness == x[0, 12:20]).all()
    assert not network.layers[0].corrects_letterbox


def test_yolo1_counts_its_inputs(build):
    with pytest.raises(ShapeError, match="reads 50 values; expected 52"):
        build(f"[net]\ninputs=50\n{DETECTION}")
