"""The best weights of a folder: kept while nothing better comes, and never without what is said about them."""

import json

import pytest
from support.files import killed_at_rename
from support.networks import net, randomise

from pydarknet.errors import OutputError
from pydarknet.training.checkpoint_schedule import BestWeights

CFG = net() + "[convolutional]\nfilters=4\n"


@pytest.fixture
def network(build):
    return build(CFG)


@pytest.fixture
def best(tmp_path):
    return BestWeights(tmp_path, "net")


def offer(best, network, value, iteration=1):
    randomise(network, iteration)
    return best.save_if_best(network, value, {"kind": "map", "iteration": iteration})


def test_only_what_is_as_good_takes_the_place(best, network, warnings):
    assert best.record() is None
    assert offer(best, network, 0.5, 10) == best.path
    first = best.path.read_bytes()
    assert offer(best, network, 0.4, 20) is None
    assert warnings() == [f"{best.path} has map = 0.500000 of iteration 10, better than 0.400000; it is kept"]
    assert best.path.read_bytes() == first
    assert offer(best, network, 0.5, 30) == best.path
    assert best.path.read_bytes() != first
    assert (best.record()["value"], best.record()["iteration"]) == (0.5, 30)
    assert json.loads(best.sidecar.read_text())["weights"] == "net_best.weights"


def test_a_later_run_knows(best, network, tmp_path):
    offer(best, network, 0.5)
    assert offer(BestWeights(tmp_path, "net"), network, 0.49) is None
    assert offer(BestWeights(tmp_path, "other"), network, 0.1) == tmp_path / "other_best.weights"


@pytest.mark.parametrize("damage", ["no sidecar", "other weights", "no json"])
def test_weights_of_which_nobody_knows_are_put_aside(best, network, warnings, damage):
    offer(best, network, 0.9)
    if damage == "no sidecar":
        best.sidecar.unlink()
    elif damage == "other weights":
        best.path.write_bytes(best.path.read_bytes()[:-4] + b"\0\0\0\0")
    else:
        best.sidecar.write_text("{")
    before = best.path.read_bytes()
    assert offer(best, network, 0.2, 2) == best.path
    assert best.path.with_name("net_best.old.weights").read_bytes() == before
    assert "these weights have no record of their value" in warnings()[0]


@pytest.mark.parametrize("kill_at", range(4))
def test_a_kill_leaves_weights_that_are_known(best, network, monkeypatch, kill_at):
    offer(best, network, 0.3)
    with killed_at_rename(monkeypatch, kill_at):
        offer(best, network, 0.6, 2)
    assert best.record()["value"] == (0.3 if kill_at < 3 else 0.6)


def test_a_full_disk_leaves_the_former_weights(best, network, monkeypatch):
    offer(best, network, 0.3)
    before = best.path.read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pydarknet.utils.files.os.fsync", full)
    with pytest.raises(OutputError, match=r"net_best\.weights: cannot write: No space left on device$"):
        offer(best, network, 0.6, 2)
    assert best.path.read_bytes() == before
    assert best.record()["value"] == 0.3
