"""`[softmax]`: groups, temperature and word trees."""

import numpy as np
import pytest
from reference import layers as naive
from support.networks import net
from support.tensors import assert_close, values

from pydarknet.errors import ConfigError, DataError

TREE = "animal -1\nplant -1\ndog 0\ncat 0\npoodle 2\npug 2\noak 1\n"
GROUPS = [(0, 2), (2, 4), (4, 6), (6, 7)]


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("temperature", [1, 2.5, 0.5])
def test_each_group_is_a_distribution(build, groups, temperature):
    text = f"[net]\ninputs=12\n[softmax]\ngroups={groups}\ntemperature={temperature}\n"
    network, x = build(text), 3 * values(2, 12)
    expected = naive.softmax(x.reshape(2, groups, -1).astype(np.float64), temperature).reshape(2, 12)
    assert_close(network.forward(x)[0], expected)


def test_large_values_do_not_overflow(build):
    x = np.array([[1000, 999, -1000]], np.float32)
    (found,) = build("[net]\ninputs=3\n[softmax]\n").forward(x)
    assert_close(found, naive.softmax(x.astype(np.float64)))


def test_a_picture_is_one_vector(build):
    network, x = build(net(3, 2, 2) + "[softmax]\n"), values(2, 3, 2, 2)
    assert_close(network.forward(x)[0].reshape(2, -1), naive.softmax(x.reshape(2, -1).astype(np.float64)))


def test_spatial_is_over_the_channels_of_each_pixel(build):
    network, x = build(net(3, 2, 4) + "[softmax]\nspatial=1\n"), values(2, 3, 2, 4)
    expected = naive.softmax(x.transpose(0, 2, 3, 1).astype(np.float64)).transpose(0, 3, 1, 2)
    assert_close(network.forward(x)[0], expected)


def test_a_tree_has_one_softmax_for_each_set_of_siblings(build, write_cfg):
    write_cfg(TREE, "some.tree")
    network, x = build("[net]\ninputs=7\n[softmax]\ntree=some.tree\n"), values(2, 7)
    expected = np.concatenate([naive.softmax(x[:, a:b].astype(np.float64)) for a, b in GROUPS], axis=1)
    assert_close(network.forward(x)[0], expected)


def test_groups_must_divide(build):
    with pytest.raises(ConfigError, match="groups=5 does not divide its 12 inputs"):
        build("[net]\ninputs=12\n[softmax]\ngroups=5\n")


def test_inputs_cannot_be_divided_by_0(build):
    with pytest.raises(ConfigError, match="temperature=0: expected another number"):
        build("[net]\ninputs=12\n[softmax]\ntemperature=0\n")


def test_a_tree_of_another_size_is_an_error(build, write_cfg):
    write_cfg(TREE, "some.tree")
    with pytest.raises(ConfigError, match="tree has 7 nodes, but the layer reads 8 values"):
        build("[net]\ninputs=8\n[softmax]\ntree=some.tree\n")


def test_a_missing_tree_is_named(build):
    with pytest.raises(DataError, match=r"Couldn't open file: nowhere\.tree"):
        build("[net]\ninputs=8\n[softmax]\ntree=nowhere.tree\n")
