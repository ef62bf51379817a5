"""Deltas that are left out late in a run, against darknet's loop over single numbers."""

import math

import numpy as np
import pytest
from support.networks import net
from support.tensors import values

from pydarknet.config.sections import Option, Section
from pydarknet.layers.base import TrainingProgress
from pydarknet.layers.heads.yolo_loss import DeltaRejection
from pydarknet.training.learner import Learner


def naive(delta, state, done, max_batches, percentage, sigmas, equidistant, entries):
    """One mini-batch of one head; `state` and the list `delta` are changed."""
    start = max_batches * 3 // 4
    if not ((percentage and start < done) or (sigmas and start < done) or (equidistant and equidistant < done)):
        return
    progress = (done - equidistant) / (max_batches - equidistant)
    least = state["average"] * progress * 1.4
    there = [abs(d) for d in delta if d != 0]
    state["largest"] = state["largest"] or max(there)
    state["largest"] = 0.99 * state["largest"] + 0.01 * max(there)
    state["average"] = 0.99 * state["average"] + 0.01 * sum(there) / len(there)
    if sigmas and start < done:
        late = (done - start) / start
        squares = [(d - state["average"]) ** 2 for d in delta if d != 0]
        limit = state["average"] + state["deviation"] * sigmas
        state["deviation"] = 0.99 * state["deviation"] + 0.01 * math.sqrt(sum(squares) / len(squares))
        now = max(limit, state["largest"] - late * abs(state["largest"] - limit))
        delta[:] = [0 if abs(d) > now else d for d in delta]
        least = min(limit, state["average"]) * progress
    if percentage and start < done:
        state["threshold"] = state["threshold"] or state["largest"]
        count = sum(d != 0 for d in delta)
        wrong = sum(abs(d) > state["threshold"] for d in delta)
        delta[:] = [0 if abs(d) > state["threshold"] else d for d in delta]
        if 100 * wrong * entries / count > percentage:
            state["threshold"] += 0.01
        elif state["threshold"] > 0.01:
            state["threshold"] -= 0.01
    if equidistant and equidistant < done:
        delta[:] = [0 if abs(d) < least else d for d in delta]


@pytest.mark.parametrize(
    ("percentage", "sigmas", "equidistant"), [(5, 0, 0), (0, 2, 0), (0, 0, 10), (40, 1.5, 60), (0, 0.5, 20)]
)
def test_as_in_darknet(percentage, sigmas, equidistant):
    rejection = DeltaRejection(percentage, sigmas, equidistant)
    state, progress, left_out = dict(rejection.rolling), TrainingProgress(0, 100), 0
    for done in range(100):
        progress.done = done
        delta = values(2, 30, seed=done) * (values(2, 30, seed=1000 + done) > 0)
        expected = delta.ravel().astype(float).tolist()
        naive(expected, state, done, 100, percentage, sigmas, equidistant, 6)
        before = np.count_nonzero(delta)
        rejection.apply(delta, 6, progress)
        left_out += before - np.count_nonzero(delta)
        np.testing.assert_allclose(delta.ravel(), expected, rtol=1e-6)
        np.testing.assert_allclose(list(rejection.rolling.values()), list(state.values()), rtol=1e-6, atol=1e-9)
    assert left_out > 0


def test_without_deltas_nothing_happens():
    rejection = DeltaRejection(sigmas=1)
    rejection.apply(np.zeros((1, 6), np.float32), 6, TrainingProgress(99, 100))
    assert not any(rejection.rolling.values())


def test_the_keys_are_read():
    pairs = {"badlabels_rejection_percentage": "2.5", "num_sigmas_reject_badlabels": "3", "equidistant_point": "70"}
    section = Section("net", "n.cfg", 1, [Option(key, value, 2) for key, value in pairs.items()])
    rejection = DeltaRejection.from_section(section)
    assert (rejection.percentage, rejection.sigmas, rejection.equidistant) == (2.5, 3, 70)


@pytest.mark.parametrize("kind", ["yolo", "Gaussian_yolo"])
def test_the_cost_is_that_of_what_is_left(build, kind):
    text = net(3, 8, 8).replace("[net]", "[net]\nmax_batches=4\nnum_sigmas_reject_badlabels=0.0001\n")
    entries = 6 if kind == "yolo" else 10
    text += f"[convolutional]\nfilters={entries}\nactivation=linear\n[{kind}]\nnum=1\nclasses=1\n"
    losses = []
    for done in (3, 4):
        training = Learner(build(text, "alexeyab"))
        training._progress.done = done
        losses.append(training.step(values(1, 3, 8, 8), [np.array([[0, 0.5, 0.5, 0.4, 0.4]], np.float32)]))
        head = training.network.layers[1]
        assert head.statistics.total_loss == pytest.approx(losses[-1], rel=1e-5)
        assert losses[-1] == pytest.approx(np.square(head.loss_delta, dtype=float).sum(), rel=1e-5)
    assert (losses[1] < losses[0]) == (kind == "yolo")
