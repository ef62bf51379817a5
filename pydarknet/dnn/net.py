"""Networks as OpenCV reads them from files or from memory: `readNetFromDarknet`, `readNet`, `Net`, rows of
heads.
"""

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

import cv2
import numpy as np
from numpy.typing import NDArray

from ..config.dialect import choose_dialect
from ..config.sections import Config, Option, Section, parse_config, read_config
from ..errors import ConfigError, DivergedError, OptionError
from ..layers import INPUT, Layer as EngineLayer
from ..layers.heads.base import Head
from ..layers.heads.region import Region
from ..layers.heads.yolo import Yolo
from ..layers.joins import Route
from ..model import Model
from ..network.network import Network, without_warnings
from ..runtime.compile_time import clock
from ..utils.arrays import Array
from ..utils.files import StrPath, decode_text, log
from ..utils.resources import network_file
from . import names
from .names import CROPPED, NORMALIZED, OUTPUT, PART, PERMUTED, SUMS, NamedLayer, named_layers, unconnected

INPUT_LAYER, INPUT_BLOB = "_input", "data"  # OpenCV's name of layer 0, and of what that layer gives
BEFORE_CLASSES = 5  # numbers of a row of a head: x, y, w, h, objectness
_FLAT = frozenset({"connected", "conn", "rnn", "gru", "lstm"})  # whose outputs are (n, outputs)

Buffer = bytes | bytearray | memoryview | NDArray[np.uint8]
Source = StrPath | Buffer

_EPSILON = 1e-6  # of OpenCV's batch normalisation, whatever the darknet: (x - m) / sqrt(v + 1e-6)
_PATHS = (str, os.PathLike)
IN_MEMORY = "cfg in memory"  # the name of a content without a file


@dataclass(frozen=True)
class Layer:
    """A layer as `Net.getLayer` describes it."""

    name: str
    type: str
    blobs: list[Array] = field(default_factory=list, repr=False)  # copies of its parameters, as OpenCV orders them


