"""The files of `detector valid`, for other projects' evaluation tools. Written whole or not at all."""

import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..config.names import COCO_IDS
from ..errors import OptionError, OutputError
from ..utils.files import atomic_write, json_text, log, make_folder
from .average_precision import records_of
from .evaluate import ImageResult

BDD_NAMES = ["bike", "bus", "car", "motor", "person", "rider", "traffic light", "traffic sign", "train", "truck"]
KITTI_NAMES = ["car", "pedestrian", "cyclist"]


class Format(NamedTuple):
    """base: begins the files' names. suffix: of the one file, if it is one. labels: of the classes it can hold."""

    base: str
    text: str
    suffix: str = ""
    labels: Sequence[object] = ()


FORMATS = {
    "voc": Format("comp4_det_test_", "{name} {p:f} {box}\n"),
    "coco": Format(
        "coco_results",
        '{{"image_id":{image}, "category_id":{label}, "bbox":[{box}], "score":{p:f}}}',
        ".json",
        COCO_IDS,
    ),
    "imagenet": Format("imagenet-detection", "{line} {label} {p:f} {box}\n", ".txt", range(1, 201)),
    "bdd": Format(
        "bdd_results",
        '\t{{\n\t\t"name":{quoted},\n\t\t"category":"{label}",\n\t\t"bbox":[{box}],\n\t\t"score":{p:f}\n\t}}',
        ".json",
        BDD_NAMES,
    ),
    "kitti": Format(
        "kitti_results", "{label} -1 -1 -10 {box} -1 -1 -1 -1000 -1000 -1000 -10 {p:f}\n", labels=KITTI_NAMES
    ),
}


def corners(result: ImageResult, offset: float) -> NDArray[np.float32]:
    """(k, 4) float32 left, top, right, bottom plus `offset`, clipped to offset and size."""
    centres, sizes = result.candidates.boxes[:, :2], result.candidates.boxes[:, 2:]
    # The C computes in double and stores in float.
    half = sizes.astype(np.float64) / 2
    low, high = (centres - half + offset).astype(np.float32), (centres + half + offset).astype(np.float32)
    size = np.array([result.width, result.height], np.float32)
    return np.concatenate([np.maximum(low, np.float32(offset)), np.minimum(high, size)], axis=1)


def image_id(path: Path) -> str:
    """The file's name up to its first dot."""
    return path.name.split(".")[0]


def coco_id(path: Path, after_underscore: bool) -> int:
    """COCO's number of a picture, from its file name; 0 if that has none.

    With `after_underscore` the number after the last `_`, or at the beginning of a name without one; else always
    the latter. (pjreddie's darknet finds a `_` in folder names, too.)
    """
    name = image_id(path)
    found = re.match(r"\s*[+-]?\d+", name.rpartition("_")[2] if after_underscore else name)
    return int(found.group()) if found else 0


class ResultFiles:
    """A context manager: call `take` for each picture, with boxes in pixels. base: begins the files' names.

    after_underscore: see `coco_id`. first_corner: of VOC's files, where pixels are counted from 1. Raises
    OptionError and OutputError.
    """

    def __init__(
        self, kind: str, folder: Path, names: Sequence[str], base: str | None = None, after_underscore: bool = True,
        first_corner: float = 1.0,
    ) -> None:  # fmt: skip
        self.kind, self.after_underscore, self.first_corner = kind, after_underscore, first_corner
        self._begun, self._left_out, self._taken = False, 0, set[str]()
        if kind not in FORMATS:
            raise OptionError(f"no result files of kind {kind!r}; expected one of {', '.join(FORMATS)}")
        self._format = FORMATS[kind]
        self._is_json = self._format.suffix == ".json"  # an array, which holds no NaN
        most = len(self._format.labels)
        if most and kind != "imagenet" and len(names) > most:
            expected = f"expected at most {most}, as files of kind {kind} can hold"
            raise OptionError(f"{len(names)} classes; {expected}")
        for name in names if kind == "voc" else ():
            if {"/", os.sep, "\0"} & set(name):
                raise OptionError(f"class name {name!r} cannot be part of a file name, as VOC's files require")
        twice = sorted({name for name in names if names.count(name) > 1}) if kind == "voc" else []
        if twice:
            raise OptionError(f"two classes are named {twice[0]!r}; VOC's files require different names")
        self.base = base = self._format.base if base is None else base
        self._folder = folder / base / "data" if kind == "kitti" else folder
        files = {"voc": [f"{name}.txt" for name in names], "kitti": []}.get(kind, [self._format.suffix])
        self._paths = [folder / f"{base}{file}" for file in files]

    def __enter__(self) -> "ResultFiles":
        make_folder(self._folder)
        with ExitStack() as stack:  # closes the opened files if a later one cannot be opened
            self._streams = [stack.enter_context(atomic_write(path)) for path in self._paths]
            if self._is_json:
                self._streams[0].write(b"[\n")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if self._left_out:
            log.warning("%s: %d detections are not finite numbers and are left out", self._paths[0], self._left_out)
        if kind is None and self._is_json:
            self._streams[0].write(b"\n]\n" if self._begun else b"]\n")
        self._stack.__exit__(kind, error, traceback)

    def take(self, result: ImageResult) -> None:
        """Write the records of one picture. Raises OutputError."""
        if self.kind == "kitti":
            name = image_id(result.path)
            if name in self._taken:
                why = f"another picture is also named {name}; KITTI requires one file per picture"
                raise OutputError(f"{result.path}: {why}")
            self._taken.add(name)
            with atomic_write(self._folder / f"{name}.txt") as stream:
                stream.writelines(text for _, text in self._texts(result))
            return
        for number, text in self._texts(result):
            stream = self._streams[number if self.kind == "voc" else 0]
            stream.write(b",\n" + text if self._is_json and self._begun else text)
            self._begun = True

    def _texts(self, result: ImageResult) -> Iterator[tuple[int, bytes]]:
        kind, labels = self.kind, self._format.labels
        of_picture = {
            "name": image_id(result.path),
            "line": result.index + 1,
            "image": coco_id(result.path, self.after_underscore),
            "quoted": json.dumps(json_text(result.path.name.replace(".jpg", "")), ensure_ascii=False),
        }
        box, classes = records_of(result.candidates)
        edges_of = corners(result, self.first_corner if kind == "voc" else 0)[box].tolist()
        probabilities = result.candidates.probabilities[box, classes].tolist()
        for number, p, edges in zip(classes.tolist(), probabilities, edges_of, strict=True):
            if labels and number >= len(labels):
                continue
            if self._is_json and not all(map(math.isfinite, (p, *edges))):  # which JSON cannot express
                self._left_out += 1
                continue
            if kind == "coco":
                left, top, right, bottom = (np.float32(edge) for edge in edges)
                edges = [left, top, right - left, bottom - top]
            sides = (", " if self._is_json else " ").join(f"{edge:f}" for edge in edges)
            text = self._format.text.format(label=labels[number] if labels else "", p=p, box=sides, **of_picture)
            yield number, text.encode("utf-8", "surrogateescape")
