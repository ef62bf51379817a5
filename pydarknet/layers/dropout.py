"""`[dropout]`: of single values or, with `dropblock`, of squares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..config.sections import Section, flag, integer, real
from ..utils.arrays import Array
from .base import BuildContext
from .simple import Identity

GROWTH_PART = 0.85  # of a run, in which squares and their probability grow to the values of the cfg
DEFAULT_SQUARE = 7  # pixels


@dataclass(kw_only=True, eq=False, repr=False)
class Dropout(Identity):
    """`[dropout]`: the identity at inference; in training, values are dropped at random and the others scaled up.

    Each value is dropped with `probability`, or with `squares` at most one square of each plane. The side of squares is
    a number of pixels or, where that is 0, a part of the plane's sides.
    """

    probability: float
    squares: bool = flag(key="dropblock")
    pixels: int = integer(key="dropblock_size_abs")
    part: float = real(key="dropblock_size_rel")

    @property
    def is_alias(self) -> bool:  # type: ignore[override]
        return not self.training

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> Dropout:
        layer = cls.build(section, context, probability=section.real("probability", context.dialect.dropout))
        if layer.pixels or not layer.part:
            layer.pixels, layer.part = layer.pixels or DEFAULT_SQUARE, 0.0
        return layer

    def side(self, width: int, height: int, progress: float) -> int:
        """The side in pixels of squares in a plane, after the part `progress` (0 to 1) of their growth."""
        wanted = (max(1, int((self.part * side or self.pixels) * progress)) for side in (width, height))
        return min(*wanted, width, height)

    def forward_training(self) -> None:
        x = self.source_tensors[0].plain()
        if self.squares:
            self._factors = self._without_squares(len(x))
        else:
            kept = self.rng.random(x.shape, np.float32) >= np.float32(self.probability)
            self._factors = kept * np.float32(1 / (1 - self.probability))
        self.output.fill(x * self._factors)

    def _without_squares(self, batch: int) -> Array:
        """(batch, outputs) factors: 0 in at most one square of each plane, elsewhere 1 / the part that is kept."""
        shape, end = self.shape, GROWTH_PART * self.progress.max_batches
        progress = self.progress.done / end if self.progress.done < end else 1.0
        side = self.side(shape.width, shape.height, progress)
        draws = self.rng.random((batch, shape.channels, shape.cells), np.float32)
        factors = np.ones((batch, shape.channels, shape.height, shape.width), np.float32)
        dropped = np.zeros(batch, np.int64)
        hit = draws.min(axis=2) < self.probability * progress / side**2
        for sample, channel in np.argwhere(hit).tolist():
            row, column = divmod(int(draws[sample, channel].argmin()), shape.width)
            top, left = self._wrapped(row, shape.height - side), self._wrapped(column, shape.width - side)
            factors[sample, channel, top : top + side, left : left + side] = 0
            dropped[sample] += side * side
        # A plane that is one square may be dropped as a whole; a sample of which nothing is kept stays 0.
        kept = np.maximum(1 - dropped / shape.outputs, 1 / shape.outputs)
        factors /= kept[:, None, None, None].astype(np.float32)
        return factors.reshape(batch, -1)

    @staticmethod
    def _wrapped(start: int, last: int) -> int:
        """The start of a square; beyond the last possible one it starts again from the other side, as in darknet."""
        return max(0, min(start - last if start > last else start, last))

    def backward(self) -> None:
        if self.source_deltas[0] is not None:
            self.source_deltas[0].add_plain(self.delta.plain() * self._factors)

    def table_row(self) -> str:
        n = self.inputs[0].outputs
        if not self.squares:
            return f"dropout    p = {self.probability:.3f}        {n:4d}  ->   {n:4d}"
        size = f"l.dropblock_size_rel = {self.part:.2f}"
        if not self.part:
            size = f"l.dropblock_size_abs = {min(self.pixels, self.inputs[0].width, self.inputs[0].height)}"
        return f"dropblock    p = {self.probability:.3f}   {size}    {n:4d}  ->   {n:4d}"
