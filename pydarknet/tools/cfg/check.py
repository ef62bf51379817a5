"""Report all faults of a .cfg file at once: those that stop a build, and those that appear only in use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from ...config.dialect import Dialect, choose_dialect
from ...config.names import read_names
from ...config.sections import Section, read_config
from ...errors import ConfigError
from ...layers import Layer
from ...layers.heads.base import Head
from ...layers.heads.detection import DetectionHead
from ...layers.heads.yolo import Yolo
from ...network.builder import USUAL_STRIDE
from ...training.lr_schedule import LearningRateSchedule
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
        """One line for each problem: file, line, severity, layer, what was found and what was expected."""
        return [
            f"{self.path}{f':{problem.line}' if problem.line else ''}: {'error' if problem.is_error else 'warning'}: "
            f"{'' if problem.layer is None else f'layer {problem.layer} '}{problem.text}"
            for problem in self.problems
        ]


def check_config(path: str | os.PathLike[str], dialect: str = "auto", data: Section | None = None) -> CheckResult:
    """Check a whole .cfg file, and its number of classes against a .data file.

    Raises ConfigError for a file that cannot be read or is not a .cfg file, DataError if the .data file's list of
    names is missing, OptionError for an unknown dialect.
    """
    syntax: list[tuple[str, bool]] = []
    config = read_config(path, lambda text, is_error: syntax.append((text, is_error)))
    build = LenientBuild(config, choose_dialect(dialect, config))
    for text, is_error in syntax:
        build.diagnostics.add(text, is_error=is_error)
    for rule in (_mini_batches, _schedule, _input_size, _masks, _agreement, _activations):
        build.problems += rule(build)
    if data is not None:
        build.problems += _data(build, data)
    problems = sorted(set(build.problems), key=lambda p: (p.line, not p.is_error, p.text))
    return CheckResult(config.path, problems, len(config.layers), build.dialect)


def _of_net(build: LenientBuild, text: str, key: str, is_error: bool = False) -> Problem:
    """A problem at the line of a key of [net]."""
    return Problem(_line_of(build.config.net, key), f"[net] {text}", None, is_error)


def _of_layer(layer: Layer, index: int, text: str, key: str, is_error: bool = False) -> Problem:
    return Problem(_line_of(layer.section, key), f"[{layer.kind}] {text}", index, is_error)


def _line_of(section: Section, key: str) -> int:
    return next((option.line for option in section.options if option.key == key), section.line)


def _mini_batches(build: LenientBuild) -> Iterator[Problem]:
    batch, subdivisions = build.net.positive("batch", 1), build.net.positive("subdivisions", 1)
    text = f"does not divide batch={batch}; an update would take {batch // subdivisions * subdivisions} pictures"
    if subdivisions > batch:
        text = f"is more than batch={batch}; expected a divisor of it"
    if batch % subdivisions:
        yield _of_net(build, f"subdivisions={subdivisions} {text}", "subdivisions", is_error=subdivisions > batch)


def _schedule(build: LenientBuild) -> Iterator[Problem]:
    if not build.net.has("max_batches"):
        yield _of_net(
            build,
            "max_batches is missing; expected the number of iterations, without which training ends at once",
            "max_batches",
        )
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
            yield _of_net(build, text, key, is_error=key == "learning_rate")


def _heads(build: LenientBuild) -> list[tuple[int, Head]]:
    return [(index, layer) for index, layer in enumerate(build.layers) if isinstance(layer, Head)]


def _input_size(build: LenientBuild) -> Iterator[Problem]:
    """Report sides that the stride of a head does not divide: the cells would not cover the picture evenly."""
    for side in ("width", "height"):
        pixels, strides = getattr(build.input, side), []
        for index, layer in _heads(build):
            cells = getattr(layer.shape, side)
            if not isinstance(layer, DetectionHead) and build.certainty[index].size and pixels % cells:
                strides.append(2 ** round(math.log2(pixels / cells)))
        unknown = any(not build.certainty[index].size for index, _ in _heads(build))
        if not strides and unknown and pixels % USUAL_STRIDE:
            strides.append(USUAL_STRIDE)
        if strides and (stride := max(strides)) > 1:
            less = max(stride, pixels // stride * stride)
            text = f"{side}={pixels}: expected a multiple of {stride}, the network's stride: {less} or {less + stride}"
            yield _of_net(build, text, side, is_error=True)


def _masks(build: LenientBuild) -> Iterator[Problem]:
    for index, layer in _heads(build):
        if not isinstance(layer, Yolo):
            continue
        listed, total = len(layer.section.reals("anchors") or []), layer.num
        if missing := [number for number in layer.mask if 0 < listed <= 2 * number]:
            text = f"mask names anchor {missing[0]}, but anchors lists {listed // 2} pairs; expected num={total}"
            yield _of_layer(layer, index, text, "anchors", is_error=True)
        if listed > 2 * total:
            text = f"anchors lists {listed} numbers for num={total}; expected {2 * total}"
            yield _of_layer(layer, index, text, "anchors")
        if len(set(layer.mask)) < len(layer.mask):
            yield _of_layer(layer, index, f"mask={','.join(map(str, layer.mask))} names an anchor twice", "mask")


def _agreement(build: LenientBuild) -> Iterator[Problem]:
    """Report heads with different numbers of classes or anchors."""
    heads = _heads(build)
    for index, layer in heads[1:]:
        at, first = heads[0]
        if layer.classes != first.classes:
            text = f"classes={layer.classes}, but layer {at} has classes={first.classes}; expected one number"
            yield _of_layer(layer, index, text, "classes", is_error=True)
        if isinstance(layer, Yolo) and isinstance(first, Yolo) and layer.num != first.num:
            yield _of_layer(layer, index, f"num={layer.num}, but layer {at} has num={first.num}", "num")


def _activations(build: LenientBuild) -> Iterator[Problem]:
    """Report layers before a head whose activation is not linear, or with `new_coords` not logistic."""
    for index, layer in _heads(build):
        before = build.layers[index - 1] if index else None
        if isinstance(layer, Yolo) and before is not None and before.kind in ("convolutional", "conv"):
            expected = "logistic" if layer.new_coords else "linear"
            name = before.section.text("activation", "logistic")
            if name != expected:
                text = f"activation={name} before [{layer.kind}]; expected activation={expected}"
                yield _of_layer(before, index - 1, text, "activation")


def _data(build: LenientBuild, data: Section) -> Iterator[Problem]:
    """Report heads and names files with another number of classes than the .data file."""
    wanted = {"names in " + str(path): len(read_names(path))} if (path := data.file("names")) else {}
    if data.has("classes"):
        wanted = {"classes in " + data.path: data.positive("classes", 1)} | wanted
    for index, layer in _heads(build):
        for what, number in [(what, number) for what, number in wanted.items() if number != layer.classes][:1]:
            text = f"classes={layer.classes}; expected {number}, the number of {what}"
            yield _of_layer(layer, index, text, "classes", is_error=True)
