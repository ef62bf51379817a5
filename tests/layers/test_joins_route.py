"""`[route]`: channels of earlier layers side by side."""

import numpy as np
import pytest
from reference import layers as naive
from support.networks import net
from support.tensors import assert_close, values

from pydarknet.errors import ConfigError, ShapeError
from pydarknet.layers import joins as module
from pydarknet.runtime.program import KernelCall


def conv(filters, **options):
    lines = {"filters": filters, "activation": "linear", **options}
    return "[convolutional]\n" + "".join(f"{key}={value}\n" for key, value in lines.items())


@pytest.mark.parametrize("counts", [(5, 7), (16, 16), (3, 30), (17, 16, 20), (1, 1, 1, 1)])
@pytest.mark.parametrize("halo", ["", conv(4, size=3, pad=1)])
def test_channels_stand_in_the_order_of_the_list(build, counts, halo):
    text = net(3, 4, 5) + "".join(conv(count) for count in counts)
    order = list(reversed(range(len(counts))))
    network = build(f"{text}[route]\nlayers={','.join(map(str, order))}\n{halo}")
    outputs = network.layer_outputs(values(2, 3, 4, 5))
    expected = np.concatenate([outputs[index] for index in order], axis=1)
    assert (outputs[len(counts)] == expected).all()


