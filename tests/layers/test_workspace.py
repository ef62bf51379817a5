"""Packed filters share the workspace's memory where they are lent it, and have their own elsewhere."""

import numpy as np
from support.tensors import values

from pydarknet.layers.convolution.direct import TiledConvolution
from pydarknet.layers.convolution.geometry import neutral
from pydarknet.layers.workspace import Workspace, lent_filters, using


def packed(filters):
    return TiledConvolution(values(filters, 3, 3, 3), *neutral(filters), 1).packed


def test_the_filters_of_one_layer_are_lent_memory_at_a_time():
    with using(Workspace()):
        own = packed(32)
        with lent_filters():
            lent = packed(32)
            np.testing.assert_array_equal(lent, own)
            smaller = packed(16)
        assert np.shares_memory(lent, smaller) and not np.shares_memory(lent, own)
        assert not np.shares_memory(packed(16), lent)
