"""Networks built from cfg text: shapes, memory, state, and results that depend on nothing but input and weights."""

import random

import numpy as np
import pytest
from reference import layers as naive
from support.networks import net
from support.tensors import assert_close, values

from pydarknet.errors import ConfigError, OptionError, ShapeError
from pydarknet.layers import INPUT
from pydarknet.runtime import threads

CONV = "[convolutional]\nfilters=6\nsize=3\npad=1\nactivation=leaky\n"
YOLO = "[yolo]\nmask={0}\nanchors=4,4, 8,8\nnum=2\nclasses=1\n"

# One layer of every kind that computes, in a network that runs in either dialect.
MIXED = (
    net(3, 13, 11)
    + """
[convolutional]
filters=20
size=3
pad=1
batch_normalize=1
activation=leaky
[convolutional]
filters=20
groups=20
size=3
pad=1
activation=logistic
[shortcut]
from=-2
activation=relu
[maxpool]
size=2
stride=2
[convolutional]
filters=33
size=5
stride=2
pad=1
activation=tanh
[upsample]
stride=2
[route]
layers=-1,-1
[normalization]
[batchnorm]
[activation]
activation=elu
[local]
filters=5
size=3
[connected]
output=40
activation=relu
[lstm]
output=17
[softmax]
groups=1
"""
)


def random_graph(seed):
    """A network whose layers read far back, so that tensors live for very different times."""
    rng = random.Random(seed)
    channels = [rng.randint(1, 40)]
    text = net(3, 9, 10) + f"[convolutional]\nfilters={channels[0]}\nsize=3\npad=1\nactivation=leaky\n"
    for index in range(1, rng.randint(6, 18)):
        kind = rng.choice(["conv", "conv", "route", "shortcut", "maxpool", "dropout", "alias", "logistic"])
        if kind == "conv":
            channels.append(rng.randint(1, 40))
            size = rng.choice([1, 3, 5])
            text += f"[convolutional]\nfilters={channels[-1]}\nsize={size}\npad=1\nactivation=leaky\n"
        elif kind == "route":
            sources = [rng.randrange(index) for _ in range(rng.randint(2, 3))]
            channels.append(sum(channels[source] for source in sources))
            text += f"[route]\nlayers={','.join(map(str, sources))}\n"
        elif kind == "alias":
            source = rng.randrange(index)
            channels.append(channels[source])
            text += f"[route]\nlayers={source}\n"
        elif kind == "shortcut":
            channels.append(channels[-1])
            text += f"[shortcut]\nfrom={rng.randrange(index)}\nactivation=leaky\n"
        else:
            channels.append(channels[-1])
            text += "[maxpool]\nsize=3\nstride=1\n" if kind == "maxpool" else f"[{kind}]\n"
    return text


@pytest.mark.parametrize("seed", range(40))
def test_shared_memory_changes_no_result(build, seed):
    network, x = build(random_graph(seed)), values(2, 3, 9, 10)
    shared = network.forward(x)[0]
    apart = network.layer_outputs(x)
    again = network.forward(x)[0]
    assert (shared == apart[-1]).all()
    assert (shared == again).all()
    assert np.isfinite(shared).all()


def twin(layer, sources):
    """What a layer of a random graph makes of its sources' outputs."""
    x = sources[0]
    if layer.kind == "convolutional":
        y = naive.convolution(x, layer.weights, layer.biases, padding=layer.window.padding)
        return naive.activation("leaky", y)
    if layer.kind == "shortcut":
        return naive.activation("leaky", naive.pjreddie_shortcut(x, sources[1], 1, 1))
    if layer.kind == "maxpool":
        return naive.pooled(x, 3, (1, 1), 2, np.max)
    return {"route": np.concatenate(sources, axis=1), "logistic": naive.sigmoid(x), "dropout": x}[layer.kind]


@pytest.mark.parametrize("seed", range(40))
def test_every_layer_of_a_graph_equals_its_twin_on_what_it_reads(build, seed):
    network, x = build(random_graph(seed)), values(1, 3, 9, 10)
    outputs = network.layer_outputs(x)
    for layer, found in zip(network.layers, outputs, strict=True):
        assert_close(found, twin(layer, [x if source == INPUT else outputs[source] for source in layer.sources]))


@pytest.mark.parametrize("text, expected", [
    (net(3, 8, 6), (3, 8, 6)), ("[net]\ninputs=7\n", (7, 1, 1)), (net() + "inputs=5\n", (3, 8, 8)),
    ("[net]\nwidth=6\ninputs=5\n", (5, 1, 1)),
])  # fmt: skip
def test_the_input_is_a_picture_or_a_vector(build, text, expected):
    assert build(text + "[dropout]\n").input_shape == expected


