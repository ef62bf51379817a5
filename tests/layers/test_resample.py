"""`[upsample]`, `[reorg]` and `[reorg3d]` against loops."""

import numpy as np
import pytest
from reference import layers as naive
from support.networks import net
from support.tensors import assert_close, values

from pydarknet.errors import ConfigError


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("scale", [1, 0.5])
def test_upsample_repeats_cells(build, stride, scale):
    network = build(f"{net(18, 3, 4)}[upsample]\nstride={stride}\nscale={scale}\n")
    x = values(2, 18, 3, 4)
    assert_close(network.forward(x)[0], scale * x.repeat(stride, axis=2).repeat(stride, axis=3))


def test_upsample_doubles_where_nothing_is_said(build):
    assert build(net(3, 3, 4) + "[upsample]\n").layers[0].shape.height == 6


@pytest.mark.parametrize("stride", [2, 3])
def test_a_negative_stride_sums_squares(build, stride):
    network = build(f"{net(18, 6, 12)}[upsample]\nstride=-{stride}\nscale=0.25\n")
    x = values(2, 18, 6, 12)
    squares = x.astype(np.float64).reshape(2, 18, 6 // stride, stride, 12 // stride, stride)
    assert_close(network.forward(x)[0], 0.25 * squares.sum(axis=(3, 5)))


@pytest.mark.parametrize("stride", ["0", "100000"])
def test_a_stride_without_meaning_is_an_error(build, stride):
    with pytest.raises(ConfigError, match=f"stride={stride}: expected"):
        build(f"{net()}[upsample]\nstride={stride}\n")


@pytest.mark.parametrize("stride, channels", [(1, 3), (2, 4), (2, 12), (3, 9)])
@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_reorg_has_the_historical_order(build, stride, channels, dialect):
    network = build(f"{net(channels, 6, 12)}[reorg]\nstride={stride}\n", dialect)
    x = values(2, channels, 6, 12)
    (found,) = network.forward(x)
    assert found.shape == (2, channels * stride**2, 6 // stride, 12 // stride)
    assert (found.reshape(2, -1) == naive.reorg(x, stride)).all()


@pytest.mark.parametrize("stride, channels", [(2, 8), (3, 18)])
def test_reverse_reorg_undoes_it(build, stride, channels):
    network, x = build(f"{net(channels, 4, 5)}[reorg]\nstride={stride}\nreverse=1\n"), values(2, channels, 4, 5)
    (found,) = network.forward(x)
    assert found.shape == (2, channels // stride**2, 4 * stride, 5 * stride)
    assert (found.reshape(2, -1) == naive.reorg(x, stride, reverse=True)).all()


@pytest.mark.parametrize("stride, channels", [(1, 3), (2, 3), (3, 17)])
def test_reorg3d_is_space_to_depth(build, stride, channels):
    network, x = build(f"{net(channels, 6, 12)}[reorg3d]\nstride={stride}\n", "alexeyab"), values(2, channels, 6, 12)
    assert_close(network.forward(x)[0], naive.reorg3d(x, stride), 0)


def test_flatten_puts_channels_last(build):
    network, x = build(net(3, 4, 5) + "[reorg]\nflatten=1\n"), values(2, 3, 4, 5)
    assert (network.forward(x)[0].reshape(2, -1) == x.transpose(0, 2, 3, 1).reshape(2, -1)).all()


def test_reverse_flatten_puts_channels_first(build):
    network, x = build(net(3, 4, 5) + "[reorg]\nflatten=1\nreverse=1\n"), values(2, 3, 4, 5)
    expected = x.reshape(2, 20, 3).transpose(0, 2, 1).reshape(2, -1)
    assert (network.forward(x)[0].reshape(2, -1) == expected).all()


def test_extra_appends_zeros(build):
    network, x = build(net(3, 4, 5) + "[reorg]\nextra=7\n"), values(2, 3, 4, 5)
    expected = np.concatenate([x.reshape(2, -1), np.zeros((2, 7))], axis=1)
    assert (network.forward(x)[0].reshape(2, -1) == expected).all()


@pytest.mark.parametrize("text", [
    net(3, 4, 4) + "[reorg]\nstride=2\n", net(4, 5, 4) + "[reorg]\nstride=2\n",
    net(6, 4, 4) + "[reorg]\nstride=2\nreverse=1\n",
])  # fmt: skip
def test_sizes_that_do_not_divide_are_errors(build, text):
    with pytest.raises(ConfigError, match="stride=2 does not fit its input"):
        build(text)
