"""Layers of a few lines each: crop, empty, implicit, history, iseg."""

import numpy as np
import pytest
from reference import layers as naive
from support.networks import net
from support.tensors import assert_close, values

from pydarknet.errors import ConfigError, ShapeError
from pydarknet.training.learner import Learner

CONV = "[convolutional]\nfilters=18\nactivation=linear\n"


@pytest.mark.parametrize("kind, dialect", [
    ("dropout", "pjreddie"), ("dropout", "alexeyab"), ("empty", "alexeyab"), ("silence", "alexeyab"),
])  # fmt: skip
def test_layers_without_effect_give_on_what_they_read(build, kind, dialect):
    network = build(f"{net()}{CONV}[{kind}]\n{CONV}", dialect)
    first, second, _ = network.layer_outputs(values(2, 3, 8, 8))
    assert (first == second).all()


@pytest.mark.parametrize("kind", ["dropout", "empty"])
@pytest.mark.parametrize("after", ["[softmax]\n", CONV, "[connected]\noutput=2\n"])
def test_they_give_on_the_picture_itself(build, kind, after):
    network, x = build(f"{net()}[{kind}]\n{after}", "alexeyab"), values(2, 3, 8, 8)
    assert (network.layer_outputs(x)[0].reshape(x.shape) == x).all()


@pytest.mark.parametrize("dialect, expected", [("pjreddie", 0.5), ("alexeyab", 0.2)])
def test_dropout_has_the_dialects_default(build, dialect, expected):
    assert build(net() + "[dropout]\n", dialect).layers[0].probability == expected


@pytest.mark.parametrize("filters, atoms", [(5, 1), (18, 3)])
def test_implicit_gives_its_weights_for_every_picture(build, filters, atoms):
    network = build(f"{net()}{CONV}[implicit]\nfilters={filters}\natoms={atoms}\n", "alexeyab")
    found = network.layer_outputs(values(3, 3, 8, 8))[1]
    weights = network.layers[1].weights
    assert weights.shape == (filters * atoms,)
    assert (found.reshape(3, -1) == weights).all()


def test_an_implicit_layer_of_a_petabyte_is_refused(build):
    with pytest.raises(ShapeError, match=r"\[implicit\] has 16777216 x 16777216 weights; expected at most"):
        build(f"{net()}[implicit]\nfilters=16777216\natoms=16777216\n", "alexeyab")


def test_implicit_weights_start_round_their_mean(build):
    text = f"{net()}[implicit]\nfilters=1000\nmean=3\nstd=0.5\n"
    network = build(text, "alexeyab", seed=None)
    network.initialise()
    weights = network.layers[0].weights
    assert np.abs(weights - 3).max() <= 0.5
    assert abs(weights.mean() - 3) < 0.05


@pytest.mark.parametrize("size", [1, 3])
def test_history_keeps_room_for_earlier_frames(build, size):
    network, x = build(f"{net(5, 3, 4)}[history]\nhistory_size={size}\n", "alexeyab"), values(2, 5, 3, 4)
    for _ in range(2):
        (found,) = network.forward(x)
        assert found.shape == (2, 5 * size, 3, 4)
        assert (found[:, :5] == x).all()
        assert not found[:, 5:].any()


@pytest.mark.parametrize("height, width", [(8, 9), (5, 4), (1, 1), (7, 8)])
@pytest.mark.parametrize("noadjust", [0, 1])
def test_crop_takes_the_middle(build, height, width, noadjust):
    text = f"{net(3, 8, 9)}[crop]\ncrop_height={height}\ncrop_width={width}\nflip=1\nnoadjust={noadjust}\n"
    network, x = build(text), values(2, 3, 8, 9)
    top, left = (8 - height) // 2, (9 - width) // 2
    cut = x[:, :, top : top + height, left : left + width]
    found = network.forward(x)[0].reshape(cut.shape)
    assert_close(found, cut if noadjust else 2 * cut - 1, 1e-6)


def test_crop_takes_any_part_in_training(build):
    cfg = f"{net(2, 7, 6)}[crop]\ncrop_height=4\ncrop_width=3\nflip=1\nnoadjust=1\n[avgpool]\n[softmax]\n"
    training, x = Learner(build(cfg, batch=32)), values(32, 2, 7, 6)
    found = set()
    for _ in range(20):
        training.step(x, [np.eye(2, dtype=np.float32)[0]] * 32)
        for picture, cut in zip(x, training.network.layers[0].values.reshape(32, 2, 4, 3), strict=True):
            found |= {
                (top, left, mirror)
                for top in range(4)
                for left in range(4)
                for mirror in (False, True)
                if np.array_equal(cut, picture[:, top : top + 4, left : left + 3][..., :: -1 if mirror else 1])
            }
    assert len(found) == 4 * 4 * 2


def test_a_crop_larger_than_its_input_is_an_error(build):
    with pytest.raises(ConfigError, match="crops 9 x 8 out of 8 x 8 x 3"):
        build(net() + "[crop]\ncrop_height=8\ncrop_width=9\n")


def test_iseg_passes_its_classes_through_the_logistic_function(build):
    network, x = build(net(5, 3, 4) + "[iseg]\nclasses=2\nids=3\n"), values(2, 5, 3, 4)
    assert_close(network.forward(x)[0], np.concatenate([naive.sigmoid(x[:, :2]), x[:, 2:]], axis=1))


def test_iseg_counts_its_channels(build):
    with pytest.raises(ConfigError, match=r"reads 3 channels; expected classes \+ ids = 5"):
        build(net() + "[iseg]\nclasses=2\nids=3\n")
