"""F1 over the threshold, against a count by hand."""

import numpy as np

from pydarknet.evaluation.average_precision import GRID, Curve, f1_curves


def curve(probabilities, true, truths):
    """A curve from records: their probabilities, whether each is right, and the number of objects."""
    tp = np.cumsum(true)
    return Curve(tp / np.arange(1, len(true) + 1), tp / truths, np.array(probabilities, np.float32))


def test_f1_is_that_of_the_records_above_each_threshold():
    probabilities, true, truths = [0.9, 0.7, 0.6, 0.3], [True, False, True, True], 4
    found = f1_curves([curve(probabilities, true, truths)], [truths])
    for threshold, f1 in zip(GRID, found.by_class[0], strict=True):
        above = [right for p, right in zip(probabilities, true, strict=True) if np.float32(p) > threshold]
        expected = 2 * sum(above) / (len(above) + truths) if above else 0
        assert np.isclose(f1, expected), threshold
    assert found.best == found.mean.max() == 2 * 3 / 8
    assert 0 <= found.threshold < 0.3
    assert abs(found.threshold - 0.15) <= 0.01  # the middle


def test_the_mean_is_over_the_classes_with_objects():
    one = curve([0.8], [True], 1)
    nothing = Curve(np.zeros(0), np.zeros(0), np.zeros(0, np.float32))
    found = f1_curves([one, nothing, nothing], [1, 1, 0])
    assert np.isnan(found.by_class[2]).all()
    assert found.best == 0.5
    assert found.threshold < 0.8


def test_nothing_found_and_no_objects():
    nothing = Curve(np.zeros(0), np.zeros(0), np.zeros(0, np.float32))
    assert f1_curves([nothing], [3]).threshold == 0.25
    assert f1_curves([nothing], [0]).best == 0
