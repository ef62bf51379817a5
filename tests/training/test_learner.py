"""The recorded training cases, step by step: losses, rates and the weights after the last update."""

import gc
import json

import numpy as np
import pytest
from support.files import recorded_parameters
from support.networks import net
from support.tensors import values

import pydarknet
from pydarknet.config.dialect import choose_dialect
from pydarknet.config.sections import read_config
from pydarknet.errors import OptionError
from pydarknet.network.network import Network
from pydarknet.runtime.threads import set_threads, threads
from pydarknet.tensor import Tensor
from pydarknet.training.learner import Learner, mini_batch

CONV = "[convolutional]\nfilters=5\nsize=3\npad=1\nbatch_normalize=1\nactivation=leaky\n"
CLASSIFIER = net(2, 9, 7).replace("[net]", "[net]\nbatch=4\nsubdivisions=2\nlearning_rate=0.1") + (
    f"{CONV}[maxpool]\nsize=2\nstride=2\n{CONV}[dropout]\n[avgpool]\n[softmax]\n"
)


def numbers(network):
    """All parameters of a network as one vector."""
    return np.concatenate([array.ravel() for layer in network.layers for array in layer.parameters()])


def truth_of(item, outputs):
    """One picture's truth, as the cases list it, in the form that `step` takes."""
    if isinstance(item, list):
        rows = [[box[key] for key in ("class", "x", "y", "w", "h")] for box in item]
        return np.array(rows, np.float32).reshape(-1, 5)
    if "values" in item:
        return np.array(item["values"], np.float32)
    return (np.arange(outputs) == item["class"]).astype(np.float32)


@pytest.mark.parametrize("case", recorded_parameters(kind="train"))
def test_a_recorded_training_run_is_repeated(case):
    folder = case["folder"]
    config = read_config(folder / "net.cfg")
    batch = mini_batch(config.net)
    network, after = (Network(config, choose_dialect(case["dialect"], config), batch=batch) for _ in range(2))
    network.load_weights(folder / "net.weights")
    after.load_weights(folder / "after.weights")
    before, training = numbers(network), Learner(network)
    outputs = network.layers[network.output_index].shape.outputs
    pictures = np.load(folder / "images.npy")
    losses, rates = [], []
    for images, truth in zip(pictures, json.loads((folder / "truth_boxes.json").read_text()), strict=True):
        losses.append(training.step(images, [truth_of(item, outputs) for item in truth]))
        rates.append(training.lr)
    np.testing.assert_allclose(losses, np.load(folder / "losses.npy"), max(1e-4, 10 * case["sensitivity_loss"]))
    np.testing.assert_allclose(rates, np.load(folder / "rates.npy"), 1e-6)
    change = np.abs(numbers(after) - before).max()
    assert np.abs(numbers(network) - numbers(after)).max() <= max(1e-3, 10 * case["sensitivity_weights"]) * change


def trained(path, steps=6, **options):
    """The parameters and losses after some steps from a seed."""
    network = pydarknet.load(path, train=True, **options)
    truth = [np.eye(5, dtype=np.float32)[k % 5] for k in range(2)]
    losses = [network.train_step(values(2, 2, 9, 7, seed=k), truth) for k in range(steps)]
    return numbers(network), losses


def test_one_seed_gives_one_result_at_any_number_of_threads(write_cfg):
    path, before = write_cfg(CLASSIFIER), threads()
    runs = []
    for count in (1, 2):
        set_threads(count)
        runs.append(trained(path, seed=3))
    set_threads(before)
    assert (runs[0][0] == runs[1][0]).all()
    assert runs[0][1] == runs[1][1]
    assert (trained(path, seed=4)[0] != runs[0][0]).any()


