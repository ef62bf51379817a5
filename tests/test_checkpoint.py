"""Pairs of weights and state: a kill leaves one at any moment, and what is restored goes on bit for bit."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest

from pydarknet import checkpoint
from pydarknet.checkpoint import Progress, newest
from pydarknet.errors import OutputError, WeightsError
from pydarknet.journal import Journal
from pydarknet.training import Training

CFG = """
    [net]
    channels=3
    height=8
    width=8
    batch=2
    learning_rate=0.1

    [convolutional]
    batch_normalize=1
    filters=4
    size=3
    pad=1
    activation=leaky

    [dropout]

    [avgpool]

    [softmax]
"""


@pytest.fixture
def training(build):
    return Training(build(CFG, batch=2))


def step(training, number):
    """One mini-batch that follows from its number."""
    rng = np.random.default_rng(number)
    images = rng.random((2, 3, 8, 8), np.float32)
    return training.step(images, [np.eye(4, dtype=np.float32)[number % 4]] * 2)


def progress(iteration):
    return Progress(iteration, 0, 1 / 3, 2 * iteration, 7, {"weights": 0, "last": iteration})


def numbers(training):
    return np.concatenate([r.array.ravel() for layer in training.network.layers for r in layer.records()])


LATE = "max_batches=2006\n    ema_alpha=0.9\n    weights_reject_freq=2"  # the average begins with the fourth step below


@pytest.mark.parametrize(
    ("extra", "of_net", "dialect"),
    [
        ("", "", "pjreddie"),
        ("dontload=1", "", "pjreddie"),
        ("dontsave=1", "", "pjreddie"),
        ("", "adam=1", "pjreddie"),
        ("", f"adam=1\n    {LATE}", "alexeyab"),
        ("", LATE, "alexeyab"),
    ],
)
def test_a_restored_run_goes_on_bit_for_bit(build, tmp_path, extra, of_net, dialect):
    cfg = CFG.replace("size=3", f"size=3\n    {extra}").replace("batch=2", f"batch=2\n    {of_net}")
    first = Training(build(cfg, dialect, batch=2))
    if of_net:
        first.seen = 2 * 1001
    for number in range(3):
        step(first, number)
    checkpoint.save(tmp_path, "net.backup", first, progress(3))
    arrays = {name: array.copy() for name, array in first.state_dict().items()}
    losses = [step(first, number) for number in range(3, 6)]
    if "ema" in of_net:
        assert any(name.startswith("average.") for name in arrays)

    found = newest(tmp_path, "net")
    assert (found.iteration, found.progress) == (3, progress(3))
    network = build(cfg, dialect, batch=2, seed=5)
    checkpoint.load_parameters(found, network)
    second = Training(network)
    checkpoint.restore(found, second)
    assert second.seen == (2 * 1004 if of_net else 6)
    assert all(np.array_equal(array, arrays[name]) for name, array in second.state_dict().items())
    assert [step(second, number) for number in range(3, 6)] == losses
    assert np.array_equal(numbers(first), numbers(second))


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_what_recurrent_layers_carry_is_restored(build, tmp_path, kind):
    cfg = f"""
        [net]
        inputs=3
        batch=2
        time_steps=2
        learning_rate=0.1

        [{kind}]
        output=4
        hidden=4
        batch_normalize=1

        [connected]
        output=4
        activation=linear

        [softmax]
    """

    def go(training, number):
        rng = np.random.default_rng(number)
        return training.step(rng.random((4, 3), np.float32), [np.eye(4, dtype=np.float32)[number % 4]] * 4)

    first = Training(build(cfg, batch=4))
    for number in range(2):
        go(first, number)
    checkpoint.save(tmp_path, "net.backup", first, progress(2))
    losses = [go(first, number) for number in range(2, 5)]
    found, network = newest(tmp_path, "net"), build(cfg, batch=4, seed=5)
    checkpoint.load_parameters(found, network)
    second = Training(network)
    checkpoint.restore(found, second)
    assert [go(second, number) for number in range(2, 5)] == losses
    assert np.array_equal(numbers(first), numbers(second))


def test_the_weights_are_an_ordinary_file(training, build, tmp_path):
    step(training, 0)
    checkpoint.save(tmp_path, "net.backup", training, progress(1))
    network = build(CFG)
    assert network.load_weights(tmp_path / "net.backup").header.seen == 2
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith((".", "net."))) == [
        "net.backup", "net.backup.state.npz", "net.cfg",
    ]  # fmt: skip


@pytest.mark.parametrize("kill_at", range(6))
def test_a_kill_while_writing_leaves_a_pair(training, build, tmp_path, monkeypatch, kill_at):
    """Renames are the only moments at which something changes on the disk that matters."""
    step(training, 0)
    checkpoint.save(tmp_path, "net.backup", training, progress(1))
    before = numbers(training)
    step(training, 1)
    rename, count = Path.replace, iter(range(99))

    def killed(self, target):
        if next(count) == kill_at:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with contextlib.suppress(KeyboardInterrupt):
        checkpoint.save(tmp_path, "net.backup", training, progress(2))
    monkeypatch.undo()
    found = newest(tmp_path, "net")
    network = build(CFG, seed=3, batch=2)
    checkpoint.load_parameters(found, network)
    assert found.iteration == (1 if kill_at < 3 else 2)
    expected = before if found.iteration == 1 else numbers(training)
    assert np.array_equal(numbers(Training(network)), expected)
    checkpoint.clean(tmp_path, "net")
    assert newest(tmp_path, "net").iteration == found.iteration


def test_a_mismatched_pair_is_refused(training, tmp_path, warnings):
    for iteration, name in ((1, "net_1.weights"), (2, "net.backup")):
        step(training, iteration)
        checkpoint.save(tmp_path, name, training, progress(iteration))
    backup = tmp_path / "net.backup"
    backup.write_bytes(backup.read_bytes()[:-4] + b"\0\0\0\0")
    assert newest(tmp_path, "net").weights.name == "net_1.weights"
    assert warnings() == [
        f"{backup} is not there, or not the file that net.backup.state.npz belongs to; it is passed over"
    ]
    (tmp_path / "net_1.weights").unlink()
    with pytest.raises(WeightsError, match="no checkpoint of net to go on from"):
        newest(tmp_path, "net")


def test_states_of_other_networks_do_not_count(training, tmp_path):
    step(training, 0)
    checkpoint.save(tmp_path, "net.backup", training, progress(1))
    assert newest(tmp_path, "ne") is None
    assert newest(tmp_path / "nowhere", "net") is None
    (tmp_path / "net.backup.state.npz").rename(tmp_path / "net_tiny.backup.state.npz")
    assert newest(tmp_path, "net_tiny") is None


def test_a_damaged_state_is_an_error(tmp_path):
    (tmp_path / "net.backup.state.npz").write_bytes(b"PK\x03\x04 and nothing")
    with pytest.raises(WeightsError, match=r"net\.backup\.state\.npz is no state of a training run"):
        newest(tmp_path, "net")


def test_another_network_or_batch_is_refused(training, build, tmp_path):
    step(training, 0)
    checkpoint.save(tmp_path, "net.backup", training, progress(1))
    found = newest(tmp_path, "net")
    with pytest.raises(WeightsError, match=r"the run had mini-batches 2, .* now gives 4"):
        checkpoint.check_fits(found, build(CFG, batch=4), 1)
    with pytest.raises(WeightsError, match="subdivisions"):
        checkpoint.check_fits(found, training.network, 2)
    other = Training(build(CFG.replace("filters=4", "filters=5"), batch=2))
    with pytest.raises(WeightsError, match="not the state of a training run of"):
        checkpoint.restore(found, other)


def test_a_full_disk_leaves_the_former_pair(training, tmp_path, monkeypatch):
    step(training, 0)
    checkpoint.save(tmp_path, "net.backup", training, progress(1))
    step(training, 1)

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pydarknet.files.os.fsync", full)
    with pytest.raises(OutputError, match=r"net\.backup: cannot write: No space left on device$"):
        checkpoint.save(tmp_path, "net.backup", training, progress(2))
    assert newest(tmp_path, "net").iteration == 1
    assert not list(tmp_path.glob(".*"))


def test_the_journal_is_cut_where_the_run_goes_on(tmp_path):
    journal = Journal(tmp_path / "train.jsonl")
    for iteration in range(1, 6):
        journal.append({"iteration": iteration})
    with journal.path.open("a") as stream:
        stream.write('{"iterat')
    journal.start(3, keep=True)
    assert [json.loads(line)["iteration"] for line in journal.path.read_text().splitlines()] == [1, 2, 3]
    journal.start(0, keep=False)
    assert not journal.path.exists()
    assert (tmp_path / "train.old.jsonl").exists()
