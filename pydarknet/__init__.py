"""The darknet binary in Python: the original .cfg and .weights files on a Numba-compiled engine.

net = pydarknet.load("cfg/tiny.cfg", "tiny.weights")
net.classify("dog.jpg")
"""

from typing import TYPE_CHECKING, Any

from .errors import (
    ConfigError,
    DarknetError,
    DataError,
    DivergedError,
    DownloadError,
    ImageError,
    OptionError,
    OutputError,
    ShapeError,
    WeightsError,
)
from .version import __version__

if TYPE_CHECKING:
    from . import dnn as dnn
    from .api import download, load
    from .boxes import Box, Detection
    from .inference.detections import Detections
    from .model import Model
    from .training.trainer import train

__all__ = [
    "Box", "ConfigError", "DarknetError", "DataError", "Detection", "Detections", "DivergedError", "DownloadError",
    "ImageError", "Model", "OptionError", "OutputError", "ShapeError", "WeightsError", "__version__", "download",
    "load", "train",
]  # fmt: skip

_HOMES = {
    "Box": "boxes", "Detection": "boxes", "Detections": "inference.detections", "Model": "model", "download": "api",
    "load": "api", "train": "training.trainer",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import what needs numba and OpenCV when it is first asked for: `pydarknet --help` shall not wait for them."""
    from importlib import import_module

    if name == "dnn":  # a folder, as `cv2.dnn` is there after `import cv2`
        return import_module(".dnn", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
