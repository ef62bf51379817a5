"""Class names: their files, checks of their number, and word trees, which are hierarchies of classes (YOLO9000)."""

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..utils.arrays import Array
from ..utils.files import StrPath, log, read_text
from ..utils.resources import bundled_names, exists, network_file

# The category id of each of COCO's 80 classes; the ids have gaps.
COCO_IDS = [number for number in range(1, 91) if number not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]


def read_names(path: StrPath) -> list[str]:
    """The names of a file, one per line, with their blanks. Raises DataError for no names."""
    lines = read_text(path, DataError).replace("\r\n", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise DataError(f"{path}: the list of names is empty; expected one per line")
    return lines


def choose_names(classes: int, path: StrPath | None, exact: bool, cfg: str = "") -> list[str]:
    """The names of `classes` classes: of the file `path`, which may be a bundled one, else of obj.names beside
    the network file `cfg`, else of the bundled list of that length, else numbers.

    exact: the file may not have more, as darknet's own ImageNet file has. Raises DataError.
    """
    if path is None:
        path = _names_beside(cfg, classes) or bundled_names(classes, cfg)
        if path is None:
            return [str(number) for number in range(classes)]
    names = read_names(network_file(os.fspath(path)))
    if len(names) < classes or (exact and len(names) != classes):
        raise DataError(f"{path}: {len(names)} names; expected {classes}, the number of the network's classes")
    if len(names) > classes:
        log.warning("%s: %d names for %d classes; the first %d are used", path, len(names), classes, classes)
    return names[:classes]


def _names_beside(cfg: str, classes: int) -> Path | None:
    path = Path(cfg).with_name("obj.names") if cfg and exists(cfg) else None
    try:
        return path if path and exists(path) and len(read_names(path)) == classes else None
    except DataError:  # a folder, or not a text file
        return None


@dataclass(frozen=True)
class WordTree:
    """A tree of classes; nodes are numbered in file order."""

    names: list[str]
    parent: NDArray[np.int64]  # (nodes,), -1 for roots
    groups: list[tuple[int, int]]  # (first, end) of each group of siblings, which are adjacent
    child_group: dict[int, int]  # the group of a node's children

    @property
    def leaves(self) -> NDArray[np.bool_]:
        """(nodes,) bool: the nodes without children."""
        leaf = np.ones(len(self.parent), bool)
        leaf[self.parent[self.parent >= 0]] = False
        return leaf

    def absolute(self, conditional: Array) -> Array:
        """Probabilities given the parent, (nodes, ...) -> absolute ones. A new array."""
        result = conditional.copy()
        for first, end in self.groups:  # a parent comes before its children, so its product is complete
            parent = int(self.parent[first])
            if parent >= 0:
                result[first:end] *= result[parent]
        return result

    def top(self, probabilities: Array, threshold: float) -> int:
        """The node that darknet reports: it descends to the best child while the product is above the threshold."""
        product, group = 1.0, 0
        while True:
            first, end = self.groups[group]
            best = first + int(probabilities[first:end].argmax())
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


def read_tree(path: StrPath) -> WordTree:
    """Read a tree file, whose lines are `name parent`. Raises DataError with the line."""
    names: list[str] = []
    parents: list[int] = []
    for number, (name, parent) in enumerate(_parsed_lines(path, _node, "a name and the number of its parent"), start=1):
        if not -1 <= parent < len(names):
            raise DataError(f"{path}:{number}: parent {parent}: expected -1 or the number of an earlier line")
        names.append(name)
        parents.append(parent)
    if not names:
        raise DataError(f"{path}: the tree is empty; expected lines with a name and its parent")
    edges = [0, *(n for n in range(1, len(parents)) if parents[n] != parents[n - 1]), len(parents)]
    groups = list(itertools.pairwise(edges))
    child_group = {parents[first]: g for g, (first, _) in enumerate(groups) if parents[first] >= 0}
    return WordTree(names, np.array(parents, np.int64), groups, child_group)


def _node(line: str) -> tuple[str, int]:
    words = line.split()
    return words[0], int(words[1]) if len(words) > 1 else -1


def read_map(path: StrPath) -> list[int]:
    """Read a map file, one class number per line. Raises DataError with the line."""
    return list(_parsed_lines(path, int, "a class number"))


def _parsed_lines(path: StrPath, parse: Callable[[str], Any], expected: str) -> Iterator[Any]:
    for number, line in enumerate(read_text(path, DataError).splitlines(), start=1):
        try:
            yield parse(line)
        except (IndexError, ValueError):
            raise DataError(f"{path}:{number}: found {line!r}; expected {expected}") from None


def softmax_groups(values: Array, tree: WordTree) -> Array:
    """Softmax over each group of siblings along axis 0 of values, (nodes, ...). A new array."""
    result = np.empty_like(values)
    for first, end in tree.groups:
        part = values[first:end]
        e = np.exp(part - part.max(axis=0))
        result[first:end] = e / e.sum(axis=0)
    return result
