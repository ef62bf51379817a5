"""`Net`: a network behind the methods of OpenCV's class of that name."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import cv2
import numpy as np
from numpy.typing import NDArray

from ..config.sections import Config, Option, Section
from ..errors import OptionError
from ..layers import INPUT
from ..layers import Layer as EngineLayer
from ..layers.heads.base import Head
from ..layers.heads.yolo import Yolo
from ..layers.joins import Route
from ..model import Model
from ..network.builder import without_warnings
from ..network.network import Network
from ..runtime.compile_time import clock
from ..utils.arrays import Array
from .constants import BACKENDS, DNN_BACKEND_DEFAULT, DNN_BACKEND_OPENCV, DNN_TARGET_CPU, TARGETS
from .names import CROPPED, NORMALIZED, OUTPUT, PART, PERMUTED, SUMS, NamedLayer, named_layers, unconnected
from .rows import rows_of, thresholds

log = logging.getLogger("pydarknet")

INPUT_LAYER = "_input"  # OpenCV's name of layer 0
INPUT_BLOB = "data"  # its name of what that layer gives
_FLAT = frozenset({"connected", "conn", "rnn", "gru", "lstm"})  # whose outputs are (n, outputs)


@dataclass(frozen=True)
class Layer:
    """A layer as `Net.getLayer` describes it. blobs: copies of its parameters, in OpenCV's order and shapes."""

    name: str
    type: str
    blobs: list[Array] = field(default_factory=list, repr=False)


