"""The files that commands over pictures write: annotated pictures and videos, AlexeyAB's JSON file, label files,
tables (`--csv`), crops."""

import csv
import errno
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

from ..config.dialect import ALEXEYAB
from ..errors import OptionError, OutputError
from ..images.image import Picture, show_image, write_image
from ..inference.video.capture import CODECS, write_video
from ..utils.files import atomic_write, is_same, make_folder, write_file
from ..utils.prefetch import BackgroundWriter
from .formats.inference import JSON_END, JSON_SEPARATOR, JSON_START, json_frame, label_lines
from .sources import STDIN_PICTURE, Item, Video, camera_number, is_address

if TYPE_CHECKING:
    from ..inference.detector import DetectionResult

Annotate = Callable[[Picture], Picture]
PREDICTIONS = "predictions.jpg"
PREDICTED_VIDEO = "predictions.avi"
WRITABLE = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
FRAME_SHOWN = 1  # milliseconds; a picture is shown until a key is pressed


# `frame` counts from 1 and is empty for pictures; corners are in pixels.
DETECTIONS = ("filename", "frame", "class_id", "name", "confidence", "left", "top", "right", "bottom")
TRACKS = ("filename", "frame", "track_id", *DETECTIONS[2:])
CLASSES = ("filename", "frame", "rank", "class_id", "name", "probability", "parent")
_NOT_IN_FILE_NAMES = re.compile(r'[\0-\x1f/\\:*?"<>|]+')


def file_name(path: str) -> str:
    """The name for output files of an input: its file name; for an address, the last part of its path, or its host."""
    if not is_address(path):
        return Path(path).name if camera_number(path) is None and path != STDIN_PICTURE else re.sub("[: ]", "_", path)
    address = urlsplit(path)
    host = (address.hostname or "stream").replace(".", "_")  # 127.0.0.1 has no extension
    return _NOT_IN_FILE_NAMES.sub("_", Path(address.path).name or host)


@contextmanager
def json_frames(path: str) -> Iterator[Callable[[bytes], object]]:
    """A function that writes the next picture or frame into AlexeyAB's JSON file, which ends with the block."""
    with atomic_write(path) as stream:
        stream.write(JSON_START)
        separators = chain([b""], repeat(JSON_SEPARATOR))
        yield lambda frame: stream.write(next(separators) + frame)
        stream.write(JSON_END)


