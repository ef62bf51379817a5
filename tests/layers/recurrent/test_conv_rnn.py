"""`[crnn]` and `[conv_lstm]` step by step against the reference implementation."""

import numpy as np
import pytest
from reference import layers as naive
from support.networks import net
from support.tensors import assert_close, values

from pydarknet.errors import ConfigError, ShapeError
from pydarknet.training.learner import Learner


def part(layer, name, x, activation, inside_root, padding=1):
    """What one convolutional part gives, in double precision."""
    conv = layer.parts[name]
    sums = naive.convolution(x, conv.weights, np.zeros(conv.filters), padding=padding, groups=conv.groups)
    return naive.activation(activation, naive.finished(sums, conv, inside_root))


def crnn(layer, frames, hidden, activation, shortcut, inside_root):
    n, _, h, w = frames[0].shape
    state = np.zeros((n, hidden, h, w))
    for x in frames:
        following = part(layer, "input", x, activation, inside_root) + part(
            layer, "self", state, activation, inside_root
        )
        state = following + state if shortcut else following
        yield part(layer, "output", state, activation, inside_root)


def conv_lstm(layer, frames, filters, activation, peephole, constrain):
    n, _, height, width = frames[0].shape
    h = c = np.zeros((n, filters, height, width))

    def gate(name, x, h, c):
        total = part(layer, f"w{name}", h, activation, True) + part(layer, f"u{name}", x, activation, True)
        return total + part(layer, f"v{name}", c, activation, True) if peephole and name != "g" else total

    for x in frames:
        f, i, g = (gate(name, x, h, c) for name in "fig")
        c = naive.sigmoid(f) * c + naive.sigmoid(i) * np.tanh(g)
        h = naive.sigmoid(gate("o", x, h, c)) * np.tanh(c)
        c = np.clip(c, -constrain, constrain)
        yield h


def check(network, expected_frames, shape):
    frames = [values(*shape, seed=step) for step in range(4)]
    for x, expected in zip(frames, expected_frames(network.layers[0], frames), strict=True):
        assert_close(network.forward(x)[0], expected, 2e-5)


@pytest.mark.parametrize("shortcut", [0, 1])
@pytest.mark.parametrize("normalised", [0, 1])
def test_pjreddies_crnn_has_filters_of_three(build, shortcut, normalised):
    options = f"output_filters=5\nhidden_filters=18\nactivation=leaky\nshortcut={shortcut}\n"
    network = build(f"{net(3, 6, 6)}[crnn]\n{options}batch_normalize={normalised}\n")
    check(network, lambda layer, frames: crnn(layer, frames, 18, "leaky", shortcut, False), (2, 3, 6, 6))


def test_pjreddies_crnn_takes_rows_for_columns(build):
    network = build(net(3, 4, 7) + "[crnn]\noutput_filters=5\nhidden_filters=6\nactivation=tanh\n")
    frames = [values(2, 3, 4, 7, seed=step) for step in range(2)]
    turned = [x.reshape(2, 3, 7, 4) for x in frames]
    for x, expected in zip(frames, crnn(network.layers[0], turned, 6, "tanh", False, False), strict=True):
        assert_close(network.forward(x)[0].reshape(2, -1), expected.reshape(2, -1))


@pytest.mark.parametrize("options, padding, groups", [
    ("size=3\npad=1\n", 1, 1), ("size=5\npadding=2\n", 2, 1), ("size=1\n", 0, 1), ("size=3\npad=1\ngroups=2\n", 1, 2),
])  # fmt: skip
def test_alexeyabs_crnn_has_a_window_of_its_own(build, options, padding, groups):
    network = build(f"{net(4, 6, 5)}[crnn]\noutput=6\nhidden=18\nactivation=leaky\n{options}", "alexeyab")
    layer, frames = network.layers[0], [values(2, 4, 6, 5, seed=step) for step in range(3)]
    state = np.zeros((2, 18, 6, 5))
    for x in frames:
        state = part(layer, "input", x, "leaky", True, padding) + part(layer, "self", state, "leaky", True, padding)
        expected = part(layer, "output", state, "leaky", True, padding)
        assert_close(network.forward(x)[0], expected)
    assert {conv.groups for conv in layer.parts.values()} == {groups}


