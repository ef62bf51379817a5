"""The .weights file: a header, then every parameter as float32 in cfg order, without tags. Only the network
knows the sizes, so a file of another length is an error that says what was expected and found, and where a short
one ends.

Beside it, the file of the ranges of 8-bit convolutions, which `tools/quantize.py` measures.
"""

import hashlib
import json
import math
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import WeightsError
from ..layers.base import Layer, Parameter
from ..layers.convolution.convolutional import Convolutional
from ..utils.files import WEIGHTS, StrPath, atomic_write, kind_of, log, read_bytes, read_text, to_json, write_file

_SCALES = frozenset({"scales", "rolling_mean", "rolling_variance"})
IN_MEMORY = "weights in memory"  # the name of a content without a file
SUFFIX = ".int8"  # of the file of ranges
FORMAT = 1  # of that file
SAMPLED = 1024  # numbers of each parameter that the digest reads: start-up counts
LARGEST_VERSION = 10_000  # beyond, the bytes are not a version; old "transposed" files use 1001 and little more

Range = tuple[float, float]


@dataclass(frozen=True)
class Header:
    """Version, and the number of training images seen."""

    major: int
    minor: int
    revision: int
    seen: int

    @property
    def wide(self) -> bool:
        """Whether `seen` takes 64 bits: from 0.2 on, but not in old "transposed" files."""
        return self.major * 10 + self.minor >= 2 and self.major < 1000 and self.minor < 1000

    @property
    def transposed(self) -> bool:
        """Whether matrices of connected layers are stored input by input."""
        return self.major > 1000 or self.minor > 1000

    def pack(self) -> bytes:
        """20 bytes, or 16 where `seen` takes 32 bits."""
        return struct.pack("<iiiQ" if self.wide else "<iiiI", self.major, self.minor, self.revision, self.seen)

    @classmethod
    def parse(cls, path: str, content: bytes) -> "tuple[Header, int]":
        """The header and its length. Raises WeightsError for what is no .weights file."""
        kind = kind_of(content)
        if kind not in ("", WEIGHTS):
            raise WeightsError(f"{path}: this is {kind}, not a darknet .weights file")
        if len(content) < 16:
            raise WeightsError(f"{path}: {len(content)} bytes; a .weights file begins with a header of 16 or 20 bytes")
        major, minor, revision = struct.unpack_from("<iii", content)
        header = cls(major, minor, revision, 0)
        if not all(0 <= number <= LARGEST_VERSION for number in (major, minor, revision)):
            raise WeightsError(
                f"{path}: the header says version {major}.{minor}.{revision}; expected a darknet .weights file "
                "(version 0.1.0, 0.2.0, 0.2.5 or the like)"
            )
        length = 20 if header.wide else 16
        if len(content) < length:
            raise WeightsError(
                f"{path}: {len(content)} bytes; a version {major}.{minor} file begins with {length} bytes of header"
            )
        (seen,) = struct.unpack_from("<Q" if header.wide else "<I", content, 12)
        return cls(major, minor, revision, seen), length


@dataclass(frozen=True)
class Loaded:
    """header: of the file. layers: how many were filled. left_over: numbers."""

    header: Header
    layers: int
    left_over: int


def _stored(layer: Layer) -> Iterator[tuple[Parameter, NDArray[np.float32]]]:
    """What a file holds: parameters, and of each the part, with `numload` its first filters."""
    options = layer.record_options
    for parameter in layer.named_parameters():
        if options.load and (options.scales or parameter.name.rpartition(".")[2] not in _SCALES):
            yield parameter, parameter.array[: options.filters]


def stored_numbers(layer: Layer) -> int:
    """How many numbers a file holds for this layer."""
    return sum(part.size for _, part in _stored(layer))


def file_lengths(layers: Sequence[Layer]) -> tuple[int, int]:
    """In bytes, with a header of 16 or of 20 bytes."""
    numbers = sum(stored_numbers(layer) for layer in layers)
    return 16 + 4 * numbers, 20 + 4 * numbers