class Net:
    """A network for inference, with the names, arguments and results of `cv2.dnn.Net`.

    Made by `readNetFromDarknet` or `readNet`; `Net()` is empty. Every method raises `dnn.error` for bad input.
    model: the `pydarknet.Model` that computes, for what this class lacks; None if the net is empty.
    """

    def __init__(self, model: Model | None = None, *, has_weights: bool = True) -> None:
        self.model = model
        self._has_weights = has_weights
        self._named = named_layers(self._layers)
        self._positions = {each.name: at for at, each in enumerate(self._named)}
        self._flat: list[bool] = []
        for layer in self._layers:
            first = layer.sources[0] if layer.sources else INPUT
            follows = first != INPUT and self._flat[first] and layer.shape.cells == 1
            self._flat.append(layer.kind in _FLAT or follows)
        self._input: Array | None = None
        self._seconds = 0.0
        self._profiled: tuple[int, ...] = ()  # the shape of input of the layers' shares of the time
        self._shares: NDArray[np.float64] | None = None
        self.suppresses = True  # whether rows of heads pass non-maximum suppression; not within a DetectionModel

    def __repr__(self) -> str:
        return f"<dnn.Net {self.model!r}>"

    @property
    def _layers(self) -> Sequence[EngineLayer]:
        return self.model.layers if self.model else []

    def empty(self) -> bool:
        """Whether there are no layers."""
        return self.model is None

    # --- layers ------------------------------------------------------------------------------------------------------

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

    # --- where to compute --------------------------------------------------------------------------------------------

    def setPreferableBackend(self, backendId: int) -> None:  # noqa: N802
        """Accepts each of DNN_BACKEND_*. The engine is the same for all; a warning says so. Raises OptionError."""
        _check_preference("backend", backendId, BACKENDS, {DNN_BACKEND_DEFAULT, DNN_BACKEND_OPENCV})

    def setPreferableTarget(self, targetId: int) -> None:  # noqa: N802
        """Accepts each of DNN_TARGET_*. The processor computes for all; a warning says so. Raises OptionError."""
        _check_preference("target", targetId, TARGETS, {DNN_TARGET_CPU})

    def enableFusion(self, fusion: bool) -> None:  # noqa: N802
        """Has no effect: the engine fuses layers where nobody asks for what is between them."""

    def enableWinograd(self, useWinograd: bool) -> None:  # noqa: N802
        """Has no effect: the engine chooses the algorithm of each convolution."""

    # --- running -----------------------------------------------------------------------------------------------------

    def setInput(  # noqa: N802
        self, blob: Any, name: str = "", scalefactor: float = 1.0, mean: float | Sequence[float] = ()
    ) -> None:
        """Take what the next `forward` reads: scalefactor x (blob - mean).

        blob: (n, c, h, w), or (n, inputs), of floats or uint8, copied. name: "" or "data". mean: one number a channel,
        missing ones are 0; as in OpenCV, a single number is that of the first channel. Raises OptionError.
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
        shift = np.zeros((max(4, values.shape[1]), *[1] * (values.ndim - 2)), np.float32)
        means = scalar(mean)
        shift[: len(means)] = means.reshape(-1, *shift.shape[1:])
        if means.any():
            values -= shift[: values.shape[1]]
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
        """One pass over the input: the output of the layer of this name, or of the last layer; for a sequence of names,
        one output each.

        Outputs are (n, c, h, w) float32, (n, outputs) from connected layers on, and the rows of `rows.rows_of` for
        detection heads. Raises OptionError without input or for an unknown name, ShapeError for an input of a size
        that the network cannot take.
        """
        wanted = outputName if outBlobNames is None else outBlobNames
        if isinstance(wanted, str):
            return self._outputs([wanted])[0]
        return tuple(self._outputs(list(wanted) or [""]))

    def getPerfProfile(self) -> tuple[int, NDArray[np.float64]]:  # noqa: N802
        """The time of the last `forward` in ticks of `cv2.getTickFrequency()`, and each layer's part of it, (layers,).

        A pass of the engine has no clock between layers. Their parts are those of one more pass, measured at the first
        call for each shape of input; layers that are computed together with an earlier one have 0.
        """
        timings = np.zeros(len(self._named))
        if self._input is None or not self._seconds:
            return 0, timings
        shape = self._input.shape
        if self._shares is None or self._profiled != shape:
            seconds = copy.deepcopy(self._model()).layer_seconds(self._input)  # a copy: states of recurrent layers stay
            seconds.pop(INPUT, None)
            self._profiled, self._shares = shape, self._spread(seconds)
        total = self._seconds * cv2.getTickFrequency()
        return int(total), self._shares * total

    def _spread(self, seconds: Mapping[int, float]) -> NDArray[np.float64]:
        """Shares of the whole, each at the first step of its layer."""
        shares = np.zeros(len(self._named))
        first = {each.index: at for at, each in reversed(list(enumerate(self._named)))}
        for index, time_ in seconds.items():
            shares[first[index]] = time_
        return shares / shares.sum()

    def _model(self) -> Model:
        if self.model is None:
            raise OptionError("the net is empty; expected one that readNetFromDarknet gave")
        return self.model

    def _outputs(self, names: Sequence[str]) -> list[Array]:
        model = self._model()
        entries = [self._entry(name) for name in names]
        if not self._has_weights:
            raise OptionError(f"{model.path}: was read without weights; expected a .weights file for a forward pass")
        if self._input is None:
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
        if not name:
            return self._named[-1]
        if name not in self._positions:
            raise OptionError(f'no layer is called "{name}"; expected a name of getLayerNames()')
        return self._named[self._positions[name]]

    def _giving(self, index: int) -> int:
        """The layer whose output stands for that of layer `index`: for a cost, which gives none, the one before."""
        while not self._layers[index].gives_output:
            index = self._layers[index].sources[0]
        return index

    def _output(self, each: NamedLayer, values: Mapping[int, Array]) -> Array:
        """A step of a layer in the pass that gave `values`, the outputs of layers by their index."""
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
            assert self._input is not None
            inner = _without_later_steps(self._model(), each).layer_outputs(self._input)[index]
            assert inner is not None
            return self._shaped(inner, index)
        if isinstance(layer, Head):
            thresh, nms = thresholds(layer)
            return rows_of(layer, self._model().running_size, thresh, nms if self.suppresses else 0)
        output = self._shaped(values[index], index)
        return np.float32(0.5) * (output + 1) if each.step == CROPPED else output

    def _source(self, layer: EngineLayer, number: int, values: Mapping[int, Array]) -> Array:
        index = layer.sources[number]
        if index == INPUT:
            assert self._input is not None
            return self._input
        index = self._giving(index)
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
    """Parameters as OpenCV keeps them: filters and bias, or mean, variance, scale and bias of batch normalisation, or
    the anchors of a head."""
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
