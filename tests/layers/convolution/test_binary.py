"""Convolutions of signs in training, against a naive one in float64."""

import numpy as np
import pytest
from support.networks import net
from support.tensors import assert_close, values

from pydarknet.layers.convolution.backward import binary_weights
from pydarknet.training.learner import Learner

FIRST = "[convolutional]\nfilters=3\nsize=1\nactivation=linear\n"
XNOR = "[convolutional]\nfilters=4\nsize=3\nstride={}\npad=1\nxnor=1\nactivation=leaky\n"


def test_binary_weights():
    weights = np.array([[[[1.0, -3.0]]], [[[0.0, 2.0]]]], np.float32)
    assert binary_weights(weights).tolist() == [[[[2, -2]]], [[[-1, 1]]]]


def windows(x, stride):
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))[:, :, ::stride, ::stride]


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_way_back_takes_the_signs_for_what_they_are_signs_of(build, dialect, stride):
    text = net(5, 6, 7).replace("[net]", "[net]\nsubdivisions=2\n") + FIRST + XNOR.format(stride) + "[cost]\n"
    network = build(text, dialect, batch=2)
    training, x = Learner(network), values(2, 5, 6, 7)
    first, binary = network.layers[:2]
    target = values(2, binary.shape.outputs, seed=3)
    loss = training.step(x, list(target))

    wide = np.einsum("ncyx,fc->nfyx", x.astype(float), first.weights[:, :, 0, 0].astype(float))
    wide += first.biases[:, None, None]
    signs, filters = np.where(wide > 0, 1.0, -1.0), binary_weights(binary.weights).astype(float)
    z = np.einsum("ncyxij,fcij->nfyx", windows(signs, stride), filters) + binary.biases[:, None, None]
    y = np.where(z > 0, z, 0.1 * z)
    delta = target.reshape(y.shape) - y
    assert loss == pytest.approx(np.square(delta).sum(), rel=1e-4)
    delta *= np.where(z > 0, 1, 0.1)
    updates = {
        name: t.update for name, (_, t) in zip(("b1", "w1", "b2", "w2"), training.parameters.values(), strict=True)
    }
    assert_close(updates["w2"], np.einsum("ncyxij,nfyx->fcij", windows(signs, stride), delta), 1e-4)
    back = np.zeros((2, 3, 8, 9))
    for i in range(3):
        for j in range(3):
            part = np.einsum("nfyx,fc->ncyx", delta, filters[:, :, i, j])
            view = back[:, :, i::stride, j::stride]
            view[:, :, : part.shape[2], : part.shape[3]] += part
    back = back[:, :, 1:7, 1:8] * (np.abs(wide) < 1)
    assert (np.abs(wide) < 1).mean() > 0.2
    assert_close(updates["w1"][:, :, 0, 0], np.einsum("nfyx,ncyx->fc", back, x), 1e-4)
    assert_close(updates["b1"], back.sum((0, 2, 3)), 1e-4)


def test_a_binary_network_learns(build):
    text = net(5, 6, 7).replace("[net]", "[net]\nlearning_rate=0.05\n") + FIRST
    text += XNOR.format(1).replace("xnor=1", "xnor=1\nbatch_normalize=1") + "[convolutional]\nfilters=2\n"
    training = Learner(build(text + "activation=linear\n[avgpool]\n[softmax]\n", "alexeyab", batch=4))
    x, truth = values(4, 5, 6, 7), [np.eye(2, dtype=np.float32)[k % 2] for k in range(4)]
    losses = [training.step(x, truth) for _ in range(60)]
    assert losses[-1] < 0.3 * losses[0]
