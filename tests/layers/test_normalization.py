"""`[crop]`, `[normalization]`, `[l2norm]`, `[logistic]` and `[iseg]`."""

from __future__ import annotations

import numpy as np
import pytest
from reference import layers as naive
from support.networks import net
from support.tensors import assert_close, values

from pydarknet.errors import ConfigError
from pydarknet.training.learner import Learner


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


@pytest.mark.parametrize("channels", [1, 3, 17])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 9])
def test_normalization_follows_darknets_recurrence(build, channels, size):
    text = f"{net(channels, 3, 4)}[normalization]\nalpha=0.3\nbeta=0.6\nkappa=2\nsize={size}\n"
    network, x = build(text), values(2, channels, 3, 4)
    assert_close(network.forward(x)[0], naive.response_normalisation(x, 0.3, 0.6, 2, size))


def test_normalization_has_darknets_defaults(build):
    layer = build(net() + "[lrn]\n").layers[0]
    assert (layer.alpha, layer.beta, layer.kappa, layer.size) == (0.0001, 0.75, 1, 5)


def test_l2norm_divides_by_the_length_of_each_pixel(build):
    network, x = build(net(17, 3, 4) + "[l2norm]\n"), values(2, 17, 3, 4)
    assert_close(network.forward(x)[0], x / np.sqrt(np.square(x).sum(axis=1, keepdims=True)))


def test_l2norm_of_nothing_is_not_a_number_as_in_c(build, recwarn):
    network = build(net(3, 1, 1) + "[l2norm]\n")
    assert np.isnan(network.forward(np.zeros((1, 3, 1, 1), np.float32))[0]).all()
    assert not recwarn.list


def test_logistic_is_the_function(build):
    network, x = build(net() + "[logistic]\n"), values(2, 3, 8, 8)
    assert_close(network.forward(x)[0], naive.sigmoid(x))


def test_iseg_passes_its_classes_through_the_logistic_function(build):
    network, x = build(net(5, 3, 4) + "[iseg]\nclasses=2\nids=3\n"), values(2, 5, 3, 4)
    assert_close(network.forward(x)[0], np.concatenate([naive.sigmoid(x[:, :2]), x[:, 2:]], axis=1))


def test_iseg_counts_its_channels(build):
    with pytest.raises(ConfigError, match=r"reads 3 channels; expected classes \+ ids = 5"):
        build(net() + "[iseg]\nclasses=2\nids=3\n")
