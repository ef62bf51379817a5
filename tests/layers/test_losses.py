"""`[logistic]`, `[cost]` and `[contrastive]`, and truth that does not fit a layer."""

import numpy as np
import pytest
from reference import layers as naive
from support.networks import net
from support.tensors import assert_close, values

from pydarknet.errors import OptionError, ShapeError
from pydarknet.layers.losses import Contrastive
from pydarknet.training.learner import Learner

CONV = "[convolutional]\nfilters=18\nactivation=linear\n"


@pytest.mark.parametrize("after", ["", "[dropout]\n"])
def test_a_cost_layer_has_no_output(build, after):
    network, x = build(f"{net()}{CONV}[cost]\ntype=sse\n{after}"), values(1, 3, 8, 8)
    outputs = network.layer_outputs(x)
    assert outputs[1] is None
    assert (network.forward(x)[0] == outputs[0]).all()


def test_a_contrastive_layer_has_no_effect(build):
    head = "[yolo]\nmask=0,1\nanchors=1,1,2,2\nnum=2\nclasses=4\n"
    text = f"{net()}{CONV}{head}[route]\nlayers=0\n[contrastive]\nclasses=4\nyolo_layer=1\n"
    network = build(text, "alexeyab")
    layer = network.layers[-1]
    assert isinstance(layer, Contrastive)
    assert (layer.classes, layer.anchors) == (4, 2)
    assert network.layer_outputs(values(1, 3, 8, 8))[-1] is None


def test_pjreddies_smooth_spreads_a_part_of_the_truth(build):
    text = net(4, 1, 1) + "[connected]\noutput=4\nactivation=linear\n[cost]\ntype=sse\nsmooth=.2\n"
    training = Learner(build(text))
    x, truth = values(1, 4, 1, 1), np.array([0, 1, 0, 0], np.float32)
    loss = training.step(x, [truth])
    y = training.network.layers[0].values[0]
    assert loss == pytest.approx(np.square(0.8 * truth + 0.05 - y).sum(), rel=1e-5)


@pytest.mark.parametrize("layer", ["[cost]\n", "[softmax]\n", "[cost]\ntype=smooth\n"])
@pytest.mark.parametrize("size", [3, 5, 0])
def test_truth_of_another_size_is_one_line(build, layer, size):
    training = Learner(build(net(4, 1, 1) + "[connected]\noutput=4\n" + layer, batch=2))
    kind = layer.split("\n")[0][1:-1]
    with pytest.raises(ShapeError) as raised:
        training.step(values(2, 4, 1, 1), [np.ones(4, np.float32), np.ones(size, np.float32)])
    expected = f"[{kind}] compares its 4 inputs with the truth, but the truth of sample 1 has {size} numbers"
    assert str(raised.value).endswith(expected)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("shape", [(2, 4), (5,), (1, 1, 5)])
def test_truth_of_a_detector_that_is_no_table_is_one_line(build, shape):
    head = "[yolo]\nmask=0,1\nanchors=1,1,2,2\nnum=2\nclasses=4\n"
    training = Learner(build(f"{net(3, 32, 32)}{CONV}{head}"))
    with pytest.raises(OptionError, match=r"expected \(objects, 5\) rows of class, x, y, w, h"):
        training.step(values(1, 3, 32, 32), [np.ones(shape, np.float32)])


def test_logistic_is_the_function(build):
    network, x = build(net() + "[logistic]\n"), values(2, 3, 8, 8)
    assert_close(network.forward(x)[0], naive.sigmoid(x))
