"""`[softmax]`: probabilities over groups of inputs, over channels, or over the siblings of a word tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..config.names import WordTree, read_tree, softmax_groups
from ..config.sections import Section, flag
from ..kernels.head_output import softmax_planes, softmax_rows
from ..kernels.reorder import unpack
from ..runtime.program import Call, KernelCall
from ..utils.arrays import Array
from .base import BuildContext
from .nchw_layer import MASKED, NchwLayer, stacked_truth


def tree_of(section: Section) -> WordTree | None:
    """The word tree that `tree=` names, None without it. Raises DataError."""
    path = section.file("tree")
    return read_tree(path) if path else None


@dataclass(kw_only=True, eq=False, repr=False)
class Softmax(NchwLayer):
    """e^(x / T) / sum of e^(x / T), with the temperature T.

    The sum is over each of `groups` equal slices of the input; with `spatial` over the channels of each pixel; with
    `tree` over each set of siblings. `noloss`: the layer has no loss in training.
    """

    row: ClassVar[str] = "softmax                                        {x.outputs:4d}"
    groups: int
    temperature: float
    tree: WordTree | None
    spatial: bool = flag()
    noloss: bool = flag()

    @property
    def has_loss(self) -> bool:  # type: ignore[override]
        return not self.noloss

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> Softmax:
        inputs = context.shape(context.index - 1).outputs
        groups = section.positive("groups", 1)
        if inputs % groups:
            raise section.shape_error(f"groups={groups} does not divide its {inputs} inputs", "groups")
        temperature = section.real("temperature", 1.0)
        if np.float32(temperature) == 0:
            shown = section.text("temperature")
            raise section.error(
                f"temperature={shown}: expected another number, by which inputs are divided", "temperature"
            )
        tree = tree_of(section)
        if tree is not None and len(tree.names) != inputs:
            raise section.shape_error(f"tree has {len(tree.names)} nodes, but the layer reads {inputs} values", "tree")
        return cls.build(section, context, groups=groups, temperature=temperature, tree=tree)

    def bind(self) -> Sequence[Call]:
        if self.tree is not None:
            return [self.forward_in_python]
        (source,), x, y = self.source_tensors, self.nchw_inputs[0].reshape(-1), self.values.reshape(-1)
        batch, shape, temperature = len(self.values), source.shape, np.float32(self.temperature)
        unpacked = KernelCall(unpack, source.data, source.planes, shape.channels, x)
        if self.spatial:
            starts, sums = np.arange(batch) * shape.outputs, np.empty(2 * batch * shape.cells, np.float32)
            sizes = shape.channels, shape.cells, shape.cells
            return [unpacked, KernelCall(softmax_planes, x, y, starts, *sizes, temperature, sums), *self.pack_calls()]
        rows = batch * self.groups
        return [unpacked, KernelCall(softmax_rows, x, y, rows, len(x) // rows, temperature), *self.pack_calls()]

    def compute(self, x: Array, y: Array) -> None:
        assert self.tree is not None
        y[:] = softmax_groups(np.ascontiguousarray(x.T), self.tree).T

    def loss(self, truth: Sequence[Array], network_size: tuple[int, int], seen: int) -> float:
        """Cross entropy with the truth, (batch, outputs), without elements of -1234; the delta of x is truth - p."""
        target, p = stacked_truth(self, truth), self.values
        counted = target != MASKED
        self.value_deltas[:] = np.where(counted, target - p, np.float32(0))
        positive = counted & (target != 0)
        with np.errstate(divide="ignore"):
            return float(-np.log(p[positive], dtype=np.float64).sum()) if self.has_loss else 0.0
