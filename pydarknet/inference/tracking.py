"""Tracking of objects from frame to frame (ByteTrack, of the package trackers), and lines at which they are
counted.
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

from ..boxes import Detection
from ..errors import OptionError, needed_package
from .detections import Detections
from .detector import DetectionResult

_LIBRARY_RATE = 30  # frames per second in which the package counts its buffer


@dataclass(frozen=True)
class Track:
    """An object with the number that it keeps from frame to frame, from 1."""

    track_id: int
    detection: Detection


class Tracker:
    """Assigns track numbers to the objects of a video, frame by frame.

    A detection is matched with the track whose predicted box it overlaps, whatever its class. The class of a
    track is the most frequent one of its detections. A track gets its number with its second detection.

    rate: the frames per second that `update` will get. confident: a detection of at least this confidence starts
    a track; a weaker one can only continue one. patience: seconds for which a track without detections is kept.
    Raises OptionError, also without the package trackers.
    """

    def __init__(self, rate: float = 25.0, confident: float = 0.5, patience: float = 1.0) -> None:
        if not (rate > 0 and 0 <= confident <= 1 and patience >= 0):
            raise OptionError(f"rate {rate}, confident {confident}, patience {patience}: expected a rate above 0, a "
                              "confidence from 0 to 1, a patience of 0 or more")  # fmt: skip
        self._supervision, trackers = _libraries()
        self._votes: dict[int, Counter[tuple[int, str]]] = {}  # of each track: the sums of confidences by class
        self._tracker: Any = trackers.ByteTrackTracker(
            lost_track_buffer=round(patience * _LIBRARY_RATE),
            frame_rate=rate,
            track_activation_threshold=confident,
            high_conf_det_threshold=confident,
        )

    def update(self, found: DetectionResult) -> list[Track]:
        """The tracks that are detected in the next frame, sorted by number. Only the best class of a box counts."""
        objects = Detections(best_of_boxes(found))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            updated = self._tracker.update(self._supervision.Detections(
                xyxy=objects.xyxy, confidence=objects.confidence, class_id=objects.class_id,
                data={"index": np.arange(len(objects))},
            ))  # fmt: skip
        alive = {each.tracker_id for each in self._tracker.tracks}
        self._votes = {number: votes for number, votes in self._votes.items() if number in alive}
        if not len(updated):
            return []
        pairs = zip(updated.tracker_id.tolist(), updated.data["index"].tolist(), strict=True)
        return [
            Track(number + 1, self._named(number, objects[index])) for number, index in sorted(pairs) if number >= 0
        ]

    def _named(self, number: int, detection: Detection) -> Detection:
        """The detection with the class of its track: the one with the largest sum of confidences."""
        votes = self._votes.setdefault(number, Counter())
        votes[detection.class_id, detection.name] += detection.confidence  # type: ignore[assignment]
        (class_id, name), _ = votes.most_common(1)[0]
        return replace(detection, class_id=class_id, name=name)


def best_of_boxes(found: DetectionResult) -> list[Detection]:
    """The best class of each box that has one above the threshold; boxes that are not finite are left out."""
    best = [max(each, key=lambda detection: detection.confidence) for each in found.by_box()]
    return [each for each in best if np.isfinite(each.box.xyxy).all()]


class CountLine:
    """Counts tracks whose centre crosses a line: `entered` counts those that cross to the left, seen from the start
    towards the end, `left` those that cross to the right. Raises OptionError without the package trackers.

    start, end: x and y in pixels of the frame, or as fractions of it if all four are at most 1.
    """

    def __init__(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        if start == end:
            raise OptionError(f"count line: its ends are both {start}; expected two points")
        self.start, self.end = start, end
        self.entered: Counter[str] = Counter()
        self.left: Counter[str] = Counter()
        self._supervision, _ = _libraries()
        self._zone: Any = None

    @classmethod
    def parse(cls, text: str) -> "CountLine":
        """The line `x1,y1,x2,y2`. Raises OptionError."""
        try:
            x1, y1, x2, y2 = (float(word) for word in text.split(","))
        except ValueError:
            raise OptionError(f"count line {text}: expected four numbers, x1,y1,x2,y2") from None
        if not np.isfinite((x1, y1, x2, y2)).all():
            raise OptionError(f"count line {text}: expected four finite numbers, x1,y1,x2,y2")
        return cls((x1, y1), (x2, y2))

    def in_pixels(self, width: int, height: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Start and end in pixels of a frame of this size."""
        w, h = (width, height) if max(*self.start, *self.end) <= 1 else (1, 1)
        start, end = ((round(x * w), round(y * h)) for x, y in (self.start, self.end))
        return start, end

    def begin(self) -> None:
        """Forget the positions of tracks, before the first frame of another video; the counts are kept."""
        self._zone = None

    def update(self, tracks: Sequence[Track], width: int, height: int) -> None:
        """Count the tracks of the next frame, of `width` x `height` pixels."""
        sv = self._supervision
        if self._zone is None:
            start, end = (sv.Point(*point) for point in self.in_pixels(width, height))
            self._zone = sv.LineZone(start, end, triggering_anchors=[sv.Position.CENTER])
        boxes = Detections(each.detection for each in tracks).xyxy
        numbers = np.array([each.track_id for each in tracks], int)
        entered, left = self._zone.trigger(sv.Detections(xyxy=boxes, tracker_id=numbers))
        for track, came, went in zip(tracks, entered, left, strict=True):
            self.entered[track.detection.name] += bool(came)
            self.left[track.detection.name] += bool(went)

    def as_json(self) -> dict[str, Any]:
        """The counts so far: `in`, `out` and, with the name of each class that crossed, `classes`."""
        names = [name for name in sorted({*self.entered, *self.left}) if self.entered[name] or self.left[name]]
        classes = {name: {"in": self.entered[name], "out": self.left[name]} for name in names}
        return {"in": self.entered.total(), "out": self.left.total(), "classes": classes}


def _libraries() -> tuple[Any, ModuleType]:
    with needed_package("tracking needs the package trackers", "'pydarknet[track]'"):
        import supervision
        import trackers
    return supervision, trackers
