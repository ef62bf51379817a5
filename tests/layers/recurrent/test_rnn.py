"""`[rnn]`, `[gru]` and `[lstm]` step by step, with a state that stays until it is reset."""

import numpy as np
import pytest
from reference import layers as naive
from support.tensors import assert_close, values

DIALECTS = ["pjreddie", "alexeyab"]


def part(layer, name, x, activation, inside_root):
    """What one connected part gives, in double precision."""
    connected = layer.parts[name]
    return naive.activation(
        activation, naive.finished(x @ connected.weights.T.astype(np.float64), connected, inside_root)
    )


def both(layer, gate, x, state, inside_root):
    """The sum from which a gate is made: its parts for the input and for the state."""
    return part(layer, f"u{gate}", x, "linear", inside_root) + part(layer, f"w{gate}", state, "linear", inside_root)


def rnn(layer, frames, states, outer, inner, shortcut=False, inside_root=False):
    state = np.zeros((len(frames[0]), states))
    for x in frames:
        following = part(layer, "input", x, outer, inside_root) + part(layer, "self", state, inner, inside_root)
        state = following + state if shortcut else following
        yield part(layer, "output", state, outer, inside_root)


def gru(layer, frames, states, candidate, inside_root=False):
    h = np.zeros((len(frames[0]), states))
    for x in frames:
        z, r = (naive.sigmoid(both(layer, gate, x, h, inside_root)) for gate in "zr")
        g = naive.activation(candidate, both(layer, "h", x, r * h, inside_root))
        h = z * h + (1 - z) * g
        yield h


def lstm(layer, frames, states, inside_root=False):
    h = c = np.zeros((len(frames[0]), states))
    for x in frames:
        f, i, o, g = (both(layer, gate, x, h, inside_root) for gate in "fiog")
        c = naive.sigmoid(f) * c + naive.sigmoid(i) * np.tanh(g)
        h = naive.sigmoid(o) * np.tanh(c)
        yield h


def check(network, expected_frames):
    frames = [values(2, 5, seed=step) for step in range(4)]
    for x, expected in zip(frames, expected_frames(network.layers[0], frames), strict=True):
        assert_close(network.forward(x)[0], expected)


@pytest.mark.parametrize("normalised", [0, 1])
@pytest.mark.parametrize("shortcut", [0, 1])
def test_pjreddies_rnn_has_as_many_states_as_outputs(build, normalised, shortcut):
    text = f"output=7\nhidden=9\nactivation=tanh\nbatch_normalize={normalised}\nshortcut={shortcut}\n"
    network = build(f"[net]\ninputs=5\n[rnn]\n{text}")
    assert network.layers[0].parts["self"].outputs_count == 7
    check(network, lambda layer, frames: rnn(layer, frames, 7, "tanh", "tanh", shortcut))


@pytest.mark.parametrize("logistic, inner", [(0, "leaky"), (1, "logistic"), (2, "loggy")])
@pytest.mark.parametrize("normalised", [0, 1])
def test_alexeyabs_rnn_has_hidden_states_of_its_own(build, logistic, inner, normalised):
    text = f"output=7\nhidden=9\nactivation=leaky\nbatch_normalize={normalised}\nlogistic={logistic}\n"
    network = build(f"[net]\ninputs=5\n[rnn]\n{text}", "alexeyab")
    check(network, lambda layer, frames: rnn(layer, frames, 9, "leaky", inner, inside_root=True))


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("normalised", [0, 1])
def test_gru_follows_its_gates(build, dialect, normalised):
    network = build(f"[net]\ninputs=5\n[gru]\noutput=7\nbatch_normalize={normalised}\n", dialect)
    check(network, lambda layer, frames: gru(layer, frames, 7, "logistic", dialect == "alexeyab"))


