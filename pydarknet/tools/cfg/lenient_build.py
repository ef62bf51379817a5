"""Build a network from a .cfg file that may have faults: build each layer as far as possible, record every
fault.

`Network` stops at the first fault. `LenientBuild` continues as if the option at fault were absent. It notes
whether the channels and the plane size of each output are certain, so that consequences are not reported as
further faults.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, cast

from ...config.dialect import Dialect, key_set
from ...config.sections import Config, Option, Section
from ...errors import ConfigError, DarknetError, ShapeError
from ...layers import INPUT, LAYERS, BuildContext, Layer, layer_class
from ...layers.heads.base import Head
from ...layers.heads.detection import DetectionHead
from ...layers.joins import FlatRoute, Route, Shortcut
from ...network.network import network_input
from ...tensor import Shape
from ...utils.arrays import check_memory

HINT = "did you mean"  # marks a probable misspelling, an error; other unknown words may be for another program
REFERENCES = ("layers", "from")  # if one of these is missing, the previous layer is assumed
FILES = ("tree", "map")


@dataclass(frozen=True, order=True)
class Problem:
    """A fault of a .cfg file. line: 0 if unknown. layer: None for [net]."""

    line: int
    text: str
    layer: int | None = field(default=None, compare=False)
    is_error: bool = True


@dataclass
class Diagnostics:
    """Collects the faults of the .cfg file `path`."""

    path: str
    problems: list[Problem] = field(default_factory=list)

    def add(self, text: str, layer: int | None = None, is_error: bool = True) -> None:
        """Record a message `path:line: text` or `path: text`; repeated ones count once."""
        line = 0
        if place := re.match(re.escape(f"{self.path}:") + r"(?:(\d+):)?", text):
            line, text = int(place[1] or 0), text[place.end() :].strip()
        text = text.replace(f"] layer {layer}: ", "] ")  # `Problem.layer` holds the number
        problem = Problem(line, text, layer, is_error or HINT in text)
        if problem not in self.problems:
            self.problems.append(problem)


@dataclass
class LenientSection(Section):
    """A section whose getters report a wrong value to `diagnostics` and return the default."""

    diagnostics: Diagnostics = field(default_factory=lambda: Diagnostics(""), repr=False)
    layer: int | None = None
    faulty: set[str] = field(default_factory=set)  # keys of wrong, missing or misspelt options
    error_key: str | None = None  # the key that the last error named

    def report(self, text: str) -> None:
        """Record an error."""
        self.diagnostics.add(text, self.layer)

    def warn(self, message: str, key: str | None = None) -> None:
        self.diagnostics.add(super().located(message, key), self.layer, is_error=False)

    def located(self, message: str, key: str | None = None) -> str:
        self.error_key = key
        return super().located(message, key)

    def _number(self, key: str, value: str, pattern: re.Pattern[str]) -> Any:
        number = super()._number(key, value, pattern)
        match = pattern.match(value)
        rest = value[match.end() :] if match else value
        if rest and rest[0] != "#":
            self.warn(f"{key}={value} is read as {number:g}", key)
        return number

    def drop(self, key: str) -> None:
        """Remove the option `key` and mark it as faulty."""
        self.faulty.add(key)
        self.options = [option for option in self.options if option.key != key]

    def repair(self, is_first: bool) -> bool:
        """Remove or add one option, to try again; False if none is left. is_first: layer 0."""
        key, self.error_key = self.error_key, None
        if key is None or not self.has(key):
            key = next((file for file in FILES if self.has(file)), None)
        if key is not None:
            self.drop(key)
            return True
        missing = next((key for key in REFERENCES if key in self._asked and key not in self.faulty), None)
        if is_first or missing is None or self.has(missing):
            return False
        self.faulty.add(missing)
        self.options.append(Option(missing, "-1", self.line))
        return True

    def misspelt(self) -> set[str]:
        """The absent keys for which unknown ones are probable misspellings."""
        unknown, known = [o.key for o in self.options if o.key not in self._asked], list(self._asked)
        meant = {match for key in unknown for match in get_close_matches(key, known, n=1, cutoff=0.75)}
        return {key for key in meant if not self.has(key)}


def _lenient(getter: Callable[..., Any]) -> Callable[..., Any]:
    def read(self: LenientSection, key: str, *arguments: Any) -> Any:
        try:
            return getter(self, key, *arguments)
        except ConfigError as error:
            self.report(str(error))
            self.drop(key)
            return arguments[0] if arguments else None

    return read


for _getter in (
    Section.integer, Section.real, Section.positive, Section.natural, Section.choice, Section.integers, Section.reals,
):  # fmt: skip
    setattr(LenientSection, _getter.__name__, _lenient(_getter))


class LenientContext(BuildContext):
    """Reports a reference to a missing layer, and takes the previous layer instead."""

    def resolve(self, section: Section, key: str, reference: int) -> int:
        assert isinstance(section, LenientSection)
        try:
            return super().resolve(section, key, reference)
        except ConfigError as error:
            if self.index == 0:
                raise
            section.report(str(error))
            section.faulty.add(key)
            return self.index - 1


# --- the build ---

ANY_INPUT = Shape(3, 416, 416)  # if [net] does not give the input size
ATTEMPTS = 20  # repairs of one section

# Options on which the shape of a layer's output depends.
_CHANNEL_KEYS = key_set("filters output output_filters layers from out_channels history_size")
_SIZE_KEYS = key_set("""
    size stride stride_x stride_y pad padding dilation antialiasing crop_height crop_width layers from atoms
