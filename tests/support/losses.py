"""What the tests of the losses of detection heads share."""

import numpy as np
import pytest
from reference import losses as naive

SUMS = {"predictions": "slots", "class_probability": "class", "all_probabilities": "all", "any_objectness": "any"}


def named(options):
    """The name of a case with these options."""
    return "-".join(f"{key}={value}" for key, value in options.items()) or "plain"


def assert_learned(head, cost, expected, names, tolerance):
    """The head's delta, its cost, and the statistics of these names are those of a reference implementation."""
    delta, expected_cost, sums = expected
    assert head.loss_delta.dtype == np.float32
    np.testing.assert_allclose(head.loss_delta, delta, rtol=tolerance, atol=tolerance / 100 * np.abs(delta).max())
    assert isinstance(cost, float)
    assert cost == pytest.approx(expected_cost, rel=1e-5)
    for name in names.split():
        found, wanted = getattr(head.statistics, name), sums[SUMS.get(name, name)]
        assert found == (wanted if isinstance(found, int) else pytest.approx(wanted, rel=1e-4)), name


def assert_slopes(head, x, truth, size, places, tolerance):
    """The delta of a batch of one is minus half the slope of the cost, by central differences at some places."""

    def cost(values):
        naive.run(head, values)
        return head.loss(truth, size, 20000)

    cost(x)
    delta = head.loss_delta.copy()
    for at in places(delta[0]):
        step = np.zeros_like(x)
        step[0, at] = 1e-2
        assert -(cost(x + step) - cost(x - step)) / 4e-2 == pytest.approx(delta[0, at], rel=0.01, abs=tolerance)
