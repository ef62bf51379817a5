"""Mini-batches that copies of a learner compute give the bits of one learner, in every recorded training case."""

import copy
import json

import numpy as np
import pytest
from support.files import recorded_parameters
from support.networks import net

from pydarknet.config.dialect import choose_dialect
from pydarknet.config.sections import parse_config, read_config
from pydarknet.errors import ConfigError
from pydarknet.model import Model
from pydarknet.network.network import Network
from pydarknet.training.divided_learner import DividedLearner
from pydarknet.training.learner import Learner, mini_batch

from .test_learner import numbers, truth_of

CONV = "[convolutional]\nfilters=5\nsize=3\npad=1\nbatch_normalize=1\nactivation=leaky\n"
CLASSIFIER = net(2, 9, 7).replace("[net]", "[net]\nbatch=12\nsubdivisions=4\nlearning_rate=0.1") + (
    f"{CONV}[maxpool]\nsize=2\nstride=2\n{CONV}[dropout]\n[avgpool]\n[connected]\noutput=3\nbatch_normalize=1\n[softmax]\n"
)


def model_of(config, dialect="auto"):
    made = Model(config, choose_dialect(dialect, config), batch=mini_batch(config.net))
    made.initialise()
    return made


def state(learner):
    """All that a run would save, as bytes by name."""
    arrays = {**learner.state_dict(), "parameters": numbers(learner.network)}
    counters = learner.counters()
    del counters["random"]  # drawn anew by each mini-batch
    return {name: array.tobytes() for name, array in arrays.items()} | {"counters": json.dumps(counters)}


def divided_steps(copies, batches):
    """The losses of mini-batches that the copies compute in turn."""
    losses = []
    while batches:
        count = min(copies[0].until_update, len(batches))
        gradients, statistics = [], []
        for ahead, (images, truth) in enumerate(batches[:count]):
            learner = copies[ahead % len(copies)]
            loss, changes = learner.alone(images, truth, ahead)
            losses.append(loss)
            gradients.append(learner.gradient.copy())
            statistics.append(changes)
        total = copies[0].update.copy()
        for gradient in gradients:
            total += gradient
        for learner in copies:
            learner.advance(np.array_split(total, 3), statistics)
        batches = batches[count:]
    return losses


def same_bits(whole, copies, batches):
    losses = [whole.step(images, truth) for images, truth in batches]
    assert divided_steps(copies, batches) == losses
    for learner in copies:
        assert state(learner) == state(whole)


@pytest.mark.parametrize("case", recorded_parameters(kind="train"))
def test_recorded_runs(case):
    config = read_config(case["folder"] / "net.cfg")
    networks = [Network(config, choose_dialect(case["dialect"], config), batch=mini_batch(config.net)) for _ in "123"]
    for network in networks:
        network.load_weights(case["folder"] / "net.weights")
    whole = Learner(networks[0])
    try:
        copies = [DividedLearner(network) for network in networks[1:]]
    except ConfigError as error:
        assert "mini-batch" in str(error) or "share_index" in str(error)
        return
    outputs = whole.network.layers[whole.network.output_index].shape.outputs
    truths = json.loads((case["folder"] / "truth_boxes.json").read_text())
    batches = [
        (images, [truth_of(item, outputs) for item in truth])
        for images, truth in zip(np.load(case["folder"] / "images.npy"), truths, strict=True)
    ]
    same_bits(whole, copies, batches)


@pytest.mark.parametrize("options", ["", "adam=1\n", "ema_alpha=0.9\nmax_batches=4\n", "weights_reject_freq=1\n"])
def test_what_follows_an_update(options):
    config = parse_config("x.cfg", CLASSIFIER.replace("[net]", f"[net]\nmax_batches=9\n{options}", 1))
    first = model_of(config, "alexeyab")
    others = [copy.deepcopy(first), copy.deepcopy(first)]
    rng = np.random.default_rng(1)
    batches = [
        (rng.random((3, 2, 9, 7), np.float32), list(np.eye(3, dtype=np.float32)[rng.integers(3, size=3)]))
        for _ in range(18)
    ]
    same_bits(Learner(first), [DividedLearner(each) for each in others], batches)


def test_a_copy_by_pickle_goes_on():
    model = model_of(parse_config("x.cfg", CLASSIFIER))
    rng = np.random.default_rng(1)
    batches = [(rng.random((3, 2, 9, 7), np.float32), list(np.eye(3, dtype=np.float32))) for _ in range(6)]
    model.training = DividedLearner(model)
    divided_steps([model.training], batches)
    again = copy.deepcopy(model)
    assert type(again.training) is DividedLearner
    divided_steps([model.training], batches)
    divided_steps([again.training], batches)
    assert state(again.training) == state(model.training)


def test_alone_changes_nothing():
    learner = DividedLearner(model_of(parse_config("x.cfg", CLASSIFIER)))
    before = state(learner)
    learner.alone(np.ones((3, 2, 9, 7), np.float32), list(np.eye(3, dtype=np.float32)), ahead=2)
    assert state(learner) == before
    assert learner.gradient.any()


@pytest.mark.parametrize(("changes", "message"), [
    (("[avgpool]", "[rnn]\nhidden=2\noutput=2\n[avgpool]"), r"x\.cfg:\d+: \[rnn\].*layer 4 hands its state"),
    (("[net]", "[net]\nequidistant_point=3"), r"x\.cfg:2: \[net\].*equidistant_point: each mini-batch needs"),
    (("[avgpool]", f"{CONV}share_index=2\n[avgpool]"), r"x\.cfg:\d+: .*share_index: layer 4 adds to another"),
])  # fmt: skip
def test_networks_that_cannot_be_divided(changes, message):
    model = model_of(parse_config("x.cfg", CLASSIFIER.replace(*changes, 1)), "alexeyab")
    with pytest.raises(ConfigError, match=message):
        DividedLearner(model)
