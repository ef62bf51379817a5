"""Word trees: hierarchies of classes with one softmax over the children of each node (YOLO9000)."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..utils.arrays import Array
from ..utils.files import read_text


@dataclass(frozen=True)
class WordTree:
    """A tree of classes; nodes are numbered in file order.

    parent: (nodes,) the parent of each node, -1 for roots. groups: (first, end) of each group of siblings, which are
    adjacent. child_group: the group of a node's children.
    """

    names: list[str]
    parent: NDArray[np.int64]
    groups: list[tuple[int, int]]
    child_group: dict[int, int]

    @property
    def leaves(self) -> NDArray[np.bool_]:
        """(nodes,) bool: the nodes without children."""
        leaf = np.ones(len(self.parent), bool)
        leaf[self.parent[self.parent >= 0]] = False
        return leaf

    def absolute(self, conditional: Array) -> Array:
        """Conditional probabilities, given the parent, (nodes, ...) -> absolute ones: products along the path from the
        root. A new array."""
        result = conditional.copy()
        for first, end in self.groups:  # a parent comes before its children, so its product is complete
            parent = int(self.parent[first])
            if parent >= 0:
                result[first:end] *= result[parent]
        return result

    def top(self, probabilities: Array, threshold: float) -> int:
        """The node that darknet reports: it descends to the best child while the product of the conditional
        `probabilities`, (nodes,), is above the threshold."""
        product, group = 1.0, 0
        while True:
            first, end = self.groups[group]
            values = probabilities[first:end]
            best = first + int(values.argmax())
            value = max(float(probabilities[best]), 0.0)
            if value == 0.0:
                best = 0  # as in C, whose search for the maximum starts with node 0 and value 0
            if product * value > threshold:
                product *= value
                if best not in self.child_group:
                    return best
                group = self.child_group[best]
            elif group == 0:
                return best
            else:
                return int(self.parent[first])


def read_tree(path: str | os.PathLike[str]) -> WordTree:
    """Read a tree file, whose lines are `name parent`. Raises DataError with the line."""
    names: list[str] = []
    parents: list[int] = []
    for number, line in enumerate(read_text(path, DataError).splitlines(), start=1):
        words = line.split()
        try:
            name, parent = words[0], int(words[1]) if len(words) > 1 else -1
        except (IndexError, ValueError):
            raise DataError(f"{path}:{number}: found {line!r}; expected a name and the number of its parent") from None
        if not -1 <= parent < len(names):
            raise DataError(f"{path}:{number}: parent {parent}: expected -1 or the number of an earlier line")
        names.append(name)
        parents.append(parent)
    if not names:
        raise DataError(f"{path}: the tree is empty; expected lines with a name and its parent")
    return _with_groups(names, parents)


def _with_groups(names: list[str], parents: list[int]) -> WordTree:
    edges = [0, *(n for n in range(1, len(parents)) if parents[n] != parents[n - 1]), len(parents)]
    groups = list(itertools.pairwise(edges))
    child_group = {parents[first]: g for g, (first, _) in enumerate(groups) if parents[first] >= 0}
    return WordTree(names, np.array(parents, np.int64), groups, child_group)


def read_map(path: str | os.PathLike[str]) -> list[int]:
    """Read a map file, one class number per line. Raises DataError with the line."""
    numbers = []
    for number, line in enumerate(read_text(path, DataError).splitlines(), start=1):
        try:
            numbers.append(int(line.strip()))
        except ValueError:
            raise DataError(f"{path}:{number}: found {line!r}; expected a class number") from None
    return numbers


def softmax_groups(values: Array, tree: WordTree) -> Array:
    """Softmax over each group of siblings along axis 0 of values, (nodes, ...). A new array."""
    result = np.empty_like(values)
    for first, end in tree.groups:
        part = values[first:end]
        e = np.exp(part - part.max(axis=0))
        result[first:end] = e / e.sum(axis=0)
    return result
