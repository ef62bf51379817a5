"""Layers are built from the sections of a .cfg file; the size of their input."""

import contextlib
import logging
import threading
from collections.abc import Iterator

import numpy as np

from ..config.dialect import Dialect
from ..config.sections import Config, Section
from ..errors import ConfigError, OptionError
from ..layers import BuildContext, Changes, Layer, layer_class
from ..tensor import Shape
from ..utils.arrays import check_memory
from ..utils.files import log

FOR_IMAGES = frozenset({
    "avg", "avgpool", "conv", "conv_lstm", "convolutional", "crnn", "crop", "deconv", "deconvolutional",
    "Gaussian_yolo", "local", "local_avg", "local_avgpool", "lrn", "max", "maxpool", "normalization", "region", "reorg",
    "reorg3d", "sam", "scale_channels", "upsample", "yolo",
})  # fmt: skip
LARGEST_SIDE = 1 << 16  # pixels
LARGEST_BATCH = 1 << 20  # sequences of recurrent networks count with all their steps
USUAL_STRIDE = 32  # pixels of the input for each cell of the coarsest head


def network_input(config: Config, width: int | None = None, height: int | None = None) -> Shape:
    """The input that `[net]` describes, or one of this width and height in pixels. Raises ConfigError, OptionError."""
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
    for name, value in (("height", h), ("width", w), ("channels", channels)):
        if value > LARGEST_SIDE:
            raise net.error(f"{name}={value}: expected at most {LARGEST_SIDE}", name)
    return Shape(channels, h, w)


def checked_side(name: str, value: int) -> int:
    """A width or height in pixels. Raises OptionError for one that no network can have."""
    if not isinstance(value, (int, np.integer)) or not 1 <= value <= LARGEST_SIDE:
        raise OptionError(f"{name} {value}: expected a number of pixels from 1 to {LARGEST_SIDE}")
    return value


def checked_batch(batch: int) -> int:
    """Raises OptionError for a batch size that no network can have."""
    if not 1 <= batch <= LARGEST_BATCH:
        raise OptionError(f"batch {batch}: expected a number from 1 to {LARGEST_BATCH}")
    return batch


def build_layers(config: Config, dialect: Dialect, input_: Shape, batch: int, changes: Changes) -> list[Layer]:
    """Build the layer of each section, for this input and batch. Options that no layer reads are logged as warnings.

    changes: by which the layers tell their network of new parameters. Raises ConfigError and ShapeError.
    """
    config.net.foreign = dialect.foreign_keys("net")
    config.net.ignore(*dialect.net_keys)
    for line in config.net.unused():
        log.warning("%s", line)
    layers: list[Layer] = []
    parameters = 0
    for index, section in enumerate(config.layers):
        section.foreign = dialect.foreign_keys(section.kind)
        try:
            cls = layer_class(section.kind, dialect)
        except ConfigError as error:
            raise section.error(str(error)) from None
        context = BuildContext(index, layers, input_, dialect, config.net)
        _check_input(section, context)
        layer = cls.from_section(section, context)
        layer.changes = changes
        layer.reshape([context.shape(source) for source in layer.sources], batch)
        layers.append(layer)
        parameters += sum(record.array.size for record in layer.named_parameters())
        check_memory(8 * parameters, f"{config.path}: the parameters of layers 0 to {index}")
        for line in section.unused():
            log.warning("%s", line)
    return layers


def _check_input(section: Section, context: BuildContext) -> None:
    """Raise ShapeError if a layer for images follows a [route] of different sizes. The usual cause is an input size
    that is not a multiple of the network's stride."""
    if context.index == 0 or section.kind not in FOR_IMAGES:
        return
    route = context.layers[-1]
    shapes = [context.shape(index) for index in route.sources]
    if route.section.kind != "route" or len({(shape.height, shape.width) for shape in shapes}) == 1:
        return
    listed = ", ".join(f"layer {index}: {shape}" for index, shape in zip(route.sources, shapes, strict=True))
    width, height = context.input.width, context.input.height
    raise route.section.shape_error(
        f"layers differ in size: {listed} (width x height x channels), and layer {context.index} [{section.kind}] "
        f"needs an image{input_size_hint(width, height)}",
        "layers",
    )


def input_size_hint(width: int, height: int) -> str:
    """For an error about sizes, if the input's are unusual."""
    if width % USUAL_STRIDE == height % USUAL_STRIDE == 0:
        return ""
    return f"; the input has {width} x {height} pixels; most networks need multiples of {USUAL_STRIDE}"


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Within the block, the warnings of this thread are dropped."""
    here = threading.get_ident()

    def is_another(record: logging.LogRecord) -> bool:
        return record.thread != here

    log.addFilter(is_another)
    try:
        yield
    finally:
        log.removeFilter(is_another)