def test_the_size_may_be_given_instead_of_the_files(build):
    network = build(net(3, 8, 8) + CONV, width=12, height=5)
    assert network.input_shape == (3, 5, 12)
    assert network.forward(values(1, 3, 5, 12))[0].shape == (1, 6, 5, 12)


@pytest.mark.parametrize("text, message", [
    ("[net]\nwidth=4\nheight=4\n", "net.cfg:1: .net. No input parameters supplied: width=4, height=4, channels=0"),
    ("[net]\nbatch=1\n", "No input parameters supplied"),
    (net(3, 8, 100_000), "net.cfg:4: .net. width=100000: expected at most 65536"),
    (net(3, 8, -8), "net.cfg:4: .net. width=-8: expected a number from 0"),
    (net(100_000, 8, 8), "channels=100000: expected at most 65536"),
    (net("x", 8, 8), "net.cfg:2: .net. channels=x: expected an integer"),
])  # fmt: skip
def test_inputs_that_make_no_sense_are_errors(build, text, message):
    with pytest.raises(ConfigError, match=message):
        build(text + CONV)


@pytest.mark.parametrize("options, message", [
    ({"width": 0}, "width 0: expected a number of pixels from 1"), ({"height": -5}, "height -5"),
    ({"width": 1 << 20}, "width 1048576"), ({"batch": 0}, "batch 0: expected a number from 1"),
    ({"batch": -1}, "batch -1"),
])  # fmt: skip
def test_options_that_make_no_sense_are_errors(build, options, message):
    with pytest.raises(OptionError, match=message):
        build(net() + CONV, **options)


@pytest.mark.parametrize("kind, shape", [
    ("[avgpool]\n", (2, 6)), (CONV, (2, 6, 8, 8)), ("[connected]\noutput=5\n", (2, 5)), ("[cost]\n", (2, 6, 8, 8)),
])  # fmt: skip
def test_outputs_have_the_shape_of_a_plane_or_of_a_vector(build, kind, shape):
    (found,) = build(net() + CONV + kind).forward(values(2, 3, 8, 8))
    assert (found.shape, found.dtype) == (shape, np.float32)
    assert found.flags.c_contiguous


def test_every_head_gives_an_output(build):
    conv = "[convolutional]\nfilters=6\nactivation=linear\n"
    text = f"{net()}{conv}{YOLO.format(1)}[route]\nlayers=0\n[maxpool]\nsize=2\nstride=2\n{conv}{YOLO.format(0)}"
    network, x = build(text), values(2, 3, 8, 8)
    found, layers = network.forward(x), network.layer_outputs(x)
    assert [output.shape for output in found] == [(2, 6, 8, 8), (2, 6, 4, 4)]
    assert network.heads == [1, 5]
    assert (found[0] == layers[1]).all()
    assert (found[1] == layers[5]).all()


@pytest.mark.parametrize("x, message", [
    (np.zeros((1, 3, 8, 8)), "the input is float64; expected float32"),
    (np.zeros((1, 3, 8, 8), np.uint8), "the input is uint8; expected float32"),
    (np.zeros((1, 4, 8, 8), np.float32), r"the input has shape \(1, 4, 8, 8\); expected \(n, 3, 8, 8\) or \(n, 192\)"),
    (np.zeros((3, 8, 8), np.float32), r"the input has shape \(3, 8, 8\)"),
    (np.zeros((1, 191), np.float32), r"the input has shape \(1, 191\)"),
    (np.zeros((0, 3, 8, 8), np.float32), "batch 0: expected a number from 1"),
    (np.zeros((1, 3, 0, 8), np.float32), "height 0: expected a number of pixels"),
])  # fmt: skip
@pytest.mark.parametrize("run", ["forward", "layer_outputs"])
def test_inputs_of_another_shape_or_type_are_errors(build, x, message, run):
    with pytest.raises(OptionError, match=message):
        getattr(build(net() + CONV), run)(x)


def test_a_flat_input_is_the_same_picture(build):
    network, x = build(net() + CONV), values(2, 3, 8, 8)
    assert (network.forward(x)[0] == network.forward(x.reshape(2, -1))[0]).all()


@pytest.mark.parametrize("view", [
    lambda x: x[:, :, ::2, ::2], lambda x: x[:, :, :8, :8], lambda x: x.transpose(0, 1, 3, 2)[:, :, :8, :8],
    lambda x: x[::-1, :, :8, :8],
])  # fmt: skip
def test_an_input_need_not_be_contiguous(build, view):
    network, x = build(net() + CONV), view(values(2, 3, 16, 16))
    assert (network.forward(x)[0] == network.forward(x.copy())[0]).all()


