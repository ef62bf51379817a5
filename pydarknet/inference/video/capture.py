"""Video through OpenCV: frames from files, addresses, cameras and pictures, read ahead; video files; windows.

A frame is (height, width, 3) uint8 RGB, as the pictures of `images.image`.
"""

import contextlib
import os
import re
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import cv2
import numpy as np

from ...errors import ImageError, OptionError, OutputError
from ...images.image import CHW, Picture, as_chw, check_display, check_image, in_channels, load_image
from ...utils.files import StrPath, check_readable, check_space, log, output_errors, part_of

_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "udp", "tcp", "srt", "rtp", "http", "https")
ADDRESSES = tuple(f"{scheme}://" for scheme in _SCHEMES)
PATIENCE = 15_000  # milliseconds in which an address must answer, and send each frame
DEFAULT_RATE = 25.0  # frames per second of a source that does not state its own
# The codecs of each container; the first one that OpenCV was built for is used. Browsers play H.264 (avc1), VP9, VP8;
# MPEG-4 part 2 (DIVX, mp4v) takes a tenth of the time, and players play it.
_FOR_BROWSERS = ("avc1", "vp09", "mp4v")
CODECS = {".avi": ("DIVX",), ".mkv": ("DIVX",), ".mov": ("mp4v",), ".mp4": _FOR_BROWSERS, ".m4v": _FOR_BROWSERS,
          ".webm": ("VP90", "VP80")}  # fmt: skip
_STANDARD_ERROR = threading.RLock()  # held while it is redirected
_OPENCV_LINE = re.compile(rb"OpenCV: |\[[ A-Z]+:\d+@|\[\w+ @ 0x")
_NUMBER = re.compile(r"%0?\d*d")
AHEAD = 4  # frames read ahead of the engine, at most
Prepared = TypeVar("Prepared")


class Frames:
    """A source of frames. `live`: it produces frames whether or not they are read."""

    rate = DEFAULT_RATE  # frames per second
    live = False

    def read(self) -> Picture | None:
        """The next frame, or None after the last."""
        raise NotImplementedError

    def close(self) -> None:
        """Read no more."""


class Capture(Frames):
    """Frames of a video file, an address or a camera.

    source: a file or address, or the number of a camera. width, height (pixels) and rate (frames per second) are
    requested of a camera. every: read each Nth frame, without decoding the others. Raises ImageError.

    `count` is the number of frames that have passed, `frames` the total, None if unknown. An address with a
    known total is a video file, which waits for its reader; a stream is live.
    """

    def __init__(
        self, source: str | int, width: int | None = None, height: int | None = None, rate: int | None = None,
        every: int = 1,
    ) -> None:  # fmt: skip
        self.source, self._every = source, every
        address = isinstance(source, str) and source.lower().startswith(ADDRESSES)
        limits: list[Any] = []
        if isinstance(source, str) and not address:
            try:  # for the system's reason, which OpenCV does not give
                check_readable(source)
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                raise ImageError(f'Cannot load video "{source}": {reason}') from error
        if isinstance(source, str) and "://" in source:
            times = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, PATIENCE, cv2.CAP_PROP_READ_TIMEOUT_MSEC, PATIENCE]
            limits = [cv2.CAP_FFMPEG, times]
        with without_opencv_lines():
            self._capture = cv2.VideoCapture(source, *limits)
        if not self._capture.isOpened():
            if isinstance(source, int):
                raise ImageError(f"Couldn't connect to webcam. There is no camera {source}")
            reason = "no answer, or nothing that OpenCV can read" if address else "unknown or damaged format"
            raise ImageError(f'Cannot load video "{source}": {reason}')
        asked = ((cv2.CAP_PROP_FRAME_WIDTH, width), (cv2.CAP_PROP_FRAME_HEIGHT, height), (cv2.CAP_PROP_FPS, rate))
        for property_, value in asked if isinstance(source, int) else ():
            if value is not None:
                self._capture.set(property_, value)
        known = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = known if 0 < known <= 1000 else DEFAULT_RATE
        self.count = 0
        length = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.frames = int(length) if isinstance(source, str) and 0 < length < 1 << 31 else None
        self.live = isinstance(source, int) or (address and self.frames is None)

    def read(self) -> Picture | None:
        skipped = 0 if self.count == 0 else self._every - 1
        for number in range(skipped + 1):
            good, frame = self._capture.read() if number == skipped else (self._capture.grab(), None)
            if not good:
                if (self.frames or 0) - self.count > 1:  # some containers state one frame more than they hold
                    log.warning("%s: %d of %d frames could be read", self.source, self.count, self.frames)
                return None
            self.count += 1
        assert frame is not None
        return np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)

    def close(self) -> None:
        self._capture.release()