def check_file_length(path: Path, layers: Sequence[Layer], name: str = "") -> None:
    """Raise WeightsError unless header and length are those of a file of exactly these layers.

    name: how errors call the file, by default its path.
    """
    name = name or str(path)
    try:
        with path.open("rb") as stream:
            _, start = Header.parse(name, stream.read(512))
            length = os.fstat(stream.fileno()).st_size
    except OSError as error:
        raise WeightsError(f"Couldn't open file: {path} ({error.strerror or error})") from error
    expected = start + 4 * sum(stored_numbers(layer) for layer in layers)
    if length != expected:
        raise WeightsError(f"{name}: {length} bytes; expected {expected}, a header of {start} and all parameters")


def path_of(weights: StrPath) -> StrPath:
    """The file itself, or the bundled or downloaded one of that name."""
    if os.path.lexists(weights):
        return weights
    from ..config.published import weights_file  # what is on the disk is loaded without the table

    return weights_file(weights)


def load_weights(source: StrPath | bytes, layers: Sequence[Layer], allow_partial: bool = False) -> Loaded:
    """Read a file, or the content of one as bytes, into the layers' parameters. Raises WeightsError.

    allow_partial: whole layers are filled as far as the numbers last, and some may be left over. source: may be
    the bare name of a bundled or downloaded file.
    """
    if isinstance(source, bytes):
        name, content = IN_MEMORY, source
    else:
        path = path_of(source)
        name, content = os.fspath(path), read_bytes(path, WeightsError)
    header, start = Header.parse(name, content)
    if (len(content) - start) % 4 and not allow_partial:
        raise WeightsError(
            f"{name}: {len(content)} bytes; after the header of {start}, expected "
            f"4 for each of {sum(stored_numbers(layer) for layer in layers)} numbers"
        )
    numbers = np.frombuffer(content, "<f4", count=(len(content) - start) // 4, offset=start)
    expected = [stored_numbers(layer) for layer in layers]
    if not allow_partial and numbers.size != sum(expected):
        raise _length_error(name, numbers.size, expected, layers)
    at = filled = 0
    for layer, count in zip(layers, expected, strict=True):
        if at + count > numbers.size or (count and at == numbers.size):
            break
        _fill(layer, numbers[at : at + count], header.transposed)
        at += count
        filled += 1
    _warn_of_broken_numbers(name, layers[:filled])
    return Loaded(header, filled, numbers.size - at)


def _length_error(name: str, found: int, expected: Sequence[int], layers: Sequence[Layer]) -> WeightsError:
    total = sum(expected)
    sizes = f"{name}: the network takes {total} numbers, the file holds {found}"
    classes = _classes_that_fit(found, expected, layers)
    if classes is not None:
        return WeightsError(
            f"{sizes}: as many as with {classes} classes instead of {_classes_of(layers[-1])}; `pydarknet cfg set CFG "
            f"NEW.cfg --classes {classes}` makes such a cfg"
        )
    if found > total:
        return WeightsError(
            f"{sizes}: {found - total} too many; a wrong cfg, or the other dialect's order? (allow_partial, "
            "--allow-partial: load it all the same)"
        )
    ends = list(accumulate(expected))
    index = next(index for index, end in enumerate(ends) if end > found)
    has = found - ends[index] + expected[index]
    return WeightsError(
        f"{sizes}: it ends in layer {index} [{layers[index].kind}], which has {has} of its {expected[index]}; a "
        "wrong cfg, or a file cut short? (allow_partial, --allow-partial: load whole layers as far as they go)"
    )


def _classes_of(head: Layer) -> int:
    return int(getattr(head, "classes", 0)) if head.is_head and hasattr(head, "anchors") else 0


def _classes_that_fit(found: int, expected: Sequence[int], layers: Sequence[Layer]) -> int | None:
    of_a_class = 0
    heads = [index for index, layer in enumerate(layers) if _classes_of(layer)]
    for index in heads:
        anchors = getattr(layers[index], "anchors", ())
        boxes = len(getattr(layers[index], "mask", anchors))
        before = layers[index - 1]
        if index == 0 or before.kind != "convolutional" or expected[index - 1] % before.shape.channels:
            return None
        of_a_class += boxes * (expected[index - 1] // before.shape.channels)
    more, rest = divmod(found - sum(expected), of_a_class) if of_a_class and layers[-1].is_head else (0, 1)
    classes = _classes_of(layers[-1]) + more
    return classes if not rest and classes >= 1 else None


def _fill(layer: Layer, numbers: NDArray[np.float32], transposed: bool) -> None:
    at = 0
    for parameter, part in _stored(layer):
        values = numbers[at : at + part.size]
        if parameter.matrix and (transposed or layer.record_options.flipped):
            values = values.reshape(-1, len(part)).T
        part[:] = values.reshape(part.shape)
        at += part.size
    layer.parameters_changed()


def _warn_of_broken_numbers(name: str, layers: Sequence[Layer]) -> None:
    found = []
    for index, layer in enumerate(layers):
        for parameter in layer.named_parameters():
            array = parameter.array
            with np.errstate(over="ignore", invalid="ignore"):
                if np.isfinite(array.sum()):  # much faster than to look at each number
                    continue
            if broken := array.size - np.count_nonzero(np.isfinite(array)):
                found.append(f"layer {index} [{layer.kind}]: {broken} of its {array.size} {parameter.name}")
    if found:
        others = f"; so are numbers of {len(found) - 1} other arrays" if len(found) > 1 else ""
        text = "%s: %s are NaN or infinite, and so will be what is computed with them%s"
        log.warning(text, name, found[0], others)


def save_weights(path: StrPath, layers: Sequence[Layer], header: Header) -> None:
    """Whole or not at all. What was loaded and not touched comes out byte for byte."""
    with atomic_write(path) as stream:
        stream.write(header.pack())
        for layer in layers:
            for parameter in layer.named_parameters() if layer.record_options.save else []:
                values = parameter.array
                if parameter.matrix and (header.transposed or layer.record_options.flipped):
                    values = values.reshape(len(values), -1).T
                stream.write(np.ascontiguousarray(values, "<f4").data)


# --- the ranges of 8-bit convolutions, in a file beside the weights ---


@dataclass(frozen=True)
class Quantization:
    """ranges: (low, high) of what layers read, by their index. digest: of the parameters. path: of the file, if any."""

    ranges: Mapping[int, Range]
    digest: str
    path: str = ""

    def write(self, path: StrPath) -> None:
        """Raises OutputError."""
        ranges = {str(index): list(span) for index, span in self.ranges.items()}
        write_file(path, f"{to_json({'format': FORMAT, 'weights': self.digest, 'ranges': ranges})}\n".encode())

    @classmethod
    def read(cls, path: StrPath) -> "Quantization":
        """Raises WeightsError with the path for a damaged or other file."""
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
    def unmeasured(cls, layers: Sequence[Layer]) -> "Quantization":
        """Some ranges, for random parameters: to time and to compile."""
        return cls(dict.fromkeys(quantizable(layers), (-1.0, 1.0)), digest_of(layers))

    def apply(self, layers: Sequence[Layer]) -> None:
        """Raises WeightsError for other weights, or an index of no convolution."""
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


def file_beside(weights: StrPath) -> Path:
    """Where the ranges of a weights file are: beside it, with SUFFIX."""
    return Path(path_of(weights)).with_suffix(SUFFIX)


def digest_of(layers: Sequence[Layer]) -> str:
    """SHA-256 of the first SAMPLED numbers of each parameter."""
    digest = hashlib.sha256()
    for layer in layers:
        for array in layer.parameters():
            digest.update(np.ascontiguousarray(array.reshape(-1)[:SAMPLED]).tobytes())
    return digest.hexdigest()


def quantizable(layers: Sequence[Layer]) -> dict[int, Convolutional]:
    """The convolutions that 8 bits can compute, by their index."""
    return {
        index: layer for index, layer in enumerate(layers)
        if isinstance(layer, Convolutional) and not layer.xnor and not layer.has_filter_a_channel
    }  # fmt: skip
