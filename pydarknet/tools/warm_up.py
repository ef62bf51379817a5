"""Compile the kernels that a network needs, by running it once on black pictures."""

from __future__ import annotations

import os
import time

import numpy as np

from ..errors import OptionError
from ..model import load_model
from ..training.learner import Learner

DEFAULT = ("tiny.cfg", "yolov3-tiny.cfg", "yolov4-tiny.cfg", "toys.cfg")  # bundled, small, with all common layers
SAMPLES = 2  # pictures of a training step; the kernels are the same for any number


def warm_up(cfg: str | os.PathLike[str], train: bool = False) -> float:
    """Run one forward pass of a network with random weights, and with `train` one training step with its update.

    Afterwards every kernel that they call is in the cache. Returns the seconds that it took. Raises DarknetError for a
    file that is not a network, OptionError for `train` with a network without a loss.
    """
    start = time.perf_counter()
    model = load_model(cfg)
    model.forward(np.zeros((1, *model.input_shape), np.float32))
    if train:
        steps = load_model(cfg).config.net.positive("time_steps", 1)
        train_once(cfg, batch=SAMPLES * steps)
    return time.perf_counter() - start


def train_once(
    cfg: str | os.PathLike[str], width: int | None = None, height: int | None = None, batch: int = SAMPLES,
    dialect: str = "auto",
) -> None:  # fmt: skip
    """One training step, with its update, of a network with random weights on black pictures. Raises OptionError."""
    model = load_model(cfg, width=width, height=height, batch=batch, dialect=dialect)
    if not any(layer.has_loss for layer in model.layers):
        raise OptionError(f"{model.path}: has no layer with a loss; it cannot be trained")
    learner = Learner(model)
    learner.subdivisions = 1  # so that the first step is followed by an update
    if model.heads:
        truth = np.array([[0, 0.5, 0.5, 0.25, 0.25]], np.float32)  # one object in the middle
    else:
        truth = np.zeros(model.layers[model.output_index].shape.outputs, np.float32)
        truth[0] = 1
    learner.step(np.zeros((model.batch, *model.input_shape), np.float32), [truth] * model.batch)
