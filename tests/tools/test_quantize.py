"""Ranges measured on pictures: which layers get 8 bits, and what is found again."""

import numpy as np
import pytest

import pydarknet
from pydarknet.errors import OptionError
from pydarknet.images.image import load_image
from pydarknet.inference.classifier import prepare_input
from pydarknet.kernels.convolution.int8 import MISSING
from pydarknet.tools import quantize as module
from pydarknet.tools.quantize import agreement, quantize
from pydarknet.utils.resources import bundled

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"this processor has no {' and no '.join(MISSING)}")


@pytest.fixture(scope="module")
def picture():
    return load_image(bundled("data/sample.jpg"))


def test_the_toys_are_found_again(picture):
    model, steps = pydarknet.load("toys.cfg", "toys.weights"), []
    measured = quantize(model, [picture, picture[:, ::-1]], lambda: steps.append(1))
    assert model.precision == "int8"
    assert len(steps) == 2 + 14
    assert measured.layers >= 10
    assert 0 < measured.error < 0.05
    found, of = agreement(model, [picture])
    assert found == of == 9


def test_no_pictures_and_no_convolutions_are_one_line(picture, write_cfg):
    with pytest.raises(OptionError, match="expected at least one picture"):
        quantize(pydarknet.load("toys.cfg"), [])
    model = pydarknet.load(write_cfg("[net]\nheight=8\nwidth=8\nchannels=3\n[connected]\noutput=3\n[softmax]\n"))
    with pytest.raises(OptionError, match="has no convolution that 8 bits could compute"):
        quantize(model, [picture])


@pytest.mark.parametrize("errors, kept", [
    ({1: 0.1, 2: 0.1, 3: 0.1}, [1, 2, 3]),
    ({1: 0.1, 2: 0.1, 3: 0.1, 4: 0.1, 5: 0.1, 6: 0.9}, [1, 2, 3, 4, 5]),
    ({1: 0.0, 2: 0.0}, [1, 2]),
])  # fmt: skip
def test_what_stands_out_is_left_out(errors, kept):
    assert module._insensitive(errors) == kept


@pytest.mark.parametrize("end, width", [("[avgpool]\n", 48), ("[connected]\noutput=32\n", 32)])
def test_a_classifier_keeps_its_best_class(picture, write_cfg, end, width):
    conv = "[convolutional]\nfilters=32\nsize=3\nstride=2\npad=1\nactivation=leaky\n"
    cfg = f"[net]\nheight=32\nwidth=32\nchannels=3\n{conv}{conv}{conv}{end}[softmax]\n"
    model = pydarknet.load(write_cfg(cfg), names=[f"class {i}" for i in range(32)])
    pictures = [picture[:240, :360], picture[:300, :300]]
    given = module.prepared(model, pictures[0])
    assert given.shape == (1, 3, 32, width), "a network of any size gets the whole picture"
    assert (given[0] == prepare_input(model, pictures[0])).all()
    quantize(model, pictures)
    assert np.isfinite(model.forward(np.zeros((1, 3, 32, 32), np.float32))[0]).all()
    assert agreement(model, pictures) == (2, 2)


def test_layers_without_products_tie_ranges_together(picture, write_cfg):
    conv = "[convolutional]\nfilters=32\nsize=1\nactivation=leaky\n"
    text = f"[net]\nheight=32\nwidth=32\nchannels=3\n{conv}{conv}{conv}[route]\nlayers=-1,0\n{conv}"
    model = pydarknet.load(write_cfg(text))
    ranges = module.measured_ranges(model, [module.prepared(model, picture)])
    assert ranges[1] == ranges[4] != ranges[2], "layer 4 reads what layer 1 reads"