@pytest.mark.parametrize("normalised", [0, 1])
@pytest.mark.parametrize("peephole", [0, 1])
@pytest.mark.parametrize("activation", ["linear", "leaky"])
def test_conv_lstm_follows_its_gates(build, normalised, peephole, activation):
    options = f"output=18\nsize=3\npad=1\npeephole={peephole}\nbatch_normalize={normalised}\n"
    network = build(f"{net(5, 6, 4)}[conv_lstm]\n{options}activation={activation}\n", "alexeyab")
    check(network, lambda layer, frames: conv_lstm(layer, frames, 18, activation, peephole, 32), (2, 5, 6, 4))


def test_the_cell_is_kept_within_bounds(build):
    network = build(f"{net(3, 4, 4)}[conv_lstm]\noutput=5\nsize=3\npad=1\nstate_constrain=1\n", "alexeyab")
    for array in network.layers[0].parameters():
        array[:] *= 4
    network.parameters_changed()
    check(network, lambda layer, frames: conv_lstm(layer, frames, 5, "linear", False, 1), (2, 3, 4, 4))


@pytest.mark.parametrize("steps, expected", [("", 32), ("time_steps=5\n", 160)])
def test_the_bound_grows_with_the_time_steps(build, steps, expected):
    network = build(f"{net()}{steps}[conv_lstm]\noutput=5\nsize=3\npad=1\n", "alexeyab")
    assert network.layers[0].constrain == expected


@pytest.mark.parametrize("options, order", [
    ("", "wf wi wg wo uf ui ug uo"), ("peephole=1\n", "vf vi vo wf wi wg wo uf ui ug uo"),
    ("bottleneck=1\n", "wf uf ui ug uo"),
])  # fmt: skip
def test_records_stand_in_file_order(build, options, order):
    (layer,) = build(f"{net(5)}[conv_lstm]\noutput=5\nsize=3\npad=1\n{options}", "alexeyab").layers
    assert list(layer.parts) == order.split()
    assert len(layer.parameters()) == 2 * len(order.split())


def test_broken_states_are_mended(build):
    network = build(f"{net(1, 1, 2)}[conv_lstm]\noutput=1\nsize=1\n", "alexeyab")
    network.layers[0].parts["ug"].weights[:] = np.nan
    network.parameters_changed()
    for _ in range(2):
        assert network.forward(values(1, 1, 1, 2))[0].ravel().tolist() == [1, 1]


@pytest.mark.parametrize("kind, options", [("crnn", "output=5\nhidden=5\n"), ("conv_lstm", "output=5\n")])
@pytest.mark.parametrize("window", ["size=3\n", "size=3\npad=1\nstride=2\n"])
def test_windows_that_do_not_keep_the_size_are_errors(build, kind, options, window):
    with pytest.raises(ShapeError):
        build(f"{net()}[{kind}]\n{options}{window}", "alexeyab")


@pytest.mark.parametrize("text", [
    "[crnn]\noutput=5\nhidden=18\nsize=3\npad=1\n", "[conv_lstm]\noutput=5\nsize=3\npad=1\npeephole=1\n",
])  # fmt: skip
def test_a_reset_starts_over(build, text):
    network, x = build(net() + text, "alexeyab"), values(1, 3, 8, 8)
    first, second = network.forward(x)[0], network.forward(x)[0]
    network.reset_state()
    assert (network.forward(x)[0] == first).all()
    assert not np.allclose(first, second)


def test_another_size_starts_over_with_a_state_that_fits(build):
    network = build(f"{net()}[conv_lstm]\noutput=5\nsize=3\npad=1\n", "alexeyab")
    network.forward(values(1, 3, 8, 8))
    large = network.forward(values(1, 3, 12, 10))[0]
    network.reset_state()
    assert (network.forward(values(1, 3, 12, 10))[0] == large).all()


@pytest.mark.parametrize("option", ["bottleneck=1", "lstm_activation=leaky"])
def test_options_that_training_does_not_know_are_one_line(build, option):
    text = net(4, 6, 5) + f"[conv_lstm]\noutput=4\nsize=3\npad=1\n{option}\n[cost]\n"
    with pytest.raises(ConfigError, match=f"{option.split('=')[0]}.*cannot be trained"):
        Learner(build(text, "alexeyab"))
