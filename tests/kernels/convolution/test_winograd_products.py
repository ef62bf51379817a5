"""Winograd's products: right, and with their sums in registers."""

import re

import numba
import numpy as np
import pytest

from pydarknet.kernels.convolution.microkernel import MR, NR
from pydarknet.kernels.convolution.pack import pack_int24_panel, panel_size
from pydarknet.kernels.convolution.winograd import make_products
from pydarknet.runtime import codegen


# In 24 bits the longest product has one register less than it needs; few tiles, for which these are, take shorter ones.
@pytest.mark.parametrize("columns, int24", [(2, False), (MR, False), (2, True), (8 if NR == 2 else 4, True)])
def test_products_stay_in_registers(columns, int24):
    products = make_products(columns, int24)

    @numba.njit
    def multiply(x, weights, y):
        products(x, 0, columns * 16, 3, weights, 0, 0, y, 0)

    codegen.add_kernel(multiply)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, columns, 16), np.float32)
    weights = rng.standard_normal((3, 16, NR, 16), np.float32)
    packed = np.empty(panel_size(3, int24), np.float32)
    if int24:
        pack_int24_panel(weights.ravel(), 0, 3, packed, 0)
    else:
        packed[:] = weights.ravel()
    y = np.zeros((columns, NR, 16), np.float32)
    multiply(x.ravel(), packed, y.ravel())
    np.testing.assert_allclose(y, np.einsum("tci,tirl->crl", x, weights), rtol=1e-4, atol=1e-4)
    (assembly,) = multiply.inspect_asm().values()
    # Where AVX-512's whole registers are in use, none of them goes to the stack (half ones do, with the arguments).
    assert not re.findall(r"vmov\w+\s+%zmm\d+, -?\d*\(%r[sb]p\)", assembly)
