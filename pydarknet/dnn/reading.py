"""Networks from files or from memory, as OpenCV's `readNetFromDarknet` and `readNet` take them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..config.dialect import Dialect, choose_dialect
from ..config.sections import Config, parse_config, read_config
from ..errors import ConfigError, OptionError
from ..model import Model
from ..utils.files import decode_text
from ..utils.resources import network_file
from .net import Net

Buffer = bytes | bytearray | memoryview | NDArray[np.uint8]
Source = str | os.PathLike[str] | Buffer

_EPSILON = 1e-6  # of OpenCV's batch normalisation, whatever the darknet: (x - m) / sqrt(v + 1e-6)
_PATHS = (str, os.PathLike)
IN_MEMORY = "cfg in memory"  # the name of a content without a file


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
    config = _read_config(cfg)
    for section in config.layers:
        section.ignore("thresh", "nms_threshold")  # `rows.thresholds` reads them, layers do not
    model = Model(config, _as_opencv(choose_dialect("auto", config)))
    if weights is None or _is_nothing(weights):
        return Net(model, has_weights=False)
    model.loaded = model.load_weights(weights if isinstance(weights, _PATHS) else _content(weights))
    return Net(model)


def readNet(  # noqa: N802
    model: Source, config: Source = "", framework: str | Buffer = ""
) -> Net:
    """`readNetFromDarknet` with the arguments in any order: readNet(weights, cfg), readNet(cfg, weights), or with the
    format first, readNet("darknet", weights, cfg).

    Raises OptionError for files of other formats, else what `readNetFromDarknet` raises.
    """
    given = [model, config, framework]
    sources = [each for each in given if not (isinstance(each, str) and each.lower() in ("", "darknet"))]
    cfgs = [each for each in sources if _is(each, ".cfg", text=True)]
    weights = [each for each in sources if _is(each, ".weights", text=False)]
    if len(cfgs) != 1 or len(cfgs) + len(weights) != len(sources) or len(weights) > 1:
        names = ", ".join(repr(each)[:80] for each in given if not (isinstance(each, str) and not each))
        raise OptionError(f"readNet({names}): expected a .cfg and a .weights file; cv2.dnn.readNet reads other formats")
    return readNetFromDarknet(cfgs[0], weights[0] if weights else None)


def _as_opencv(dialect: Dialect) -> Dialect:
    return replace(dialect, epsilon_inside_root=_EPSILON, connected_epsilon_inside_root=_EPSILON)


def _is(source: Source, suffix: str, text: bool) -> bool:
    """Whether a path ends in `suffix`, or a content is text; every .weights file has zeros in its header."""
    if isinstance(source, _PATHS):
        return Path(source).suffix.lower() == suffix
    return (b"\0" not in _content(source)) == text


def _is_nothing(source: Source) -> bool:
    return isinstance(source, str) and not source


def _read_config(source: Source) -> Config:
    if isinstance(source, _PATHS):
        return read_config(network_file(os.fspath(source)))
    return parse_config(IN_MEMORY, decode_text(IN_MEMORY, _content(source), ConfigError))


def _content(source: Buffer) -> bytes:
    """The bytes of a content. Raises OptionError for what is none."""
    if isinstance(source, np.ndarray) and source.dtype == np.uint8:
        return source.tobytes()
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    found = f"an array of {source.dtype}" if isinstance(source, np.ndarray) else type(source).__name__
    raise OptionError(f"found {found}; expected a path, bytes or an array of uint8")