class Net:
    """A network for inference, with the names, arguments and results of `cv2.dnn.Net`.

    Made by `readNetFromDarknet` or `readNet`; `Net()` is empty. Every method raises `dnn.error` for bad input.
    model: the `pydarknet.Model` that computes, for what this class lacks; None if the net is empty.
    """

    def __init__(self, model: Model | None = None, *, has_weights: bool = True) -> None:
        self.model, self._has_weights = model, has_weights
        self._named = named_layers(self._layers)
        self._positions = {each.name: at for at, each in enumerate(self._named)}
        self._flat: list[bool] = []
        for layer in self._layers:
            first = layer.sources[0] if layer.sources else INPUT
            follows = first != INPUT and self._flat[first] and layer.shape.cells == 1
            self._flat.append(layer.kind in _FLAT or follows)
        self._input, self._seconds = np.zeros(0, np.float32), 0.0
        self._shares: dict[tuple[int, ...], NDArray[np.float64]] = {}  # of the time, by the shape of the input
        self.suppresses = True  # whether rows of heads pass non-maximum suppression; not within a DetectionModel

    def __repr__(self) -> str:
        return f"<dnn.Net {self.model!r}>"

    @property
    def _layers(self) -> Sequence[EngineLayer]:
        return self.model.layers if self.model else []

    def empty(self) -> bool:
        """Whether there are no layers."""
        return self.model is None

    # --- layers ---

    def getLayerNames(self) -> tuple[str, ...]:  # noqa: N802
        """The names of all layers but the input, in order."""
        return tuple(each.name for each in self._named)

    def getLayerId(self, layer: str) -> int:  # noqa: N802
        """The number of the layer of this name: 0 for the input, `_input`, then 1, 2, ...; -1 if there is none."""
        return 0 if layer == INPUT_LAYER else self._positions.get(layer, -2) + 1

    def getLayer(self, layerId: int | str) -> Layer:  # noqa: N802
        """The layer of this number or name. Raises OptionError."""
        number = self.getLayerId(layerId) if isinstance(layerId, str) else int(layerId)
        if number == 0:
            return Layer(INPUT_LAYER, "")
        if not 0 < number <= len(self._named):
            raise OptionError(f"layer {layerId!r}: expected a name of getLayerNames() or 0 to {len(self._named)}")
        each = self._named[number - 1]
        return Layer(each.name, each.type, _blobs(self._layers[each.index], each.step, each.type))

    def getLayerTypes(self) -> tuple[str, ...]:  # noqa: N802
        """The types of layers that the network has, each once, in alphabetical order."""
        return tuple(sorted({"__NetInputLayer__", *(each.type for each in self._named)}))

    def getLayersCount(self, layerType: str) -> int:  # noqa: N802
        """How many layers of a type there are."""
        return [*(each.type for each in self._named), "__NetInputLayer__"].count(layerType)

    def getUnconnectedOutLayers(self) -> NDArray[np.int32]:  # noqa: N802
        """The numbers of the layers that no other layer reads, such as the detection heads; (k,)."""
        return np.array([at + 1 for at in unconnected(self._layers, self._named)] or [0], np.int32)

    def getUnconnectedOutLayersNames(self) -> tuple[str, ...]:  # noqa: N802
        """Their names."""
        return tuple(self._named[at].name for at in unconnected(self._layers, self._named))

    # --- where to compute ---

    def setPreferableBackend(self, backendId: int) -> None:  # noqa: N802
        """Accepts each of DNN_BACKEND_*. The engine is the same for all; a warning says so. Raises OptionError."""
        _check_preference("backend", backendId, names.BACKENDS, {names.DNN_BACKEND_DEFAULT, names.DNN_BACKEND_OPENCV})

    def setPreferableTarget(self, targetId: int) -> None:  # noqa: N802
        """Accepts each of DNN_TARGET_*. The processor computes for all; a warning says so. Raises OptionError."""
        _check_preference("target", targetId, names.TARGETS, {names.DNN_TARGET_CPU})

    def enableFusion(self, fusion: bool) -> None:  # noqa: N802
        """Has no effect: the engine fuses layers where nobody asks for what is between them."""

    def enableWinograd(self, useWinograd: bool) -> None:  # noqa: N802
        """Has no effect: the engine chooses the algorithm of each convolution."""

    # --- running ---

    def setInput(  # noqa: N802
        self, blob: Any, name: str = "", scalefactor: float = 1.0, mean: float | Sequence[float] = ()
    ) -> None:
        """Take what the next `forward` reads: scalefactor x (blob - mean).

        blob: (n, c, h, w), or (n, inputs), of floats or uint8, copied. name: "" or "data". mean: one number a
        channel, missing ones are 0; as in OpenCV, a single number is that of the first channel. Raises
        OptionError.
        """
        self._model()
        if name not in ("", INPUT_BLOB):
            raise OptionError(f'input "{name}": expected "{INPUT_BLOB}", the only input of a darknet network')
        array = np.asarray(blob)
        if array.dtype.kind not in "fu" or array.ndim not in (2, 4) or not array.size:
            raise OptionError(
                f"the input is {array.dtype} of shape {array.shape}; expected floats or uint8 of shape (n, c, h, w)"
            )
        values = np.array(array, np.float32, order="C")
        means = scalar(mean).astype(np.float32)[: values.shape[1]]
        if means.any():
            values[:, : len(means)] -= means.reshape(-1, *[1] * (values.ndim - 2))
        if scalefactor != 1:
            values *= np.float32(scalefactor)
        self._input = values

    @overload
    def forward(self, outputName: str = ...) -> Array: ...  # type: ignore[overload-overlap]

    @overload
    def forward(self, outputName: Sequence[str]) -> tuple[Array, ...]: ...

    @overload
    def forward(self, *, outBlobNames: Sequence[str]) -> tuple[Array, ...]: ...

    def forward(
        self, outputName: str | Sequence[str] = "", *, outBlobNames: Sequence[str] | None = None
    ) -> Array | tuple[Array, ...]:
        """One pass: the output of the layer of this name, or of the last layer; for names, one output each.

        Outputs are (n, c, h, w) float32, (n, outputs) from connected layers on, and the rows of `rows_of` for
        detection heads. Raises OptionError without input or for an unknown name, ShapeError for an input of a
        size that the network cannot take.
        """
        wanted = outputName if outBlobNames is None else outBlobNames
        if isinstance(wanted, str):
            return self._outputs([wanted])[0]
        return tuple(self._outputs(list(wanted) or [""]))

    def getPerfProfile(self) -> tuple[int, NDArray[np.float64]]:  # noqa: N802
        """The time of the last `forward` in ticks of `cv2.getTickFrequency()`, and each layer's part of it,
        (layers,).

        A pass of the engine has no clock between layers. Their parts are those of one more pass, measured at the
        first call for each shape of input; layers that are computed together with an earlier one have 0.
        """
        if not self._input.size or not self._seconds:
            return 0, np.zeros(len(self._named))
        shape = self._input.shape
        if shape not in self._shares:
            seconds = copy.deepcopy(self._model()).layer_seconds(self._input)  # a copy: states of recurrent layers stay
            spent = np.array([0.0 if each.part else seconds.get(each.index, 0.0) for each in self._named])
            self._shares = {shape: spent / spent.sum()}
        total = self._seconds * cv2.getTickFrequency()
        return int(total), self._shares[shape] * total

    def _model(self) -> Model:
        if self.model is None:
            raise OptionError("the net is empty; expected one that readNetFromDarknet gave")
        return self.model

    def _outputs(self, wanted: Sequence[str]) -> list[Array]:
        model = self._model()
        entries = [self._entry(name) for name in wanted]
        if not self._has_weights:
            raise OptionError(f"{model.path}: was read without weights; expected a .weights file for a forward pass")
        if not self._input.size:
            raise OptionError("forward without an input; expected setInput before it")
        with model.lock:
            start = clock()
            ends = model.heads or [model.output_index]
            if all(each.step == OUTPUT and self._giving(each.index) in ends for each in entries):
                values = dict(zip(ends, model.forward(self._input), strict=True))
            else:
                each_layer = model.layer_outputs(self._input)
                values = {index: array for index, array in enumerate(each_layer) if array is not None}
            outputs = [self._output(each, values) for each in entries]
            self._seconds = clock() - start
        return outputs

    def _entry(self, name: str) -> NamedLayer:
        at = self._positions.get(name) if name else -1
        if at is None:
            raise OptionError(f'no layer is called "{name}"; expected a name of getLayerNames()')
        return self._named[at]

    def _giving(self, index: int) -> int:
        """The layer whose output stands for that of layer `index`: for a cost, which gives none, the one before."""
        while not self._layers[index].gives_output:
            index = self._layers[index].sources[0]
        return index

    def _output(self, each: NamedLayer, values: Mapping[int, Array]) -> Array:
        index = self._giving(each.index)
        layer = self._layers[index]
        if each.step == PERMUTED:
            return np.ascontiguousarray(self._source(layer, 0, values).transpose(0, 2, 3, 1))
        if each.step == PART:
            assert isinstance(layer, Route)
            source = self._source(layer, each.part, values)
            count = source.shape[1] // layer.groups
            return np.ascontiguousarray(source[:, layer.group_id * count :][:, :count])
        if each.step in (SUMS, NORMALIZED):
            inner = _without_later_steps(self._model(), each).layer_outputs(self._input)[index]
            assert inner is not None
            return self._shaped(inner, index)
        if isinstance(layer, Head):
            thresh, nms = thresholds(layer)
            return rows_of(layer, self._model().running_size, thresh, nms if self.suppresses else 0)
        output = self._shaped(values[index], index)
        return np.float32(0.5) * (output + 1) if each.step == CROPPED else output

    def _source(self, layer: EngineLayer, number: int, values: Mapping[int, Array]) -> Array:
        if layer.sources[number] == INPUT:
            return self._input
        index = self._giving(layer.sources[number])
        return self._shaped(values[index], index)

    def _shaped(self, values: Array, index: int) -> Array:
        """(n, c, h, w), or (n, outputs) from connected layers on."""
        shape = self._layers[index].shape
        sides = () if self._flat[index] else (shape.height, shape.width)
        return values.reshape(len(values), -1, *sides)


