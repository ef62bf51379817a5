"""The functions `pydarknet.load` and `pydarknet.download`."""

import os
from collections.abc import Sequence
from pathlib import Path

from .config.sections import read_config
from .model import Model, load_model
from .utils.files import StrPath
from .utils.resources import network_file


def load(
    cfg: StrPath,
    weights: StrPath | None = None,
    *,
    dialect: str = "auto",
    width: int | None = None,
    height: int | None = None,
    batch: int = 1,
    threads: int | None = None,
    allow_partial: bool = False,
    names: StrPath | Sequence[str] | None = None,
    seed: int | None = 0,
    train: bool = False,
    tune: bool = False,
    precision: str = "float32",
    quantized: StrPath | None = None,
) -> Model:
    """Build the network of a .cfg file and fill it from a .weights file.

    cfg: a file, a bundled file (`toys.cfg`), or the name of a network (`yolov4-tiny`), which loads its published
    weights, too. weights: a file, a bundled one (`toys.weights`), or one that `download` has fetched; `load`
    downloads nothing. Without weights, parameters get darknet's random initial values, from `seed`.
    dialect: auto, pjreddie or alexeyab. names: a file of class names, or a list of them.
    width, height: the input size in pixels, instead of the cfg's. batch: the pictures of a forward pass.
    threads: the number of threads that compute, for the whole process; default: all processors.
    train: prepare the network for `train_step`, with the cfg's mini-batches.
    tune: time the algorithms of each convolution that were not timed on this machine before, and use the
    fastest. precision: float32; bf16, in which direct convolutions multiply bfloat16 numbers (needs AVX-512
    BF16); or int8, in which convolutions multiply 8-bit integers (with AVX-512 VNNI, else float32). Neither is
    for training.
    quantized: with int8 the file that `pydarknet quantize` wrote; default: that beside the weights.
    allow_partial: accept a weights file of another length, and load the layers that it holds.
    Raises subclasses of DarknetError.
    """
    if weights is None and not os.path.lexists(cfg):
        from .config.published import weights_of

        weights = weights_of(os.fspath(cfg))
    config = read_config(network_file(os.fspath(cfg)))
    if train:
        from .training.learner import Learner, mini_batch  # inference starts without

        batch = mini_batch(config.net)
    model = load_model(
        config, weights, dialect=dialect, width=width, height=height, batch=batch, threads=threads,
        allow_partial=allow_partial, names=names, seed=seed, tune=tune, precision=precision, quantized=quantized,
    )  # fmt: skip
    if train:
        model.training = Learner(model)
    return model


def download(name: str, to: StrPath | None = None, url: str | None = None) -> Path:
    """Download the published weights `name`, such as `yolov4-tiny` or `yolov4.conv.137`, unless they are on this
    machine. Return their path.

    to: the folder; default: the one in which `load` looks. url: the address of the file on a mirror. Files that
    fail the checks of docs/published-weights.md are not accepted. Needs pooch (`pip install 'pydarknet[zoo]'`).
    Raises DownloadError, OptionError for an unknown name, OutputError for a folder that cannot be written.
    """
    from .zoo.download import download as fetch

    return fetch(name, to if to is None else os.fspath(to), url=url)
