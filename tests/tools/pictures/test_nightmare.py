"""Changing a picture so that a layer sees more: one step written out, and what many steps do."""

import numpy as np
import pytest
from support.networks import net
from support.tensors import values

from pydarknet.errors import OptionError
from pydarknet.images.image import crop, resize
from pydarknet.tools.pictures.nightmare import Dream, InputGradient

TEXT = net() + "[convolutional]\nfilters=8\nsize=3\npad=1\nactivation=leaky\n[maxpool]\nsize=2\nstride=2\n" \
       "[convolutional]\nfilters=4\nsize=3\npad=1\nactivation=linear\n"  # fmt: skip


def picture(height=20, width=26):
    return np.random.default_rng(3).random((3, height, width), np.float32)


@pytest.mark.parametrize(("norm", "mirror", "scale"), [(True, False, 1.0), (False, True, 1.0), (True, True, 0.75)])
def test_a_step_written_out(build, norm, mirror, scale):
    """The rule of darknet's `optimize_picture`, whose results for the same numbers differ by less than 1e-6."""
    network, x = build(TEXT), picture()
    found = Dream(2, rate=0.1, thresh=0.5, norm=norm).step(network, x, 2, scale, 3, -5, mirror)
    shown = crop(x, 3, -5, 26, 20)
    if scale != 1:
        shown = resize(shown, int(26 * scale), int(20 * scale))
    flip = (lambda p: np.ascontiguousarray(p[:, :, ::-1])) if mirror else (lambda p: p)
    gradient = InputGradient(build(TEXT), 2, shown.shape[2], shown.shape[1])
    output = gradient.forward(flip(shown))
    delta = [value if value > output.mean() + 0.5 * output.std() else 0 for value in output]
    change = flip(gradient.backward(np.array(delta, np.float32)))
    if scale != 1:
        change = resize(change, 26, 20)
    change = crop(change, -3, 5, 26, 20) + 0.1 * (0.5 - x)
    if norm:
        change = (change - change.mean()) / change.std()
    assert np.allclose(found, np.clip(x + 0.1 * change, 0, 1), atol=1e-5)


def test_the_layer_sees_more(build):
    network, x = build(TEXT), picture()

    def seen(image):
        output = InputGradient(network, 2, 26, 20).forward(image)
        return float((np.sort(output)[-20:] ** 2).sum())

    before = seen(x)
    *_, after = Dream(2, iters=12, octaves=1).round(network, x, np.random.default_rng(1))
    assert seen(after) > 1.3 * before
    assert after.min() >= 0 and after.max() <= 1


def test_one_seed_gives_one_picture(build):
    dream, x = Dream(1, range=3, iters=3), picture()
    first, second, other = (list(dream.round(build(TEXT), x, np.random.default_rng(seed))) for seed in (5, 5, 6))
    assert len(first) == 3
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[-1], other[-1])


def test_between_rounds():
    x = picture(20, 30)
    assert np.array_equal(Dream(0).next_start(x), resize(x, 30, 20))
    zoomed = Dream(0, zoom=0.8).next_start(x)
    assert np.allclose(zoomed, resize(crop(x, 2, 1, 24, 16), 30, 20))  # 2.99... and 1.99... are rounded down
    rotated = Dream(0, rotate=np.pi).next_start(x)
    assert np.allclose(rotated[:, 1:, 1:], x[:, :0:-1, :0:-1], atol=1e-4)


def test_wanted():
    output = np.array([1, 2, 3, 10], np.float32)
    assert Dream(0).output_delta(output).tolist() == [0, 0, 0, 10]
    assert Dream(0, thresh=-0.5).output_delta(output).tolist() == [0, 0, 3, 10]


def test_layers_that_are_not_there(build):
    network = build(TEXT)
    for layer, count, shown in ((3, 1, "3 to 3"), (0, 2, "-1 to 0"), (2, 3, "1 to 3")):
        with pytest.raises(OptionError, match=f"layers {shown}: .*net.cfg has layers 0 to 2"):
            list(Dream(layer, count).round(network, values(3, 8, 8), np.random.default_rng(0)))


# InputGradient

