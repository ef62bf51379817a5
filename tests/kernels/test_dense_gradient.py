"""Gradients of matrix-vector products beside numpy."""

from __future__ import annotations

import numpy as np
import pytest
from support.tensors import assert_close, values

from pydarknet.kernels.dense import CHUNK, dense_input_gradient, dense_weight_gradient


@pytest.mark.parametrize("batch, inputs, outputs", [(1, 1, 1), (3, 7, 5), (2, CHUNK + 3, 4)])
def test_gradients_of_a_product(batch, inputs, outputs):
    x, delta, weights = values(batch, inputs), values(batch, outputs, seed=1), values(outputs, inputs, seed=2)
    gradient, out = np.ones((outputs, inputs), np.float32), np.full((batch, inputs), np.nan, np.float32)
    dense_weight_gradient(x.reshape(-1), delta.reshape(-1), batch, inputs, outputs, gradient.reshape(-1))
    dense_input_gradient(delta.reshape(-1), weights.reshape(-1), batch, inputs, outputs, out.reshape(-1))
    assert_close(gradient, 1 + delta.astype(np.float64).T @ x)
    assert_close(out, delta.astype(np.float64) @ weights)
