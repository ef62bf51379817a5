"""A network that may not fit together: every layer as far as it can be known, and everything that is wrong with it.

Where `Network` stops at the first fault, `probe` notes it and goes on as if the option at fault were not there. What
follows from a fault is not noted again: of each layer it is known whether its channels and its width and height can
be relied on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from ...config.dialect import Dialect
from ...config.sections import Config, Section
from ...errors import ConfigError, DarknetError, ShapeError
from ...layers import INPUT, LAYERS, BuildContext, Layer, layer_class
from ...layers.connected import Connected
from ...layers.convolution.convolutional import Convolutional
from ...layers.convolution.deconvolutional import Deconvolutional
from ...layers.convolution.local import Local
from ...layers.heads.base import Head
from ...layers.heads.region import DetectionHead
from ...layers.pooling import Avgpool
from ...layers.recurrent.conv_rnn import ConvLstm, Crnn
from ...layers.recurrent.rnn import Gru, Lstm, Rnn
from ...layers.route import FlatRoute, Route
from ...layers.shortcut import Shortcut
from ...layers.simple import Implicit
from ...network.input_size import network_input
from ...tensor import Shape
from ...utils.system import check_memory
from .lenient_section import REFERENCES, LenientSection, Problem, TolerantPlace, warnings_to

_HINT = "did you mean"  # a word that looks misspelt is an error; other unknown words may be meant for another program
ANY_INPUT = Shape(3, 416, 416)  # where [net] does not say
ATTEMPTS = 20  # options that one section may be rid of

# Layers that make their own number of channels, and those that make their own size as well.
_OWN_CHANNELS = (Convolutional, Deconvolutional, Local, Crnn, ConvLstm)
_OWN_SHAPE = (Connected, Rnn, Gru, Lstm, Implicit)
# Options by which the shape of a layer's output goes.
_CHANNEL_KEYS = frozenset({"filters", "output", "output_filters", "layers", "from", "out_channels", "history_size"})
_SIZE_KEYS = frozenset({
    "size", "stride", "stride_x", "stride_y", "pad", "padding", "dilation", "antialiasing", "crop_height",
    "crop_width", "layers", "from", "atoms",
})  # fmt: skip
# Options by which a head knows how many channels it needs.
_HEAD_KEYS = frozenset({"mask", "num", "classes", "coords", "side", "anchors", "tree"})


@dataclass(frozen=True)
class ShapeCertainty:
    """Whether an output's channels, and its width and height, follow from options that are right."""

    channels: bool = True
    size: bool = True


