"""The network as users of the Python API hold it: with names, and pictures in instead of arrays."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .boxes import Detection
from .classifier import Classification, classify
from .config import read_config
from .detector import Found, detect
from .dialect import choose_dialect
from .errors import OptionError
from .image import Picture, load_image
from .kernels.jit import set_threads
from .layers.head import Head
from .names import choose_names
from .network import Network
from .resources import network_file
from .tensor import Array

if TYPE_CHECKING:
    from .training import Training

Image = str | os.PathLike[str] | Picture


class Model(Network):
    """A network with the names of its classes. Made by `load`."""

    def __init__(self, *arguments: Any, names: str | os.PathLike[str] | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.names_path = names
        self._names: list[str] | None = None
        self.training: Training | None = None

    @property
    def classes(self) -> int:
        """How many classes the network tells apart."""
        heads = [layer for layer in self.layers if isinstance(layer, Head)]
        return heads[-1].classes if heads else self.layers[self.output_index].shape.outputs

    @property
    def names(self) -> list[str]:
        """One name a class: from the names file, else the bundled list of that length, else numbers. Raises
        DataError."""
        if self._names is None:
            self._names = choose_names(self.classes, self.names_path, exact=bool(self.heads))
        return self._names

    @names.setter
    def names(self, names: list[str]) -> None:
        if len(names) < self.classes:
            raise OptionError(f"{len(names)} names; the network has {self.classes} classes")
        self._names = list(names)

    def classify(self, image: Image, top: int = 5, fit: str = "auto") -> list[tuple[str, float]]:
        """[(name, probability), ...] of the `top` best classes; see `classifier.classify`."""
        return [(p.name, p.probability) for p in self.classification(image, top, fit).predictions]

    def classification(self, image: Image, top: int = 5, fit: str = "auto") -> Classification:
        """The same with class numbers, parents in a word tree, and the time it took."""
        return classify(self, _picture(image), self.names, top, fit)

    def detect(
        self,
        image: Image,
        thresh: float | None = None,
        hier: float = 0.5,
        nms: float = 0.45,
        letterbox: bool | None = None,
    ) -> list[Detection]:
        """Objects above `thresh` (default: that of the dialect's `detector test`), boxes in pixels of the picture,
        in the order in which darknet prints them; see `detector.detect`."""
        return self.find(image, thresh, hier, nms, letterbox).detections()

    def find(
        self,
        image: Image,
        thresh: float | None = None,
        hier: float = 0.5,
        nms: float = 0.45,
        letterbox: bool | None = None,
    ) -> Found:
        """The same with the candidates behind it, other orders, and the time it took."""
        thresh = self.dialect.detector_thresh if thresh is None else thresh
        return detect(self, _picture(image), self.names, thresh=thresh, hier=hier, nms=nms, letterbox=letterbox)

    def train_step(self, images: Array, truth: Sequence[Array]) -> float:
        """Learn from one mini-batch and give its loss; the weights change after every `subdivisions` calls.

        images: (n, c, h, w) or (n, inputs) float32. truth: one array per picture: (k, 5) rows of class, x, y, w, h in
        fractions for detectors, a vector with one entry a class for classifiers, target values for cost layers. The
        loss is the mean over all layers with a loss of that layer's cost, summed over the mini-batch. Raises
        OptionError where the network was not loaded with train=True, or where sizes are wrong.
        """
        if self.training is None:
            raise OptionError("the network was not loaded with train=True")
        return self.training.step(images, truth)


def _picture(image: Image) -> Picture:
    return load_image(image) if isinstance(image, (str, os.PathLike)) else image


def load(
    cfg: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    *,
    dialect: str = "auto",
    width: int | None = None,
    height: int | None = None,
    batch: int = 1,
    threads: int | None = None,
    allow_partial: bool = False,
    names: str | os.PathLike[str] | None = None,
    seed: int | None = 0,
    train: bool = False,
    tune: bool = False,
    precision: str = "float32",
) -> Model:
    """Build the network of a .cfg file and fill it from a .weights file.

    A file that is not on the disk is looked for among the bundled ones (`toys.cfg`, `toys.weights`).
    Without weights, parameters get darknet's random initial values, from `seed`. dialect: auto, pjreddie or
    alexeyab. width, height: pixels, instead of the cfg's. threads: how many to compute with, for the whole process;
    all processors by default. train: set up to learn by `train_step`, in the cfg's mini-batches.
    tune: time the ways in which convolutions can be computed, where they are not known yet on this machine, and
    remember the fastest for this run and later ones.
    precision: float32, or bf16, in which convolutions that are computed directly multiply numbers rounded to 8 binary
    digits, up to twice as fast, on processors with AVX-512 BF16; not for training.
    allow_partial: accept a weights file for other layers than these, load what fits.
    Raises the children of DarknetError.
    """
    if threads is not None:
        if threads < 1:
            raise OptionError(f"threads {threads}: expected at least 1")
        set_threads(threads)
    config = read_config(network_file(os.fspath(cfg)))
    if train:
        from .training import Training, mini_batch

        net = config.net
        batch = mini_batch(net.positive("batch", 1), net.positive("subdivisions", 1), net.positive("time_steps", 1))
    model = Model(
        config, choose_dialect(dialect, config), width=width, height=height, batch=batch, seed=seed, names=names
    )
    model.tune, model.precision = tune, precision
    if weights is None:
        model.initialise()
    else:
        model.loaded = model.load_weights(network_file(os.fspath(weights)), allow_partial)
    if train:
        model.training = Training(model)
    return model