""")
# Options on which the number of channels that a head needs depends.
_HEAD_KEYS = key_set("mask num classes coords side anchors tree")


@dataclass(frozen=True)
class ShapeCertainty:
    """Whether an output's channels and its size follow from correct options only."""

    channels: bool = True
    size: bool = True


UNKNOWN = ShapeCertainty(channels=False, size=False)


@dataclass
class LenientBuild:
    """The layers of a .cfg file as far as possible, and its faults. It never raises."""

    config: Config
    dialect: Dialect
    net: LenientSection = field(init=False)
    input: Shape = ANY_INPUT
    layers: list[Layer] = field(default_factory=list)
    # Of each layer's output, and of the network's input.
    certainty: dict[int, ShapeCertainty] = field(default_factory=lambda: {INPUT: ShapeCertainty()})
    diagnostics: Diagnostics = field(init=False)
    problems: list[Problem] = field(init=False)  # in the order in which they were found

    def __post_init__(self) -> None:
        self.diagnostics = Diagnostics(self.config.path)
        self.problems = self.diagnostics.problems
        self.net = self._lenient(self.config.net, None)
        self.net.ignore(*self.dialect.net_keys)
        try:
            self.input = network_input(Config(self.config.path, self.net, []))
        except ConfigError as error:
            self.diagnostics.add(str(error))
            self.certainty[INPUT] = UNKNOWN
        if (faulty := self.net.faulty) & {"width", "height", "channels", "inputs"}:
            self.certainty[INPUT] = ShapeCertainty("channels" not in faulty, not faulty & {"width", "height"})
        self._report_unused(self.net)
        parameters = 0
        for index, section in enumerate(self.config.layers):
            self._add(index, section)
            parameters += sum(array.size for array in self.layers[-1].parameters())
            try:
                check_memory(8 * parameters, f"the parameters of layers 0 to {index}")
            except ShapeError as error:
                self.problems.append(Problem(section.line, str(error), index))
                break

    def _lenient(self, section: Section, layer: int | None) -> LenientSection:
        return LenientSection(
            section.kind, section.path, section.line, list(section.options), self.dialect.foreign_keys(section.kind),
            diagnostics=self.diagnostics, layer=layer,
        )  # fmt: skip

    def _add(self, index: int, plain: Section) -> None:
        section = self._lenient(plain, index)
        context = LenientContext(index, self.layers, self.input, self.dialect, self.net)
        cls = self._class_of(section)
        layer = self._read(cls, section, context) if cls else None
        if layer is None:
            layer = Layer(section=section, sources=(context.index - 1,))
            layer.inputs = (layer.shape,) = (context.shape(index - 1),)
            self.layers.append(layer)
            self.certainty[index] = UNKNOWN
            return
        self._report_unused(section)
        section.faulty |= section.misspelt()
        self._reshape(layer, [context.shape(source) for source in layer.sources])

    def _report_unused(self, section: LenientSection) -> None:
        for option, hint in section.unused_options():
            text = f"[{section.kind}] Unused field: '{option.key} = {option.value}'{hint}"
            self.problems.append(Problem(option.line, text, section.layer, is_error=HINT in hint))

    def _class_of(self, section: LenientSection) -> type[Layer] | None:
        try:
            return layer_class(section.kind, self.dialect)
        except ConfigError as error:
            text, hint, rest = section.located(str(error)).partition("; the ")
            section.report(text if HINT in text else f"{text}{hint}{rest}")
        close = get_close_matches(section.kind, list(LAYERS), n=1, cutoff=0.75)  # the kind itself is the closest
        return LAYERS[close[0]] if close else None

    def _read(self, cls: type[Layer], section: LenientSection, context: BuildContext) -> Layer | None:
        for _ in range(ATTEMPTS):
            try:
                return cls.from_section(section, context)
            except DarknetError as error:
                if not isinstance(error, ShapeError) or self.certainty[context.index - 1].channels:
                    section.report(str(error))
                if not section.repair(context.index == 0):
                    return None
        return None

    def _reshape(self, layer: Layer, inputs: Sequence[Shape]) -> None:
        certainty = self._output_certainty(layer)
        try:
            layer.reshape(inputs, 1)
        except ShapeError as error:
            if self._inputs_are_certain(layer):
                _section(layer).report(f"{error}{_line_of_filters(layer, self.layers)}")
            if not layer.is_head:
                certainty = ShapeCertainty(certainty.channels, False)
            layer.inputs, layer.shape = tuple(inputs), _guess(layer, inputs)
        if isinstance(layer, FlatRoute):
            at = len(self.layers)  # the next layer may take any shape, as a vector
            following = [LAYERS.get(section.kind, Layer) for section in self.config.layers[at + 1 : at + 2]]
            takes_any = any(cls.sets_channels and cls.sets_size for cls in following)
            if self._inputs_are_certain(layer) and not takes_any:
                listed = ", ".join(f"layer {s}: {shape}" for s, shape in zip(layer.sources, inputs, strict=True))
                text = f"layers differ in size: {listed} (width x height x channels)"
                _section(layer).report(layer.section.located(text, "layers"))
                certainty = ShapeCertainty(certainty.channels, False)
            layer.shape = _guess(layer, inputs)
        self.certainty[len(self.layers)] = certainty
        self.layers.append(layer)

    def _output_certainty(self, layer: Layer) -> ShapeCertainty:
        inputs, faulty = [self.certainty[source] for source in layer.sources], _section(layer).faulty
        channels = layer.sets_channels or all(each.channels for each in inputs)
        size = layer.sets_size or all(each.size for each in inputs)
        split = isinstance(layer, Route) and faulty & {"groups", "group_id"}
        return ShapeCertainty(channels and not faulty & _CHANNEL_KEYS and not split, size and not faulty & _SIZE_KEYS)

    def _inputs_are_certain(self, layer: Layer) -> bool:
        inputs, faulty = [self.certainty[source] for source in layer.sources], _section(layer).faulty
        channels, size = all(each.channels for each in inputs), all(each.size for each in inputs)
        if isinstance(layer, (Route, FlatRoute, Shortcut)):
            return size and not faulty & set(REFERENCES)
        if isinstance(layer, Head):
            return channels and (size or not isinstance(layer, DetectionHead)) and not faulty & _HEAD_KEYS
        return channels and size


def _section(layer: Layer) -> LenientSection:
    return cast(LenientSection, layer.section)


def _guess(layer: Layer, inputs: Sequence[Shape]) -> Shape:
    shape = inputs[0]
    if isinstance(layer, (Route, FlatRoute)):
        return Shape(max(1, sum(each.channels for each in inputs)), shape.height, shape.width)
    if not layer.is_head:
        with suppress(ShapeError):
            shape = layer.out_shape(inputs)
            shape = Shape(max(1, shape.channels), max(1, shape.height), max(1, shape.width))
    return shape


def _line_of_filters(layer: Layer, layers: Sequence[Layer]) -> str:
    if not isinstance(layer, Head) or not layers:
        return ""
    found = next((o for o in layers[-1].section.options if o.key in ("filters", "output")), None)
    return f"; {found.key}={found.value} is in line {found.line}" if found else ""
