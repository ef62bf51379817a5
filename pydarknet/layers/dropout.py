"""`[dropout]`, of single values or, with `dropblock`, of squares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..config.sections import Section
from ..utils.arrays import Array
from .base import BuildContext
from .simple import Identity

GROWS_FOR = 0.85  # of a run, in which squares and their probability grow to what the cfg says
DEFAULT_SQUARE = 7  # cells


@dataclass(frozen=True)
class Squares:
    """`dropblock`: the side of the squares as cells or as a part of the plane's width and height."""

    cells: int = 0
    part: float = 0.0

    @classmethod
    def from_section(cls, section: Section) -> Squares | None:
        """Read the keys; None without `dropblock`. The number of cells goes before the part."""
        cells, part = section.integer("dropblock_size_abs", 0), section.real("dropblock_size_rel", 0.0)
        if not section.flag("dropblock"):
            return None
        if cells:
            return cls(cells)
        return cls(part=part) if part else cls(DEFAULT_SQUARE)

    def side(self, width: int, height: int, progress: float) -> int:
        """Cells, when `progress` (0 to 1) of the growth is over."""
        sides = [int((self.part * side if self.part else self.cells) * progress) for side in (width, height)]
        return min(min(max(1, wanted), side) for wanted, side in zip(sides, (width, height), strict=True))


@dataclass(kw_only=True, eq=False, repr=False)
class Dropout(Identity):
    """`[dropout]`: the identity at inference. In training each value, or with `dropblock` one square of a plane, is 0
    with `probability`, and the others are larger by as much."""

    probability: float
    squares: Squares | None = None

    @property
    def is_alias(self) -> bool:  # type: ignore[override]
        return not self.training

    @classmethod
    def from_section(cls, section: Section, place: BuildContext) -> Dropout:
        return cls(
            section=section,
            sources=place.previous,
            probability=section.real("probability", place.dialect.dropout),
            squares=Squares.from_section(section),
        )

    def forward_training(self) -> None:
        assert self.output is not None
        x = self.source_tensors[0].plain()
        if self.squares is not None:
            self._factors = self._without_squares(len(x), self.squares)
        else:
            kept = self.rng.random(x.shape, np.float32) >= np.float32(self.probability)
            self._factors = kept * np.float32(1 / (1 - self.probability))
        self.output.fill(x * self._factors)

    def _without_squares(self, batch: int, squares: Squares) -> Array:
        """(batch, outputs): 0 in at most one square a plane; else 1 through the part of the item that is left."""
        shape, end = self.shape, GROWS_FOR * self.progress.max_batches
        progress = self.progress.done / end if self.progress.done < end else 1.0
        side = squares.side(shape.width, shape.height, progress)
        draws = self.rng.random((batch, shape.channels, shape.cells), np.float32)
        factors = np.ones((batch, shape.channels, shape.height, shape.width), np.float32)
        dropped = np.zeros(batch, np.int64)
        hit = draws.min(axis=2) < self.probability * progress / side**2
        for item, channel in np.argwhere(hit).tolist():
            row, column = divmod(int(draws[item, channel].argmin()), shape.width)
            top, left = self._inside(row, shape.height - side), self._inside(column, shape.width - side)
            factors[item, channel, top : top + side, left : left + side] = 0
            dropped[item] += side * side
        # A plane that is one square may be dropped whole; an item of which nothing is left stays 0.
        left_over = np.maximum(1 - dropped / shape.outputs, 1 / shape.outputs)
        factors /= left_over[:, None, None, None].astype(np.float32)
        return factors.reshape(batch, -1)

    @staticmethod
    def _inside(start: int, last: int) -> int:
        """Where a square begins; beyond the last place it starts from the other side, as in darknet."""
        return max(0, min(start - last if start > last else start, last))

    def backward(self) -> None:
        assert self.delta is not None
        if self.source_deltas[0] is not None:
            self.source_deltas[0].add_plain(self.delta.plain() * self._factors)

    def table_row(self) -> str:
        n = self.inputs[0].outputs
        if self.squares is None:
            return f"dropout    p = {self.probability:.3f}        {n:4d}  ->   {n:4d}"
        size = f"l.dropblock_size_rel = {self.squares.part:.2f}"
        if not self.squares.part:
            size = f"l.dropblock_size_abs = {min(self.squares.cells, self.inputs[0].width, self.inputs[0].height)}"
        return f"dropblock    p = {self.probability:.3f}   {size}    {n:4d}  ->   {n:4d}"
