"""`[maxpool]`, `[local_avgpool]` and `[avgpool]` from cfg text to output."""

import numpy as np
import pytest
from reference import layers as naive
from support.networks import net
from support.tensors import assert_close, values

from pydarknet.errors import ConfigError

WINDOWS = [
    # options, size, stride, padding of both sides together
    ("size=2\nstride=2\n", 2, (2, 2), 1),
    ("size=2\nstride=1\n", 2, (1, 1), 1),
    ("size=3\nstride=1\n", 3, (1, 1), 2),
    ("size=3\nstride=2\n", 3, (2, 2), 2),
    ("size=3\nstride=2\npadding=0\n", 3, (2, 2), 0),
    ("size=13\nstride=1\n", 13, (1, 1), 12),
    ("stride=3\n", 3, (3, 3), 2),
    ("size=2\n", 2, (1, 1), 1),
    ("", 1, (1, 1), 0),
]
IDS = [text.replace("\n", " ") for text, *_ in WINDOWS]


@pytest.mark.parametrize("options, size, stride, padding", WINDOWS, ids=IDS)
@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_maxpool_has_darknets_sizes_and_defaults(build, options, size, stride, padding, dialect):
    network, x = build(f"{net(18, 13, 12)}[maxpool]\n{options}", dialect), values(2, 18, 13, 12) - 4
    assert_close(network.forward(x)[0], naive.pooled(x, size, stride, padding, np.max), 0)


@pytest.mark.parametrize("options, size, stride, padding", WINDOWS, ids=IDS)
def test_local_avgpool_has_the_same_windows(build, options, size, stride, padding):
    network, x = build(f"{net(18, 13, 12)}[local_avgpool]\n{options}", "alexeyab"), values(2, 18, 13, 12)
    assert_close(network.forward(x)[0], naive.pooled(x, size, stride, padding, np.mean))


@pytest.mark.parametrize("kind, reduce", [("maxpool", np.max), ("local_avgpool", np.mean)])
def test_alexeyab_has_a_stride_for_each_direction(build, kind, reduce):
    network = build(f"{net(3, 9, 9)}[{kind}]\nsize=2\nstride_x=2\nstride_y=1\n", "alexeyab")
    x = values(1, 3, 9, 9)
    assert_close(network.forward(x)[0], naive.pooled(x, 2, (1, 2), 1, reduce))


def test_pjreddie_does_not_know_those_strides(build):
    network = build(net(3, 9, 9) + "[maxpool]\nsize=2\nstride=2\nstride_x=1\nstride_y=1\n")
    assert network.forward(values(1, 3, 9, 9))[0].shape == (1, 3, 5, 5)


@pytest.mark.parametrize("mode", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
def test_antialiasing_pools_at_stride_one_and_blurs(build, mode, stride):
    text = f"{net(18, 9, 10)}[maxpool]\nsize=2\nstride={stride}\nantialiasing={mode}\n"
    network, x = build(text, "alexeyab"), values(2, 18, 9, 10)
    sharp = naive.pooled(x, 2, (1, 1), 1, np.max)
    assert_close(network.forward(x)[0], naive.blur(sharp, mode, (stride, stride)))


@pytest.mark.parametrize("out_channels", [1, 3, 6, 4])
def test_depth_pooling_takes_the_largest_of_every_nth_channel(build, out_channels):
    network = build(f"{net(6, 3, 4)}[maxpool]\nmaxpool_depth=1\nout_channels={out_channels}\n", "alexeyab")
    x = values(2, 6, 3, 4)
    expected = np.stack([x[:, g::out_channels].max(axis=1) for g in range(out_channels)], axis=1)
    assert_close(network.forward(x)[0], expected, 0)


def test_depth_pooling_cannot_make_channels(build):
    with pytest.raises(ConfigError, match="out_channels=4 is more than the 3 it reads"):
        build(net() + "[maxpool]\nmaxpool_depth=1\nout_channels=4\n", "alexeyab")


@pytest.mark.parametrize("channels", [3, 16, 33])
def test_avgpool_gives_the_mean_of_each_channel(build, channels):
    network, x = build(net(channels, 7, 5) + "[avgpool]\n"), values(2, channels, 7, 5)
    assert_close(network.forward(x)[0], x.astype(np.float64).mean(axis=(2, 3)))


def test_a_window_larger_than_the_padded_plane_is_an_error(build):
    with pytest.raises(ConfigError, match="expected at least 1 x 1 x 1"):
        build(net(3, 4, 4) + "[maxpool]\nsize=5\npadding=0\n")


def test_the_darknet53_style_pyramid_keeps_the_size(build):
    pools = "".join(f"[maxpool]\nsize={size}\nstride=1\n[route]\nlayers=0\n" for size in (5, 9, 13))
    text = f"{net(5, 13, 13)}[convolutional]\nfilters=5\nactivation=linear\n{pools}[route]\nlayers=-2,-4,-6,0\n"
    network = build(text)
    outputs = network.layer_outputs(values(1, 5, 13, 13))
    x = outputs[0]
    pooled = [naive.pooled(x, size, (1, 1), size - 1, np.max) for size in (13, 9, 5)]
    assert_close(outputs[-1], np.concatenate([*pooled, x], axis=1), 0)
