"""What both kinds of training sets have: their list, decoded pictures kept in memory, and options of `[net]`."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config.dialect import PJREDDIE, Dialect
from ..config.sections import Section
from ..images.image import Picture, in_channels, load_image
from ..images.operations import Canvas
from .labels import listed
from .transforms.augment import Colour, Rng, coin
from .transforms.crop import AffineCrop, render

PICTURES_IN_MEMORY = 1 << 28  # bytes of decoded pictures that are kept


@dataclass
class TrainingSet:
    """Pictures, and the options of `[net]` for their augmentation that all training sets have.

    source, lines: the list, and the line of each picture in it, for messages.
    """

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
        """The keyword arguments that `[net]` gives, and the list that `train` of a .data file names. Raises
        ConfigError, DataError."""
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

    def view(
        self, picture: Picture, crop: AffineCrop, rng: Rng, size: tuple[int, int]
    ) -> tuple[Canvas, bool]:  # fmt: skip
        """The input that a crop makes of a picture, with random colours and perhaps mirrored, and whether it is."""
        mirror = self.flip and coin(rng)
        canvas = self.colour.change(render(picture, crop, size), rng)
        return canvas[:, ::-1] if mirror else canvas, mirror


@dataclass
class ImageCache:
    """Decoded pictures by index. They are kept until `PICTURES_IN_MEMORY` is full. Safe for threads."""

    paths: Sequence[Path]
    channels: int
    _kept: dict[int, Picture] = field(default_factory=dict)
    _bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __getitem__(self, index: int) -> Picture:
        picture = self._kept.get(index)
        if picture is None:
            picture = in_channels(load_image(self.paths[index]), self.channels)
            with self._lock:
                if index not in self._kept and self._bytes + picture.nbytes <= PICTURES_IN_MEMORY:
                    self._kept[index] = picture
                    self._bytes += picture.nbytes
        return picture
