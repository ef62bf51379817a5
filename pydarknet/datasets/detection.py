"""The training set of a detector: pictures with label files, their checks and their augmentation."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..config.dialect import ALEXEYAB, PJREDDIE, Dialect
from ..config.sections import Section
from ..errors import DataError
from ..images.operations import Canvas
from ..utils.arrays import Array
from ..utils.files import LimitedLog
from . import augment
from .augment import AffineCrop, Margins, Rng
from .dataloader import TrainingSet
from .labels import candidates
from .listing import LabelledPicture, read_picture

log = logging.getLogger("pydarknet")


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
    ) -> DetectionDataset:  # fmt: skip
        """From the list `train` of a .data file, the options of `[net]`, and the keyword arguments, which are options
        of the last head. Raises DataError and ConfigError."""
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
        """A picture's labels, found by the dialect's rule or else by another one. The rule is logged once."""
        found = read_picture(0, self.paths[index], self.dialect)
        if found.rule and not self.rule:
            self.rule = found.rule
            log.info("labels are found by %s: %s", found.rule, found.labels)
        return found

    def check(self, share: float = 0.5) -> str:
        """A summary of the set in one line, from all label files; wrong lines are logged.

        Raises DataError if there are no objects, or if more than `share` of the labels are wrong or, in pjreddie's
        dialect, missing.
        """
        warnings, missing, objects, wrong = LimitedLog(), 0, 0, 0
        for index, picture in enumerate(self.paths):
            found = self._read(index)
            if found.labels is None:
                missing += 1
                warnings.add(f"{picture}: no label file; looked for {self._tried(picture)}")
                continue
            problems = found.problems(self.classes, self.dialect)
            for problem in problems:
                warnings.add(problem)
            wrong += len(problems)
            objects += len(found.rows)
        counted = missing if self.dialect.name == PJREDDIE.name else 0
        good = objects - wrong
        summary = f"{len(self)} pictures, {objects} objects, {missing} label files missing, {wrong} wrong labels"
        if self.rule:
            summary += f" (label files by {self.rule})"
        if objects == 0:
            raise DataError(f"{summary}; expected at least one object. Tried {self._tried(self.paths[0])}")
        if wrong + counted > share * (max(good, 0) + wrong + counted):
            raise DataError(f"{summary}; more than {share:.0%} of the labels cannot be used")
        return summary

    def _tried(self, picture: Path) -> str:
        return ", ".join(dict.fromkeys(path for _, path in candidates(picture, self.dialect)))

    def load(self, index: int, rng: Rng, width: int, height: int) -> tuple[Array, Array]:
        """One augmented sample: (channels, height, width) float32 in 0..1, and its boxes, (k, 5) float32 rows of class,
        x, y, w, h in fractions of it. Raises ImageError for a picture that cannot be read."""
        size = width, height
        if self.mix == 3 and augment.coin(rng):
            canvas, rows = self._mosaic([index, *(int(rng.integers(len(self))) for _ in range(3))], rng, size)
        else:
            canvas, rows = self._single(index, rng, size)
            if self.mix == 1 and augment.coin(rng):
                other, more = self._single(int(rng.integers(len(self))), rng, size)
                canvas, rows = augment.blend([canvas, other]), np.concatenate([rows, more])
        return augment.as_input(canvas), rows[: self.max_boxes]

    def _labels(self, index: int, rng: Rng) -> Array:
        """The valid label rows of a picture in random order: finite, and of a class that is not negative."""
        rows = self._read(index).rows  # none of a file that is not text, which `check` has reported
        return rng.permutation(rows[np.isfinite(rows).all(1) & (rows[:, 0] >= 0)])

    def _margins(self, rng: Rng, source: tuple[int, int], size: tuple[int, int]) -> Margins:
        margins = augment.zoomed(rng, augment.random_margins(rng, source, self.jitter), source, self.resize)
        if self.letter_box:
            margins = augment.letterboxed(margins, source, size)
        return augment.checked(margins, source)

    def _single(self, index: int, rng: Rng, size: tuple[int, int]) -> tuple[Canvas, Array]:
        """A random crop that fills the input, as YOLOv1's, pjreddie's or AlexeyAB's detectors are trained."""
        picture = self.pictures[index]
        source = picture.shape[1], picture.shape[0]
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

    def _boxes(self, index: int, rng: Rng, view: AffineCrop, mirror: bool, size: tuple[int, int]) -> Array:
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

    def _mosaic(self, indices: Sequence[int], rng: Rng, size: tuple[int, int]) -> tuple[Canvas, Array]:
        """A mosaic of four pictures, each augmented like a single one, and the remaining parts of their boxes."""
        width, height = size
        cut = augment.cut_point(rng, size)
        canvas, found = np.empty((height, width, self.channels), np.float32), []
        for quadrant, index in enumerate(indices):
            picture = self.pictures[index]
            source = picture.shape[1], picture.shape[0]
            margins = self._margins(rng, source, size)
            mirror = self.flip and augment.coin(rng)
            if augment.coin(rng):
                margins = augment.towards_corner(margins, quadrant, mirror)
            view = augment.cropped(picture, margins, size)
            tile = augment.mosaic_tile(quadrant, cut, size, source, margins, mirror)
            left, top, tile_w, tile_h = tile.target
            from_x = width - tile.source[0] - tile_w if mirror else tile.source[0]
            part = augment.render_tile(picture, view, (from_x, tile.source[1], tile_w, tile_h))
            part = self.colour.change(part, rng)
            canvas[top : top + tile_h, left : left + tile_w] = part[:, ::-1] if mirror else part
            rows = self._boxes(index, rng, view, mirror, size)
            bounds = (0.0, 0.0, 1.0, 1.0)
            if self.mosaic_bound:
                bounds = (left / width, top / height, (left + tile_w) / width, (top + tile_h) / height)
            rows = augment.shift_boxes(rows, tile.dx, tile.dy, bounds)
            found.append(augment.larger_than(rows, 1 / width, 1 / height))
        rows = np.concatenate(found)
        return self._blur_and_noise(canvas, rows, rng), rows