@dataclass
class LenientBuild:
    """The layers of a .cfg file as far as they can be built, and what is wrong."""

    config: Config
    dialect: Dialect
    net: LenientSection = field(init=False)
    input: Shape = ANY_INPUT
    layers: list[Layer] = field(default_factory=list)
    known: list[ShapeCertainty] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def tell(self, text: str, layer: int | None = None, is_error: bool = True) -> None:
        """Note a message of the library's, which begins with file and line."""
        line, path = 0, f"{self.config.path}:"
        if text.startswith(path):
            number, colon, rest = text[len(path) :].partition(":")
            if colon and number.isdigit():
                line, text = int(number), rest.strip()
            else:
                text = text[len(path) :].strip()
        text = text.replace(f"] layer {layer}: ", "] ")  # the number is told apart
        problem = Problem(line, text, layer, is_error or _HINT in text)
        if problem not in self.problems:
            self.problems.append(problem)

    def _tolerant(self, section: Section, layer: int | None) -> LenientSection:
        foreign = self.dialect.foreign_keys(section.kind)
        return LenientSection.of(section, foreign, lambda text, is_error: self.tell(text, layer, is_error))

    def known_of(self, source: int) -> ShapeCertainty:
        """What is known of a layer's output, or of the network's input."""
        return self._input_known if source == INPUT else self.known[source]

    def build(self) -> None:
        """Read [net] and all layers."""
        config, dialect = self.config, self.dialect
        with warnings_to(lambda text: self.tell(text, is_error=False)):
            self.net = self._tolerant(config.net, None)
            self.net.ignore(*dialect.net_keys)
            self._read_input()
            self._tell_unused(self.net, None)
        parameters = 0
        for index, section in enumerate(config.layers):
            with warnings_to(lambda text, index=index: self.tell(text, index, is_error=False)):  # type: ignore[misc]
                self._add(index, section)
            parameters += sum(record.array.size for record in self.layers[-1].named_parameters())
            try:
                check_memory(8 * parameters, f"the parameters of layers 0 to {index}")
            except ShapeError as error:
                self.problems.append(Problem(section.line, str(error), index))
                return

    def _read_input(self) -> None:
        self._input_known = ShapeCertainty()
        try:
            self.input = network_input(Config(self.config.path, self.net, []))
        except ConfigError as error:
            self.tell(str(error))
            self._input_known = ShapeCertainty(channels=False, size=False)
        if self.net.faulty & {"width", "height", "channels", "inputs"}:
            self._input_known = ShapeCertainty(
                "channels" not in self.net.faulty, not self.net.faulty & {"width", "height"}
            )

    def _add(self, index: int, plain: Section) -> None:
        section = self._tolerant(plain, index)
        place = TolerantPlace(index, self.layers, self.input, self.dialect, self.net)
        cls = self._class_of(section)
        layer = self._read(cls, section, place) if cls else None
        if layer is None:
            layer = Layer(section=section, sources=place.previous)
            layer.inputs = (layer.shape,) = (place.shape(index - 1),)
            self._append(layer, ShapeCertainty(channels=False, size=False))
            return
        self._tell_unused(section, index)
        section.faulty |= section.misspelt()
        self._shape(layer, [place.shape(source) for source in layer.sources])

    def _tell_unused(self, section: LenientSection, layer: int | None) -> None:
        for option, hint in section.unused_options():
            text = f"[{section.kind}] Unused field: '{option.key} = {option.value}'{hint}"
            self.problems.append(Problem(option.line, text, layer, is_error=_HINT in hint))

    def _append(self, layer: Layer, known: ShapeCertainty) -> None:
        self.layers.append(layer)
        self.known.append(known)

    def _class_of(self, section: LenientSection) -> type[Layer] | None:
        try:
            return layer_class(section.kind, self.dialect)
        except ConfigError as error:
            text, hint, rest = str(section.error(str(error))).partition("; the ")
            section.tell(text if _HINT in text else f"{text}{hint}{rest}")
        if section.kind in LAYERS:
            return LAYERS[section.kind]
        close = get_close_matches(section.kind, list(LAYERS), n=1, cutoff=0.75)
        return LAYERS[close[0]] if close else None

    def _read(self, cls: type[Layer], section: LenientSection, place: BuildContext) -> Layer | None:
        for _ in range(ATTEMPTS):
            try:
                return cls.from_section(section, place)
            except DarknetError as error:
                if not isinstance(error, ShapeError) or self.known_of(place.index - 1).channels:
                    section.tell(str(error))
                if not section.repair(place.index == 0):
                    return None
        return None

    def _shape(self, layer: Layer, inputs: Sequence[Shape]) -> None:
        known = self._known_after(layer)
        try:
            layer.reshape(inputs, 1)
        except ShapeError as error:
            if self._can_be_relied_on(layer):
                self._section(layer).tell(f"{error}{_where_filters_stand(layer, self.layers)}")
            if not layer.is_head:
                known = ShapeCertainty(known.channels, False)
            layer.inputs, layer.shape = tuple(inputs), _guess(layer, inputs)
        if isinstance(layer, FlatRoute):
            if self._can_be_relied_on(layer) and not self._is_read_as_vector(len(self.layers)):
                listed = ", ".join(f"layer {s}: {shape}" for s, shape in zip(layer.sources, inputs, strict=True))
                text = f"layers differ in size: {listed} (width x height x channels)"
                self._section(layer).tell(str(layer.section.shape_error(text, "layers")))
                known = ShapeCertainty(known.channels, False)
            layer.shape = _guess(layer, inputs)
        self._append(layer, known)

    def _is_read_as_vector(self, index: int) -> bool:
        following = self.config.layers[index + 1 : index + 2]
        return any(issubclass(LAYERS.get(section.kind, Layer), _OWN_SHAPE) for section in following)

    def _section(self, layer: Layer) -> LenientSection:
        assert isinstance(layer.section, LenientSection)
        return layer.section

    def _known_after(self, layer: Layer) -> ShapeCertainty:
        before = [self.known_of(source) for source in layer.sources]
        channels, size = all(k.channels for k in before), all(k.size for k in before)
        if isinstance(layer, _OWN_SHAPE):
            channels = size = True
        channels |= isinstance(layer, _OWN_CHANNELS)
        size |= isinstance(layer, Avgpool)
        faulty = self._section(layer).faulty
        sliced = isinstance(layer, Route) and faulty & {"groups", "group_id"}
        return ShapeCertainty(channels and not faulty & _CHANNEL_KEYS and not sliced, size and not faulty & _SIZE_KEYS)

    def _can_be_relied_on(self, layer: Layer) -> bool:
        """Whether a complaint about the shapes that a layer reads can be its own fault."""
        before = [self.known_of(source) for source in layer.sources]
        if isinstance(layer, Head) and self._section(layer).faulty & _HEAD_KEYS:
            return False
        if isinstance(layer, Head) and not isinstance(layer, DetectionHead):
            return all(k.channels for k in before)
        if isinstance(layer, (Route, FlatRoute, Shortcut)):
            return all(k.size for k in before) and not self._section(layer).faulty & set(REFERENCES)
        return all(k.channels and k.size for k in before)


def _guess(layer: Layer, inputs: Sequence[Shape]) -> Shape:
    """What a layer that does not fit would give if it did."""
    first = inputs[0]
    if isinstance(layer, (Route, FlatRoute)):
        return Shape(max(1, sum(shape.channels for shape in inputs)), first.height, first.width)
    if layer.is_head:
        return first
    try:
        shape = layer.out_shape(inputs)
    except ShapeError:
        return first
    return Shape(max(1, shape.channels), max(1, shape.height), max(1, shape.width))


def _where_filters_stand(layer: Layer, layers: Sequence[Layer]) -> str:
    """The line to change, where a head complains about the number of channels."""
    if not isinstance(layer, Head) or not layers:
        return ""
    found = [option for option in layers[-1].section.options if option.key in ("filters", "output")]
    return f"; {found[0].key}={found[0].value} stands in line {found[0].line}" if found else ""


def probe(config: Config, dialect: Dialect) -> LenientBuild:
    """Build what can be built and note what is wrong. Raises nothing that a .cfg file can cause."""
    result = LenientBuild(config, dialect)
    result.build()
    return result
