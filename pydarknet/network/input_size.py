"""The size of a network's input: what `[net]` says, and which sizes callers may ask for."""

from __future__ import annotations

import numpy as np

from ..config.sections import Config
from ..errors import OptionError
from ..tensor import Shape

LARGEST_SIDE = 1 << 16  # pixels
LARGEST_BATCH = 1 << 20  # sequences of recurrent networks count with all their steps


def network_input(config: Config, width: int | None = None, height: int | None = None) -> Shape:
    """The shape of the input that `[net]` describes, or one of the given width and height in pixels.

    Raises ConfigError, and OptionError for a side out of range.
    """
    net = config.net
    h = net.natural("height", 0) if height is None else checked_side("height", height)
    w = net.natural("width", 0) if width is None else checked_side("width", width)
    channels = net.natural("channels", 0)
    if height is not None or width is not None:
        net.ignore("height", "width")
    if not (h and w and channels):
        inputs = net.natural("inputs", 0)
        if not inputs:
            raise net.error(
                f"No input parameters supplied: width={w}, height={h}, channels={channels}; expected all three, or "
                "inputs"
            )
        return Shape(inputs)
    for name, value in (("height", h), ("width", w)):
        if value > LARGEST_SIDE:
            raise net.error(f"{name}={value}: expected at most {LARGEST_SIDE}", name)
    if channels > LARGEST_SIDE:
        raise net.error(f"channels={channels}: expected at most {LARGEST_SIDE}", "channels")
    return Shape(channels, h, w)


def checked_side(name: str, value: int) -> int:
    """Return a width or height in pixels that a network can have. Raises OptionError for others."""
    if not isinstance(value, (int, np.integer)) or not 1 <= value <= LARGEST_SIDE:
        raise OptionError(f"{name} {value}: expected a number of pixels from 1 to {LARGEST_SIDE}")
    return value


def checked_batch(batch: int) -> int:
    """Return a batch size that a network can have. Raises OptionError for others."""
    if not 1 <= batch <= LARGEST_BATCH:
        raise OptionError(f"batch {batch}: expected a number from 1 to {LARGEST_BATCH}")
    return batch