@pytest.mark.parametrize("channels", [(6,), (18, 36), (4, 32)])
@pytest.mark.parametrize("group_id", [0, 1])
def test_groups_take_one_slice_of_each_source(build, channels, group_id):
    listed = ",".join(str(index) for index in range(len(channels)))
    text = f"{net()}{''.join(conv(count) for count in channels)}[route]\nlayers={listed}\n"
    network = build(f"{text}groups=2\ngroup_id={group_id}\n", "alexeyab")
    *sources, found = network.layer_outputs(values(2, 3, 8, 8))
    slices = [
        source[:, group_id * count // 2 :][:, : count // 2] for source, count in zip(sources, channels, strict=True)
    ]
    assert (found == np.concatenate(slices, axis=1)).all()


def test_one_whole_source_is_not_copied(build):
    network = build(f"{net()}{conv(4)}{conv(5)}[route]\nlayers=0\n{conv(6)}")
    assert network.layers[2].is_alias
    first, _, again, last = network.layer_outputs(values(2, 3, 8, 8))
    assert (first == again).all()
    reader = network.layers[3]
    assert_close(last, naive.convolution(again, reader.weights, reader.biases))


def test_a_layer_may_be_listed_twice(build):
    network = build(f"{net()}{conv(5)}[route]\nlayers=0,-1\n")
    first, both = network.layer_outputs(values(1, 3, 8, 8))
    assert (both == np.concatenate([first, first], axis=1)).all()


def test_sources_of_different_size_are_joined_as_vectors(build):
    network = build(f"{net()}{conv(3)}{conv(17, stride=2)}[route]\nlayers=0,1\n[connected]\noutput=4\n")
    small, large, both, _ = network.layer_outputs(values(2, 3, 8, 8))
    assert (both == np.concatenate([small.reshape(2, -1), large.reshape(2, -1)], axis=1)).all()


@pytest.mark.parametrize("options, message", [
    ("", "must specify input layers"),
    ("layers=0\ngroups=3\n", "groups=3 does not divide the 4 channels of layer 0"),
    ("layers=0\ngroups=2\ngroup_id=2\n", "group_id=2: expected a number from 0 to 1"),
    ("layers=x\n", "layers=x: expected an integer"),
])  # fmt: skip
def test_lists_that_make_no_sense_are_errors(build, options, message):
    with pytest.raises(ConfigError, match=message):
        build(f"{net()}{conv(4)}[route]\n{options}", "alexeyab")


def test_slices_of_different_sizes_are_refused(build):
    text = f"{net()}{conv(4)}{conv(4, stride=2)}[route]\nlayers=0,1\ngroups=2\n"
    with pytest.raises(ShapeError, match="groups needs sources of equal width and height"):
        build(text, "alexeyab")


def test_sizes_that_part_when_the_network_is_resized_are_an_error(build):
    text = f"{net(3, 8, 8)}{conv(4, stride=2)}{conv(4, stride=2)}[upsample]\n[route]\nlayers=0,2\n"
    network = build(text)
    with pytest.raises(ShapeError, match="layers 0 and 2 differ in size: 5 x 5 x 4 and 6 x 6 x 4"):
        network.resize(10, 10)
    assert network.forward(values(1, 3, 8, 8))[0].shape == (1, 8, 4, 4)


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
@pytest.mark.parametrize("reader", [conv(4), "[maxpool]\nsize=2\n", "[avgpool]\n"])
def test_an_image_of_sources_of_different_sizes_is_an_error(build, dialect, reader):
    """As in darknet; the sizes differ where the network's stride does not divide the input's."""
    text = f"{{}}{conv(4, stride=2)}{conv(4, stride=2)}[upsample]\n[route]\nlayers=0,2\n{reader}"
    build(text.format(net(3, 8, 8)), dialect)
    said = "layers differ in size: layer 0: 5 x 5 x 4, layer 2: 6 x 6 x 4"
    with pytest.raises(
        ShapeError, match=rf"{said} .*, and layer 4 \[\w+\] needs an image; the input has 10 x 10 pixels"
    ):
        build(text.format(net(3, 10, 10)), dialect)


def test_pjreddie_does_not_know_groups(build):
    network = build(f"{net()}{conv(4)}[route]\nlayers=0\ngroups=2\n")
    assert network.layers[1].shape.channels == 4


POOL, UP, DROPOUT = "[maxpool]\nsize=2\nstride=2\n", "[upsample]\nstride=2\n", "[dropout]\n"
READ = conv(5, size=3, pad=1)


def route(*layers, groups=1, group_id=0):
    return f"[route]\nlayers={','.join(map(str, layers))}\ngroups={groups}\ngroup_id={group_id}\n"


@pytest.mark.parametrize("body, copies", [
    (conv(16) + conv(32) + route(-1, -2), 0),
    (conv(16) + conv(5) + route(0, 1), 0),  # the last one may end within a block
    (conv(5) + conv(16) + route(0, 1), 2),  # not so another one, nor may one begin there
    (conv(16) + conv(16, size=3, pad=1) + route(0, 1), 0),  # with zeros round both
    (conv(16) + conv(16) + route(0, 0, 1), 1),  # what stands there twice is copied once
    (conv(16) + conv(16) + route(0, 1) + conv(16) + route(-1, -2), 0),  # a join within a join
    (conv(16) + conv(16) + route(0, 1) + READ + route(1, 0), 2),  # two joins of the same
    (conv(48) + route(-1, groups=3, group_id=1), 0),
    (conv(48) + route(-1, groups=3, group_id=1) + conv(16) + route(-1, -2), 1),  # the cut has its place already
    (conv(48) + conv(16) + route(0, 1) + route(-1, groups=2, group_id=1), 0),  # a cut of a join
    (conv(30) + route(-1, groups=3, group_id=1), 1),
    (conv(32) + conv(32) + route(0, 1, groups=2), 2),
    (conv(16) + DROPOUT + conv(16) + route(1, 2), 0),
    (conv(32, size=3, pad=1) + POOL + conv(16) + UP + conv(16) + route(-1, -2), 0),
    (conv(3) + route(-1), 0),  # nothing is joined: it passes on
])  # fmt: skip
def test_sources_are_written_where_they_are_joined(build, monkeypatch, body, copies):
    copied = []
    monkeypatch.setattr(module, "KernelCall", lambda *arguments: copied.append(1) or KernelCall(*arguments))
    network = build(net(3, 6, 8) + body + READ + conv(4), "alexeyab")
    x = values(1, 3, 6, 8)
    (found,) = network.forward(x)
    assert len(copied) == copies
    (in_a_batch, _) = network.forward(np.concatenate([x, -x]))[0]
    expected = network.layer_outputs(x)[-1]
    assert (found.reshape(expected.shape) == expected).all()
    assert (in_a_batch.reshape(expected.shape) == expected).all()
