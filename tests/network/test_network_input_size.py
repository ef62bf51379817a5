"""The size of a network's input: what [net] says, what callers may ask for."""

import numpy as np
import pytest

from pydarknet.config.sections import read_config
from pydarknet.errors import ConfigError, OptionError
from pydarknet.network.network import LARGEST_BATCH, LARGEST_SIDE, checked_batch, checked_side, network_input
from pydarknet.tensor import Shape

LAYER = "[softmax]\n"


@pytest.fixture
def size_of(write_cfg):
    return lambda options, **sides: network_input(read_config(write_cfg(f"[net]\n{options}\n{LAYER}")), **sides)


def test_three_options_make_a_picture(size_of):
    assert size_of("height=5\nwidth=7\nchannels=3") == Shape(3, 5, 7)


def test_inputs_make_a_vector(size_of):
    assert size_of("inputs=40") == Shape(40)


def test_callers_sides_take_the_place_of_the_cfgs(size_of):
    assert size_of("height=5\nwidth=7\nchannels=3", width=9, height=8) == Shape(3, 8, 9)


@pytest.mark.parametrize("options", ["", "height=5\nwidth=7", "width=7\nchannels=3"])
def test_an_incomplete_size_is_refused(size_of, options):
    with pytest.raises(ConfigError, match=r"net\.cfg:1: .*No input parameters supplied.*expected all three, or inputs"):
        size_of(options)


@pytest.mark.parametrize("side", ["height", "width", "channels"])
def test_a_side_beyond_the_largest_names_its_line(size_of, side):
    options = dict.fromkeys(("height", "width", "channels"), 4) | {side: LARGEST_SIDE + 1}
    with pytest.raises(ConfigError, match=f"{side}={LARGEST_SIDE + 1}: expected at most {LARGEST_SIDE}"):
        size_of("\n".join(f"{key}={value}" for key, value in options.items()))


@pytest.mark.parametrize("value", [0, -1, LARGEST_SIDE + 1, 4.0, "4"])
def test_what_is_no_side(value):
    with pytest.raises(OptionError, match=r"width .*: expected a number of pixels"):
        checked_side("width", value)


def test_sides_of_numpy_are_sides():
    assert checked_side("width", np.int64(4)) == 4


@pytest.mark.parametrize("value", [0, -2, LARGEST_BATCH + 1])
def test_what_is_no_batch(value):
    with pytest.raises(OptionError, match=r"batch .*: expected a number from 1"):
        checked_batch(value)
