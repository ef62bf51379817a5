"""Large pictures in overlapping tiles, in which small objects are larger for the network: cutting, and merging the
results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..boxes import Candidates
from ..errors import ImageError, OptionError
from ..images.image import Picture
from ..utils.arrays import Array

OVERLAP = 0.2  # default: the fraction of a tile's side that it shares with a neighbour
MOST = 64  # tiles in a row or column, at most
NEAR = 0.02  # of a tile's side: a box that ends this near to an inner edge is taken for a part of an object
COVERED = 0.5  # of a part's area: if a whole object of its class covers so much of it, the part is dropped


@dataclass(frozen=True)
class Tile:
    """A rectangle of a picture of `picture_width` x `picture_height`; all in pixels."""

    left: int
    top: int
    width: int
    height: int
    picture_width: int
    picture_height: int

    def of(self, picture: Picture) -> Picture:
        """The pixels of the tile, a view of the picture."""
        return picture[self.top : self.top + self.height, self.left : self.left + self.width]

    def in_picture(self, boxes: Array) -> Array:
        """Boxes (k, 4) as fractions of the tile -> (k, 4) float32 as fractions of the picture."""
        scale = np.array([self.width / self.picture_width, self.height / self.picture_height] * 2)
        corner = np.array([self.left / self.picture_width, self.top / self.picture_height, 0, 0])
        return (boxes * scale + corner).astype(np.float32)

    def cuts(self, boxes: Array) -> NDArray[np.bool_]:
        """(k,) bool: the boxes (k, 4), fractions of the tile, that end at an edge of the tile inside the picture."""
        half = boxes[:, 2:] / 2
        left, top = (boxes[:, :2] - half).T
        right, bottom = (boxes[:, :2] + half).T
        at_left = (left <= NEAR) & (self.left > 0)
        at_top = (top <= NEAR) & (self.top > 0)
        at_right = (right >= 1 - NEAR) & (self.left + self.width < self.picture_width)
        at_bottom = (bottom >= 1 - NEAR) & (self.top + self.height < self.picture_height)
        return at_left | at_top | at_right | at_bottom


@dataclass(frozen=True)
class Tiling:
    """The division of a picture into `columns` x `rows` equal tiles; neighbours share the fraction `overlap` of a side.

    The whole picture is the first tile, for objects larger than the others. Raises OptionError.
    """

    columns: int
    rows: int
    overlap: float = OVERLAP

    def __post_init__(self) -> None:
        for count in (self.columns, self.rows):
            if not (isinstance(count, int) and 1 <= count <= MOST):
                raise OptionError(f"tiles {self.columns}x{self.rows}: expected two numbers from 1 to {MOST}")
        if not 0 <= self.overlap <= 0.9:
            raise OptionError(f"overlap {self.overlap}: expected a number from 0 to 0.9")

    @classmethod
    def parse(cls, text: str, overlap: float = OVERLAP) -> Tiling:
        """The tiling `2x2`, columns by rows. Raises OptionError."""
        columns, x, rows = text.lower().partition("x")
        if not (x and columns.isdecimal() and rows.isdecimal()):
            raise OptionError(f"tiles {text}: expected columns x rows, such as 2x2")
        return cls(int(columns), int(rows), overlap)

    def tiles(self, width: int, height: int) -> list[Tile]:
        """The whole picture, then its tiles row by row. Raises ImageError for one with fewer pixels than tiles."""
        if width < self.columns or height < self.rows:
            raise ImageError(f"{width}x{height} pixels cannot be cut into {self.columns}x{self.rows} tiles")
        whole = Tile(0, 0, width, height, width, height)
        if self.columns == self.rows == 1:
            return [whole]
        return [whole] + [
            Tile(left, top, right - left, bottom - top, width, height)
            for top, bottom in _spans(height, self.rows, self.overlap)
            for left, right in _spans(width, self.columns, self.overlap)
        ]


def _spans(size: int, count: int, overlap: float) -> list[tuple[int, int]]:
    """The first pixel and the one after the last of `count` equal spans that cover `size` pixels."""
    length = size / (count - (count - 1) * overlap)
    starts = [number * length * (1 - overlap) for number in range(count)]
    return [(math.floor(start), min(size, math.ceil(start + length))) for start in starts]


def merge_tiles(tiles: Sequence[Tile], found: Sequence[Candidates]) -> Candidates:
    """The candidates of all tiles, before suppression, as fractions of the picture.

    A box that ends at an inner edge of its tile is a part of an object. It is dropped if a box of its class that is not
    a part covers COVERED of its area, because the part might have a higher confidence and suppress that box. The usual
    suppression does the rest.
    """
    merged = Candidates.concatenate(
        [replace(each, boxes=tile.in_picture(each.boxes)) for tile, each in zip(tiles, found, strict=True)]
    )
    is_part = np.concatenate([tile.cuts(each.boxes) for tile, each in zip(tiles, found, strict=True)])
    seen = merged.probabilities.max(axis=1, initial=0) > 0
    parts, wholes = np.flatnonzero(is_part & seen), np.flatnonzero(~is_part & seen)
    if not (len(parts) and len(wholes)):
        return merged
    classes = merged.probabilities.argmax(axis=1)
    keep = np.ones(len(merged), bool)
    for part in parts:
        rivals = wholes[classes[wholes] == classes[part]]
        keep[part] = not (_covered(merged.boxes[part], merged.boxes[rivals]) >= COVERED).any()
    return merged.select(keep)


@np.errstate(all="ignore")
def _covered(box: Array, others: Array) -> Array:
    """(k,): the fraction of a box (4,) that each of the others (k, 4) covers."""
    low = np.maximum(box[:2] - box[2:] / 2, others[:, :2] - others[:, 2:] / 2)
    high = np.minimum(box[:2] + box[2:] / 2, others[:, :2] + others[:, 2:] / 2)
    return np.clip(high - low, 0, None).prod(axis=1) / box[2:].prod()