def scalar(values: float | Sequence[float]) -> NDArray[np.float64]:
    """What OpenCV makes of a number or up to four: (k,). Raises OptionError."""
    try:
        numbers = np.atleast_1d(np.asarray(values, np.float64))
    except (TypeError, ValueError):
        numbers = np.full(1, np.nan)
    if numbers.ndim != 1 or len(numbers) > 4 or not np.isfinite(numbers).all():
        raise OptionError(f"{values!r}: expected a number, or up to four")
    return numbers


def _check_preference(what: str, number: int, known: Mapping[int, str], ours: set[int]) -> None:
    if number not in known:
        raise OptionError(f"{what} {number}: expected one of {', '.join(known.values())}")
    if number not in ours:
        log.warning("%s has no effect: pydarknet computes on the processor", known[number])


def _without_later_steps(model: Model, each: NamedLayer) -> Network:
    """The network up to a step inside one of its layers, with copies of the parameters."""
    sections, last = model.config.layers[: each.index], model.config.layers[each.index]
    dropped = {"activation"} | ({"batch_normalize", "cbn"} if each.step == SUMS else set())
    options = [option for option in last.options if option.key not in dropped]
    linear = Section(last.kind, last.path, last.line, [*options, Option("activation", "linear", last.line)])
    with without_warnings():
        config = Config(model.config.path, model.config.net, [*sections, linear])
        part = Network(config, model.dialect, width=model.input.width, height=model.input.height)
    for theirs, own in zip(model.layers, part.layers, strict=False):
        arrays = {parameter.name: parameter.array for parameter in theirs.named_parameters()}
        normalized = "rolling_mean" in arrays
        for parameter in own.named_parameters():
            parameter.array[...] = arrays[parameter.name]
        if own is part.layers[-1] and normalized and each.step == SUMS:
            own.named_parameters()[0].array[...] = 0  # the bias belongs to the batch normalisation
    part.parameters_changed()
    return part


