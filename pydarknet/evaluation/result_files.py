"""The files of `detector valid`, for the evaluation tools of other projects. Written completely or not at all."""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..config.names import COCO_IDS
from ..errors import OptionError, OutputError
from ..utils.files import atomic_write, json_text, make_folder
from .average_precision import records_of
from .runner import ImageResult

log = logging.getLogger("pydarknet")

KINDS = ("voc", "coco", "imagenet", "bdd", "kitti")
BASES = {
    "voc": "comp4_det_test_",
    "coco": "coco_results",
    "imagenet": "imagenet-detection",
    "bdd": "bdd_results",
    "kitti": "kitti_results",
}
BDD_NAMES = ["bike", "bus", "car", "motor", "person", "rider", "traffic light", "traffic sign", "train", "truck"]
KITTI_NAMES = ["car", "pedestrian", "cyclist"]
IMAGENET_CLASSES = 200

# (class, probability, xmin, ymin, xmax, ymax) of each record of a picture
Record = tuple[int, float, float, float, float, float]


def corners(result: ImageResult, offset: float) -> NDArray[np.float32]:
    """(k, 4) float32 left, top, right, bottom in pixels plus `offset`, clipped to offset and the picture's size."""
    centres, sizes = result.candidates.boxes[:, :2], result.candidates.boxes[:, 2:]
    # The C computes in double and stores in float.
    half = sizes.astype(np.float64) / 2
    low, high = (centres - half + offset).astype(np.float32), (centres + half + offset).astype(np.float32)
    size = np.array([result.width, result.height], np.float32)
    return np.concatenate([np.maximum(low, np.float32(offset)), np.minimum(high, size)], axis=1)


def records(result: ImageResult, offset: float) -> Iterator[Record]:
    """The records of a picture in darknet's order: box by box, class by class."""
    box, classes = records_of(result.candidates)
    probabilities = result.candidates.probabilities[box, classes]
    for number, p, edges in zip(
        classes.tolist(), probabilities.tolist(), corners(result, offset)[box].tolist(), strict=True
    ):
        yield (number, p, *edges)


def image_id(path: Path) -> str:
    """The file's name up to its first dot."""
    return path.name.split(".")[0]


def coco_id(path: Path, after_underscore: bool) -> int:
    """COCO's number of a picture, from its file name; 0 if that has none.

    With `after_underscore` the number after the last `_`, or at the beginning of a name without one; else always the
    number at the beginning. (pjreddie's darknet finds a `_` in folder names too, so that all pictures of such a folder
    get one number.)
    """
    name = image_id(path)
    found = re.match(r"\s*[+-]?\d+", name.rpartition("_")[2] if after_underscore else name)
    return int(found.group()) if found else 0


