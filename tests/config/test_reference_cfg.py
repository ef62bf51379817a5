"""Every network file of the original projects builds, with the parameters that a small reader of its own counts.

The files are no part of the repository; without them these tests are skipped.
"""

import math

import pytest
from support.files import SHARED

from pydarknet.config.dialect import choose_dialect
from pydarknet.config.sections import read_config
from pydarknet.errors import ShapeError
from pydarknet.network.network import Network

CFG = SHARED / "reference" / "cfg"
FILES = sorted(CFG.rglob("*.cfg")) if CFG.is_dir() else []
PARAMETERS = [pytest.param(path, id="-".join(path.relative_to(CFG).with_suffix("").parts)) for path in FILES] or [
    pytest.param(None, marks=pytest.mark.skip(reason="the reference files are not here"))
]

# AlexeyAB's darknet carries these files but stops at their shortcuts, which join layers of different size.
STOPS = {("alexeyab", name) for name in ("resnet50", "resnet101", "resnet152", "resnext152-32x4d")}


class Options(dict):
    """The options of one section, read as C reads them: the number that a value begins with."""

    def number(self, key, default=0):
        digits = ""
        for character in self.get(key, ""):
            if not (character.isdigit() or (character == "-" and not digits)):
                break
            digits += character
        return int(digits) if digits.strip("-") else default

    def numbers(self, key):
        return [int(item) for item in self[key].split("#")[0].split(",") if item]


def sections_of(path):
    sections = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        text = "".join(line.split())
        if text and text[0] == "[":
            sections.append((text.strip("[]"), Options()))
        elif text and text[0] not in "#;":
            key, _, value = text.partition("=")
            if value:
                sections[-1][1].setdefault(key, value)
    return sections


def convolution(c, n, k, o, groups=1):
    """Filters, biases and, with batch normalisation, three statistics."""
    return n * (c // groups * k * k + 1 + 3 * bool(o.number("batch_normalize")))


def dense(inputs, outputs, o):
    return outputs * (inputs + 1 + 3 * bool(o.number("batch_normalize")))


def recurrent(kind, o, inputs, alexeyab):
    n = o.number("output", 1)
    if kind == "rnn":
        hidden = o.number("hidden", 1) if alexeyab else n
        return n, dense(inputs, hidden, o) + dense(hidden, hidden, o) + dense(hidden, n, o)
    gates = {"gru": 3, "lstm": 4}[kind]
    return n, gates * (dense(inputs, n, o) + dense(n, n, o))


def measure(path, alexeyab):
    """(output numbers, parameters) of every layer."""
    (_, net), *layers = sections_of(path)
    shape = net.number("channels"), net.number("height"), net.number("width")
    if not all(shape):
        shape = net.number("inputs"), 1, 1
    shapes, result = [], []
    for index, (kind, o) in enumerate(layers):
        (c, h, w), parameters = shape, 0
        stride, size = o.number("stride", 1), o.number("size", 1)
        if kind in ("convolutional", "conv"):
            n, pad = o.number("filters", 1), size // 2 if o.number("pad") else o.number("padding")
            groups = o.number("groups", 1)
            strides = [max(o.number(key, -1), 0) or stride if alexeyab else stride for key in ("stride_y", "stride_x")]
            blur = o.number("antialiasing") if alexeyab else 0
            sides = [(side + 2 * pad - size) // (1 if blur else s) + 1 for side, s in zip((h, w), strides, strict=True)]
            if blur:
                k = 2 if blur == 2 else 3
                sides = [(side + 2 * (k // 3) - k) // s + 1 for side, s in zip(sides, strides, strict=True)]
            shape = n, *sides
            if not (alexeyab and "share_index" in o):
                parameters = convolution(c, n, size, o, 1 if o.number("xnor") else groups)
        elif kind in ("connected", "conn"):
            shape = o.number("output", 1), 1, 1
            parameters = dense(c * h * w, shape[0], o)
        elif kind == "local":
            n, less = o.number("filters", 1), 1 if o.number("pad") else size
            shape = n, (h - less) // stride + 1, (w - less) // stride + 1
            parameters = math.prod(shape) * (c * size * size + 1)
        elif kind in ("rnn", "gru", "lstm"):
            n, parameters = recurrent(kind, o, c * h * w, alexeyab)
            shape = n, 1, 1
        elif kind == "crnn":
            keys = ("hidden", "output") if alexeyab else ("hidden_filters", "output_filters")
            hidden, n = (o.number(key, 1) for key in keys)
            k = o.number("size", 3) if alexeyab else 3
            parameters = convolution(c, hidden, k, o) + convolution(hidden, hidden, k, o) + convolution(hidden, n, k, o)
            shape = n, h, w
        elif kind == "batchnorm":
            parameters = c * (4 if alexeyab else 3)
        elif kind in ("maxpool", "max", "local_avgpool"):
            size, pad = o.number("size", stride), o.number("padding", o.number("size", stride) - 1)
            shape = c, (h + pad - size) // stride + 1, (w + pad - size) // stride + 1
            if alexeyab and o.number("maxpool_depth"):
                shape = o.number("out_channels", 1), h, w
        elif kind in ("avgpool", "avg"):
            shape = c, 1, 1
        elif kind == "crop":
            shape = c, o.number("crop_height", 1), o.number("crop_width", 1)
        elif kind == "upsample":
            stride = o.number("stride", 2)
            shape = c, h * stride, w * stride
        elif kind in ("reorg", "reorg3d"):
            shape = c * stride * stride, h // stride, w // stride
            if o.number("extra") and not alexeyab:
                shape = c * h * w + o.number("extra"), 1, 1
        elif kind == "route":
            sources = [shapes[item if item >= 0 else index + item] for item in o.numbers("layers")]
            shape = sum(s[0] for s in sources) // (o.number("groups", 1) if alexeyab else 1), *sources[0][1:]
        elif kind in ("scale_channels", "sam"):
            source = o.number("from")
            shape = shapes[source if source >= 0 else index + source]
        elif kind == "shortcut" and alexeyab and o.get("weights_type", "none") != "none":
            count = len(o.numbers("from")) + 1
            parameters = count * (c if o["weights_type"] == "per_channel" else 1)
        elif kind == "implicit":
            shape = o.number("filters", 128), o.number("atoms", 1), 1
            parameters = math.prod(shape)
        shapes.append(shape)
        result.append((math.prod(shape), parameters))
    return result


def counted_by_the_engine(config, dialect):
    """(output numbers, parameters) of every layer."""
    network = Network(config, choose_dialect(dialect, config))
    return [(layer.shape.outputs, sum(array.size for array in layer.parameters())) for layer in network.layers]


@pytest.mark.slow
@pytest.mark.parametrize("path", PARAMETERS)
def test_an_original_file_builds_with_the_counted_layers(path):
    """In the dialect that is chosen for it, which is AlexeyAB's for no file of pjreddie's, and in its own one."""
    folder, config = path.relative_to(CFG).parts[0], read_config(path)
    chosen = choose_dialect("auto", config).name
    assert chosen == "pjreddie" or folder == "alexeyab"
    for dialect in dict.fromkeys((chosen, folder)):
        if dialect == folder and (folder, path.stem) in STOPS:
            with pytest.raises(ShapeError, match="expected sizes that match"):
                counted_by_the_engine(config, dialect)
        else:
            assert counted_by_the_engine(config, dialect) == measure(path, dialect == "alexeyab")
