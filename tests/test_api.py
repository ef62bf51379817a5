"""`pydarknet.load`: bundled files, seeds, sizes, and what it refuses."""

import numpy as np
import pytest
from support.networks import net

import pydarknet
from pydarknet.api import load

CFG = (
    net(3, 8, 8).replace("[net]", "[net]\nbatch=6\nsubdivisions=2")
    + "[convolutional]\nfilters=4\nsize=3\nactivation=leaky\n"
)


def test_the_public_name_is_this_function():
    assert pydarknet.load is load


def test_a_bundled_file_is_found_by_its_bare_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load("toys.cfg").input_shape[0] == 3


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty folder to be in, and an empty folder of models."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYDARKNET_MODELS", str(tmp_path / "models"))
    return tmp_path


def test_a_networks_name_brings_its_weights_and_names(elsewhere):
    net = load("toys")
    assert net.header.seen > 0
    assert net.names[0] == "ball"
    assert "duck" in net.detect("sample.jpg").names


def test_a_name_takes_other_weights_too(elsewhere):
    load("toys").save_weights("mine.weights")
    assert load("toys", "mine.weights").header.seen > 0
    assert load("toys.cfg").header.seen == 0


def test_a_name_whose_weights_are_missing_names_the_command(elsewhere):
    with pytest.raises(pydarknet.WeightsError, match="`pydarknet download yolov4-tiny`"):
        load("yolov4-tiny")


def test_a_name_without_weights_has_random_ones(elsewhere):
    assert load("lstm-small").header.seen == 0


def test_a_folder_of_that_name_is_no_network(elsewhere):
    (elsewhere / "toys").mkdir()
    assert load("toys.cfg").header.seen == 0


def test_downloads_are_those_of_the_command(elsewhere):
    with pytest.raises(pydarknet.OptionError, match="no published weights"):
        pydarknet.download("yolov5")


def test_one_seed_gives_one_network(write_cfg):
    path = write_cfg(CFG)
    first, again, other = (load(path, seed=seed).layers[0].parameters() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[-1], other[-1])


def test_sizes_and_batch_are_the_callers(write_cfg):
    network = load(write_cfg(CFG), width=12, height=10, batch=3)
    assert (network.input_shape, network.batch) == ((3, 10, 12), 3)


def test_training_takes_the_mini_batch_of_the_cfg(write_cfg):
    network = load(write_cfg(CFG), train=True)
    assert network.batch == 3
    assert network.training is not None


def test_without_train_no_step_is_taken(write_cfg):
    with pytest.raises(pydarknet.OptionError, match="train=True"):
        load(write_cfg(CFG)).train_step(np.zeros((1, 3, 8, 8), np.float32), [np.zeros(4)])


def test_an_unknown_dialect_is_one_line(write_cfg):
    with pytest.raises(pydarknet.DarknetError, match="dialect"):
        load(write_cfg(CFG), dialect="c")
