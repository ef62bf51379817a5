"""Dropout of values and of squares: how much, and what happens to the rest."""

import numpy as np
import pytest
from support.networks import net

from pydarknet.training.learner import Learner

CONV = "[convolutional]\nfilters=8\nsize=1\nactivation=linear\n"


def trained_once(build, keys, done=100, batch=16, sizes=(10, 12)):
    """The factors of one mini-batch, (batch, 8, height, width), and the layer."""
    text = (
        net(8, *sizes).replace("[net]", "[net]\nmax_batches=100\n") + f"{CONV}[dropout]\n{keys}\n[avgpool]\n[softmax]\n"
    )
    training = Learner(build(text, "alexeyab", batch=batch))
    training._progress.done = done
    images = np.ones((batch, 8, *sizes), np.float32)
    training.step(images, [np.eye(8, dtype=np.float32)[0]] * batch)
    layer = training.network.layers[1]
    return layer._factors.reshape(batch, 8, *sizes), layer


def test_values_are_dropped_and_the_others_grow(build):
    factors, layer = trained_once(build, "probability=.25")
    assert set(np.unique(factors)) == {0, np.float32(1 / 0.75)}
    assert abs((factors == 0).mean() - 0.25) < 0.02
    x, y = layer.source_tensors[0].plain(), layer.output.plain()
    np.testing.assert_array_equal(y, x * factors.reshape(x.shape))


def test_squares_are_dropped_one_a_plane_at_most(build):
    factors, _ = trained_once(build, "probability=.02\ndropblock=1\ndropblock_size_abs=3")
    counts = []
    for plane in (factors == 0).reshape(-1, 10, 12):
        rows, columns = np.nonzero(plane)
        counts.append(len(rows))
        if len(rows):
            assert len(rows) == 9 == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    # 120 cells begin a square with probability 0.02 / 9 each, and the first of them is taken.
    assert set(counts) == {0, 9} and abs(counts.count(9) / len(counts) - (1 - (1 - 0.02 / 9) ** 120)) < 0.1
    for item in factors:
        left = (item > 0).mean()
        np.testing.assert_allclose(item[item > 0], 1 / left, rtol=1e-5)


def test_squares_grow_in_the_course_of_a_run(build):
    keys = "probability=.9\ndropblock=1\ndropblock_size_rel=.5"
    assert (trained_once(build, keys, done=0)[0] == 1).all()
    sides = {}
    for done in (20, 60, 85, 99):
        factors, _ = trained_once(build, keys, done)
        sides[done] = max(np.sqrt((factors == 0).sum(axis=(2, 3)).ravel()))
    assert sides == {20: 1, 60: 3, 85: 5, 99: 5}


def dropout(build, keys=""):
    return build(f"{net(8, 4, 4)}[dropout]\n{keys}\n[avgpool]\n[softmax]\n", "alexeyab").layers[0]


@pytest.mark.parametrize(("keys", "expected"), [
    ("dropblock=1", (7, 0)), ("dropblock=1\ndropblock_size_rel=0.5", (0, 0.5)),
    ("dropblock=1\ndropblock_size_rel=0.5\ndropblock_size_abs=4", (4, 0)),
])  # fmt: skip
def test_keys(build, keys, expected):
    layer = dropout(build, keys)
    assert (layer.pixels, layer.part) == expected
    assert layer.squares
    assert not dropout(build).squares


def test_the_side_fits_the_plane(build):
    seven, half = dropout(build, "dropblock=1"), dropout(build, "dropblock=1\ndropblock_size_rel=0.5")
    assert seven.side(20, 5, 1.0) == 5
    assert seven.side(20, 20, 0.0) == 1
    assert half.side(20, 10, 0.5) == 2


def test_the_way_back_takes_the_same_factors(build):
    factors, layer = trained_once(build, "probability=.5\ndropblock=1\ndropblock_size_abs=4")
    change = layer.delta.plain()
    layer.source_deltas[0].data.fill(0)
    layer.backward()
    np.testing.assert_allclose(layer.source_deltas[0].plain(), change * factors.reshape(change.shape), rtol=1e-6)