class Outputs(ExitStack):
    """The files that a run writes. A context manager: they appear when it ends without an error.

    Without `folder`, annotated pictures overwrite `picture`, as in darknet, and videos are written to
    PREDICTED_VIDEO, except live ones, which may have no end.

    columns: of the table. out_is_json: whether `-out` names a JSON file whatever its extension. draws: whether pixels
    of the pictures are used.
    """

    def __init__(self, options: Mapping[str, Any], columns: tuple[str, ...], out_is_json: bool = False) -> None:
        super().__init__()
        out, folder, crops = options.get("out"), options.get("out_dir"), options.get("crops")
        picture: str | None = PREDICTIONS
        if out is not None and not out_is_json and not out.lower().endswith(".json"):
            picture, out = (out if Path(out).suffix.lower() in WRITABLE else f"{out}.jpg"), None
        for each in filter(None, (folder, crops)):
            make_folder(Path(each))
        check_folder_of(out, options["csv"])
        draws = not options.get("no_picture", True)
        self.picture = None if folder or not draws else picture
        self.folder = Path(folder) if folder and draws else None
        self.json, self.csv, self.crops = out, options["csv"], Path(crops) if crops else None
        self.labels, self.show = options.get("save_labels"), options.get("show")
        self.draws = bool(self.picture or self.folder or self.show or self.crops)
        self._writer: BackgroundWriter | None = None
        self._columns = columns
        self._table: BinaryIO | None = None
        self._write_json: Callable[[bytes], object] | None = None
        self._count, self._taken = 0, set[tuple[str, str]]()
        self._video: Video | None = None  # the video of the current frame, and the stem of its files
        self._stem, self._video_file = "", ExitStack()
        self._write_frame: Callable[[Picture], None] | None = None

    def open(self, in_background: bool) -> None:
        """Open the files, at the start of the block. in_background: draw and write pictures in another thread."""
        if self.csv is not None:
            self._table = self.enter_context(atomic_write(self.csv))
            self._table.write(_csv_lines([self._columns]))
        if self.json is not None:
            self._write_json = self.enter_context(json_frames(self.json))
        self.enter_context(self._video_file)
        if in_background:
            self._writer = self.enter_context(BackgroundWriter())

    def write_rows(self, item: Item[Any], rows: Iterable[Iterable[Any]]) -> None:
        """Write a line of the table for each thing found in a picture or frame: what follows `filename` and `frame`."""
        if self._table is not None:
            self._table.write(_csv_lines([item.path, item.frame, *row] for row in rows))

    def take(self, item: Item[Any], found: "DetectionResult", annotate: Annotate | None = None) -> None:
        """Write the other outputs of a picture or frame. annotate: draws into a copy, by default the detections."""
        self._follow(item)
        self._count += 1
        if self._write_json is not None:
            self._write_json(json_frame(item.frame or self._count, item.path, found).encode())
        if self.labels:
            if item.video is not None:
                raise OptionError(f"{item.path}: -save_labels writes beside picture files; a frame of a video has none")
            from ..datasets.labels import label_path  # it imports much

            write_file(label_path(Path(item.path), ALEXEYAB), "".join(label_lines(found)).encode())
        if self.draws:
            self._draw(item, found, annotate)

    def _follow(self, item: Item[Any]) -> None:
        if item.video is self._video:
            return
        if self._writer is not None:
            self._writer.finish()
        self._video_file.close()
        self._video, self._write_frame = item.video, None
        if item.video is None:
            return
        name = Path(file_name(item.path))
        self._stem = self._unused("video", name.stem)
        if self.folder is None and (self.picture is None or item.video.live):
            return
        suffix = name.suffix if name.suffix.lower() in CODECS else Path(PREDICTED_VIDEO).suffix
        target = Path(PREDICTED_VIDEO) if self.folder is None else self.folder / f"{self._stem}{suffix}"
        _refuse_same(target, Path(item.path))
        self._write_frame = self._video_file.enter_context(write_video(target, item.video.rate)).write

    def _draw(self, item: Item[Any], found: "DetectionResult", annotate: Annotate | None) -> None:
        name, stem, target, write_frame = Path(file_name(item.path)), "", self.picture, self._write_frame
        if item.video is not None:
            target = None
        elif self.folder:
            target = str(self.folder / self._unused("picture", picture_name(name)))
            _refuse_same(Path(target), Path(item.path))
        if self.crops:
            stem = self._unused("crops", name.stem) if item.frame is None else f"{self._stem}_{item.frame:06d}"

        def work() -> None:
            objects = found.detections()
            objects.source = item.picture
            if self.crops:
                objects.crops(self.crops, stem)
            if target is None and write_frame is None and not self.show:
                return
            drawn = annotate(item.picture) if annotate else objects.plot()
            if target is not None:
                write_image(target, drawn)
            if write_frame is not None:
                write_frame(drawn)
            if self.show:
                show_image(item.path, drawn, 0 if item.video is None else FRAME_SHOWN)

        if self._writer and not self.show:  # a window belongs to the main thread
            self._writer.do(work)
        else:
            work()

    def _unused(self, kind: str, name: str) -> str:
        """`name`, with a number if it was returned before for this kind of file."""
        unused, number = name, 1
        while (kind, unused) in self._taken:
            number += 1
            unused = f"{Path(name).stem}_{number}{Path(name).suffix}"
        self._taken.add((kind, unused))
        return unused


def _csv_lines(rows: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


def picture_name(path: Path) -> str:
    """The name of a file, with .jpg added where pictures cannot be written under it."""
    return path.name if path.suffix.lower() in WRITABLE else f"{path.name}.jpg"


def _refuse_same(target: Path, source: Path) -> None:
    if is_same(target, source):
        raise OutputError(f"{target}: would overwrite the picture itself; give another --out-dir")


def check_folder_of(*paths: str | None) -> None:
    """Check before the first picture that files can be written after the last. Raises OutputError."""
    for path in filter(None, paths):
        folder = Path(path).parent
        fault = None if os.access(folder, os.W_OK | os.X_OK) else errno.EACCES
        fault = fault if folder.is_dir() else errno.ENOENT
        if fault and not Path(path).exists():
            raise OutputError(f"{path}: cannot write: {os.strerror(fault)}")