def _blobs(layer: EngineLayer, step: str, type_: str) -> list[Array]:
    """Parameters as OpenCV keeps them: filters and bias, or those of batch normalisation, or anchors."""
    arrays = {parameter.name: parameter.array for parameter in layer.named_parameters()}
    if type_ == "BatchNorm":
        return [arrays[name].reshape(1, -1).copy() for name in ("rolling_mean", "rolling_variance", "scales", "biases")]
    if type_ in ("Convolution", "InnerProduct"):
        bias = [] if "rolling_mean" in arrays else [arrays["biases"].reshape(1, -1).copy()]
        return [arrays["weights"].copy(), *bias]
    if type_ == "Region" and hasattr(layer, "anchors"):
        anchors = layer.anchors[layer.mask] if isinstance(layer, Yolo) else layer.anchors
        return [anchors.reshape(1, -1).copy()]
    return []


def thresholds(head: Head) -> tuple[float, float]:
    """The options `thresh` and `nms_threshold` of `rows_of`, with OpenCV's defaults."""
    if isinstance(head, Region):
        return head.section.real("thresh", 0.001), 0.4
    return head.section.real("thresh", 0.2), head.section.real("nms_threshold", 0.0)


def rows_of(head: Head, size: tuple[int, int], thresh: float, nms: float) -> Array:
    """The rows of the last pass, (cells x anchors, 5 + classes) float32; for a batch of n, (n, ..., ...).

    A row is centre and size in fractions of the network's input, objectness, and for each class objectness times
    its probability, or 0 where that is not above `thresh` or where another row suppresses it (not if nms is 0).
    Rows go cell by cell, then anchor by anchor. size: (width, height) of the network's input. The caller holds
    the network's lock since the pass. Raises DivergedError.
    """
    samples = [_rows(head, sample, size, thresh, nms) for sample in range(head.batch)]
    return samples[0] if len(samples) == 1 else np.stack(samples)


def _rows(head: Head, sample: int, size: tuple[int, int], thresh: float, nms: float) -> Array:
    if not np.isfinite(head.values[sample]).all():
        raise DivergedError(head.section.located("the output is not finite; broken weights, or a broken input?"))
    found = head.detections(sample, size, -np.inf, 0.5)
    objectness = found.objectness
    if isinstance(head, Region) and head.by_cell:  # whose candidates have none
        objectness = head.values[sample].reshape(-1, head.entries)[:, head.coords]
    rows = np.concatenate([found.boxes, objectness[:, None], found.probabilities], axis=1)
    if isinstance(head, Region):
        if not head.by_cell:
            rows = rows.reshape(len(head.anchors), -1, rows.shape[1]).swapaxes(0, 1).reshape(rows.shape)
        if head.class_fix == -1:
            rows[rows[:, BEFORE_CLASSES - 1] < np.float32(0.5), BEFORE_CLASSES:] = 0
    rows = np.ascontiguousarray(rows, np.float32)
    corners, scores = rows[:, :4].astype(np.float64), rows[:, BEFORE_CLASSES:]
    corners[:, :2] -= corners[:, 2:] / 2
    scores[~(scores > np.float32(thresh))] = 0
    for column in scores.T if nms > 0 else ():
        at = np.flatnonzero(column)
        if len(at) > 1:
            column[np.setdiff1d(at, surviving(corners, column, at, thresh, nms))] = 0
    return rows


