"""`[activation]`."""

import pytest
from reference import layers as naive
from support.networks import net
from support.tensors import assert_close, values

CONV = "[convolutional]\nfilters=18\nactivation=linear\n"


@pytest.mark.parametrize("name", ["linear", "logistic", "leaky", "elu", "stair"])
@pytest.mark.parametrize("before", ["", CONV])
def test_an_activation_layer_leaves_its_source_alone(build, name, before):
    network = build(f"{net()}{before}[activation]\nactivation={name}\n")
    x = values(2, 3, 8, 8)
    *sources, found = network.layer_outputs(x)
    assert_close(found, naive.activation(name, sources[0] if sources else x))
