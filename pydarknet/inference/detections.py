"""The objects of one picture: a list with conversions to arrays, drawings, files and other programs' formats."""

import io
import math
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, SupportsIndex, overload

import numpy as np
from numpy.typing import NDArray

from ..boxes import Detection
from ..errors import OptionError, needed_package
from ..images.image import Image, Picture, as_picture, write_image
from ..images.operations import draw_detections
from ..utils.arrays import Array
from ..utils.files import StrPath, json_text, make_folder, to_json

_NOT_IN_FILE_NAMES = re.compile(r"[^\w-]+", re.ASCII)
CSV_COLUMNS = ("class_id", "name", "confidence", "left", "top", "right", "bottom")


class Detections(list[Detection]):
    """A list of Detection in the order in which darknet prints them, with the picture that they were found in.

    width, height   pixels of the picture
    classes         number of classes of the network, which determines the colours of boxes
    seconds         time of the forward pass, per picture of its batch
    source, bgr     the picture as it was given, which `plot`, `save` and `crops` read, and the order of its channels
    """

    def __init__(
        self, objects: Iterable[Detection] = (), *, width: int = 0, height: int = 0, classes: int = 1,
        seconds: float = 0.0, source: Image | None = None, bgr: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(objects)
        self.width, self.height, self.classes, self.seconds = width, height, classes, seconds
        self.source, self.bgr = source, bgr

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in Counter(d.name for d in self).most_common())
        return f"<Detections in {self.width} x {self.height} pixels: {counts or 'nothing'}>"

    @overload
    def __getitem__(self, index: SupportsIndex) -> Detection: ...

    @overload
    def __getitem__(self, index: slice) -> "Detections": ...

    def __getitem__(self, index: SupportsIndex | slice) -> "Detection | Detections":
        """One object; for a slice, its objects with the attributes of this list."""
        if isinstance(index, slice):
            return Detections(super().__getitem__(index), **vars(self))
        return super().__getitem__(index)

    # --- arrays ---

    @property
    def xyxy(self) -> Array:
        """(n, 4) float32: left, top, right, bottom in pixels; boxes may exceed the picture."""
        return np.array([d.box.xyxy for d in self], np.float32).reshape(-1, 4)

    @property
    def xywh(self) -> Array:
        """(n, 4) float32: centre x, centre y, width, height in pixels."""
        return np.array([(d.box.x, d.box.y, d.box.w, d.box.h) for d in self], np.float32).reshape(-1, 4)

    @property
    def confidence(self) -> Array:
        """(n,) float32: probabilities, 0 to 1."""
        return np.array([d.confidence for d in self], np.float32)

    @property
    def class_id(self) -> NDArray[np.int64]:
        """(n,) int64: class numbers, from 0."""
        return np.array([d.class_id for d in self], np.int64)

    @property
    def names(self) -> NDArray[np.str_]:
        """(n,) str: the name of each object's class."""
        return np.array([d.name for d in self], np.str_)

    # --- pictures ---

    @property
    def image(self) -> Picture:
        """The picture, (height, width, 3) uint8 RGB. Raises OptionError without `source`, ImageError."""
        if self.source is None:
            raise OptionError("these detections have no picture; expected those that `Model.detect` returns")
        return as_picture(self.source, self.bgr)

    def plot(self) -> Picture:
        """A copy of the picture, (height, width, 3) uint8 RGB, with boxes and labels."""
        return draw_detections(self.image, self, self.classes)

    def save(self, path: StrPath) -> Path:
        """Write the picture with boxes and labels. Returns the path. Raises OutputError."""
        return write_image(path, self.plot())

    def crops(self, folder: StrPath, stem: str | None = None) -> list[Path]:
        """Write the part of the picture inside each box to FOLDER/STEM_001_CLASS.jpg and so on. Returns the
        paths.

        stem: by default the name of the picture's file, else "crop". Boxes outside the picture are left out.
        Raises OutputError.
        """
        make_folder(Path(folder))
        image, written = self.image, []
        if stem is None:
            stem = Path(os.fspath(self.source)).stem if isinstance(self.source, (str, os.PathLike)) else "crop"
        for number, detection in enumerate(self, start=1):
            corners = detection.box.xyxy
            if not all(map(math.isfinite, corners)):
                continue
            left, top, right, bottom = (max(0, round(value)) for value in corners)
            part = image[top:bottom, left:right]
            if part.size:
                name = _NOT_IN_FILE_NAMES.sub("_", detection.name)  # a class name may contain ../
                written.append(write_image(Path(folder) / f"{stem}_{number:03d}_{name}.jpg", part))
        return written

    # --- formats ---

    def to_json(self, filename: str | None = None, frame: int | None = None) -> str:
        """One JSON object in one line, as `detect --json` prints: file name, size, seconds, and `objects`, each
        with class, confidence, `box` (left, top, width, height in pixels) and box relative to the picture.

        filename: by default the source's path, if it has one. frame: its number in a video, from 1; None for a
        picture.
        """
        if filename is None and isinstance(self.source, (str, os.PathLike)):
            filename = os.fspath(self.source)
        content = {
            "filename": None if filename is None else json_text(filename),
            **({} if frame is None else {"frame": frame}),
            "width": self.width,
            "height": self.height,
            "seconds": round(self.seconds, 6),
            "objects": [self._as_object(detection) for detection in self],
        }
        return to_json(content, ensure_ascii=False)

    def _as_object(self, detection: Detection) -> dict[str, Any]:
        box = detection.box
        corner = {"x": box.left, "y": box.top, "width": box.w, "height": box.h}
        relative = dict(zip(("center_x", "center_y", "width", "height"), self._relative(detection), strict=True))
        return {
            "class_id": detection.class_id,
            "name": json_text(detection.name),
            "confidence": _rounded_or_null(detection.confidence, 6),
            "box": {name: _rounded_or_null(value, 3) for name, value in corner.items()},
            "relative_coordinates": {name: _rounded_or_null(value, 6) for name, value in relative.items()},
        }

    def _relative(self, detection: Detection) -> tuple[float, float, float, float]:
        box = detection.box
        return box.x / self.width, box.y / self.height, box.w / self.width, box.h / self.height

    def to_csv(self) -> str:
        """A CSV table, one line per object: class_id, name, confidence, and the corners in pixels."""
        import csv

        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([CSV_COLUMNS, *self.csv_rows()])
        return text.getvalue()

    def csv_rows(self) -> list[list[int | str]]:
        """The rows of `to_csv`, as values."""
        return [[d.class_id, d.name, f"{d.confidence:.6f}", *(f"{value:.3f}" for value in d.box.xyxy)] for d in self]

    def to_labels(self) -> str:
        """A darknet label file: class, centre x, centre y, width, height as fractions of the picture, a line each."""
        return "".join("{} {:.6f} {:.6f} {:.6f} {:.6f}\n".format(d.class_id, *self._relative(d)) for d in self)

    def to_supervision(self) -> Any:
        """The same as `supervision.Detections`. Raises OptionError without the package supervision."""
        with needed_package("to_supervision needs the package supervision", "'pydarknet[supervision]'"):
            import supervision
        return supervision.Detections(
            xyxy=self.xyxy, confidence=self.confidence, class_id=self.class_id, data={"class_name": self.names}
        )


def _rounded_or_null(value: float, digits: int) -> float | None:
    return round(value, digits) if math.isfinite(value) else None
