"""Random networks as .cfg texts: all layer types, odd sizes, and the sequences of layers that are computed as one."""

import random
from dataclasses import dataclass, field

import numpy as np

from pydarknet.config.dialect import DIALECTS
from pydarknet.errors import ConfigError
from pydarknet.layers import layer_class

LONGEST, MOST_CHANNELS = 33, 70
ACTIVATIONS = (
    "linear", "leaky", "relu", "logistic", "tanh", "elu", "selu", "ramp", "loggy", "relie", "plse", "hardtan", "stair",
    "lhtan", "mish", "swish", "hard_mish", "gelu", "relu6", "normalize_channels", "normalize_channels_softmax",
    "normalize_channels_softmax_maxval",
)  # fmt: skip
COMMON = ("leaky", "leaky", "linear", "relu", "mish", "swish", "logistic")


@dataclass(frozen=True)
class RandomNetwork:
    """A .cfg text, its dialect, the shape of its input, and what its last layer is compared with in training: "boxes",
    "one class", or "values"."""

    text: str
    dialect: str
    batch: int
    shape: tuple[int, int, int]
    truth: str

    def input(self, seed: int, batch: int | None = None) -> np.ndarray:
        """(batch, channels, height, width) float32 from 0 to 1."""
        return np.random.default_rng(seed).random((batch or self.batch, *self.shape), np.float32)

    def targets(self, seed: int, outputs: int, batch: int) -> list[np.ndarray]:
        """The truth of a mini-batch. outputs: numbers that the last layer gives for one picture."""
        rng = np.random.default_rng(seed)
        if self.truth == "boxes":
            rows = [rng.uniform(0.1, 0.9, (rng.integers(0, 4), 5)).astype(np.float32) for _ in range(batch)]
            for row in rows:
                row[:, 0] = rng.integers(0, 2, len(row))
            return rows
        if self.truth == "one class":
            return [np.eye(outputs, dtype=np.float32)[rng.integers(outputs)] for _ in range(batch)]
        return list(rng.random((batch, outputs), np.float32))


