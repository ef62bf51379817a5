"""`Net`: what goes in and out, layers, and what bad input gets."""

import copy
import pickle

import cv2
import numpy as np
import pytest

from dnn.networks import blob, small, write_small
from pydarknet import dnn


@pytest.fixture
def make(tmp_path):
    """The net of a small network with seeded parameters."""
    return lambda name: dnn.readNetFromDarknet(*map(str, write_small(name, tmp_path)))


X = blob((3, 8, 8))


def test_forward_gives_the_last_layer_one_layer_or_several(make):
    net = make("yolo")
    net.setInput(X)
    heads = net.getUnconnectedOutLayersNames()
    first, last = net.forward(heads)
    np.testing.assert_array_equal(net.forward(), last)
    np.testing.assert_array_equal(net.forward(heads[0]), first)
    assert [array.shape for array in net.forward(outBlobNames=["leaky_1", heads[0]])] == [(1, 4, 8, 8), (128, 7)]
    assert isinstance(net.forward([]), tuple)
    assert len(net.forward([])) == 1


def test_outputs_are_the_callers_own(make):
    net = make("pools")
    net.setInput(X)
    net.forward("leaky_1")[:] = 0
    assert net.forward("leaky_1").any()


def test_the_input_is_scaled_and_copied(make):
    net, pixels = make("shortcut"), (255 * X).astype(np.uint8)
    net.setInput((pixels - np.float32([1, 2, 3])[:, None, None]) / np.float32(255))
    expected = net.forward()
    net.setInput(pixels, "data", 1 / 255, (1, 2, 3))
    np.testing.assert_allclose(net.forward(), expected, atol=1e-6)
    net.setInput(pixels, scalefactor=1 / 255, mean=5)  # a single number is the first channel's, as in OpenCV
    one = net.forward()
    net.setInput((pixels - np.float32([5, 0, 0])[:, None, None]) / 255)
    np.testing.assert_allclose(net.forward(), one, atol=1e-6)
    own = X.copy()
    net.setInput(own)
    before = net.forward()
    own[:] = 0
    np.testing.assert_array_equal(net.forward(), before)


def test_a_batch_and_another_size(make):
    net = make("yolo")
    net.setInput(np.concatenate([X, X[..., ::-1]]))
    both = net.forward()
    net.setInput(X)
    assert both.shape == (2, 128, 7)
    np.testing.assert_allclose(net.forward(), both[0], atol=1e-6)
    net.setInput(blob((3, 16, 24)))
    assert net.forward().shape == (2 * 16 * 24, 7)


def test_layers_are_described(make):
    net = make("normalised")
    assert net.getLayerNames() == ("conv_0", "bn_0", "leaky_1", "conv_1", "bn_1")
    assert [net.getLayer(n).type for n in range(6)] == [
        "",
        "Convolution",
        "BatchNorm",
        "ReLU",
        "Convolution",
        "BatchNorm",
    ]
    assert [each.shape for each in net.getLayer("conv_0").blobs] == [(4, 3, 3, 3)]
    assert [each.shape for each in net.getLayer("bn_0").blobs] == [(1, 4)] * 4
    assert net.getLayerTypes() == ("BatchNorm", "Convolution", "ReLU", "__NetInputLayer__")
    assert (net.getLayersCount("Convolution"), net.getLayersCount("Region")) == (2, 0)
    assert (net.getLayerId("bn_0"), net.getLayerId("_input"), net.getLayerId("none")) == (2, 0, -1)
    assert net.getLayer(np.int32(3)).name == "leaky_1"
    np.testing.assert_array_equal(make("yolo").getLayer("yolo_2").blobs[0], [[6, 7, 12, 20]])


def test_a_layer_that_opencv_does_not_know_has_darknets_name():
    text = "[net]\nwidth=8\nheight=8\nchannels=3\n[local]\nfilters=2\nactivation=leaky\n[activation]\nactivation=elu\n"
    assert dnn.readNetFromDarknet(text.encode()).getLayerNames() == ("local_0", "activation_1")


def test_an_empty_net():
    net = dnn.Net()
    assert (net.empty(), net.getLayerNames(), net.getUnconnectedOutLayersNames()) == (True, (), ())
    with pytest.raises(dnn.error, match="the net is empty"):
        net.forward()
    with pytest.raises(dnn.error, match="the net is empty"):
        net.setInput(X)


def test_the_profile_is_that_of_the_last_pass(make):
    net = make("pools")
    assert net.getPerfProfile()[0] == 0
    net.setInput(X)
    net.forward()
    total, timings = net.getPerfProfile()
    assert timings.shape == (len(net.getLayerNames()),)
    assert total > 0
    assert timings.sum() == pytest.approx(total, abs=1)
    assert total < 60 * cv2.getTickFrequency()


def test_backends_and_targets_are_accepted(make, warnings):
    net = make("pools")
    net.setPreferableBackend(dnn.DNN_BACKEND_OPENCV)
    net.setPreferableTarget(dnn.DNN_TARGET_CPU)
    assert warnings() == []
    net.setPreferableTarget(dnn.DNN_TARGET_CUDA)
    assert warnings() == ["DNN_TARGET_CUDA has no effect: pydarknet computes on the processor"]
    with pytest.raises(dnn.error, match="backend 77: expected one of DNN_BACKEND_DEFAULT, "):
        net.setPreferableBackend(77)


@pytest.mark.parametrize("call, message", [
    (lambda net: net.forward(), "forward without an input; expected setInput before it"),
    (lambda net: net.forward("conv_9"), 'no layer is called "conv_9"; expected a name of getLayerNames()'),
    (lambda net: net.setInput(None), "the input is object of shape (); expected floats or uint8 of shape (n, c, h, w)"),
    (lambda net: net.setInput(X[0]), "the input is float32 of shape (3, 8, 8); expected floats or uint8 of shape "
                                     "(n, c, h, w)"),
    (lambda net: net.setInput(X[:0]), "the input is float32 of shape (0, 3, 8, 8); expected floats or uint8 of shape "
                                      "(n, c, h, w)"),
    (lambda net: net.setInput(X, "image"), 'input "image": expected "data", the only input of a darknet network'),
    (lambda net: net.setInput(X, "", 1, "grey"), "'grey': expected a number, or up to four"),
    (lambda net: net.getLayer("nix"), "layer 'nix': expected a name of getLayerNames() or 0 to 7"),
    (lambda net: net.getLayer(8), "layer 8: expected a name of getLayerNames() or 0 to 7"),
    (lambda net: (net.setInput(X[:, :1]), net.forward()),
     "the input has shape (1, 1, 8, 8); expected (n, 3, 8, 8) or (n, 192)"),
])  # fmt: skip
def test_bad_input_is_one_line(make, call, message):
    with pytest.raises(dnn.error) as raised:
        call(make("pools"))
    assert str(raised.value) == message


def test_without_weights_there_are_layers_but_no_pass():
    net = dnn.readNetFromDarknet(small("pools").encode())
    net.setInput(X)
    with pytest.raises(dnn.error, match="cfg in memory: was read without weights; expected a"):
        net.forward()


def test_a_net_is_copied_and_pickled(make):
    net = make("normalised")
    net.setInput(X)
    expected = net.forward()
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        other.setInput(X)
        np.testing.assert_array_equal(other.forward(), expected)
