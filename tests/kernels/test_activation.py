"""Activation functions in float32 against numpy in double precision."""

import numpy as np
import pytest
from reference import layers as naive
from support.tensors import assert_blocked, blocked, given, values

from pydarknet.kernels.activation import FUSED, NONE, activate, activate_segments, activation_gradient, exp32
from pydarknet.layers.activations import ACTIVATIONS

POINTWISE = sorted(naive.ACTIVATIONS)
OVER_CHANNELS = sorted(name for name, activation in ACTIVATIONS.items() if activation.over_channels)
RANGE = np.concatenate([np.linspace(-12, 12, 4801), np.linspace(-80, 80, 321), [0.0, -0.0]]).astype(np.float32)


def test_the_reference_and_the_table_name_the_same_functions():
    assert sorted([*POINTWISE, *OVER_CHANNELS]) == sorted(ACTIVATIONS)


def test_the_exponential_is_right_to_two_units_in_the_last_place():
    numbers = np.concatenate([np.linspace(-87.3, 88.3, 20001), np.linspace(-1, 1, 2001)]).astype(np.float32)
    found = np.array([exp32(x) for x in numbers], np.float32)
    exact = np.exp(numbers.astype(np.float64))
    units = np.abs(found - exact) / np.spacing(exact.astype(np.float32))
    assert units.max() <= 2


@pytest.mark.parametrize("x", [100.0, 1e4, 3e38, np.inf])
def test_the_exponential_saturates_instead_of_overflowing(x):
    assert exp32(np.float32(x)) == exp32(np.float32(88.3)) > 1e38
    assert 0 <= exp32(np.float32(-x)) < 2e-38


@pytest.mark.parametrize("name", POINTWISE)
def test_plain_values_equal_the_reference(name):
    found = RANGE.copy()
    ACTIVATIONS[name].apply_nchw(found)
    np.testing.assert_allclose(found, naive.activation(name, RANGE), rtol=4e-6, atol=4e-7)


@pytest.mark.parametrize("name", ["logistic", "swish", "mish"])
def test_exponentials_over_vectors_are_nearly_as_exact_as_float32(name):
    x = np.linspace(-20, 20, 1 << 14, dtype=np.float32)
    found = x.copy()
    ACTIVATIONS[name].apply_nchw(found)
    np.testing.assert_allclose(found, naive.activation(name, x.astype(np.float64)), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", POINTWISE)
@pytest.mark.parametrize("size", [0, 1, 3, 17])
def test_short_runs_are_computed_to_the_last_value(name, size):
    x = values(size)
    found = x.copy()
    ACTIVATIONS[name].apply_nchw(found)
    np.testing.assert_allclose(found, naive.activation(name, x), rtol=4e-6, atol=4e-7)


@pytest.mark.parametrize("name", POINTWISE)
@pytest.mark.parametrize("channels, halo", [(3, 1), (16, 0), (17, 2)])
def test_blocked_values_equal_the_reference_and_stay_clean(name, channels, halo):
    x = 3 * values(2, channels, 4, 5)
    tensor = blocked(x, halo)
    ACTIVATIONS[name].apply(tensor)
    assert_blocked(tensor, naive.activation(name, x))


@pytest.mark.parametrize("name", OVER_CHANNELS)
@pytest.mark.parametrize("channels, halo", [(3, 1), (16, 0), (17, 2)])
def test_functions_over_channels_equal_the_reference(name, channels, halo):
    x = values(2, channels, 4, 5)
    tensor = blocked(x, halo)
    ACTIVATIONS[name].apply(tensor)
    assert_blocked(tensor, naive.normalise_channels(name, x))


@pytest.mark.parametrize("name", ["logistic", "tanh", "relu", "leaky", "mish", "swish", "elu", "gelu", "linear"])
def test_large_values_stay_finite(name):
    found = np.array([-1e4, -100, 100, 1e4], np.float32)
    ACTIVATIONS[name].apply_nchw(found)
    expected = np.array([-1e4, -100, 100, 1e4], np.float32)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(found, naive.activation(name, expected), rtol=4e-6, atol=1e-30)


@pytest.mark.parametrize("name", sorted({"linear", *POINTWISE} - {"stair"}))
def test_what_is_not_a_number_is_not_hidden(name):
    found = np.full(20, np.nan, np.float32)
    ACTIVATIONS[name].apply_nchw(found)
    assert np.isnan(found).all()


def test_fused_functions_need_code_and_others_only_a_slope():
    fused = {name for name, activation in ACTIVATIONS.items() if activation.id in FUSED}
    assert fused == {"logistic", "mish", "swish"}
    assert {name for name, a in ACTIVATIONS.items() if a.fused_slope != 1} == {"relu", "leaky", "revleaky", "relie"}


IDS = sorted({activation.id for activation in ACTIVATIONS.values()} - {NONE})
UNKNOWN = (-1, max(IDS) + 1, 99)


def test_every_id_is_used_by_a_function_of_the_table():
    assert list(range(1, len(IDS) + 1)) == IDS


@pytest.mark.parametrize("activation", [*IDS, *UNKNOWN])
def test_every_id_has_a_branch_and_an_unknown_one_gives_nan(activation):
    x = np.linspace(-3, 3, 37, dtype=np.float32)
    run = x.copy()
    activate_segments(run, np.array([[0, 37]]), np.float32(1), activation)
    tensor = blocked(x[:32].reshape(1, 16, 1, 2))
    activate(tensor.data, tensor.planes, 16, np.float32(1), activation)
    assert np.isnan(run).all() == np.isnan(tensor.data).all() == (activation in UNKNOWN)
    assert np.isnan(run).any() == np.isnan(tensor.data).any() == (activation in UNKNOWN)


@pytest.mark.parametrize("activation", [*IDS, *UNKNOWN])
def test_every_id_has_a_branch_in_the_gradient_too(activation):
    y, delta = blocked(np.linspace(-1, 1, 32, dtype=np.float32).reshape(1, 16, 1, 2)), blocked(np.ones((1, 16, 1, 2)))
    activation_gradient(*given(delta), *given(y), *given(y), np.float32(1), activation)
    assert np.isnan(delta.data).all() == np.isnan(delta.data).any() == (activation in UNKNOWN)
