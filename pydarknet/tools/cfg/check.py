"""Report all faults of a .cfg file at once. Adapt a file to a data set: classes, anchors, masks, filters."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from ...config.dialect import Dialect, choose_dialect
from ...config.names import read_names
from ...config.sections import CfgEditor, Section, parse_config, read_config
from ...errors import ConfigError, OptionError
from ...layers import INPUT, Layer
from ...layers.connected import Connected
from ...layers.heads.base import Head
from ...layers.heads.detection import DetectionHead
from ...layers.heads.region import Region
from ...layers.heads.yolo import Yolo
from ...network.network import USUAL_STRIDE, input_size_hint
from ...training.lr_schedule import LearningRateSchedule
from ...utils.arrays import Array
from ...utils.files import StrPath
from ..anchors import Sizes, format_anchors
from .lenient_build import LenientBuild, Problem


@dataclass(frozen=True)
class CheckResult:
    """The problems of a .cfg file, sorted by line."""

    path: str
    problems: list[Problem]
    layers: int
    dialect: Dialect

    @property
    def errors(self) -> int:
        """The number of problems that are errors, not warnings."""
        return sum(problem.is_error for problem in self.problems)

    def lines(self) -> list[str]:
        """A line for each problem: file, line, severity, layer, found and expected."""
        lines = []
        for problem in self.problems:
            where = f"{self.path}:{problem.line}" if problem.line else self.path
            layer = "" if problem.layer is None else f"layer {problem.layer} "
            lines.append(f"{where}: {'error' if problem.is_error else 'warning'}: {layer}{problem.text}")
        return lines


def check_config(path: StrPath, dialect: str = "auto", data: Section | None = None) -> CheckResult:
    """Check a .cfg file, and its number of classes against a .data file. Raises DarknetError."""
    syntax: list[tuple[str, bool]] = []
    config = read_config(path, lambda text, is_error: syntax.append((text, is_error)))
    build = LenientBuild(config, choose_dialect(dialect, config))
    for text, is_error in syntax:
        build.diagnostics.add(text, is_error=is_error)
    for rule in (_mini_batches, _schedule, _input_size, _heads, _data):
        for index, key, text, is_error in rule(build, data):
            section = build.config.net if index is None else build.layers[index].section
            kind = "net" if index is None else section.kind
            build.problems.append(Problem(section.line_of(key), f"[{kind}] {text}", index, is_error))
    problems = sorted(set(build.problems), key=lambda p: (p.line, not p.is_error, p.text))
    return CheckResult(config.path, problems, len(config.layers), build.dialect)


# A layer, None for [net]; the key at fault; what is wrong; whether that is an error.
Fault = tuple[int | None, str, str, bool]


def _mini_batches(build: LenientBuild, _: Section | None) -> Iterator[Fault]:
    batch, subdivisions = build.net.positive("batch", 1), build.net.positive("subdivisions", 1)
    text = f"does not divide batch={batch}; an update would take {batch // subdivisions * subdivisions} pictures"
    if subdivisions > batch:
        text = f"is more than batch={batch}; expected a divisor of it"
    if batch % subdivisions:
        yield None, "subdivisions", f"subdivisions={subdivisions} {text}", subdivisions > batch


def _schedule(build: LenientBuild, _: Section | None) -> Iterator[Fault]:
    if not build.net.has("max_batches"):
        expected = "the number of iterations, without which training ends at once"
        yield None, "max_batches", f"max_batches is missing; expected {expected}", False
    try:
        schedule = LearningRateSchedule.from_section(build.net)
    except ConfigError as error:
        build.diagnostics.add(str(error))
        return
    end, steps, burn_in, rate = schedule.max_batches, schedule.steps, schedule.burn_in, schedule.learning_rate
    descends = any(later <= earlier for earlier, later in pairwise(steps))
    last = steps[-1] if steps else 0
    for is_wrong, key, text in (
        (descends, "steps", f"steps={','.join(map(str, steps))}: expected ascending numbers"),
        (last > end > 0, "steps", f"steps: {last} is above max_batches={end} and is never reached"),
        (0 < end <= burn_in, "burn_in", f"burn_in={burn_in} lasts to the end of training, max_batches={end}"),
        (rate <= 0, "learning_rate", f"learning_rate={rate:g}: expected more than 0"),
    ):
        if is_wrong:
            yield None, key, text, key == "learning_rate"


def heads_of(build: LenientBuild) -> list[tuple[int, Head]]:
    """The detection heads with their indices."""
    return [(index, layer) for index, layer in enumerate(build.layers) if isinstance(layer, Head)]


def _input_size(build: LenientBuild, _: Section | None) -> Iterator[Fault]:
    heads = heads_of(build)
    unknown = any(not build.certainty[index].size for index, _ in heads)
    for side in ("width", "height"):
        pixels, strides = getattr(build.input, side), []
        for index, layer in heads:
            cells = getattr(layer.shape, side)
            if not isinstance(layer, DetectionHead) and build.certainty[index].size and pixels % cells:
                strides.append(2 ** round(math.log2(pixels / cells)))
        if not strides and unknown and pixels % USUAL_STRIDE:
            strides.append(USUAL_STRIDE)
        if strides and (stride := max(strides)) > 1:
            less = max(stride, pixels // stride * stride)
            sizes = f"{less} or {less + stride}"
            yield None, side, f"{side}={pixels}: expected a multiple of {stride}, the network's stride: {sizes}", True


def _heads(build: LenientBuild, _: Section | None) -> Iterator[Fault]:
    heads = heads_of(build)
    for index, layer in heads:
        at, first = heads[0]
        if layer.classes != first.classes:
            text = f"classes={layer.classes}, but layer {at} has classes={first.classes}; expected one number"
            yield index, "classes", text, True
        if not isinstance(layer, Yolo):
            continue
        listed, total = len(layer.section.reals("anchors") or []), layer.num
        if isinstance(first, Yolo) and total != first.num:
            yield index, "num", f"num={total}, but layer {at} has num={first.num}", False
        for number in [number for number in layer.mask if 0 < listed <= 2 * number][:1]:
            text = f"mask names anchor {number}, but anchors lists {listed // 2} pairs; expected num={total}"
            yield index, "anchors", text, True
        if listed > 2 * total:
            yield index, "anchors", f"anchors lists {listed} numbers for num={total}; expected {2 * total}", False
        if len(set(layer.mask)) < len(layer.mask):
            yield index, "mask", f"mask={','.join(map(str, layer.mask))} names an anchor twice", False
        before = build.layers[index - 1] if index else layer
        name, expected = before.section.text("activation", "logistic"), "logistic" if layer.new_coords else "linear"
        if before.kind in ("convolutional", "conv") and name != expected:
            text = f"activation={name} before [{layer.kind}]; expected activation={expected}"
            yield index - 1, "activation", text, False


def _data(build: LenientBuild, data: Section | None) -> Iterator[Fault]:
    if data is None:
        return
    wanted = {"names in " + str(path): len(read_names(path))} if (path := data.file("names")) else {}
    if data.has("classes"):
        wanted = {"classes in " + data.path: data.positive("classes", 1)} | wanted
    for index, layer in heads_of(build):
        for what, number in [(what, number) for what, number in wanted.items() if number != layer.classes][:1]:
            yield index, "classes", f"classes={layer.classes}; expected {number}, the number of {what}", True


# --- changes for a data set ---

CELLS = 1  # a width for which `format_anchors` writes cells, with decimals


@dataclass(frozen=True)
class HeadPlan:
    """What a head requires: its mask, and `channels` output channels of layer `source`."""

    index: int
    head: Head
    mask: list[int]
    channels: int
    source: int


class Retarget:
    """Adapts a network file, whose filters and masks may be wrong, to a data set. `text` holds the changes. Raises
    ConfigError."""

    def __init__(self, path: StrPath, dialect: str = "auto") -> None:
        self.text = CfgEditor(path)
        self.config = parse_config(self.text.path, self.text.text)
        self._dialect = dialect
        self.build = LenientBuild(self.config, choose_dialect(dialect, self.config))
        self.heads = heads_of(self.build)
        self._anchored = [head for _, head in self.heads if isinstance(head, (Yolo, Region))]

    # --- anchors ---

    @property
    def unit(self) -> tuple[int, int]:
        """The input's width and height in pixels, or cells for [region]. Raises ConfigError."""
        if not self._anchored:
            raise ConfigError(f"{self.text.path}: no layer with anchors; expected [yolo], [Gaussian_yolo] or [region]")
        first = self._anchored[0]
        plane = first.shape if isinstance(first, Region) else self.build.input
        return plane.width, plane.height

    @property
    def in_cells(self) -> bool:
        """Whether the unit of the anchors is cells, so that they have decimals."""
        return any(isinstance(head, Region) for head in self._anchored)

    @property
    def count(self) -> int:
        """The number of anchors in the file; 0 for a network without anchors."""
        counts = (head.num if isinstance(head, Yolo) else len(head.anchors) for head in self._anchored)
        return max(counts, default=0)

    @property
    def anchors(self) -> Sizes:
        """(k, 2): the anchors that the heads use, sorted by index."""
        used: dict[int, Array] = {}
        for head in self._anchored:
            numbers = head.mask if isinstance(head, Yolo) else range(len(head.anchors))
            used |= {number: head.anchors[number] for number in numbers}
        return np.array([used[number] for number in sorted(used)], np.float64).reshape(-1, 2)

    def masks(self, count: int) -> dict[int, list[int]]:
        """The mask of each head for `count` anchors sorted by area: heads with fewer cells get the larger
        anchors.

        They keep their numbers if these add up, else get equal parts. Raises OptionError.
        """
        heads = [(index, head) for index, head in self.heads if isinstance(head, Yolo)]
        heads.sort(key=lambda item: -item[1].shape.cells)
        if heads and count < len(heads):
            raise OptionError(f"{count} anchors for {len(heads)} heads; expected at least one for each")
        ends = list(accumulate(len(head.mask) for _, head in heads))
        if ends[-1:] != [count]:
            ends = [count * (k + 1) // len(heads) for k in range(len(heads))]
        return {i: list(range(*edges)) for (i, _), edges in zip(heads, pairwise([0, *ends]), strict=True)}

    # --- requirements of the heads ---

    def plans(self, classes: int | None = None, count: int | None = None) -> list[HeadPlan]:
        """The requirements of each head for these numbers (None: its own). Raises ConfigError."""
        masks, plans = {} if count is None else self.masks(count), []
        for index, head in self.heads:
            mask, each = masks.get(index, []), classes or head.classes
            if isinstance(head, Yolo):
                mask = mask or head.mask
                channels = len(mask) * (each + head.entries_before_classes)
            elif isinstance(head, Region):
                channels = (count or len(head.anchors)) * (each + head.coords + 1)
            else:
                assert isinstance(head, DetectionHead)
                channels = head.side**2 * ((1 + head.coords) * head.num + each)
            plans.append(HeadPlan(index, head, mask, channels, self._source(index)))
        return plans

    def _source(self, index: int) -> int:
        layer = self.build.layers[index]
        at = layer.sources[0]
        while at != INPUT:
            inner = self.build.layers[at]
            if _key_of(inner) is not None:
                return at
            if len(inner.sources) > 1 or inner.shape.channels != inner.inputs[0].channels:
                break
            at = inner.sources[0]
        expected = "a [convolutional] or [connected] before it"
        raise layer.section.error(f"layer {index}: no layer sets its input channels; expected {expected}")

    # --- changes ---

    def set(self, classes: int | None, anchors: Sizes | None, net: Mapping[str, str]) -> None:
        """Set what is given, and the filters and masks that follow. Raises ConfigError, OptionError."""
        if classes is not None:
            self.set_classes(classes)
        if anchors is not None:
            self.set_anchors(anchors)
        self.set_net(net)
        self.fit(classes, None if anchors is None else len(anchors))

    def set_classes(self, classes: int) -> None:
        """Set the number of classes in all heads, or of a classifier's last layer; then `fit`."""
        for layer in [head for _, head in self.heads] or self.build.layers:
            if layer.section.has("tree"):
                raise layer.section.error("tree= sets the classes; remove it first", "tree")
        for index, head in self.heads:
            self.text.set(self.config.layers[index], "classes", str(classes), index)
            counters = head.section.integers("counters_per_class") or []
            if counters and len(counters) != classes:
                self.text.comment_out(self.config.layers[index], "counters_per_class", index)
        if not self.heads:
            last = len(self.build.layers) - 1
            self._set_channels(last if _key_of(self.build.layers[last]) else self._source(last), classes)

    def set_anchors(self, anchors: Sizes) -> None:
        """Set anchors and masks in all heads; then `fit`. Raises ConfigError, OptionError."""
        anchors = anchors[np.argsort(anchors.prod(axis=1), kind="stable")]
        text = format_anchors(anchors, CELLS if self.in_cells else self.unit[0]).strip()
        masks = {index: {"mask": ",".join(map(str, mask))} for index, mask in self.masks(len(anchors)).items()}
        for index, _ in self.heads:
            for key, value in {"anchors": text, "num": str(len(anchors)), **masks.get(index, {})}.items():
                self.text.set(self.config.layers[index], key, value, index)

    def set_net(self, values: Mapping[str, str]) -> None:
        """Set options of [net]."""
        for key, value in values.items():
            self.text.set(self.config.net, key, value)

    def fit(self, classes: int | None = None, count: int | None = None) -> None:
        """Set the filters before each head for these numbers. Raises ConfigError."""
        for plan in self.plans(classes, count):
            self._set_channels(plan.source, plan.channels)

    def _set_channels(self, at: int, channels: int) -> None:
        key = _key_of(self.build.layers[at])
        assert key is not None
        self.text.set(self.config.layers[at], key, str(channels), at)

    def check(self) -> None:
        """Build the changed network. Raises ConfigError for its first fault."""
        config = parse_config(self.text.path, self.text.text)
        found = LenientBuild(config, choose_dialect(self._dialect, config))
        if errors := sorted(problem for problem in found.problems if problem.is_error):
            first = errors[0]
            more = f" and {len(errors) - 1} more errors, see `cfg check`" if len(errors) > 1 else ""
            size = input_size_hint(found.input.width, found.input.height) if "differ in size" in first.text else ""
            raise ConfigError(f"{self.text.path}: {first.text}{size} (line {first.line} of the changed file{more})")

    def write(self, path: StrPath) -> None:
        """Write the changed file, if the network is valid. Raises ConfigError, OutputError."""
        self.check()
        self.text.write(path)


def _key_of(layer: Layer) -> str | None:
    if isinstance(layer, Connected):
        return "output"
    return "filters" if layer.kind in ("convolutional", "conv", "deconvolutional", "deconv", "local") else None
