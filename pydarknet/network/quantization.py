"""8-bit convolutions: the ranges of what they read, which `tools/quantize.py` measures, and the file of them."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import WeightsError
from ..layers.base import Layer
from ..layers.convolution.convolutional import Convolutional
from ..utils.files import read_text, to_json, write_file
from .weights import path_of

SUFFIX = ".int8"  # of the file beside a weights file
FORMAT = 1
SAMPLED = 1024  # numbers of each parameter that the digest reads: start-up counts

Range = tuple[float, float]


@dataclass(frozen=True)
class Quantization:
    """ranges: (low, high) of what a layer reads, by its index; other layers stay float32. digest: of the parameters
    with which they were measured. path: of the file, if it was read from one."""

    ranges: Mapping[int, Range]
    digest: str
    path: str = ""

    def write(self, path: str | os.PathLike[str]) -> None:
        """Raises OutputError."""
        ranges = {str(index): list(span) for index, span in self.ranges.items()}
        write_file(path, f"{to_json({'format': FORMAT, 'weights': self.digest, 'ranges': ranges})}\n".encode())

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Quantization:
        """Raises WeightsError with the path for a file that is damaged or of another kind."""
        if not os.path.lexists(path):
            raise WeightsError(f"{path}: not found; `pydarknet quantize CFG WEIGHTS PICTURES` writes it")
        text = read_text(path, WeightsError)
        try:
            content = json.loads(text)
            if content["format"] != FORMAT:
                raise WeightsError(f"{path}: has format {content['format']}; expected {FORMAT}")
            ranges = {int(index): (float(low), float(high)) for index, (low, high) in content["ranges"].items()}
            digest = str(content["weights"])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
            raise WeightsError(f"{path}: is no file of ranges; expected one that `pydarknet quantize` wrote") from None
        for index, (low, high) in ranges.items():
            if not (-math.inf < low <= 0 <= high < math.inf):
                expected = "0 in it" if math.isfinite(low) and math.isfinite(high) else "finite numbers"
                raise WeightsError(f"{path}: layer {index} has the range {low:g} to {high:g}; expected {expected}")
        return cls(ranges, digest, os.fspath(path))

    @classmethod
    def unmeasured(cls, layers: Sequence[Layer]) -> Quantization:
        """Some ranges, for random parameters: to time and to compile."""
        return cls(dict.fromkeys(quantizable(layers), (-1.0, 1.0)), digest_of(layers))

    def apply(self, layers: Sequence[Layer]) -> None:
        """Give the layers their ranges. Raises WeightsError for other weights, or an index of no convolution."""
        if self.digest != digest_of(layers):
            raise WeightsError(f"{self.path}: was measured with other weights; run `pydarknet quantize` with these")
        if wrong := self.ranges.keys() - quantizable(layers):
            raise WeightsError(f"{self.path}: layer {min(wrong)} is no convolution of the network")
        self.give_ranges(layers)

    def give_ranges(self, layers: Sequence[Layer]) -> None:
        """Unchecked. Layers whose range is another one pack their filters anew."""
        for index, layer in quantizable(layers).items():
            if layer.input_range != self.ranges.get(index):
                layer.input_range = self.ranges.get(index)
                layer.parameters_changed()


def file_beside(weights: str | os.PathLike[str]) -> Path:
    """Where the ranges of a weights file are: beside it, with SUFFIX."""
    return Path(path_of(weights)).with_suffix(SUFFIX)


def digest_of(layers: Sequence[Layer]) -> str:
    """SHA-256 of the first SAMPLED numbers of each parameter."""
    digest = hashlib.sha256()
    for layer in layers:
        for parameter in layer.named_parameters():
            digest.update(np.ascontiguousarray(parameter.array.reshape(-1)[:SAMPLED]).tobytes())
    return digest.hexdigest()


def quantizable(layers: Sequence[Layer]) -> dict[int, Convolutional]:
    """The convolutions that 8 bits can compute, by their index."""
    return {
        index: layer for index, layer in enumerate(layers)
        if isinstance(layer, Convolutional) and not layer.xnor and not layer.has_filter_a_channel
    }  # fmt: skip
