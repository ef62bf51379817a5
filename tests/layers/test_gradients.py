"""Every backward pass against finite differences of the loss.

A [cost] layer compares the output with a target, cost = sum of (t - x)^2, so that what darknet accumulates for a
parameter is -1/2 of the loss's derivative. Left out are the layers of LEFT_OUT, whose passes the recorded cases check,
and of the others normalize_channels, weighted shortcuts and gelu, which darknet derives differently. Planes are large
enough that darknet's N in place of N - 1 in batch normalisation does not show.
"""

import numpy as np
import pytest
from support.networks import net
from support.tensors import values

from pydarknet.layers import LAYERS as REGISTERED
from pydarknet.training.learner import Learner

HEAD = net(3, 16, 14).replace("[net]", "[net]\nbatch=8000\nsubdivisions=2000\ntime_steps=TIME")
FIRST = "[convolutional]\nfilters=6\nsize=3\npad=1\nactivation=tanh\n"
BN = "batch_normalize=1\n"


def conv(options):
    return f"[convolutional]\nfilters=6\n{options}\n"


EIGHT = conv("size=1\nactivation=tanh").replace("filters=6", "filters=8")  # channels, for reorg with stride=2
LAYERS = {
    "plain": conv("size=3\npad=1\nactivation=logistic"),
    "normalised": conv(f"size=3\npad=1\n{BN}activation=tanh"),
    "stride": conv(f"size=3\nstride=2\npad=1\n{BN}activation=elu"),
    "stride without padding": conv("size=2\nstride=3\nactivation=loggy"),
    "1x1": conv("size=1\nactivation=selu"),
    "many filters": conv("size=3\npad=1\nactivation=tanh").replace("filters=6", "filters=37"),
    "wide padding": conv("size=2\npadding=2\nactivation=tanh"),
    "groups": conv("size=3\npad=1\ngroups=3\nactivation=tanh"),
    "depthwise": conv(f"size=3\npad=1\ngroups=6\n{BN}activation=tanh"),
    "depthwise stride": conv("size=3\nstride=2\npad=1\ngroups=6\nactivation=tanh"),
    "dilation": conv("size=3\npad=1\ndilation=2\nactivation=swish"),
    "strides": conv("size=3\npad=1\nstride_x=2\nstride_y=1\nactivation=mish"),
    "antialiasing": conv(f"size=3\nstride=2\npad=1\nantialiasing=1\n{BN}activation=mish"),
    "shared": conv("size=3\npad=1\nactivation=tanh") + conv("size=3\npad=1\nshare_index=-1\nactivation=tanh"),
    "batchnorm": "[batchnorm]\n",
    "activation": "[activation]\nactivation=tanh\n",
    "maxpool": "[maxpool]\nsize=2\nstride=2\n",
    "overlapping maxpool": "[maxpool]\nsize=3\nstride=2\n",
    "maxpool antialiasing": "[maxpool]\nsize=2\nstride=2\nantialiasing=2\n",
    "maxpool depth": "[maxpool]\nmaxpool_depth=1\nout_channels=3\n",
    "avgpool": "[avgpool]\n",
    "local_avgpool": "[local_avgpool]\nsize=2\nstride=2\npadding=0\n",
    "history": "[history]\nhistory_size=2\n",
    "empty": "[empty]\n",
    "silence": "[silence]\n",
    "route": FIRST + "[route]\nlayers=-1,-2\n",
    "route groups": "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n",
    "shortcut": FIRST + "[shortcut]\nfrom=-2\nactivation=tanh\n",
    "shortcuts": FIRST + FIRST + "[shortcut]\nfrom=-2,-3\nactivation=linear\n",
    "upsample": "[upsample]\nstride=2\nscale=0.5\n",
    "reorg3d": "[reorg3d]\nstride=2\n",
    "reverse reorg3d": EIGHT + "[reorg3d]\nstride=2\nreverse=1\n",
    "scale_channels": "[avgpool]\n" + conv("size=1\nactivation=logistic") + "[scale_channels]\nfrom=0\n",
    "scale_channels with mish": "[avgpool]\n[scale_channels]\nfrom=0\nactivation=mish\n",
    "sam": conv("size=1\nactivation=logistic") + "[sam]\nfrom=0\n",
    "sam with swish": conv("size=1\nactivation=logistic") + "[sam]\nfrom=0\nactivation=swish\n",
    "connected with swish": "[connected]\noutput=5\nactivation=swish\n",
    "connected": "[connected]\noutput=5\nactivation=tanh\n[connected]\noutput=4\nactivation=logistic\n",
    "gru": "[gru]\noutput=5\n",
    "conv_lstm": "[conv_lstm]\noutput=2\nsize=3\npad=1\npeephole=1\n",
    "local with mish": "[local]\nfilters=4\nsize=3\nstride=1\npad=1\nactivation=mish\n",
    "implicit": "[implicit]\nfilters=4\natoms=3\n",
}
PJREDDIE = {
    "local": "[local]\nfilters=4\nsize=3\nstride=1\npad=1\nactivation=tanh\n",
    "local beyond its padding": "[local]\nfilters=2\nsize=5\nstride=2\npad=1\nactivation=tanh\n",
    "local far beyond its padding": "[local]\nfilters=1\nsize=13\nstride=1\npad=1\nactivation=tanh\n",
    "local of single cells": "[local]\nfilters=2\nsize=1\nstride=1\npad=1\nactivation=tanh\n",
    "local without padding": "[local]\nfilters=4\nsize=2\nstride=2\nactivation=tanh\n",
    "deconvolutional": f"[deconvolutional]\nfilters=4\nsize=4\nstride=2\npadding=1\n{BN}activation=tanh\n",
    "resampling shortcut": conv("size=3\nstride=2\npad=1\nactivation=tanh") + "[shortcut]\nfrom=0\nbeta=0.4\n",
    "negative upsample": conv("size=2\nactivation=tanh") + "[upsample]\nstride=-2\n",
    "reorg": EIGHT + "[reorg]\nstride=2\n",
    "reverse reorg": EIGHT + "[reorg]\nstride=2\nreverse=1\n",
    "flattening reorg": "[reorg]\nstride=2\nflatten=1\n",
    "reorg with extra numbers": "[reorg]\nstride=2\nextra=5\n",
    "route of different sizes": conv("size=3\nstride=2\npad=1\nactivation=tanh") + "[route]\nlayers=0,1\n",
}
# Layers without a case here, and why.
LEFT_OUT = {
    **dict.fromkeys(("rnn", "crnn", "lstm", "normalization"), "darknet's derivative is another one"),
    **dict.fromkeys(("l2norm", "iseg"), "darknet passes the delta on unchanged"),
    **dict.fromkeys(
        ("softmax", "logistic", "cost", "yolo", "Gaussian_yolo", "region", "detection"), "they have a loss"
    ),
    "crop": "pictures get no delta",
    "dropout": "it is random",
    "contrastive": "it is not trained",
}
ALIASES = {"avg", "conn", "conv", "deconv", "local_avg", "lrn", "max", "soft"}
RECURRENT = ("gru", "conv_lstm")
QUICK = ("plain", "normalised", "stride", "depthwise", "maxpool", "route", "shortcut", "upsample", "connected", "local")