class PictureSequence(Frames):
    """Picture files as frames. `read` raises ImageError for a file that cannot be read."""

    def __init__(self, paths: Sequence[StrPath]) -> None:
        self._paths = iter(paths)

    def read(self) -> Picture | None:
        path = next(self._paths, None)
        return None if path is None else load_image(path)


@dataclass(frozen=True)
class Frame(Generic[Prepared]):
    """A frame, and the network's input for it, such as (channels, height, width) float32."""

    picture: Picture
    x: Prepared


class Reader(Generic[Prepared]):
    """Reads and prepares frames ahead in a thread; of a live source it keeps only the newest frame."""

    def __init__(self, frames: Frames, prepare: Callable[[Picture], Prepared]) -> None:
        self._frames, self._prepare = frames, prepare
        self._ready: deque[Frame[Prepared]] = deque()
        self._changed = threading.Condition()
        self._ended = self.closed = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name="reader", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Frame[Prepared]]:
        """Yield the frames until the source ends or `stop` is called. Raises the errors of reading."""
        while True:
            with self._changed:
                while not (self._ready or self._ended or self.closed):
                    self._changed.wait(0.1)  # with a timeout, as `stop` in a signal handler cannot notify
                if self.closed:
                    return
                if not self._ready:
                    break
                frame = self._ready.popleft()
                self._changed.notify()
            yield frame
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End the iteration. May be called from a signal handler."""
        self.closed = True

    def close(self) -> None:
        """End the thread and close the source, unless a read has blocked for two seconds."""
        self.stop()
        self._thread.join(2.0)
        if not self._thread.is_alive():
            self._frames.close()

    def _read(self) -> None:
        try:
            while not self.closed and (picture := self._frames.read()) is not None:
                frame = Frame(picture, self._prepare(picture))
                with self._changed:
                    if self._frames.live:
                        self._ready.clear()
                    while len(self._ready) >= AHEAD and not self.closed:
                        self._changed.wait(0.1)
                    self._ready.append(frame)
                    self._changed.notify()
        except BaseException as error:  # raised in the consumer's thread
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify()


def is_pattern(text: str) -> bool:
    """Whether `text` is a file name with a number format, such as `frame_%04d.jpg`."""
    return bool(_NUMBER.search(Path(text).name)) and not Path(text).exists()


def numbered_paths(pattern: str) -> list[Path]:
    """The files that match `frame_%04d.jpg`, sorted by number. Raises ImageError if there is none."""
    folder, name = Path(pattern).parent, Path(pattern).name
    before, after = (re.escape(part) for part in _NUMBER.split(name, maxsplit=1))
    wanted = re.compile(f"{before}([0-9]+){after}")
    with output_errors(folder, "cannot read the folder", ImageError):
        found = [(int(match[1]), path) for path in folder.iterdir() if (match := wanted.fullmatch(path.name))]
    if not found:
        raise ImageError(f"{pattern}: no file of this pattern")
    return [path for _, path in sorted(found)]


def stretch_frame(frame: Picture, width: int, height: int, channels: int = 3) -> CHW:
    """A frame -> a network's input (channels, height, width), scaled as uint8 by OpenCV.

    AlexeyAB's darknet scales frames of video in this way, and pictures as `image.resize` does.
    """
    resized = cv2.resize(in_channels(check_image(frame), channels), (width, height), interpolation=cv2.INTER_LINEAR)
    return as_chw(np.asarray(resized, np.uint8).reshape(height, width, channels))


@contextlib.contextmanager
def without_opencv_lines() -> Iterator[None]:
    """Suppress OpenCV's and FFmpeg's lines on standard error. Other lines appear when the block ends."""
    with _STANDARD_ERROR, contextlib.ExitStack() as stack:
        try:
            kept = os.dup(2)
        except OSError:  # closed by the parent process
            yield
            return
        stack.callback(os.close, kept)
        file = stack.enter_context(tempfile.TemporaryFile())
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
        file.seek(0)
        for line in file:
            if not _OPENCV_LINE.match(line):
                os.write(2, line)


class VideoFile:
    """A video file, written frame by frame. Frames are scaled to the size of the first one.

    part: the file to write; path: its name in errors; rate: frames per second.
    """

    def __init__(self, part: Path, path: StrPath, rate: float) -> None:
        self.part, self.path, self.rate = part, path, rate
        self._writer: cv2.VideoWriter | None = None
        self._size, self._count = (0, 0), 0

    def write(self, frame: Picture) -> None:
        """Append a frame. Raises OutputError."""
        size = frame.shape[1], frame.shape[0]
        if self._writer is None:
            self._size, self._writer = size, self._open(size)
        if size != self._size:
            frame = np.asarray(cv2.resize(frame, self._size), np.uint8)
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        self._count += 1

    def _open(self, size: tuple[int, int]) -> cv2.VideoWriter:
        suffix = self.part.suffix.lower()
        codecs = CODECS[suffix]
        for codec in codecs:
            with without_opencv_lines():
                writer = cv2.VideoWriter(str(self.part), cv2.VideoWriter.fourcc(*codec), self.rate, size)
            if writer.isOpened():
                if len(codecs) > 1 and codec == "mp4v":
                    log.warning("%s: this OpenCV writes neither H.264 nor VP9, so browsers will not play it", self.path)
                return writer
        raise OutputError(
            f"{self.path}: this OpenCV cannot write a {suffix} video of {size[0]} x {size[1]} pixels "
            f"({', '.join(codecs)}); try .avi"
        )

    def finish(self) -> None:
        """Close the file. Raises OutputError if there were no frames, or if the file cannot be read back."""
        if self._writer is None:
            raise OutputError(f"{self.path}: cannot write a video: there were no frames")
        self.close()
        check_space(self.part)  # OpenCV does not report a full disk
        check = cv2.VideoCapture(str(self.part))
        readable = check.isOpened() and check.read()[0]
        stated = check.get(cv2.CAP_PROP_FRAME_COUNT)
        check.release()
        if not readable or 0 < stated < 0.98 * self._count - 1:  # the frames are counted by their times in some formats
            raise OutputError(
                f"{self.path}: cannot write: the video cannot be read back; expected enough space on the disk"
            )

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()


@contextlib.contextmanager
def write_video(path: StrPath, rate: float) -> Iterator[VideoFile]:
    """Yield a video file, which appears under its name when the block ends without an error. Raises OutputError."""
    suffix = Path(path).suffix
    if suffix.lower() not in CODECS:
        raise OutputError(f"{path}: cannot write a video: expected a name that ends in {', '.join(CODECS)}")
    with part_of(path, f".part{suffix}") as part:
        video = VideoFile(part, path, rate)
        try:
            yield video
        finally:
            video.close()
        video.finish()


def opencv_formats() -> dict[str, dict[str, bool]]:
    """The formats of pictures and video that this OpenCV was built for, by the names in its build information."""
    found: dict[str, dict[str, bool]] = {"Media I/O": {}, "Video I/O": {}}
    current: dict[str, bool] = {}
    for name, value in re.findall(r"(?m)^( *\S.*?): *(.*?) *$", cv2.getBuildInformation()):
        if not value:
            current = found.get(name.strip(), {})
        elif re.match(r" {4}(?! {2})", name):
            current[name.strip()] = value.upper() not in ("NO", "OFF")
    return {"pictures": found["Media I/O"], "video": found["Video I/O"]}


def open_window(title: str, full_screen: bool = False) -> None:
    """Open a window of 1352 x 1013 pixels, as darknet does. Raises OptionError without a display."""
    check_display()
    try:
        cv2.namedWindow(title, cv2.WINDOW_NORMAL)
        if full_screen:
            cv2.setWindowProperty(title, cv2.WND_PROP_FULLSCREEN, cv2.WINDOW_FULLSCREEN)
        else:
            cv2.moveWindow(title, 0, 0)
            cv2.resizeWindow(title, 1352, 1013)
    except cv2.error as error:
        raise OptionError(f"cannot show a picture: {' '.join(str(error).split())}") from error