def surviving(boxes: NDArray, scores: Array, at: NDArray[np.intp], thresh: float, nms: float) -> NDArray[np.intp]:
    """Those of the indices `at`, best first, that OpenCV's suppression of boxes (k, 4) with scores (k,) keeps."""
    return at[list(cv2.dnn.NMSBoxes(boxes[at].tolist(), scores[at].tolist(), thresh, nms))]


def readNetFromDarknet(  # noqa: N802
    cfgFile: Source | None = None,
    darknetModel: Source | None = None,
    *,
    bufferCfg: Buffer | None = None,
    bufferModel: Buffer | None = None,
) -> Net:
    """The network of a .cfg file with the parameters of a .weights file.

    cfgFile, darknetModel: paths (or names of bundled files), or contents: bytes or an array of uint8. bufferCfg,
    bufferModel: OpenCV's other names for contents. Without weights, the net has layers but `forward` raises.
    Raises the children of DarknetError: ConfigError and WeightsError name what was found and expected.
    """
    cfg = bufferCfg if cfgFile is None else cfgFile
    weights = bufferModel if darknetModel is None else darknetModel
    if cfg is None:
        raise OptionError("readNetFromDarknet without a .cfg file")
    if isinstance(cfg, _PATHS):
        config = read_config(network_file(os.fspath(cfg)))
    else:
        config = parse_config(IN_MEMORY, decode_text(IN_MEMORY, _content(cfg), ConfigError))
    for section in config.layers:
        section.ignore("thresh", "nms_threshold")  # `thresholds` reads them, layers do not
    dialect = choose_dialect("auto", config)
    model = Model(config, replace(dialect, epsilon_inside_root=_EPSILON, connected_epsilon_inside_root=_EPSILON))
    if weights is None or (isinstance(weights, str) and not weights):
        return Net(model, has_weights=False)
    model.loaded = model.load_weights(weights if isinstance(weights, _PATHS) else _content(weights))
    return Net(model)


def readNet(  # noqa: N802
    model: Source, config: Source = "", framework: str | Buffer = ""
) -> Net:
    """`readNetFromDarknet` with the arguments in any order: readNet(weights, cfg), readNet(cfg, weights), or
    with the format first, readNet("darknet", weights, cfg).

    Raises OptionError for files of other formats, else what `readNetFromDarknet` raises.
    """
    given = [model, config, framework]
    sources = [each for each in given if not (isinstance(each, str) and each.lower() in ("", "darknet"))]
    cfgs = [each for each in sources if _is(each, ".cfg", text=True)]
    weights = [each for each in sources if _is(each, ".weights", text=False)]
    if len(cfgs) != 1 or len(cfgs) + len(weights) != len(sources) or len(weights) > 1:
        shown = ", ".join(repr(each)[:80] for each in given if not (isinstance(each, str) and not each))
        raise OptionError(f"readNet({shown}): expected a .cfg and a .weights file; cv2.dnn.readNet reads other formats")
    return readNetFromDarknet(cfgs[0], weights[0] if weights else None)


def _is(source: Source, suffix: str, text: bool) -> bool:
    """Whether a path ends in `suffix`, or a content is text; every .weights file has zeros in its header."""
    if isinstance(source, _PATHS):
        return Path(source).suffix.lower() == suffix
    return (b"\0" not in _content(source)) == text


def _content(source: Buffer) -> bytes:
    if isinstance(source, np.ndarray) and source.dtype == np.uint8:
        return source.tobytes()
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    found = f"an array of {source.dtype}" if isinstance(source, np.ndarray) else type(source).__name__
    raise OptionError(f"found {found}; expected a path, bytes or an array of uint8")