def test_a_read_only_input_is_left_alone(build):
    network, x = build(net() + "[activation]\nactivation=relu\n"), values(1, 3, 8, 8)
    x.flags.writeable = False
    before = x.copy()
    network.forward(x)
    assert (x == before).all()


def test_results_are_the_callers(build):
    network = build(f"{net()}[convolutional]\nfilters=6\n{YOLO.format('0')}")
    first = network.forward(values(1, 3, 8, 8, seed=1))[0]
    kept = first.copy()
    second = network.forward(values(1, 3, 8, 8, seed=2))[0]
    assert (first == kept).all()
    assert not (first == second).all()
    second[:] = 0
    assert network.forward(values(1, 3, 8, 8, seed=2))[0].any()


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_a_picture_gives_the_same_alone_and_in_a_batch(build, dialect):
    network, x = build(MIXED, dialect), values(3, 3, 13, 11)
    together = network.layer_outputs(x)
    for item in range(3):
        network.reset_state()
        alone = network.layer_outputs(x[item : item + 1])
        assert all((a[0] == b[item]).all() for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_a_picture_gives_the_same_at_any_number_of_threads(build, dialect):
    if threads.most_threads() < 2:
        pytest.skip("one processor")
    x, before, found = values(2, 3, 13, 11), threads.threads(), []
    try:
        for count in (1, 2):
            threads.set_threads(count)
            found.append(build(MIXED, dialect).layer_outputs(x))
    finally:
        threads.set_threads(before)
    assert all((a == b).all() for a, b in zip(*found, strict=True))


def drawn(build, seed, dialect="pjreddie"):
    network = build(MIXED, dialect, seed=None)
    network.seed = seed
    network.initialise()
    return np.concatenate([array.ravel() for layer in network.layers for array in layer.parameters()])


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_a_seed_draws_the_same_parameters(build, dialect):
    assert (drawn(build, 5, dialect) == drawn(build, 5, dialect)).all()
    assert not (drawn(build, 5, dialect) == drawn(build, 6, dialect)).all()
    assert not (drawn(build, None, dialect) == drawn(build, None, dialect)).all()


def test_saved_parameters_compute_the_same(build, tmp_path):
    network, x = build(net() + CONV + "batch_normalize=1\n"), values(1, 3, 8, 8)
    expected = network.forward(x)[0]
    network.save_weights(tmp_path / "saved")
    other = build(net() + CONV + "batch_normalize=1\n", seed=7)
    assert not (other.forward(x)[0] == expected).all()
    other.load_weights(tmp_path / "saved")
    assert (other.forward(x)[0] == expected).all()


@pytest.mark.parametrize("size", [(5, 12), (16, 16), (1, 1)])
def test_a_resized_network_equals_one_built_at_that_size(build, size):
    height, width = size
    text, x = net() + CONV + "[maxpool]\nsize=2\nstride=2\n" + CONV, values(1, 3, height, width)
    network = build(text)
    network.forward(values(1, 3, 8, 8))
    network.resize(width, height)
    assert network.input_shape == (3, height, width)
    assert (network.forward(x)[0] == build(text, width=width, height=height).forward(x)[0]).all()


def test_an_input_of_another_size_or_batch_is_run_at_that_size(build):
    network, x = build(net() + CONV), values(3, 3, 5, 12)
    expected = build(net(3, 5, 12) + CONV).forward(x)[0]
    assert (network.forward(x)[0] == expected).all()
    assert network.running_size == (12, 5)
    assert network.input_shape == (3, 8, 8)
    assert network.forward(values(1, 192))[0].shape == (1, 6, 8, 8)


def test_a_size_that_does_not_fit_leaves_the_network_as_it_was(build):
    network, x = build(net(4, 8, 8) + "[reorg]\nstride=2\n"), values(1, 4, 8, 8)
    expected = network.forward(x)[0]
    with pytest.raises(ShapeError, match="stride=2 does not fit its input of 7 x 8 x 4"):
        network.resize(7, 8)
    with pytest.raises(ShapeError, match="stride=2 does not fit its input of 8 x 7 x 4"):
        network.forward(values(1, 4, 7, 8))
    assert network.input_shape == (4, 8, 8)
    assert (network.forward(x)[0] == expected).all()


@pytest.mark.parametrize("width, height, batch", [(0, 8, 1), (8, -1, 1), (8, 8, 0), (1 << 17, 8, 1)])
def test_sizes_that_make_no_sense_are_refused(build, width, height, batch):
    with pytest.raises(OptionError, match="expected a number"):
        build(net() + CONV).resize(width, height, batch)


@pytest.mark.parametrize("text, expected", [
    (CONV, True), (CONV + "[avgpool]\n[softmax]\n", True), ("[connected]\noutput=2\n", False),
    (CONV + "[local]\nfilters=2\nsize=3\n", False),
    ("[crop]\ncrop_width=4\ncrop_height=4\n[connected]\noutput=2\n", True),
])  # fmt: skip
def test_a_network_that_counts_its_inputs_runs_at_one_size(build, text, expected):
    assert build(net() + text).resizable is expected


@pytest.mark.parametrize("text", [
    CONV, "[conv_lstm]\noutput=5\nsize=3\npad=1\n", "[crnn]\noutput=5\nhidden=18\nsize=3\npad=1\n",
])  # fmt: skip
@pytest.mark.parametrize("before", [0, 1])
def test_asking_whether_a_network_can_be_resized_changes_nothing(build, text, before):
    x = values(1, 3, 8, 8)
    asked_nothing, network, found = build(net() + text, "alexeyab"), build(net() + text, "alexeyab"), []
    expected = [asked_nothing.forward(x)[0] for _ in range(2)]
    for step in range(2):
        if step == before:
            assert network.resizable
        found.append(network.forward(x)[0])
    assert all((a == b).all() for a, b in zip(found, expected, strict=True))


def test_a_refused_size_leaves_a_recurrent_network_as_it_was(build):
    text, x = f"{net(4)}[conv_lstm]\noutput=4\nsize=3\npad=1\n[reorg]\nstride=2\n", values(1, 4, 8, 8)
    undisturbed, network = build(text, "alexeyab"), build(text, "alexeyab")
    expected = [undisturbed.forward(x)[0] for _ in range(2)]
    first = network.forward(x)[0]
    with pytest.raises(ShapeError):
        network.resize(7, 7)
    assert (first == expected[0]).all()
    assert (network.forward(x)[0] == expected[1]).all()


def test_layers_know_the_shapes_of_the_last_pass(build):
    network = build(net() + CONV)
    network.forward(values(2, 3, 12, 10))
    assert (network.layers[0].shape.height, network.layers[0].shape.width, network.layers[0].batch) == (12, 10, 2)


def test_parameters_are_counted_by_their_arrays(build):
    network = build(MIXED)
    assert network.parameter_count == sum(a.size for layer in network.layers for a in layer.parameters())
    assert build(net() + "[maxpool]\n").parameter_count == 0


def test_operations_are_those_of_sums_of_products(build):
    conv = "[convolutional]\nfilters=4\nsize=3\nstride=2\npad=1\n"
    network = build(f"{net(3, 8, 6)}{conv}[maxpool]\n[connected]\noutput=5\n[softmax]\n")
    assert network.ops == 2 * (4 * 3 * 9 * 4 * 3) + 2 * (4 * 4 * 3 * 5)


def test_a_network_too_large_for_the_machine_is_refused_before_memory_is_taken(build):
    many = "[convolutional]\nfilters=20000\nsize=1\n" * 400
    with pytest.raises(ShapeError, match=r"net\.cfg: the parameters of layers 0 to \d+ need .* GiB; this machine has"):
        build(net(3, 1, 1) + many, seed=None)


def test_preparing_does_all_but_the_pass(build):
    network = build(net() + CONV)
    network.prepare((2, 3, 10, 9))
    assert network.running_size == (9, 10)
    with pytest.raises(OptionError, match="the input has shape"):
        network.prepare((2, 5, 10, 9))


def test_after_all_outputs_were_asked_for_passes_are_as_fast_as_before(build):
    text = net(3, 12, 12) + "[convolutional]\nfilters=16\nsize=3\npad=1\n[maxpool]\nsize=2\nstride=2\n" * 2
    network, x = build(text), values(1, 3, 12, 12)
    (before,) = network.forward(x)
    alone = [len(layer.fused) for layer in network.layers]
    kept = network.layer_outputs(x)[-1]
    (after,) = network.forward(x)
    assert [len(layer.fused) for layer in network.layers] == alone == [1, 0, 1, 0]
    assert (before == after).all()
    assert_close(kept.reshape(before.shape), before)


def test_parameters_beyond_the_memory_are_one_line(build, monkeypatch):
    network = build(net() + "[connected]\noutput=4\n")

    def fails(*_):
        raise MemoryError

    monkeypatch.setattr(network.layers[0], "initialise", fails)
    with pytest.raises(ShapeError, match=r"\[connected\] has 772 parameters, too many for this machine's memory"):
        network.initialise()