def test_the_weights_change_after_every_subdivision(write_cfg):
    network = pydarknet.load(write_cfg(CLASSIFIER), train=True)
    weights, before = network.layers[0].weights, network.layers[0].weights.copy()
    truth = [np.eye(5, dtype=np.float32)[0]] * 2
    network.train_step(values(2, 2, 9, 7), truth)
    assert (weights == before).all()
    network.train_step(values(2, 2, 9, 7), truth)
    assert (weights != before).any()
    assert network.header.seen == 4


def test_a_network_learns_a_small_set_by_heart(write_cfg):
    path = write_cfg(CLASSIFIER.replace("[dropout]\n", ""))
    network, pictures = pydarknet.load(path, train=True), values(2, 2, 9, 7)
    truth = [np.eye(5, dtype=np.float32)[k] for k in (1, 3)]
    losses = [network.train_step(pictures, truth) for _ in range(80)]
    assert losses[-1] < 0.2 * losses[0]


def test_what_an_earlier_step_left_in_the_deltas_does_not_matter(write_cfg):
    text = CLASSIFIER.replace("[avgpool]", f"{CONV}groups=5\n[shortcut]\nfrom=-2\nactivation=linear\n[avgpool]")
    path, results = write_cfg(text), []
    for dirt in (0, np.nan):
        network = Network(read_config(path), choose_dialect("auto", read_config(path)), batch=2)
        network.initialise()
        training = Learner(network)
        for delta in filter(None, (layer.delta for layer in network.layers)):
            delta.data.fill(dirt)
        for k in range(2):
            training.step(values(2, 2, 9, 7, seed=k), [np.eye(5, dtype=np.float32)[0]] * 2)
        results.append(numbers(network))
        assert any(layer.overwrites for layer in network.layers)
    assert (results[0] == results[1]).all()
    assert np.isfinite(results[1]).all()


@pytest.mark.parametrize("images, truth", [
    (values(2, 2, 9, 7).astype(np.float64), 2),
    (values(3, 2, 9, 7), 3),
    (values(2, 3, 9, 7), 2),
    (values(2, 2, 9, 7), 1),
])  # fmt: skip
def test_wrong_sizes_are_refused(write_cfg, images, truth):
    network = pydarknet.load(write_cfg(CLASSIFIER), train=True)
    with pytest.raises(OptionError, match="expected"):
        network.train_step(images, [np.zeros(5, np.float32)] * truth)


def test_a_network_that_was_not_loaded_to_learn_says_so(write_cfg):
    with pytest.raises(OptionError, match="train=True"):
        pydarknet.load(write_cfg(CLASSIFIER)).train_step(values(1, 2, 9, 7), [np.zeros(5, np.float32)])


@pytest.mark.parametrize("text", [
    CLASSIFIER,
    net(2, 9, 7).replace("[net]", "[net]\nbatch=4\nsubdivisions=2\ntime_steps=2") + (
        "[crnn]\noutput=5\nhidden=5\nbatch_normalize=1\nactivation=leaky\npad=1\nsize=3\n"
        "[batchnorm]\n[avgpool]\n[softmax]\n"
    ),
], ids=["convolutional", "crnn"])  # fmt: skip
def test_memory_for_another_size_is_free_at_once(write_cfg, text):
    """Not only when Python looks for cycles of objects, which is seldom: the memory of a size can be gigabytes."""
    network = pydarknet.load(write_cfg(text), train=True, dialect="alexeyab")

    def use_sizes():
        for height in (9, 12, 8):
            network.training.resize(7, height)
            images = values(network.training.network.batch, 2, height, 7)
            network.train_step(images, [np.eye(5, dtype=np.float32)[0]] * len(images))
            network.layer_outputs(images)

    use_sizes()  # Numba's exceptions, where it has to compile, keep what called it
    gc.collect()
    gc.freeze()  # what is there already need not be looked at
    gc.disable()
    try:
        use_sizes()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        # isinstance would look into proxies of objects that are gone, which other libraries leave there
        assert not [each for each in gc.garbage if issubclass(type(each), Tensor)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.unfreeze()
        gc.enable()
