"""The training sets of detectors and of classifiers: lists, labels, checks, augmentation."""

import itertools
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..config.dialect import ALEXEYAB, PJREDDIE, Dialect
from ..config.names import WordTree, choose_names
from ..config.sections import Section
from ..errors import DataError
from ..images.image import Picture, in_channels, picture_of_size
from ..images.operations import Canvas, as_input
from ..utils.arrays import Array
from ..utils.files import LimitedLog, log, read_text
from . import augment
from .augment import AffineCrop, Colour, Margins, Rng, Size, coin, render
from .labels import candidates, class_vector, listed
from .listing import LabelledPicture, read_picture

PICTURES_IN_MEMORY = 1 << 28  # bytes of decoded pictures that are kept


@dataclass
class TrainingSet:
    """Pictures, with their list and lines, and the options for augmentation."""

    paths: Sequence[Path]
    classes: int
    source: Path | None = None
    lines: Sequence[int] = ()
    dialect: Dialect = PJREDDIE
    channels: int = 3
    colour: Colour = field(default_factory=Colour)
    flip: bool = True
    blur: int = 0
    mix: int = 0  # 0 none, 1 mixup, 2 cutmix, 3 mosaic, 4 cutmix or mosaic

    def __post_init__(self) -> None:
        self.pictures = ImageCache(self.paths, self.channels)

    def __len__(self) -> int:
        return len(self.paths)

    @staticmethod
    def options(data: Section, net: Section, dialect: Dialect) -> dict[str, Any]:
        """The keyword arguments that `[net]` and a .data file give. Raises ConfigError, DataError."""
        net.foreign = dialect.foreign_keys("net")
        channels = net.integer("channels", 3)
        if channels not in (1, 3):
            raise net.error(f"channels={channels}: expected 3 or 1, the channels of a picture", "channels")
        cutmix, mosaic = net.flag("cutmix"), net.flag("mosaic")
        shared = {
            "dialect": dialect,
            "channels": channels,
            "colour": Colour.from_section(net),
            "flip": net.flag("flip", True),
            "blur": net.natural("blur", 0, 1 << 10),
            "mix": {(True, True): 4, (True, False): 2, (False, True): 3}.get((cutmix, mosaic), net.integer("mixup", 0)),
        }
        path = data.file("train")
        if path is None:
            raise data.error("train= is missing: the list of training pictures")
        lines, _, paths = zip(*listed(path), strict=True)
        return {"source": path, "lines": lines, "paths": paths, **shared}

    def view(self, picture: Picture, crop: AffineCrop, rng: Rng, size: Size) -> tuple[Canvas, bool]:
        """The input that a crop makes of a picture in random colours, and whether it is mirrored."""
        mirror = self.flip and coin(rng)
        canvas = self.colour.change(render(picture, crop, size), rng)
        return canvas[:, ::-1] if mirror else canvas, mirror

    def _picture(self, index: int) -> tuple[Picture, Size]:
        picture = self.pictures[index]
        return picture, (picture.shape[1], picture.shape[0])


@dataclass
class ImageCache:
    """Decoded pictures by index, until PICTURES_IN_MEMORY is full. Safe for threads. Copies begin without any.
    least: see `images.image.picture_of_size`."""

    paths: Sequence[Path]
    channels: int
    least: tuple[int, int] | None = None
    scaled: bool = False  # whether any was decoded at a reduced size
    _kept: dict[int, Picture] = field(default_factory=dict)
    _bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __reduce__(self) -> tuple[type["ImageCache"], tuple[Any, ...]]:
        return ImageCache, (self.paths, self.channels, self.least)

    def __getitem__(self, index: int) -> Picture:
        picture = self._kept.get(index)
        if picture is None:
            found, size = picture_of_size(self.paths[index], least=self.least)
            self.scaled |= found.shape[1] != size[0]
            picture = in_channels(found, self.channels)
            with self._lock:
                if index not in self._kept and self._bytes + picture.nbytes <= PICTURES_IN_MEMORY:
                    self._kept[index] = picture
                    self._bytes += picture.nbytes
        return picture


