"""`Model`, the network of the Python API: it has class names, and accepts pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast, overload

from .config.dialect import choose_dialect
from .config.names import choose_names
from .config.sections import Config, read_config
from .errors import OptionError
from .images.image import Image, is_image, least_size, picture_of_size
from .inference.classifier import Classification, classify_inputs, prepare_input
from .layers.convolution.direct import FLOAT32, INT8, checked_precision
from .layers.heads.base import Head
from .network.network import Network, without_warnings
from .network.weights import Quantization, file_beside
from .runtime.threads import set_threads
from .utils.arrays import Array
from .utils.files import StrPath, log
from .utils.resources import network_file

if TYPE_CHECKING:  # classifiers start without them
    from .inference.detections import Detections
    from .inference.detector import DetectionResult, Tiling


class Model(Network):
    """A network with the names of its classes. Made by `load_model`, and for training by `api.load`.

    Every method may be called from any number of threads, see `Network`; that includes `train_step`.
    """

    def __init__(self, *arguments: Any, names: StrPath | Sequence[str] | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.names_path: StrPath | None = None
        self._names: list[str] | None = None
        if names is None or isinstance(names, (str, os.PathLike)):
            self.names_path = names
        else:
            self.names = list(names)
        self.training: Any = None  # `training.Learner`, which this module does not import

    def __getstate__(self) -> dict[str, Any]:
        with self.lock:
            state, training = super().__getstate__(), self.training
            if training is not None:
                arrays = {name: array.copy() for name, array in training.state_dict().items()}
                state["training"] = type(training), arrays, training.counters()
            return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        training, state["training"] = state["training"], None
        super().__setstate__(state)
        if training is not None:
            cls, arrays, counters = training
            with without_warnings():
                self.training = cls(self)
            self.training.load_state_dict(arrays, counters)

    @property
    def classes(self) -> int:
        """The number of classes."""
        heads = [layer for layer in self.layers if isinstance(layer, Head)]
        return heads[-1].classes if heads else self.layers[self.output_index].shape.outputs

    @property
    def names(self) -> list[str]:
        """One name per class: from the names file, else the one beside the network file, else the bundled list
        of that length, else numbers. Raises DataError."""
        if self._names is None:
            self._names = choose_names(self.classes, self.names_path, exact=bool(self.heads), cfg=self.path)
        return self._names

    @names.setter
    def names(self, names: list[str]) -> None:
        if len(names) < self.classes or (self.heads and len(names) > self.classes):
            raise OptionError(f"{len(names)} names; expected {self.classes}, the number of the network's classes")
        self._names = list(names)

    def classify(
        self, image: Image, top: int = 5, fit: str = "auto", *, bgr: bool = False, decode: str = "whole"
    ) -> list[tuple[str, float]]:
        """[(name, probability), ...] of the `top` best classes, best first.

        fit: how a picture is resized, see `classifier.classify`. image, bgr: see `images.image.as_picture`.
        decode: see `detect`.
        Raises OptionError for a detector, ImageError for an unreadable picture, and DivergedError if the output
        is not finite.
        """
        found = self.classification(image, top, fit, bgr=bgr, decode=decode)
        return [(p.name, p.probability) for p in found.predictions]

    def classification(
        self, image: Image, top: int = 5, fit: str = "auto", *, bgr: bool = False, decode: str = "whole"
    ) -> Classification:
        """Like `classify`, with class numbers, parents in a word tree, and the time of the forward pass."""
        if self.heads:
            kind = self.layers[self.heads[0]].kind
            raise OptionError(f"{self.path}: a detector (it has a [{kind}] layer); use detect")
        picture, size = picture_of_size(image, bgr, least_size(decode, self.input_shape))
        return classify_inputs(self, [prepare_input(self, picture, fit, size)], self.names, top)[0]

    @overload
    def detect(  # type: ignore[overload-overlap]
        self, image: Image, thresh: float | None = ..., hier: float = ..., nms: float = ...,
        letterbox: bool | None = ..., *, bgr: bool = ..., tiles: tuple[int, int] | None = ..., overlap: float = ...,
        decode: str = ...,
    ) -> Detections: ...  # fmt: skip

    @overload
    def detect(
        self, image: Iterable[Image], thresh: float | None = ..., hier: float = ..., nms: float = ...,
        letterbox: bool | None = ..., *, batch: int = ..., bgr: bool = ..., tiles: tuple[int, int] | None = ...,
        overlap: float = ..., decode: str = ...,
    ) -> Iterator[Detections]: ...  # fmt: skip

    def detect(
        self,
        image: Image | Iterable[Image],
        thresh: float | None = None,
        hier: float = 0.5,
        nms: float = 0.45,
        letterbox: bool | None = None,
        *,
        batch: int = 8,
        bgr: bool = False,
        tiles: tuple[int, int] | None = None,
        overlap: float = 0.2,
        decode: str = "whole",
    ) -> Detections | Iterator[Detections]:
        """The objects of a picture, in the order in which darknet prints them; boxes in pixels of the picture.

        image: see `images.image.as_picture`; arrays are RGB unless bgr=True. For an iterable of pictures, an
        iterator of their objects, which reads ahead and computes `batch` pictures in one forward pass.
        thresh: report confidences above it; default: that of the dialect's `detector test`. hier: the same for
        the classes of a word tree. nms: suppress a box whose IoU with a better one is above it. letterbox: keep
        the aspect ratio; default: as darknet does for this network.
        tiles: (columns, rows) of a grid of parts in which objects are detected as well, for small objects in
        large pictures. overlap: the fraction of a part's side that it shares with its neighbour. See
        `detector.Tiling`. decode: "scaled" decodes JPEG files at a half, a quarter or an eighth of their size where
        that is at least the network's, which is faster, with other pixels. Raises OptionError for a classifier, and
        ImageError for an unreadable picture.
        """
        if is_image(image) or not isinstance(image, Iterable):
            one = cast(Image, image)
            found = self.find(one, thresh, hier, nms, letterbox, bgr=bgr, tiles=tiles, overlap=overlap, decode=decode)
            return _with_source(found, one, bgr)
        from .inference.detector import DetectorOptions, detect_each

        tiling, pictures = _tiling(tiles, overlap), cast(Iterable[Image], image)
        options = DetectorOptions.of(self, thresh, hier, nms, letterbox)
        each = detect_each(self, pictures, self.names, options, tiling, batch=batch, bgr=bgr, decode=decode)
        return (_with_source(found, source, bgr) for source, found in each)

    def find(
        self,
        image: Image,
        thresh: float | None = None,
        hier: float = 0.5,
        nms: float = 0.45,
        letterbox: bool | None = None,
        *,
        bgr: bool = False,
        tiles: tuple[int, int] | None = None,
        overlap: float = 0.2,
        decode: str = "whole",
    ) -> DetectionResult:
        """Like `detect` for one picture, with all candidates and the time of the forward pass."""
        from .inference.detector import DetectorOptions, DetectorSteps

        options = DetectorOptions.of(self, thresh, hier, nms, letterbox)
        steps = DetectorSteps(self, self.names, options, _tiling(tiles, overlap))
        return steps.compute([steps.load(image, decode, bgr)])[0]

    def train_step(self, images: Array, truth: Sequence[Array]) -> float:
        """Train on one mini-batch. Returns its loss. The weights are updated after every `subdivisions` calls.

        images: (n, c, h, w) or (n, inputs) float32. truth: one array per picture: (k, 5) rows of class, x, y, w,
        h in fractions for detectors, a vector with one entry per class for classifiers, target values for cost
        layers. The loss is the mean of the costs of all layers that have one, each summed over the mini-batch.
        Raises OptionError if the network was not loaded with train=True, or for arrays of wrong sizes.
        """
        if self.training is None:
            raise OptionError("the network was not loaded with train=True")
        return float(self.training.step(images, truth))


def _tiling(tiles: tuple[int, int] | None, overlap: float) -> Tiling | None:
    if tiles is None:
        return None
    if len(tiles) != 2:
        raise OptionError(f"tiles {tiles!r}: expected (columns, rows)")
    from .inference.detector import Tiling

    return Tiling(*tiles, overlap)


def _with_source(result: DetectionResult, source: Image, bgr: bool) -> Detections:
    found = result.detections()
    found.source, found.bgr = source, bgr
    return found


def load_model(
    cfg: StrPath | Config,
    weights: StrPath | None = None,
    *,
    dialect: str = "auto",
    threads: int | None = None,
    allow_partial: bool = False,
    tune: bool = False,
    precision: str = "float32",
    quantized: StrPath | None = None,
    **options: Any,
) -> Model:
    """The network of a .cfg file, or of its parsed `Config`, with the parameters of a .weights file, not for
    training.

    The options are those of `api.load`; width, height, batch, seed and names go to the model.

    Raises subclasses of DarknetError.
    """
    if threads is not None:
        if threads < 1:
            raise OptionError(f"threads {threads}: expected at least 1")
        set_threads(threads)
    config = cfg if isinstance(cfg, Config) else read_config(network_file(os.fspath(cfg)))
    model = Model(config, choose_dialect(dialect, config), **options)
    model.tune = tune
    if weights is None:
        model.initialise()
    else:
        model.loaded = model.load_weights(weights, allow_partial)
    model.precision = _prepared_precision(model, precision, weights, quantized)
    return model


def _prepared_precision(model: Model, precision: str, weights: StrPath | None, quantized: StrPath | None) -> str:
    """The precision, its ranges given to the model: float32 in the place of int8 where the processor has none."""
    if precision != INT8:
        return precision
    try:
        checked_precision(precision)
    except OptionError as error:
        log.warning("%s; computing in float32", error)
        return FLOAT32
    found = Quantization.read(quantized or file_beside(weights)) if weights else Quantization.unmeasured(model.layers)
    model.quantize(found)
    return precision
