"""Word trees: siblings, absolute probabilities, darknet's walk from the root."""

import numpy as np
import pytest
from reference import layers as naive
from support.tensors import assert_close, values

from pydarknet.config.names import read_map, read_tree, softmax_groups
from pydarknet.errors import DataError

TEXT = "animal -1\nplant -1\ndog 0\ncat 0\npoodle 2\npug 2\noak 1\n"


@pytest.fixture
def tree(write_cfg):
    return read_tree(write_cfg(TEXT, "some.tree"))


def test_consecutive_lines_of_one_parent_are_siblings(tree):
    assert tree.names == ["animal", "plant", "dog", "cat", "poodle", "pug", "oak"]
    assert tree.parent.tolist() == [-1, -1, 0, 0, 2, 2, 1]
    assert tree.groups == [(0, 2), (2, 4), (4, 6), (6, 7)]
    assert tree.child_group == {0: 1, 2: 2, 1: 3}
    assert tree.leaves.tolist() == [False, False, False, True, True, True, True]


def test_each_set_of_siblings_is_a_distribution(tree):
    x = values(7, 3)
    found = softmax_groups(x, tree)
    for first, end in tree.groups:
        assert_close(found[first:end].T, naive.softmax(x[first:end].T.astype(np.float64)))


def test_absolute_probabilities_multiply_down_from_the_root(tree):
    conditional = values(7, 2) ** 2
    expected = conditional.copy()
    for node in range(7):
        above = tree.parent[node]
        while above >= 0:
            expected[node] *= conditional[above]
            above = tree.parent[above]
    found = tree.absolute(conditional)
    assert_close(found, expected)
    assert found is not conditional


@pytest.mark.parametrize("probabilities, threshold, expected", [
    ([0.9, 0.1, 0.8, 0.2, 0.7, 0.3, 1], 0.5, "poodle"),  # 0.9 x 0.8 x 0.7 = 0.504
    ([0.9, 0.1, 0.8, 0.2, 0.69, 0.31, 1], 0.5, "dog"),
    ([0.9, 0.1, 0.5, 0.4, 1, 0, 1], 0.5, "animal"),
    ([0.4, 0.45, 1, 0, 1, 0, 1], 0.5, "plant"),
    ([0.4, 0.6, 1, 0, 1, 0, 1], 0.5, "oak"),
    ([0.9, 0.1, 0.2, 0.8, 1, 0, 1], 0.5, "cat"),
    ([0.0, 0.0, 1, 0, 1, 0, 1], 0.5, "animal"),
    ([-0.1, -0.2, 1, 0, 1, 0, 1], 0.5, "animal"),
    ([0.5, 0.5, 0.9, 0.1, 1, 0, 1], 0.45, "animal"),
])  # fmt: skip
def test_the_walk_goes_down_while_the_product_is_above(tree, probabilities, threshold, expected):
    assert tree.names[tree.top(np.array(probabilities, np.float32), threshold)] == expected


@pytest.mark.parametrize("text, message", [
    ("", "the tree is empty"),
    ("a -1\nb 1\n", r":2: parent 1: expected -1 or the number of an earlier line"),
    ("a -2\n", r":1: parent -2: expected"),
    ("a -1\nb x\n", r":2: found 'b x'; expected a name and the number of its parent"),
    ("a -1\n\nb 0\n", r":2: found ''; expected a name"),
])  # fmt: skip
def test_what_is_no_tree_says_where(write_cfg, text, message):
    with pytest.raises(DataError, match=message):
        read_tree(write_cfg(text, "some.tree"))


def test_a_line_without_a_parent_is_a_root(write_cfg):
    assert read_tree(write_cfg("a\nb 0\r\n", "some.tree")).parent.tolist() == [-1, 0]


def test_a_map_is_a_list_of_numbers(write_cfg):
    assert read_map(write_cfg("5\n 7 \n0\n", "some.map")) == [5, 7, 0]
    with pytest.raises(DataError, match=r"some\.map:2: found 'x'; expected a class number"):
        read_map(write_cfg("5\nx\n", "some.map"))


@pytest.mark.parametrize("read", [read_tree, read_map])
def test_a_missing_file_is_named(tmp_path, read):
    with pytest.raises(DataError, match=r"Couldn't open file: .*nothing"):
        read(tmp_path / "nothing")
