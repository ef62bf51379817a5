"""Choices that are measured and remembered."""

import contextlib
import json
import os
import time

import pytest
from support.networks import net
from support.tensors import assert_close, values

from pydarknet.layers.autotune import Tuning
from pydarknet.layers.convolution import algorithm
from pydarknet.training.learner import Learner

CONV = "[convolutional]\nfilters=32\nsize=3\npad=1\nactivation=leaky\n"
POOL = "[maxpool]\nsize=2\nstride=2\n"


def slow():
    time.sleep(0.005)


@pytest.fixture
def tuning(tmp_path, monkeypatch):
    """An empty memory, which the layers use."""
    memory = Tuning(tmp_path / "folder" / "tuning.json")
    monkeypatch.setattr(algorithm, "tuning", memory)
    monkeypatch.setattr("pydarknet.network.network.tuning", memory)
    return memory


def test_without_measuring_the_guess_stands(tuning):
    assert tuning.choose("work", 4, (3, 4), lambda: pytest.fail("was timed")) == 4
    assert not tuning.path.exists()


def test_the_fastest_is_chosen_kept_and_not_timed_again(tuning):
    with tuning.measured():
        assert tuning.choose("work", 4, (3, 4), lambda: {4: slow, 3: lambda: None}) == 3
    assert json.loads(tuning.path.read_text()) == {"work": 3}
    later = Tuning(tuning.path)
    assert later.choose("work", 4, (3, 4), lambda: pytest.fail("was timed again")) == 3
    assert later.choose("other work", 4, (3, 4), lambda: pytest.fail("was timed")) == 4


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"work": "4"}', b'{"work": true}', b"\xff\xfe"])
def test_a_damaged_memory_is_empty(tmp_path, content):
    path = tmp_path / "tuning.json"
    path.write_bytes(content)
    assert Tuning(path).known == {}


@pytest.mark.parametrize("choice", [-1, 1, 5, 1000000, 10**30])
@pytest.mark.parametrize("measuring", [False, True])
def test_a_choice_that_was_no_candidate_is_made_anew(tmp_path, warnings, choice, measuring):
    path = tmp_path / "tuning.json"
    path.write_text(json.dumps({"work": choice, "other work": 2}))
    memory = Tuning(path)
    with memory.measured() if measuring else contextlib.nullcontext():
        found = memory.choose("work", 4, (2, 3, 4), lambda: {2: slow, 3: lambda: None, 4: slow})
    assert found == (3 if measuring else 4)
    (message,) = warnings()
    expected = f"{choice} is no algorithm for this layer; expected one of 2, 3, 4, so it is chosen anew"
    assert message == f'{path}: "work": {expected}'
    if measuring:
        assert json.loads(path.read_text()) == {"work": 3, "other work": 2}


@pytest.mark.parametrize("choice", [1, 5, 1000000])
def test_a_network_computes_the_same_with_a_wrong_choice(build, tuning, choice):
    text, x = f"{net(height=16, width=16)}{CONV}{CONV}", values(1, 3, 16, 16)
    network = build(text)
    network.initialise()
    (expected,) = network.forward(x)
    tuning.known.update({"3x3 32 -> 32 at 16 x 16": choice})
    again = build(text)
    again.initialise()
    assert (again.forward(x)[0] == expected).all()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the system lets root write anywhere")
def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path, caplog):
    tmp_path.chmod(0o500)
    memory = Tuning(tmp_path / "tuning.json")
    with memory.measured():
        memory.choose("work", 4, (2, 4), lambda: {2: lambda: None})
    assert "cannot be kept" in caplog.text


def test_a_network_measures_each_kind_of_convolution_once(build, tuning):
    network = build(f"{net(height=24, width=20)}{CONV}{POOL}{CONV}{CONV}")
    network.initialise()
    x = values(1, 3, 24, 20)
    (guessed,) = network.forward(x)
    assert not tuning.known
    tuned = build(f"{net(height=24, width=20)}{CONV}{POOL}{CONV}{CONV}")
    tuned.initialise()
    tuned.tune = True
    (found,) = tuned.forward(x)
    assert list(tuning.known) == ["3x3 32 -> 32 at 10 x 12"]
    assert set(tuning.known.values()) <= {0, 2, 3, 4}
    assert_close(found, guessed, 1e-5)


@pytest.mark.parametrize("m", [0, 2, 4])
def test_what_is_remembered_is_done(build, tuning, m):
    tuning.known.update({"3x3 32 -> 32 at 16 x 16 pooled": m})
    network = build(f"{net(height=16, width=16)}{CONV}{CONV}{POOL}{CONV}")
    network.initialise()
    network.forward(values(1, 3, 16, 16))
    assert network.layers[1]._algorithm.m == m


def test_training_does_not_depend_on_what_was_measured(build, tuning):
    tuning.known.update({"3x3 32 -> 32 at 16 x 16": 2})
    network = build(f"{net(height=16, width=16)}{CONV}{CONV}")
    network.forward(values(1, 3, 16, 16))
    layer = network.layers[1]
    assert layer._algorithm.m == 2
    Learner(network)
    assert layer._algorithm.m == 4  # that of layers that are frozen
    assert layer._algorithm_for(layer.source_tensors[0].layout).m == 4