@dataclass
class DetectionDataset(TrainingSet):
    """Pictures with boxes, and the options of their augmentation."""

    jitter: float = 0.2
    resize: float = 1.0
    max_boxes: int = 90
    letter_box: bool = False
    mosaic_bound: bool = False
    noise: float = 0.0
    grid: bool = False  # for [detection], YOLOv1's head
    rule: str = ""  # the rule by which the first label file was found

    @classmethod
    def from_config(
        cls, data: Section, net: Section, dialect: Dialect, *, classes: int, jitter: float, resize: float,
        max_boxes: int, grid: bool,
    ) -> "DetectionDataset":  # fmt: skip
        """From a .data file, `[net]`, and options of the last head. Raises DataError and ConfigError."""
        shared = cls.options(data, net, dialect)
        letter_box = net.flag("letter_box")
        if shared["mix"] in (2, 4):
            log.warning("%s:%d: cutmix is for classifiers; it is ignored", net.path, net.line)
            shared["mix"] = 0 if shared["mix"] == 2 else 3
        if shared["mix"] == 3 and letter_box:
            raise net.error("mosaic=1 and letter_box=1 do not go together; use one of them", "letter_box")
        return cls(
            classes=classes, jitter=jitter, resize=resize, max_boxes=max_boxes, letter_box=letter_box,
            mosaic_bound=net.flag("mosaic_bound"), noise=net.real("gaussian_noise", 0), grid=grid, **shared,
        )  # fmt: skip

    def _read(self, index: int) -> LabelledPicture:
        found = read_picture(0, self.paths[index], self.dialect)
        if found.rule and not self.rule:
            self.rule = found.rule
            log.info("labels are found by %s: %s", found.rule, found.labels)
        return found

    def check(self, share: float = 0.5) -> str:
        """A summary of all label files in one line; wrong lines are logged.

        Raises DataError without objects, or if more than `share` of labels are wrong or (pjreddie) missing.
        """
        warnings, missing, objects = LimitedLog(), 0, 0
        for index, picture in enumerate(self.paths):
            found = self._read(index)
            objects += len(found.rows)
            missing += found.labels is None
            problems = found.problems(self.classes, self.dialect)
            if found.labels is None:
                problems = [f"{picture}: no label file; looked for {self._tried(picture)}"]
            for problem in problems:
                warnings.add(problem)
        wrong = warnings.count - missing
        unusable = warnings.count if self.dialect.name == PJREDDIE.name else wrong
        summary = f"{len(self)} pictures, {objects} objects, {missing} label files missing, {wrong} wrong labels"
        if self.rule:
            summary += f" (label files by {self.rule})"
        if objects == 0:
            raise DataError(f"{summary}; expected at least one object. Tried {self._tried(self.paths[0])}")
        if unusable > share * (max(objects - wrong, 0) + unusable):
            raise DataError(f"{summary}; more than {share:.0%} of the labels cannot be used")
        return summary

    def _tried(self, picture: Path) -> str:
        return ", ".join(dict.fromkeys(path for _, path in candidates(picture, self.dialect)))

    def load(self, index: int, rng: Rng, width: int, height: int) -> tuple[Array, Array]:
        """One augmented sample: (channels, height, width) float32 in 0..1, and its boxes, (k, 5)."""
        size = width, height
        if self.mix == 3 and coin(rng):
            canvas, rows = self._mosaic([index, *(int(rng.integers(len(self))) for _ in range(3))], rng, size)
        else:
            canvas, rows = self._single(index, rng, size)
            if self.mix == 1 and coin(rng):
                other, more = self._single(int(rng.integers(len(self))), rng, size)
                canvas, rows = augment.blend([canvas, other]), np.concatenate([rows, more])
        return as_input(canvas), rows[: self.max_boxes]

    def _labels(self, index: int, rng: Rng) -> Array:
        rows = self._read(index).rows  # none of a file that is not text, which `check` has reported
        return rng.permutation(rows[np.isfinite(rows).all(1) & (rows[:, 0] >= 0)])

    def _margins(self, rng: Rng, source: Size, size: Size) -> Margins:
        margins = augment.zoomed(rng, augment.random_margins(rng, source, self.jitter), source, self.resize)
        if self.letter_box:
            margins = augment.letterboxed(margins, source, size)
        return augment.checked(margins, source)

    def _single(self, index: int, rng: Rng, size: Size) -> tuple[Canvas, Array]:
        picture, source = self._picture(index)
        if self.grid:
            margins = augment.checked(augment.random_margins(rng, source, self.jitter), source)
            view = augment.cropped(picture, margins, size, at_corners=True)
        elif self.dialect.name == PJREDDIE.name:
            view = augment.placed(rng, source, size, self.jitter)
        else:
            view = augment.cropped(picture, self._margins(rng, source, size), size)
        canvas, mirror = self.view(picture, view, rng, size)
        rows = self._boxes(index, rng, view, mirror, size)
        return self._blur_and_noise(canvas, rows, rng), rows

    def _boxes(self, index: int, rng: Rng, view: AffineCrop, mirror: bool, size: Size) -> Array:
        alexeyab = self.dialect.name == ALEXEYAB.name
        rows = augment.move_boxes(self._labels(index, rng), view.scale, view.shift, mirror, drops_outside=alexeyab)
        rows = rows[: self.max_boxes]
        if alexeyab:
            return augment.larger_than(augment.known_boxes(rows, self.classes), 1 / size[0], 1 / size[1])
        least = 0.005 if self.grid else 0.001
        return augment.larger_than(rows, least, least)

    def _blur_and_noise(self, canvas: Canvas, rows: Array, rng: Rng) -> Canvas:
        if self.blur:
            canvas = augment.blur_some(np.ascontiguousarray(canvas), rows, self.blur, rng)
        if self.noise > 0:
            canvas = augment.add_noise(canvas, self.noise, rng)
        return canvas

    def _mosaic(self, indices: Sequence[int], rng: Rng, size: Size) -> tuple[Canvas, Array]:
        width, height = size
        cut = augment.cut_point(rng, size)
        canvas, found = np.empty((height, width, self.channels), np.float32), []
        for quadrant, index in enumerate(indices):
            picture, source = self._picture(index)
            margins = self._margins(rng, source, size)
            mirror = self.flip and coin(rng)
            if coin(rng):
                margins = augment.towards_corner(margins, quadrant, mirror)
            view = augment.cropped(picture, margins, size)
            tile = augment.mosaic_tile(quadrant, cut, size, source, margins, mirror)
            left, top, tile_w, tile_h = tile.target
            from_x = width - tile.source[0] - tile_w if mirror else tile.source[0]
            part = augment.render_tile(picture, view, (from_x, tile.source[1], tile_w, tile_h))
            part = self.colour.change(part, rng)
            canvas[top : top + tile_h, left : left + tile_w] = part[:, ::-1] if mirror else part
            rows = self._boxes(index, rng, view, mirror, size)
            whole = (left / width, top / height, (left + tile_w) / width, (top + tile_h) / height)
            bounds = whole if self.mosaic_bound else (0.0, 0.0, 1.0, 1.0)
            rows = augment.shift_boxes(rows, tile.dx, tile.dy, bounds)
            found.append(augment.larger_than(rows, 1 / width, 1 / height))
        rows = np.concatenate(found)
        return self._blur_and_noise(canvas, rows, rng), rows