def section_of(name):
    """The section that a case is about: the one in its name, else [convolutional]."""
    words = {word for each in name.split() for word in (each, each.removesuffix("s"))}
    (section,) = words & set(REGISTERED) or {"convolutional"}
    return section


@pytest.mark.parametrize("name", [*LAYERS, *PJREDDIE])
def test_a_case_has_the_section_of_its_name(name):
    assert f"[{section_of(name)}]\n" in (LAYERS.get(name) or PJREDDIE[name])


def test_every_layer_has_a_case_or_a_reason():
    covered = {section_of(name) for name in (*LAYERS, *PJREDDIE)}
    assert covered.isdisjoint(LEFT_OUT)
    assert covered | set(LEFT_OUT) | ALIASES == set(REGISTERED)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in (*LAYERS, *PJREDDIE)]
)
def test_updates_are_minus_half_the_derivative(build, name):
    text = LAYERS.get(name) or PJREDDIE[name]
    steps = 2 if name in RECURRENT else 1
    cfg = HEAD.replace("TIME", str(steps)) + FIRST + text + "[cost]\n"
    network = build(cfg, "alexeyab" if name in LAYERS else "pjreddie", batch=4)
    training = Learner(network)
    pictures, outputs = values(4, 3, 16, 14), network.layers[-1].inputs[0].outputs
    truth = list(values(4, outputs, seed=5))

    def loss():
        network.reset_state()
        for layer in network.layers:  # every run starts a sequence from the same state
            for name, state in layer.carried().items():
                if name != "cell_delta":
                    state[:] = 0
        return training.step(pictures, truth)

    loss()
    found = [(layer, parameter.array, parameter.update.copy()) for layer, parameter in training.parameters.values()]
    assert found
    rng = np.random.default_rng(7)
    for layer, array, update in found:
        for _ in range(3):
            at = tuple(rng.integers(0, side) for side in array.shape)
            assert_derivative(loss, array, at, -2 * float(update[at]), layer)


def assert_derivative(loss, array, at, expected, layer):
    """The central difference of the loss by array[at] is the expected derivative."""
    kept, step = array[at].copy(), np.float32(0.001)
    array[at] = kept + step
    above = loss()
    array[at] = kept - step
    below = loss()
    array[at] = kept
    found = (above - below) / (2 * float(step))
    assert found == pytest.approx(expected, rel=0.03, abs=0.03 * max(1.0, abs(above) ** 0.5)), layer