CONVOLUTION = "[convolutional]\nfilters={0}\nsize=3\npad=1\nstride={1}\nactivation={2}\n"
LAYERS = (
    net()
    + CONVOLUTION.format(6, 1, "logistic")
    + "[dropout]\n[maxpool]\nsize=2\nstride=2\n"
    + CONVOLUTION.format(6, 1, "logistic")
    + "[shortcut]\nfrom=-2\nactivation=linear\n[route]\nlayers=-1,-3\n[avgpool]\n[connected]\noutput=5\n"
)


@pytest.mark.parametrize("last", [0, 1, 3, 4, 5, 6, 7])
def test_against_differences(build, last):
    network = build(LAYERS)
    gradient = InputGradient(network, last, 10, 6)
    x = values(3, 6, 10)
    output = gradient.forward(x)
    delta = values(output.size)
    found = gradient.backward(delta)
    assert found.shape == x.shape
    rng, step = np.random.default_rng(1), np.float32(1e-3)  # so small that no maximum changes its place
    rounding = float(np.abs(output) @ np.abs(delta)) * 2.0**-24 / float(step)  # of the outputs
    for _ in range(12):
        at = tuple(rng.integers(side) for side in x.shape)
        above, below = x.copy(), x.copy()
        above[at] += step
        below[at] -= step
        difference = (gradient.forward(above) - gradient.forward(below)).astype(float) @ delta / (2 * step)
        near = 0.03 * float(np.abs(found).max()) + rounding
        assert found[at] == pytest.approx(difference, rel=0.03, abs=near)


def test_forward_is_the_forward_pass(build):
    text = LAYERS.replace("filters=6\n", "filters=6\nbatch_normalize=1\n")
    network, x = build(text), values(1, 3, 8, 8)
    expected = network.layer_outputs(x)
    rolling = network.layers[0].norm.rolling_mean.copy()
    for last in (0, 3, 4, 7):
        found = InputGradient(network, last, 8, 8).forward(x[0])
        assert np.allclose(found, expected[last].reshape(-1), atol=1e-4)
    assert np.array_equal(network.layers[0].norm.rolling_mean, rolling)


def test_batch_normalisation_goes_back_as_in_darknet(build):
    """As if the rolling statistics were the picture's own: with their share in the mean and in the variance."""
    network = build(net() + "[convolutional]\nfilters=2\nsize=1\nbatch_normalize=1\nactivation=linear\n")
    gradient, x, delta = InputGradient(network, 0, 8, 8), values(3, 8, 8), values(2, 64)
    gradient.forward(x)
    found = gradient.backward(delta.reshape(-1))
    layer = network.layers[0]
    raw = np.einsum("fc,chw->fhw", layer.weights[:, :, 0, 0].astype(float), x).reshape(2, 64)
    norm, n = layer.norm, 64
    mean, variance = norm.rolling_mean[:, None].astype(float), norm.rolling_variance[:, None].astype(float)
    scaled, root = delta * norm.scales[:, None], np.sqrt(variance + 1e-5)
    mean_delta = -(scaled / root).sum(1, keepdims=True)
    variance_delta = -0.5 * (scaled * (raw - mean)).sum(1, keepdims=True) * root**-3
    of_raw = scaled / root + 2 * variance_delta * (raw - mean) / n + mean_delta / n
    expected = np.einsum("fc,fp->cp", layer.weights[:, :, 0, 0], of_raw).reshape(3, 8, 8)
    assert np.allclose(found, expected, atol=1e-4)


def test_the_network_works_as_before_afterwards(build):
    network, x = build(LAYERS), values(1, 3, 8, 8)
    expected = network.forward(x)[0]
    gradient = InputGradient(network, 3, 8, 8)
    gradient.backward(gradient.forward(values(3, 8, 8)))
    network.rewire()
    assert np.allclose(network.forward(x)[0], expected, atol=1e-6)


def test_refuses(build):
    network = build(net() + "[dropout]\n[avgpool]\n")
    for last in (-1, 2):
        with pytest.raises(OptionError, match=f"layer {last}: expected a number from 0 to 1"):
            InputGradient(network, last, 8, 8)
    with pytest.raises(OptionError, match=r"layer 0 \[dropout\] passes the input on unchanged"):
        InputGradient(network, 0, 8, 8)
