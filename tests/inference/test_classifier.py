"""The best classes of an output, with ties and trees."""

import numpy as np
import pytest
from support.networks import net

from pydarknet.config.names import read_tree
from pydarknet.inference.classifier import Prediction, best_fit, rank, tree_of_network

TREE = "animal -1\nplant -1\ndog 0\ncat 0\n"


def ranked(values, names, top, tree=None):
    return [(p.class_id, p.name) for p in rank(np.array(values, np.float32), names, top, tree)]


def test_the_best_stands_first_and_equal_ones_keep_their_order():
    assert ranked([0.1, 0.4, 0.1, 0.4], "abcd", 4) == [(1, "b"), (3, "d"), (0, "a"), (2, "c")]


@pytest.mark.parametrize("top, count", [(1, 1), (2, 2), (9, 3)])
def test_top_is_at_most_the_number_of_classes(top, count):
    assert len(ranked([1, 2, 3], "abc", top)) == count


def test_a_class_without_a_name_is_a_number():
    assert ranked([0, 0, 1], ["a"], 2) == [(2, "2"), (0, "a")]


def test_planes_of_one_cell_are_a_vector():
    assert ranked([[[1]], [[2]]], "ab", 1) == [(1, "b")]


def test_a_tree_multiplies_by_all_ancestors(write_cfg):
    tree = read_tree(write_cfg(TREE, "some.tree"))
    names = ["animal", "plant", "dog", "cat"]
    found = rank(np.array([0.6, 0.4, 0.9, 0.1], np.float32), names, 4, tree)
    assert [p.name for p in found] == ["animal", "dog", "plant", "cat"]
    assert [p.probability for p in found] == pytest.approx([0.6, 0.54, 0.4, 0.06])
    assert [p.parent for p in found] == ["Root", "animal", "Root", "animal"]


def test_without_a_tree_nobody_has_a_parent():
    assert rank(np.ones(1, np.float32), ["a"], 1) == [Prediction(0, "a", 1.0, None)]


def test_the_tree_of_a_network_is_that_of_its_softmax(build, write_cfg):
    write_cfg(TREE, "some.tree")
    assert tree_of_network(build("[net]\ninputs=4\n[softmax]\ntree=some.tree\n[cost]\n")).names[2] == "dog"
    assert tree_of_network(build("[net]\ninputs=4\n[softmax]\n")) is None


@pytest.mark.parametrize("text, expected", [("[avgpool]\n", "shorter"), ("[connected]\noutput=2\n", "crop")])
def test_pictures_are_kept_whole_where_the_network_runs_at_any_size(build, text, expected):
    assert best_fit(build(net() + text)) == expected
