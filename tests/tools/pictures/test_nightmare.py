"""Changing a picture so that a layer sees more: one step written out, and what many steps do."""

from __future__ import annotations

import numpy as np
import pytest
from support.networks import net
from support.tensors import values

from pydarknet.errors import OptionError
from pydarknet.images.image import crop, resize
from pydarknet.tools.pictures.input_gradient import InputGradient
from pydarknet.tools.pictures.nightmare import Dream

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
    assert np.array_equal(Dream(0).between(x), resize(x, 30, 20))
    zoomed = Dream(0, zoom=0.8).between(x)
    assert np.allclose(zoomed, resize(crop(x, 2, 1, 24, 16), 30, 20))  # 2.99... and 1.99... are rounded down
    turned = Dream(0, rotate=np.pi).between(x)
    assert np.allclose(turned[:, 1:, 1:], x[:, :0:-1, :0:-1], atol=1e-4)


def test_wanted():
    output = np.array([1, 2, 3, 10], np.float32)
    assert Dream(0).wanted(output).tolist() == [0, 0, 0, 10]
    assert Dream(0, thresh=-0.5).wanted(output).tolist() == [0, 0, 3, 10]


def test_layers_that_are_not_there(build):
    network = build(TEXT)
    for layer, count, shown in ((3, 1, "3 to 3"), (0, 2, "-1 to 0"), (2, 3, "1 to 3")):
        with pytest.raises(OptionError, match=f"layers {shown}: .*net.cfg has layers 0 to 2"):
            list(Dream(layer, count).round(network, values(3, 8, 8), np.random.default_rng(0)))
