"""`[scale_channels]` and `[sam]`: products of two layers."""

import pytest
from reference import layers as naive
from support.networks import net
from support.tensors import assert_close, values

from pydarknet.errors import ConfigError, ShapeError

CONV = "[convolutional]\nfilters=18\nactivation=linear\n"


@pytest.mark.parametrize("name", ["linear", "relu", "logistic"])
def test_a_factor_for_each_channel(build, name):
    network = build(f"{net()}{CONV}[avgpool]\n[scale_channels]\nfrom=0\nactivation={name}\n", "alexeyab")
    x, factors, found = network.layer_outputs(values(2, 3, 8, 8))
    assert_close(found, naive.activation(name, x * factors[:, :, None, None]))


def test_a_factor_for_each_cell(build):
    one = "[convolutional]\nfilters=1\nactivation=linear\n"
    network = build(f"{net(3, 7, 5)}{CONV}{one}[scale_channels]\nfrom=0\nscale_wh=1\n", "alexeyab")
    x, factors, found = network.layer_outputs(values(2, 3, 7, 5))
    assert_close(found, x * factors)


@pytest.mark.parametrize("name", ["linear", "leaky"])
def test_sam_multiplies_element_by_element(build, name):
    network = build(f"{net(3, 7, 5)}{CONV}{CONV}[sam]\nfrom=-2\nactivation={name}\n", "alexeyab")
    first, second, found = network.layer_outputs(values(2, 3, 7, 5))
    assert_close(found, naive.activation(name, first * second))


@pytest.mark.parametrize("text, expected", [
    ("[scale_channels]\nfrom=0\n", "expected 1 x 1 x 18"),
    ("[scale_channels]\nfrom=0\nscale_wh=1\n", "expected one channel of 8 x 8"),
    ("[maxpool]\nsize=2\nstride=2\n[sam]\nfrom=0\n", "expected equal sizes"),
])  # fmt: skip
def test_shapes_that_do_not_fit_are_shown(build, text, expected):
    with pytest.raises(ShapeError, match=expected):
        build(f"{net()}{CONV}{CONV}{text}", "alexeyab")


@pytest.mark.parametrize("kind", ["scale_channels", "sam"])
def test_without_a_source_they_are_errors(build, kind):
    with pytest.raises(ConfigError, match="has no from="):
        build(f"{net()}{CONV}[{kind}]\n", "alexeyab")
