"""Files that `detect` writes: annotated pictures, AlexeyAB's JSON file, label files."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OutputError
from ..utils.files import make_folder, write_file
from .formats.inference import json_file, json_frame, label_lines

if TYPE_CHECKING:
    from ..images.image import Picture
    from ..inference.detector import DetectionResult
    from ..utils.prefetch import BackgroundWriter

PREDICTIONS = "predictions.jpg"
WRITABLE = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


@dataclass
class Outputs:
    """The files that a run of `detect` writes."""

    picture: str | None  # each picture overwrites it, as in darknet
    folder: Path | None
    json: str | None
    labels: bool
    show: bool
    behind: BackgroundWriter | None = None  # draws and writes pictures meanwhile
    frames: list[str] = field(default_factory=list)
    _taken: set[Path] = field(default_factory=set)

    @classmethod
    def from_options(cls, options: Mapping[str, Any], out_is_json: bool) -> Outputs:
        """`out_is_json`: whether `-out` names a JSON file even without that extension. Raises OutputError."""
        out, picture = options["out"], PREDICTIONS
        if out is not None and not out_is_json and not out.lower().endswith(".json"):
            picture, out = (out if Path(out).suffix.lower() in WRITABLE else f"{out}.jpg"), None
        if options["out_dir"]:
            make_folder(Path(options["out_dir"]))
        if out is not None:
            check_folder_of(out)
        return cls(
            picture=None if options["out_dir"] or options["no_picture"] else picture,
            folder=Path(options["out_dir"]) if options["out_dir"] and not options["no_picture"] else None,
            json=out,
            labels=options["save_labels"],
            show=options["show"],
        )

    def take(self, path: str, image: Picture, found: DetectionResult) -> None:
        """Write the outputs of one picture, or keep them for `finish`. Raises OutputError."""
        if self.json is not None:
            self.frames.append(json_frame(len(self.frames) + 1, path, found))
        if self.labels:
            write_file(label_path(path), "".join(label_lines(found)).encode())
        if self.picture or self.folder or self.show:
            self._draw(path, image, found)

    def _draw(self, path: str, image: Picture, found: DetectionResult) -> None:
        target = self._in_folder(path) if self.folder else self.picture
        work = partial(_draw, path, image, found, target, self.show)
        if self.behind and not self.show:  # a window belongs to the main thread
            self.behind.do(work)
        else:
            work()

    def _in_folder(self, path: str) -> Path:
        """The picture's name in the folder, with a number if an earlier picture had that name."""
        assert self.folder is not None
        source = Path(path)
        name = source.name if source.suffix.lower() in WRITABLE else f"{source.name}.jpg"
        target, number = self.folder / name, 1
        while target in self._taken:
            number += 1
            target = self.folder / f"{Path(name).stem}_{number}{Path(name).suffix}"
        self._taken.add(target)
        if target.exists() and target.samefile(source):
            raise OutputError(f"{target}: would overwrite the picture itself; give another --out-dir")
        return target

    def finish(self) -> None:
        """Write the JSON file of all pictures. Raises OutputError."""
        if self.json is not None:
            write_file(self.json, json_file(self.frames))


def _draw(path: str, image: Picture, found: DetectionResult, target: str | Path | None, show: bool) -> None:
    from ..images.draw import draw_detections
    from ..images.image import show_image, write_image

    annotated = draw_detections(image, found.detections(), len(found.names))
    if target:
        write_image(target, annotated)
    if show:
        show_image(path, annotated)


def label_path(path: str) -> str:
    """The label file of a picture, by AlexeyAB's rule. Raises ImageError for an extension that it does not know."""
    from ..config.dialect import ALEXEYAB
    from ..datasets.labels import label_path

    return str(label_path(Path(path), ALEXEYAB))


def check_folder_of(path: str) -> None:
    """Check before the first picture that the file can be written after the last. Raises OutputError."""
    folder = Path(path).parent
    if not Path(path).exists():
        if not folder.is_dir():
            raise OutputError(f"{path}: cannot write: {os.strerror(errno.ENOENT)}")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OutputError(f"{path}: cannot write: {os.strerror(errno.EACCES)}")