@dataclass
class ResultFiles:
    """Result files of one `kind` in `folder`, with names that begin with `base`. A context manager: call `take` for
    each picture, with boxes in pixels.

    after_underscore: see `coco_id`. Raises OptionError and OutputError.
    """

    kind: str
    folder: Path
    names: Sequence[str]
    base: str | None = None
    after_underscore: bool = True
    first_corner: float = 1.0  # of VOC's files: pixels are counted from 1
    _stack: ExitStack = field(default_factory=ExitStack, repr=False)
    _streams: list[BinaryIO] = field(default_factory=list, repr=False)
    _begun: bool = False
    _left_out: int = 0
    _taken: set[str] = field(default_factory=set, repr=False)

    def __post_init__(self) -> None:
        most = {"coco": len(COCO_IDS), "bdd": len(BDD_NAMES), "kitti": len(KITTI_NAMES)}.get(self.kind)
        if self.kind not in KINDS:
            raise OptionError(f"no result files of kind {self.kind!r}; expected one of {', '.join(KINDS)}")
        if most is not None and len(self.names) > most:
            raise OptionError(
                f"{len(self.names)} classes; expected at most {most}, as files of kind {self.kind} can hold"
            )
        twice = sorted({name for name in self.names if self.names.count(name) > 1}) if self.kind == "voc" else []
        apart = [name for name in self.names if {"/", os.sep, "\0"} & set(name)] if self.kind == "voc" else []
        if apart:
            raise OptionError(f"class name {apart[0]!r} cannot be part of a file name, as VOC's files require")
        if twice:
            raise OptionError(f"two classes are named {twice[0]!r}; VOC's files require different names")
        self.base = BASES[self.kind] if self.base is None else self.base

    def __enter__(self) -> ResultFiles:
        make_folder(self.folder)
        if self.kind == "kitti":
            make_folder(self.folder / str(self.base) / "data")
        with ExitStack() as stack:  # closes the opened files if a later one cannot be opened
            self._streams = [stack.enter_context(atomic_write(path)) for path in self._paths()]
            if self.kind in ("coco", "bdd"):
                self._streams[0].write(b"[\n")
            self._stack = stack.pop_all()
        return self

    def _paths(self) -> list[Path]:
        if self.kind == "voc":
            return [self.folder / f"{self.base}{name}.txt" for name in self.names]
        if self.kind == "kitti":
            return []
        return [self.folder / f"{self.base}.{'txt' if self.kind == 'imagenet' else 'json'}"]

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if self._left_out:
            log.warning("%s: %d detections are not finite numbers and are left out", self._paths()[0], self._left_out)
        if kind is None and self.kind in ("coco", "bdd"):
            self._streams[0].write(b"\n]\n" if self._begun else b"]\n")
        self._stack.__exit__(kind, error, traceback)

    def take(self, result: ImageResult) -> None:
        """Write the records of one picture. Raises OutputError."""
        writers: dict[str, Callable[[ImageResult], None]] = {
            "voc": self._voc,
            "coco": self._coco,
            "imagenet": self._imagenet,
            "bdd": self._bdd,
            "kitti": self._kitti,
        }
        writers[self.kind](result)

    def _voc(self, result: ImageResult) -> None:
        name = image_id(result.path)
        for number, p, *edges in records(result, self.first_corner):
            self._streams[number].write(_bytes("{} {:f} {:f} {:f} {:f} {:f}\n".format(name, p, *edges)))

    def _imagenet(self, result: ImageResult) -> None:
        for number, p, *edges in records(result, 0):
            if number < IMAGENET_CLASSES:
                head = f"{result.index + 1} {number + 1} {p:f}"
                self._streams[0].write(_bytes("{} {:f} {:f} {:f} {:f}\n".format(head, *edges)))

    def _coco(self, result: ImageResult) -> None:
        image = coco_id(result.path, self.after_underscore)
        for number, p, *edges in self._finite(result):
            left, top, right, bottom = (np.float32(edge) for edge in edges)
            self._element(
                f'{{"image_id":{image}, "category_id":{COCO_IDS[number]}, "bbox":[{left:f}, {top:f}, '
                f'{right - left:f}, {bottom - top:f}], "score":{p:f}}}'
            )

    def _bdd(self, result: ImageResult) -> None:
        name = json.dumps(json_text(result.path.name.replace(".jpg", "")), ensure_ascii=False)
        for number, p, *edges in self._finite(result):
            box = ", ".join(f"{edge:f}" for edge in edges)
            self._element(
                f'\t{{\n\t\t"name":{name},\n\t\t"category":"{BDD_NAMES[number]}",\n\t\t"bbox":[{box}],\n'
                f'\t\t"score":{p:f}\n\t}}'
            )

    def _finite(self, result: ImageResult) -> Iterator[Record]:
        """The records without NaN and infinity, which JSON cannot express."""
        for record in records(result, 0):
            if all(map(math.isfinite, record)):
                yield record
            else:
                self._left_out += 1

    def _element(self, text: str) -> None:
        """Write one more element of a JSON array."""
        self._streams[0].write(_bytes(f",\n{text}" if self._begun else text))
        self._begun = True

    def _kitti(self, result: ImageResult) -> None:
        name = image_id(result.path)
        if name in self._taken:
            raise OutputError(
                f"{result.path}: another picture is also named {name}; KITTI requires one file per picture"
            )
        self._taken.add(name)
        with atomic_write(self.folder / str(self.base) / "data" / f"{name}.txt") as stream:
            for number, p, *edges in records(result, 0):
                box = " ".join(f"{edge:f}" for edge in edges)
                stream.write(_bytes(f"{KITTI_NAMES[number]} -1 -1 -10 {box} -1 -1 -1 -1000 -1000 -1000 -10 {p:f}\n"))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
