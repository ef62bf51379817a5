"""Which tensors of a network are NCHW, and that its numbers do not change thereby."""

import numpy as np
import pytest
from support.networks import net, randomise
from support.tensors import assert_close, values

from pydarknet.layers import INPUT
from pydarknet.tensor import NCHW

BIT = "batch_normalize=1\nactivation=leaky\n"
FIRST = f"[convolutional]\nfilters=8\nsize=3\nstride=2\npad=1\n{BIT}"
EXPAND = f"[convolutional]\nfilters=8\nsize=1\n{BIT}"
DEPTHWISE = f"[convolutional]\nfilters=8\ngroups=8\nsize=3\npad=1\n{BIT}"
PROJECT = "[convolutional]\nfilters=4\nsize=1\nbatch_normalize=1\nactivation=linear\n"
CHAIN, SUM = EXPAND + DEPTHWISE + PROJECT, "[shortcut]\nfrom=-4\nactivation=linear\n"
WIDE = f"[convolutional]\nfilters=20\nsize=3\npad=1\n{BIT}"


def nchw_of(network, x):
    """The layers whose tensors are NCHW after a pass, which must give what a pass that keeps all outputs gives."""
    network.forward(x)
    tensors = {INPUT: network.plan.input, **dict(enumerate(network.plan.tensors))}
    found = [index for index, tensor in tensors.items() if tensor is not None and tensor.layout.lanes == NCHW]
    (output,) = network.forward(x)
    np.testing.assert_array_equal(output, network.layer_outputs(x)[network.output_index])
    return found


@pytest.mark.parametrize("text, expected", [
    (FIRST + CHAIN + CHAIN + SUM + WIDE, [INPUT, 0, 3]),
    (FIRST + CHAIN + CHAIN + CHAIN + SUM + CHAIN + WIDE, [INPUT, 0, 3, 6, 10]),
    (FIRST + CHAIN + CHAIN + SUM, [INPUT, 0, 3]),  # the output is not
    (CHAIN + CHAIN + WIDE, [INPUT, 2]),  # no convolution before
    (FIRST + CHAIN + WIDE, [INPUT, 0]),
    (FIRST + WIDE, []),  # no chain
    (FIRST + CHAIN + CHAIN + "[route]\nlayers=-1,-4\n", [INPUT, 0]),  # who joins planes wants blocks
    (FIRST + CHAIN.replace("leaky", "logistic") + WIDE, []),
    (FIRST.replace("=8", "=12") + CHAIN + WIDE, []),  # not thin
    (FIRST.replace("=8", "=6") + CHAIN + WIDE, []),
    (FIRST + CHAIN.replace("size=3", "size=3\nstride=2") + CHAIN + WIDE, []),  # rows become too short
    (FIRST + CHAIN + "[maxpool]\nsize=2\nstride=2\n" + WIDE, [INPUT, 0]),
    (FIRST + CHAIN + "[dropout]\n" + CHAIN + WIDE, [INPUT, 0, 3]),
])  # fmt: skip
def test_narrow_layers_with_long_rows_are_nchw(build, text, expected):
    network = build(net(height=22, width=170) + text)
    randomise(network)
    found = nchw_of(network, values(2, 3, 22, 170))
    assert [i for i in found if i == INPUT or not network.layers[i].is_alias] == expected


PICTURE = f"[convolutional]\nfilters=16\nsize=3\npad=1\n{BIT}"
POOL = "[maxpool]\nsize=2\nstride=2\n"


@pytest.mark.parametrize("text, height, width, nchw", [
    (PICTURE + WIDE, 9, 50, True),
    (PICTURE + POOL + WIDE, 10, 50, True),
    (PICTURE.replace("leaky", "logistic") + WIDE, 9, 50, True),
    (PICTURE.replace("leaky", "logistic") + POOL + WIDE, 10, 50, False),  # not every function grows
    (PICTURE + POOL + WIDE, 9, 50, False),
    (PICTURE + POOL + WIDE, 10, 51, False),
    (PICTURE + WIDE, 50, 15, False),
    (PICTURE.replace("16", "24") + WIDE, 9, 50, False),
    (PICTURE.replace("size=3", "size=5") + WIDE, 9, 54, True),
    (PICTURE.replace("size=3", "size=3\nstride=2") + WIDE, 9, 100, True),
    (PICTURE.replace("size=3", "size=3\nstride=2") + POOL + WIDE, 8, 100, False),
    (PICTURE.replace("size=3", "size=3\nstride=3") + WIDE, 9, 180, False),
    (PICTURE + PICTURE + "[shortcut]\nfrom=-2\nactivation=linear\n" + WIDE, 9, 50, True),
    (PICTURE + "[route]\nlayers=0\n" + WIDE, 9, 50, True),
])  # fmt: skip
def test_pictures_are_read_plane_by_plane(build, text, height, width, nchw):
    network = build(net(height=height, width=width) + text)
    randomise(network)
    x = values(2, 3, height, width)
    (output,) = network.forward(x)
    assert network.plan.input.layout.lanes == (NCHW if nchw else 4)
    assert_close(output, network.layer_outputs(x)[network.output_index])


def test_a_pass_that_keeps_all_outputs_has_none(build):
    network = build(net(height=22, width=170) + FIRST + CHAIN + WIDE)
    network.layer_outputs(values(1, 3, 22, 170))
    assert network.plan.input.layout.lanes != NCHW
