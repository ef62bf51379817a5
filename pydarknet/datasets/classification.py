"""The training set of a classifier: pictures with their class in the path, and their augmentation."""

from __future__ import annotations

import itertools
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..config.dialect import ALEXEYAB, PJREDDIE, Dialect
from ..config.names import WordTree, choose_names
from ..config.sections import Section
from ..errors import DataError
from ..images.operations import Canvas
from ..utils.arrays import Array
from ..utils.files import LimitedLog, read_text
from . import augment
from .augment import Rng
from .dataloader import TrainingSet
from .labels import class_vector

log = logging.getLogger("pydarknet")


@dataclass
class ClassificationDataset(TrainingSet):
    """Pictures with their class in the path, and the options of their augmentation."""

    labels: Sequence[str] = ()
    tree: WordTree | None = None
    crop: tuple[int, int] = (224, 448)  # bounds of the scaled picture's shorter side, in pixels
    ratio: tuple[float, float] | None = None  # instead of `crop`: its bounds as multiples of the input's width
    angle: float = 0.0
    aspect: float = 1.0
    smooth: float = 0.0
    tag: bool = False  # the classes of a picture are read from a label file

    @classmethod
    def from_config(
        cls, data: Section, net: Section, classes: int, tree: WordTree | None, dialect: Dialect
    ) -> ClassificationDataset:
        """From the lists `train` and `labels` (or else `names`) of a .data file and the options of `[net]`.

        Raises DataError and ConfigError.
        """
        shared = cls.options(data, net, dialect)
        labels = data.file("labels", "names")
        if labels is None:
            raise data.error("labels= is missing: the file of class labels, which occur in the pictures' paths")
        width = net.integer("width", 0) or 224
        lowest, highest = net.integer("min_crop", width), net.integer("max_crop", 2 * width)
        ratio = None
        if dialect.name == PJREDDIE.name:
            ratio = net.real("min_ratio", lowest / width), net.real("max_ratio", highest / width)
        return cls(
            labels=choose_names(classes, labels, exact=False), classes=classes, tree=tree, crop=(lowest, highest),
            ratio=ratio, angle=net.real("angle", 0), aspect=net.real("aspect", 1) or 1.0,
            smooth=net.real("label_smooth_eps", 0), tag=data.flag("tag"), **shared,
        )  # fmt: skip

    def matches(self, index: int) -> list[int]:
        """The classes of a picture: those whose label its path contains or, with `tag`, those of its label file."""
        if self.tag:
            return self._tags(self.paths[index])
        path = str(self.paths[index])
        return [number for number, label in enumerate(self.labels) if label in path]

    def _tags(self, picture: Path) -> list[int]:
        path = Path(str(picture).replace("images", "labels", 1).replace(".jpg", ".txt", 1))
        if path == picture or not os.path.isfile(path):  # noqa: PTH113 (no error for a name that the system refuses)
            return []
        words = itertools.takewhile(re.compile("[0-9]{1,9}").fullmatch, read_text(path, DataError).split())
        return [number for number in map(int, words) if number < self.classes]

    def check(self, share: float = 0.5) -> str:
        """A summary of the set in one line, from the classes of all pictures; wrong pictures are logged.

        Raises DataError if more than `share` of the pictures have no label or (without `tag`) several labels.
        """
        warnings = LimitedLog()
        without, several, used = 0, 0, np.zeros(self.classes, bool)
        for index, picture in enumerate(self.paths):
            found = self.matches(index)
            used[found] = True
            if len(found) == 1 or (found and self.tag):
                continue
            without, several = without + (not found), several + (len(found) > 1)
            names = ", ".join(self.labels[number] for number in itertools.islice(found, 5))
            listed = f" ({names})" if names else ""
            where = f"{self.source}:{self.lines[index]}: " if self.source is not None and self.lines else ""
            warnings.add(f"{where}Too many or too few labels: {len(found)}{listed}, {picture}")
        summary = (
            f"{len(self)} pictures, {int(used.sum())} of {self.classes} classes, {without} without a label, "
            f"{several} with several"
        )
        if without + several > share * len(self):
            raise DataError(f"{summary}; more than {share:.0%} of the pictures cannot be used")
        return summary

    def load(self, index: int, rng: Rng, width: int, height: int) -> tuple[Array, Array]:
        """One augmented sample: (channels, height, width) float32 in 0..1, and its class vector (classes,) float32.

        Raises ImageError for a picture that cannot be read.
        """
        size = width, height
        mode = self.mix if self.mix and augment.coin(rng) else 0
        if mode == 4:
            mode = augment.rand_int(rng, 2, 3)
        indices = [index, *(int(rng.integers(len(self))) for _ in range({1: 1, 2: 1, 3: 3}.get(mode, 0)))]
        canvases, truths = zip(*(self._single(i, rng, size) for i in indices), strict=True)
        canvas, shares = canvases[0], [1.0]
        if mode == 1:
            canvas, shares = augment.blend(canvases), [0.5, 0.5]
        elif mode in (2, 3):
            canvas, shares = augment.cutmix(canvases, rng) if mode == 2 else augment.quarters(canvases, rng)
        return augment.as_input(canvas), augment.mix_truth(truths, shares) if mode else truths[0]

    def _single(self, index: int, rng: Rng, size: tuple[int, int]) -> tuple[Canvas, Array]:
        picture, bounds = self.pictures[index], self.crop
        if self.ratio is not None:
            bounds = int(self.ratio[0] * size[0]), int(self.ratio[1] * size[0])
        inside, source = self.dialect.name == ALEXEYAB.name, (picture.shape[1], picture.shape[0])
        view = augment.rotated_crop(rng, source, size, bounds, self.angle, self.aspect, inside)
        canvas, _ = self.view(picture, view, rng, size)
        if self.blur:
            canvas = augment.blur_whole(np.ascontiguousarray(canvas), self.blur, rng)
        return canvas, class_vector(self.matches(index), self.classes, self.tree, self.smooth)