@dataclass
class ClassificationDataset(TrainingSet):
    """Pictures with their class in the path, and the options of their augmentation."""

    labels: Sequence[str] = ()
    tree: WordTree | None = None
    crop: tuple[int, int] = (224, 448)  # bounds of the scaled picture's shorter side, in pixels
    ratio: tuple[float, float] | None = None  # instead of `crop`: multiples of the input's width
    angle: float = 0.0
    aspect: float = 1.0
    smooth: float = 0.0
    tag: bool = False  # the classes of a picture are read from a label file

    @classmethod
    def from_config(
        cls, data: Section, net: Section, classes: int, tree: WordTree | None, dialect: Dialect
    ) -> "ClassificationDataset":
        """From a .data file and `[net]`. Raises DataError and ConfigError."""
        shared = cls.options(data, net, dialect)
        labels = data.file("labels", "names")
        if labels is None:
            raise data.error("labels= is missing: the file of class labels, which occur in the pictures' paths")
        width = net.integer("width", 0) or 224
        lowest, highest = net.integer("min_crop", width), net.integer("max_crop", 2 * width)
        ratio = net.real("min_ratio", lowest / width), net.real("max_ratio", highest / width)
        has_ratio = dialect.name == PJREDDIE.name
        return cls(
            labels=choose_names(classes, labels, exact=False), classes=classes, tree=tree, crop=(lowest, highest),
            ratio=ratio if has_ratio else None, angle=net.real("angle", 0), aspect=net.real("aspect", 1) or 1.0,
            smooth=net.real("label_smooth_eps", 0), tag=data.flag("tag"), **shared,
        )  # fmt: skip

    def matches(self, index: int) -> list[int]:
        """The classes that a picture's path contains or, with `tag`, those of its label file."""
        name = str(self.paths[index])
        if not self.tag:
            return [number for number, label in enumerate(self.labels) if label in name]
        path = name.replace("images", "labels", 1).replace(".jpg", ".txt", 1)
        if path == name or not os.path.isfile(path):  # noqa: PTH113 (no error for a name that the system refuses)
            return []
        words = itertools.takewhile(re.compile("[0-9]{1,9}").fullmatch, read_text(path, DataError).split())
        return [number for number in map(int, words) if number < self.classes]

    def check(self, share: float = 0.5) -> str:
        """A summary of all classes in one line; wrong pictures are logged.

        Raises DataError if more than `share` of them have no label or (without `tag`) several.
        """
        warnings, without, used = LimitedLog(), 0, np.zeros(self.classes, bool)
        for index, picture in enumerate(self.paths):
            found = self.matches(index)
            used[found] = True
            if len(found) == 1 or (found and self.tag):
                continue
            without += not found
            names = f" ({', '.join(self.labels[number] for number in found[:5])})" if found else ""
            where = f"{self.source}:{self.lines[index]}: " if self.source is not None and self.lines else ""
            warnings.add(f"{where}Too many or too few labels: {len(found)}{names}, {picture}")
        classes, several = f"{int(used.sum())} of {self.classes} classes", warnings.count - without
        summary = f"{len(self)} pictures, {classes}, {without} without a label, {several} with several"
        if warnings.count > share * len(self):
            raise DataError(f"{summary}; more than {share:.0%} of the pictures cannot be used")
        return summary

    def load(self, index: int, rng: Rng, width: int, height: int) -> tuple[Array, Array]:
        """One augmented sample: (channels, height, width) float32 in 0..1, and its (classes,) truth."""
        size = width, height
        mode = self.mix if self.mix and coin(rng) else 0
        if mode == 4:
            mode = augment.rand_int(rng, 2, 3)
        indices = [index, *(int(rng.integers(len(self))) for _ in range({1: 1, 2: 1, 3: 3}.get(mode, 0)))]
        canvases, truths = zip(*(self._single(i, rng, size) for i in indices), strict=True)
        canvas, shares = canvases[0], [1.0]
        if mode == 1:
            canvas, shares = augment.blend(canvases), [0.5, 0.5]
        elif mode in (2, 3):
            canvas, shares = augment.cutmix(canvases, rng) if mode == 2 else augment.quarters(canvases, rng)
        return as_input(canvas), augment.mix_truth(truths, shares) if mode else truths[0]

    def _single(self, index: int, rng: Rng, size: Size) -> tuple[Canvas, Array]:
        (picture, source), bounds = self._picture(index), self.crop
        if self.ratio is not None:
            bounds = int(self.ratio[0] * size[0]), int(self.ratio[1] * size[0])
        inside = self.dialect.name == ALEXEYAB.name
        view = augment.rotated_crop(rng, source, size, bounds, self.angle, self.aspect, inside)
        canvas, _ = self.view(picture, view, rng, size)
        if self.blur:
            canvas = augment.blur_whole(np.ascontiguousarray(canvas), self.blur, rng)
        return canvas, class_vector(self.matches(index), self.classes, self.tree, self.smooth)
