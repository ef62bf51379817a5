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
from .image_cache import TrainingSet, size_of, train_list
from .labels import class_vector
from .transforms import augment
from .transforms import crop as views
from .transforms import mix as mixing
from .transforms.augment import Rng

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
    source: Path | None = None  # the list, for messages
    lines: Sequence[int] = ()  # the line of each picture in it

    @classmethod
    def from_config(
        cls, data: Section, net: Section, classes: int, tree: WordTree | None, dialect: Dialect
    ) -> ClassificationDataset:
        """From the lists `train` and `labels` (or else `names`) of a .data file and the options of `[net]`.

        Raises DataError and ConfigError.
        """
        shared = cls.options(net, dialect)
        source, lines, paths = train_list(data)
        labels = data.file("labels", "names")
        if labels is None:
            raise data.error("labels= is missing: the file of class labels, which occur in the pictures' paths")
        width = net.integer("width", 0) or 224
        lowest, highest = net.integer("min_crop", width), net.integer("max_crop", 2 * width)
        ratio = None
        if dialect.name == PJREDDIE.name:
            ratio = net.real("min_ratio", lowest / width), net.real("max_ratio", highest / width)
        return cls(
            paths=paths,
            labels=choose_names(classes, labels, exact=False),
            classes=classes,
            tree=tree,
            crop=(lowest, highest),
            ratio=ratio,
            angle=net.real("angle", 0),
            aspect=net.real("aspect", 1) or 1.0,
            smooth=net.real("label_smooth_eps", 0),
            tag=data.flag("tag"),
            source=source,
            lines=lines,
            **shared,
        )

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
        others = {1: 1, 2: 1, 3: 3}.get(mode, 0)
        indices = [index, *(int(rng.integers(len(self))) for _ in range(others))]
        canvases, truths = zip(*(self._single(i, rng, size) for i in indices), strict=True)
        if mode == 0:
            return views.as_input(canvases[0]), truths[0]
        if mode == 1:
            canvas, shares = mixing.blend(canvases), [0.5, 0.5]
        else:
            canvas, shares = mixing.cutmix(canvases, rng) if mode == 2 else mixing.quarters(canvases, rng)
        return views.as_input(canvas), mixing.mix_truth(truths, shares)

    def _single(self, index: int, rng: Rng, size: tuple[int, int]) -> tuple[Canvas, Array]:
        picture = self.pictures[index]
        crop = self.crop
        if self.ratio is not None:
            crop = int(self.ratio[0] * size[0]), int(self.ratio[1] * size[0])
        inside = self.dialect.name == ALEXEYAB.name
        view = views.rotated_crop(rng, size_of(picture), size, crop, self.angle, self.aspect, inside)
        canvas = views.render(picture, view, size)
        mirror = self.flip and augment.coin(rng)
        canvas = self.colour.change(canvas, rng)
        if mirror:
            canvas = views.mirrored(canvas)
        if self.blur:
            canvas = augment.blur_whole(np.ascontiguousarray(canvas), self.blur, rng)
        return canvas, class_vector(self.matches(index), self.classes, self.tree, self.smooth)