@dataclass
class _Writer:
    """Sections written so far, and the shape (channels, height, width) that each gives."""

    rng: random.Random
    dialect: str
    text: str = ""
    shapes: list[tuple[int, int, int]] = field(default_factory=list)
    input: tuple[int, int, int] = (1, 1, 1)

    @property
    def now(self) -> tuple[int, int, int]:
        return self.shapes[-1] if self.shapes else self.input

    def add(self, kind: str, shape: tuple[int, int, int], **options: object) -> None:
        lines = "".join(f"{key}={value}\n" for key, value in options.items() if value is not None)
        self.text += f"[{kind}]\n{lines}"
        self.shapes.append(shape)

    def knows(self, kind: str) -> bool:
        try:
            layer_class(kind, DIALECTS[self.dialect])
        except ConfigError:
            return False
        return True

    def activation(self, names: tuple[str, ...] = COMMON) -> str:
        rng = self.rng
        if names is COMMON and rng.random() < 0.15:
            names = ACTIVATIONS if self.dialect == "alexeyab" else ACTIVATIONS[:14]
        name = rng.choice(names)
        return "leaky" if self.dialect == "pjreddie" and name in ("mish", "swish") else name

    def convolution(self, filters: int, size: int, stride: int = 1, **options: object) -> bool:
        """A convolution with pad=1 unless `padding` says otherwise; whether it fits."""
        _, h, w = self.now
        padding = options.get("padding", size // 2)
        reach = int(str(options.get("dilation", 1))) * (size - 1)
        sides = [
            (side + 2 * int(str(padding)) * (reach // max(1, size - 1)) - reach - 1) // stride + 1 for side in (h, w)
        ]
        if "dilation" in options:
            sides = [h, w]
        if min(sides) < 1:
            return False
        if "padding" not in options:
            options["pad"] = 1
        options.setdefault("batch_normalize", int(self.rng.random() < 0.7) or None)
        options.setdefault("activation", self.activation())
        stride_or_none = stride if stride > 1 else None
        self.add("convolutional", (filters, *sides), filters=filters, size=size, stride=stride_or_none, **options)
        return True


def _channels(rng: random.Random) -> int:
    return rng.choice([rng.randint(1, MOST_CHANNELS), 4 * rng.randint(1, 12), 16 * rng.randint(1, 4), 8, 16, 32, 64])


def _any_convolution(w: _Writer) -> bool:
    rng, c = w.rng, w.now[0]
    size, stride = rng.choice([1, 1, 3, 3, 3, 3, 2, 4, 5, 6, 7, 9, 11]), rng.choice([1, 1, 1, 2, 2, 3, 4])
    options: dict[str, object] = {}
    filters = _channels(rng)
    if rng.random() < 0.15:
        groups = rng.choice([g for g in range(1, c + 1) if c % g == 0])
        filters, options["groups"] = groups * rng.randint(1, max(1, 40 // groups)), groups
    if rng.random() < 0.15:
        options["padding"] = rng.randint(0, 4)
    elif rng.random() < 0.1 and w.dialect == "alexeyab" and size == 3:
        options["dilation"], stride = rng.randint(2, 4), 1
    elif rng.random() < 0.08 and w.dialect == "alexeyab" and stride == 2:
        options["antialiasing"] = rng.choice([1, 2])
    elif rng.random() < 0.05 and "groups" not in options:
        options["xnor"], options["bin_output"] = 1, rng.choice([None, 1])
    return w.convolution(filters, size, stride, **options)


def _depthwise(w: _Writer) -> bool:
    c = w.now[0]
    return w.convolution(c, w.rng.choice([3, 3, 5, 7]), w.rng.choice([1, 1, 2]), groups=c)


def _inverted_bottleneck(w: _Writer) -> bool:
    rng = w.rng
    c, wide = w.now[0], rng.choice([4, 8, 16, 24, 32, 40, 48, 64, rng.randint(1, MOST_CHANNELS)])
    slope = rng.choice(["leaky", "leaky", "relu", "linear", "logistic"])
    start, stride = len(w.shapes), rng.choice([1, 1, 1, 2])
    w.convolution(wide, 1, activation=slope, batch_normalize=1)
    w.convolution(wide, rng.choice([3, 3, 5]), stride, groups=wide, activation=slope, batch_normalize=1)
    out = c if rng.random() < 0.6 else rng.choice([4, 8, 16, 24, _channels(rng)])
    w.convolution(out, 1, activation="linear", batch_normalize=1)
    if start and w.shapes[start - 1] == w.now:
        w.add("shortcut", w.now, **{"from": -4, "activation": "linear"})
    return True


def _shortcut(w: _Writer) -> bool:
    same = [i for i, shape in enumerate(w.shapes[:-1]) if shape == w.now]
    if w.dialect == "pjreddie" and w.rng.random() < 0.3:  # it adds planes of other sizes as well
        same = list(range(len(w.shapes) - 1))
    if not same:
        if not w.shapes or not w.convolution(w.now[0], w.rng.choice([1, 3])):
            return False
        same = [len(w.shapes) - 2]
    sources: object = w.rng.choice(same)
    options = {}
    if w.dialect == "alexeyab" and w.rng.random() < 0.3:
        sources = ",".join(str(w.rng.choice([i for i in same if w.shapes[i] == w.now])) for _ in range(2))
        if w.rng.random() < 0.5:
            options = {"weights_type": w.rng.choice(["per_feature", "per_channel"]),
                       "weights_normalization": w.rng.choice(["relu", "softmax"])}  # fmt: skip
    w.add("shortcut", w.now, **{"from": sources, "activation": w.activation(("linear", "linear", "leaky"))}, **options)
    return True


def _route(w: _Writer) -> bool:
    rng = w.rng
    if not w.shapes:
        return False
    options, c = {}, w.now[0]
    sources = [i for i, shape in enumerate(w.shapes) if shape[1:] == w.now[1:]]
    chosen = [len(w.shapes) - 1, *rng.choices(sources, k=rng.randint(0, 3))]
    rng.shuffle(chosen)
    if sum(w.shapes[i][0] for i in chosen) > 3 * MOST_CHANNELS:
        chosen = chosen[:1]
    channels = sum(w.shapes[i][0] for i in chosen)
    if w.dialect == "alexeyab" and rng.random() < 0.4:
        chosen = [len(w.shapes) - 1]
        groups = rng.choice([g for g in (1, 2, 3, 4) if c % g == 0])
        options, channels = {"groups": groups, "group_id": rng.randrange(groups)}, c // groups
    w.add("route", (channels, *w.now[1:]), layers=",".join(map(str, chosen)), **options)
    return True


def _maxpool(w: _Writer) -> bool:
    rng, (c, h, width) = w.rng, w.now
    size, stride = rng.choice([(2, 2), (2, 2), (2, 1), (3, 2), (3, 1), (5, 1), (9, 1), (1, 1), (3, 3), (13, 1)])
    padding = size - 1
    sides = [(side + padding - size) // stride + 1 for side in (h, width)]
    options: dict[str, object] = {}
    if w.dialect == "alexeyab" and stride == 2 and rng.random() < 0.15:
        options["antialiasing"] = 1
    w.add("maxpool", (c, *sides), size=size, stride=stride, **options)
    return True


def _upsample(w: _Writer) -> bool:
    c, h, width = w.now
    stride = w.rng.choice([2, 2, 3, 4])
    if max(h, width) * stride > 2 * LONGEST:
        return False
    w.add("upsample", (c, h * stride, width * stride), stride=stride, scale=w.rng.choice([None, 0.5]))
    return True


def _downsample(w: _Writer) -> bool:
    c, h, width = w.now
    if h % 2 or width % 2 or h < 2 or width < 2 or (w.dialect == "alexeyab" and c < 4):
        return False
    kind = "reorg3d" if w.knows("reorg3d") and w.rng.random() < 0.5 else "reorg"
    w.add(kind, (4 * c, h // 2, width // 2), stride=2)
    return 4 * c <= 4 * MOST_CHANNELS


def _scaling(w: _Writer) -> bool:
    """Squeeze and excitation, or a map of factors."""
    if not w.knows("sam") or not w.shapes:
        return False
    (c, h, width), before = w.now, len(w.shapes) - 1
    if w.rng.random() < 0.5:
        w.add("avgpool", (c, 1, 1))
        w.convolution(c, 1, activation="logistic")
        w.add("scale_channels", (c, h, width), **{"from": before, "activation": w.activation(("linear", "leaky"))})
    else:
        w.convolution(c, 1, activation="logistic")
        w.add("sam", (c, h, width), **{"from": before})
    return True


def _one_of_the_rest(w: _Writer) -> bool:
    rng, (c, h, width) = w.rng, w.now
    kinds = [
        "dropout", "batchnorm", "normalization", "l2norm", "activation", "logistic", "local", "deconvolutional", "crnn",
        "conv_lstm", "local_avgpool", "empty", "silence", "crop", "history",
    ]  # fmt: skip
    kind = rng.choice([kind for kind in kinds if w.knows(kind)])
    if kind == "activation":
        w.add(kind, w.now, activation=w.activation())
    elif kind == "local":
        size = rng.choice([1, 3])
        pad = rng.choice([0, 1])
        sides = [side - (0 if pad else size - 1) for side in (h, width)]
        if min(sides) < 1 or c * h * width > 10_000:
            return False
        filters = rng.randint(1, 20)
        w.add(kind, (filters, *sides), filters=filters, size=size, stride=1, pad=pad, activation="leaky")
    elif kind == "deconvolutional":
        filters = rng.randint(1, 40)
        w.add(kind, (filters, 2 * h, 2 * width), filters=filters, size=4, stride=2, padding=1, activation="leaky",
              batch_normalize=rng.choice([0, 1]))  # fmt: skip
        return max(h, width) <= LONGEST
    elif kind == "crnn":
        filters = rng.randint(1, 20)
        if w.dialect == "pjreddie":
            w.add(kind, (filters, h, width), output_filters=filters, hidden_filters=filters, activation="leaky")
        else:
            w.add(kind, (filters, h, width), output=filters, hidden=filters, size=3, pad=1, activation="leaky")
    elif kind == "conv_lstm":
        filters = rng.randint(1, 20)
        w.add(kind, (filters, h, width), output=filters, size=3, pad=1, peephole=rng.choice([0, 1]))
    elif kind == "crop":
        if w.shapes or min(h, width) < 3:
            return False
        w.add(kind, (c, h - 1, width - 2), crop_height=h - 1, crop_width=width - 2, flip=rng.choice([0, 1]))
    elif kind == "history":
        size = rng.randint(1, 3)
        w.add(kind, (c * size, h, width), history_size=size)
        return c * size <= MOST_CHANNELS
    elif kind == "local_avgpool":
        w.add(kind, (c, h, width), size=3, stride=1)
    else:
        w.add(kind, w.now)
    return True


PARTS = [
    *[_any_convolution] * 6, *[_depthwise] * 2, *[_inverted_bottleneck] * 3, *[_shortcut] * 3, *[_route] * 3,
    *[_maxpool] * 3, _upsample, _downsample, _scaling, *[_one_of_the_rest] * 3,
]  # fmt: skip


def _tail(w: _Writer) -> str:
    """The end of the network: what its output is compared with in training."""
    rng = w.rng
    kind = rng.choice(["cost", "cost", "softmax", "yolo", "region", "detection", "Gaussian_yolo", "recurrent"])
    c, h, width = w.now
    if kind == "Gaussian_yolo" and not w.knows(kind):
        kind = "yolo"
    if kind in ("yolo", "Gaussian_yolo"):
        values = 5 + 2 + 4 * (kind == "Gaussian_yolo")
        w.convolution(2 * values, 1, activation="linear")
        w.add(kind, w.now, mask="0,1", anchors="4,4, 9,7, 12,20", num=3, classes=2)
        return "boxes"
    if kind == "region":
        w.convolution(2 * 7, 1, activation="linear")
        w.add(kind, w.now, anchors="1,1, 2,3", num=2, classes=2, softmax=rng.choice([0, 1]))
        return "boxes"
    if kind == "detection" and c * h * width < 20_000:
        side = rng.randint(1, 4)
        w.add("connected", (side * side * (2 + 2 * 5), 1, 1), output=side * side * (2 + 2 * 5), activation="linear")
        w.add(kind, w.now, classes=2, side=side, num=2, coords=4, sqrt=1)
        return "boxes"
    if kind == "recurrent" and c * h * width < 20_000:
        for cell in rng.sample(["rnn", "gru", "lstm"], 2):
            w.add(cell, (9, 1, 1), output=9, hidden=7 if cell == "rnn" else None)
    outputs = rng.randint(1, MOST_CHANNELS)
    if w.knows("implicit") and rng.random() < 0.1:  # whatever comes before it, it gives its parameters
        w.add("implicit", (outputs, 3, 1), filters=outputs, atoms=3)
    if rng.random() < 0.5 or w.now[1] * w.now[2] > 400:
        w.convolution(outputs, 1, activation="linear")
        w.add("avgpool", (outputs, 1, 1))
    elif w.now[0] * w.now[1] * w.now[2] < 20_000:
        w.add("connected", (outputs, 1, 1), output=outputs, activation=w.activation(),
              batch_normalize=rng.choice([0, 1]))  # fmt: skip
    if kind == "softmax":
        w.add("softmax", w.now)
        return "one class"
    w.add("cost", w.now, type=rng.choice(["sse", "smooth", "L1"]))
    return "values"


def random_network(seed: int, longest: int = LONGEST) -> RandomNetwork:
    """The network of a seed. Most are built and run without an error; a few do not fit themselves, which the package
    has to say in one line."""
    rng = random.Random(seed)
    dialect, batch = rng.choice(["pjreddie", "alexeyab"]), rng.choice([1, 1, 2, 3])
    channels = rng.choice([3, 3, 1, 4, rng.randint(1, MOST_CHANNELS)])
    height, width = rng.randint(1, longest), rng.randint(1, longest)
    if rng.random() < 0.2:  # rows long enough for kernels that go along them
        width = rng.randint(longest, 6 * longest)
    w = _Writer(rng, dialect, input=(channels, height, width))
    for _ in range(rng.randint(1, 7)):
        rng.choice(PARTS)(w)
    truth = _tail(w)
    net = (
        f"[net]\nbatch={batch}\nsubdivisions=1\nchannels={channels}\nheight={height}\nwidth={width}\n"
        "learning_rate=0.0001\nmax_batches=100\n"
    )
    return RandomNetwork(net + w.text, dialect, batch, (channels, height, width), truth)
