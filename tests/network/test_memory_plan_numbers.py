"""Tensors that hold what their readers convert to give the same results, bit for bit, as float32 ones."""

import copy

import pytest
from support.convolutions import ways_to_multiply
from support.networks import net
from support.tensors import values

from pydarknet.kernels.convolution import amx, bf16, int8
from pydarknet.layers.convolution.direct import BF16, INT8, number_type
from pydarknet.network import memory_plan
from pydarknet.network.weights import Quantization, digest_of
from pydarknet.tensor import FLOATS

CONVOLUTION = "[convolutional]\nfilters={}\nsize={}\nstride={}\npad=1\nactivation={}\n"
FIRST = CONVOLUTION.format(128, 1, 1, "leaky")
POINT = CONVOLUTION.format(128, 1, 1, "mish")
WIDE = CONVOLUTION.format(128, 3, 1, "leaky")
LAST = CONVOLUTION.format(20, 1, 1, "linear")
POOL = "[maxpool]\nsize=3\nstride={}\n"
UPSAMPLE = "[upsample]\nstride=2\n"
ROUTE = "[route]\nlayers={}\n"
HALF = "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n"
SHORTCUT = "[shortcut]\nfrom={}\nactivation=linear\n"

NETWORKS = {  # with the layers whose outputs hold other numbers
    "chain": (FIRST + CONVOLUTION.format(128, 5, 2, "mish") + LAST, [0, 1]),
    "strides of 3": (FIRST + CONVOLUTION.format(128, 3, 3, "leaky") + LAST, [1]),
    "narrow": (CONVOLUTION.format(48, 1, 1, "leaky") + LAST, []),
    "maxpools": (FIRST + POOL.format(2) + POINT + POOL.format(1) + LAST, [0, 1, 2, 3]),
    "upsample": (FIRST + UPSAMPLE + LAST, [0, 1]),
    "two parts": (FIRST + POINT + ROUTE.format("-1,-2") + LAST, [0, 1, 2]),
    "two sizes": (FIRST + POOL.format(2) + POINT + UPSAMPLE + ROUTE.format("-1,0") + LAST, [0, 1, 2, 3, 4]),
    "half": (FIRST + HALF + LAST, [0, 1]),
    "sum": (FIRST + POINT + POINT + SHORTCUT.format(-3) + LAST, [1, 3]),
    "sums": (FIRST + POINT + WIDE + SHORTCUT.format(-3) + POINT + POINT + SHORTCUT.format(-3) + LAST, [1, 4, 6]),
    "picture": (CONVOLUTION.format(32, 3, 1, "mish") + LAST, [0]),
    "pooled picture": (CONVOLUTION.format(64, 3, 1, "leaky") + "[maxpool]\nsize=2\nstride=2\n" + LAST, [1]),
    "rows of a picture": (CONVOLUTION.format(32, 3, 2, "leaky") + CONVOLUTION.format(64, 5, 1, "leaky") + LAST, [0, 1]),
    "chain of a picture": (CONVOLUTION.format(8, 3, 1, "leaky") + LAST, []),
    "read by a softmax": (FIRST + POINT + "[softmax]\n", [0]),
}  # fmt: skip

COPIED = {"sum": [0], "sums": [0, 3]}  # those that hold both

int8_ways = ways_to_multiply(INT8, amx.MISSING_INT8)
bf16_ways = ways_to_multiply(BF16, amx.MISSING_BF16)


def check(build, monkeypatch, precision, name, batch):
    text, expected = NETWORKS[name]
    shape = (3, 50, 132) if "picture" in name else (64, 14, 18)
    x, found, copied = values(batch, *shape).clip(0, None), [], []
    allocate = memory_plan.allocate

    def recording(tensors):
        found.append([tensor.owner for tensor in tensors if tensor.numbers != FLOATS])
        copied.append([tensor.owner for tensor in tensors if tensor.copy])
        return allocate(tensors)

    network = build(net(*shape) + text, dialect="alexeyab", batch=batch)
    kinds = [layer.kind for layer in network.layers]
    ranges = {index: (-3.0, 9.0) for index, kind in enumerate(kinds) if kind == "convolutional"}
    network.quantize(Quantization(ranges, digest_of(network.layers)))
    network.precision = precision
    monkeypatch.setattr(memory_plan, "allocate", recording)
    (stored,) = network.forward(x)
    monkeypatch.setattr(memory_plan, "set_numbers", lambda *passed: None)
    (in_float32,) = copy.deepcopy(network).forward(x)
    assert found == [expected, []]
    assert copied == [COPIED.get(name, []) if number_type(precision).copies else [], []]
    assert stored.tobytes() == in_float32.tobytes()


@pytest.mark.usefixtures("int8_ways")
@pytest.mark.skipif(bool(int8.MISSING), reason=f"this processor has no {' and no '.join(int8.MISSING)}")
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_8_bits(build, monkeypatch, name, batch):
    check(build, monkeypatch, INT8, name, batch)


@pytest.mark.usefixtures("bf16_ways")
@pytest.mark.skipif(bool(bf16.MISSING), reason=f"this processor has no {' and no '.join(bf16.MISSING)}")
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16(build, monkeypatch, name, batch):
    check(build, monkeypatch, BF16, name, batch)
