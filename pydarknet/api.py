"""The Python API's way to a network: `pydarknet.load`; and to published weights: `pydarknet.download`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from .config.sections import read_config
from .model import Model, load_model
from .utils.resources import network_file

File = str | os.PathLike[str]


def load(
    cfg: File,
    weights: File | None = None,
    *,
    dialect: str = "auto",
    width: int | None = None,
    height: int | None = None,
    batch: int = 1,
    threads: int | None = None,
    allow_partial: bool = False,
    names: File | Sequence[str] | None = None,
    seed: int | None = 0,
    train: bool = False,
    tune: bool = False,
    precision: str = "float32",
) -> Model:
    """Build the network of a .cfg file and fill it from a .weights file.

    A file that is not on the disk is looked for among the bundled ones (`toys.cfg`, `toys.weights`), weights also among
    the downloaded ones (`download`). A network's name instead of its .cfg file, such as `yolov4-tiny`, brings its
    published weights; nothing is downloaded by `load`.
    Without weights, parameters get darknet's random initial values, from `seed`. dialect: auto, pjreddie or
    alexeyab. names: a file of class names, or a list of them.
    width, height: pixels, instead of the cfg's. threads: how many to compute with, for the whole process;
    all processors by default. train: set up to learn by `train_step`, in the cfg's mini-batches.
    tune: time the ways in which convolutions can be computed, where they are not known yet on this machine, and
    remember the fastest for this run and later ones.
    precision: float32, or bf16, in which convolutions that are computed directly multiply numbers rounded to 8 binary
    digits, up to twice as fast, on processors with AVX-512 BF16; not for training.
    allow_partial: accept a weights file for other layers than these, load what fits.
    Raises the children of DarknetError.
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
        allow_partial=allow_partial, names=names, seed=seed, tune=tune, precision=precision,
    )  # fmt: skip
    if train:
        model.training = Learner(model)
    return model


def download(name: str, to: File | None = None, url: str | None = None) -> Path:
    """The file of the published weights `name`, such as `yolov4-tiny` or `yolov4.conv.137`, fetched unless it is there.

    to: the folder, by default the one in which `load` looks. url: a mirror's address of the file. Needs pooch (`pip
    install 'pydarknet[zoo]'`). Files with wrong bytes are not accepted, see docs/published-weights.md.
    Raises DownloadError, OptionError for an unknown name, OutputError for a folder that cannot be written.
    """
    from .zoo.download import download as fetch

    return fetch(name, to if to is None else os.fspath(to), url=url)