def test_pjreddies_gru_may_use_tanh(build):
    network = build("[net]\ninputs=5\n[gru]\noutput=7\ntanh=1\n")
    check(network, lambda layer, frames: gru(layer, frames, 7, "tanh"))


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("normalised", [0, 1])
def test_lstm_follows_its_gates(build, dialect, normalised):
    network = build(f"[net]\ninputs=5\n[lstm]\noutput=7\nbatch_normalize={normalised}\n", dialect)
    check(network, lambda layer, frames: lstm(layer, frames, 7, dialect == "alexeyab"))


@pytest.mark.parametrize("kind, dialect, order", [
    ("lstm", "pjreddie", "wi wf wo wg ui uf uo ug"), ("lstm", "alexeyab", "wf wi wg wo uf ui ug uo"),
    ("gru", "pjreddie", "wz wr wh uz ur uh"), ("gru", "alexeyab", "uz ur uh wz wr wh"),
    ("rnn", "pjreddie", "input self output"), ("rnn", "alexeyab", "input self output"),
])  # fmt: skip
def test_records_stand_in_the_dialects_order(build, kind, dialect, order):
    (layer,) = build(f"[net]\ninputs=5\n[{kind}]\noutput=7\nhidden=7\n", dialect).layers
    names = [record.name for record in layer.named_parameters() if record.name.endswith(".weights")]
    assert names == [f"{name}.weights" for name in order.split()]
    inputs = {name: array.shape[1] for name, array in zip(order.split(), layer.parameters()[1::2], strict=True)}
    assert all(inputs[name] == (5 if name[0] in "ui" else 7) for name in inputs)


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_reset_starts_over(build, kind, dialect):
    network, x = build(f"[net]\ninputs=5\n[{kind}]\noutput=7\n", dialect), values(1, 5)
    first, second = network.forward(x)[0], network.forward(x)[0]
    network.reset_state()
    assert (network.forward(x)[0] == first).all()
    assert (network.forward(x)[0] == second).all()
    assert not np.allclose(first, second)


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_both_ways_of_running_share_the_state(build, kind):
    network, x = build(f"[net]\ninputs=5\n[{kind}]\noutput=7\n"), values(1, 5)
    expected = [network.forward(x)[0] for _ in range(3)]
    network.reset_state()
    found = [network.forward(x)[0], network.layer_outputs(x)[0], network.forward(x)[0]]
    assert all((a == b).all() for a, b in zip(found, expected, strict=True))


def test_another_batch_starts_over(build):
    network = build("[net]\ninputs=5\n[lstm]\noutput=7\n")
    first = network.forward(values(1, 5))[0]
    network.forward(values(2, 5))
    assert (network.forward(values(1, 5))[0] == first).all()


def test_items_of_a_batch_have_states_of_their_own(build):
    network, x = build("[net]\ninputs=5\n[gru]\noutput=7\n"), [values(2, 5, seed=step) for step in range(3)]
    together = [network.forward(step)[0] for step in x]
    for item in range(2):
        network.reset_state()
        alone = [network.forward(step[item : item + 1])[0] for step in x]
        assert all((a[item] == b[0]).all() for a, b in zip(together, alone, strict=True))


@pytest.mark.parametrize("kind, products", [("rnn", 5 * 7 + 7 * 7 + 7 * 7), ("gru", 3 * (5 * 7 + 7 * 7)),
                                            ("lstm", 4 * (5 * 7 + 7 * 7))])  # fmt: skip
def test_operations_are_those_of_the_parts(build, kind, products):
    assert build(f"[net]\ninputs=5\n[{kind}]\noutput=7\n").ops == 2 * products


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_initial_parts_are_drawn_one_by_one(build, kind):
    network = build(f"[net]\ninputs=5\n[{kind}]\noutput=7\n", seed=None)
    network.initialise()
    matrices = [array for array in network.layers[0].parameters() if array.ndim == 2]
    assert all(np.abs(m).max() <= np.sqrt(2 / m.shape[1]) for m in matrices)
    assert len({m.tobytes() for m in matrices}) == len(matrices)
