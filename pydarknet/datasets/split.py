"""Split the pictures of a data set into a training list and a validation list.

Pictures that belong together stay together: files of equal content, and the augmented copies that Roboflow makes of a
picture (NAME.rf.HASH.jpg). The share of each class is nearly the same in both lists.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..errors import DataError, OptionError
from ..utils.files import hash_of

_COPY = re.compile(r"(.+)\.rf\.[0-9A-Za-z]+")  # Roboflow's names of augmented copies
T = TypeVar("T")
SHARE = 0.2  # the fraction of the pictures in the validation list


def groups_of(pictures: Sequence[Path]) -> list[list[Path]]:
    """The pictures in groups that must not be split, in the order of their first picture. Raises DataError."""
    keys: dict[object, int] = {}
    joined: list[int] = list(range(len(pictures)))

    def root(index: int) -> int:
        while joined[index] != index:
            index = joined[index]
        return index

    sizes = [_of_file(os.path.getsize, picture) for picture in pictures]
    count = Counter(sizes)
    for index, picture in enumerate(pictures):
        same: list[object] = [os.path.realpath(picture)]
        if copy := _COPY.fullmatch(picture.stem):
            same.append((picture.parent, copy[1]))
        if count[sizes[index]] > 1:
            same.append(_of_file(hash_of, picture))
        for key in same:
            first = root(keys.setdefault(key, index))
            joined[root(index)] = first
    groups: dict[int, list[Path]] = defaultdict(list)
    for index, picture in enumerate(pictures):
        groups[root(index)].append(picture)
    return list(groups.values())


def _of_file(ask: Callable[[Path], T], picture: Path) -> T:
    """What `ask` returns for a file. Raises DataError if it cannot be read."""
    try:
        return ask(picture)
    except OSError as error:
        raise DataError(f"{picture}: {error.strerror or error}") from error


def split(
    pictures: Sequence[Path], classes_in: Mapping[Path, frozenset[int]], seed: int = 0, share: float = SHARE
) -> tuple[list[Path], list[Path]]:
    """(training pictures, validation pictures), both in their original order.

    classes_in: the classes of each picture's objects. share: the fraction of the groups for validation, at least one
    group. The groups are sorted by their rarest class and taken at even distances, so that each class has nearly that
    share. The same seed gives the same split. Raises DataError if there are fewer than two groups, OptionError.
    """
    if not 0 < share < 1:
        raise OptionError(f"share {share:g}: expected a number between 0 and 1")
    groups = groups_of(pictures)
    if len(groups) < 2:
        raise DataError(f"{len(groups)} different pictures; expected at least two: one to train on, one to validate on")
    counts = Counter(number for picture in pictures for number in classes_in.get(picture, ()))
    order = np.random.default_rng(seed).permutation(len(groups))

    def rarest(index: int) -> tuple[int, int]:
        numbers = {number for picture in groups[index] for number in classes_in.get(picture, ())}
        return min(((counts[number], number) for number in numbers), default=(len(pictures) + 1, 0))

    dealt = sorted(order.tolist(), key=rarest)
    held = max(1, round(share * len(groups)))
    # Evenly spaced positions, each in the middle of its interval.
    places = ((np.arange(held) + 0.5) * len(groups) / held).astype(int)
    chosen = {picture for place in places for picture in groups[dealt[place]]}
    return [p for p in pictures if p not in chosen], [p for p in pictures if p in chosen]
