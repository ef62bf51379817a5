"""Evaluation of classifiers on lists of pictures: batched outputs, top-1 and top-k, confusions."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config.names import WordTree, choose_names
from ..config.sections import Section
from ..datasets.labels import listed
from ..errors import DataError, ImageError, OptionError
from ..images.image import load_image
from ..images.operations import one_thread_per_call
from ..inference.classifier import Crop, Views, outputs_of, tree_of_network
from ..network.network import Network
from ..runtime.compile_time import clock
from ..utils.arrays import Array
from ..utils.files import log, read_text
from ..utils.prefetch import THREADS
from ..utils.resources import find_file
from .evaluate import ListRun

UNKNOWN = -1  # the class of a picture whose path contains no label


@dataclass(frozen=True)
class ListedPicture:
    """A line of a list: its text, and the path of the file that it names."""

    name: str
    path: Path


def read_pictures(data: Section, key: str, default: str) -> list[ListedPicture]:
    """The list that `key` of a .data file names. Raises DataError."""
    return read_list(data.file(key) or find_file(default, Path(data.path).parent))


def read_list(path: Path | str) -> list[ListedPicture]:
    """Raises DataError."""
    return [ListedPicture(name, found) for _, name, found in listed(path)]


def read_labels(data: Section, classes: int, key: str = "labels") -> list[str]:
    """Of each class, from the list that `key` of a .data file names. Raises DataError."""
    path = data.file(key) or find_file("data/labels.list", Path(data.path).parent)
    return choose_names(classes, path, exact=False)


def class_count(data: Section, network: Network) -> int:
    """`classes`, by default the number of outputs. Raises ConfigError for more."""
    outputs = network.layers[network.output_index].shape.outputs
    classes = data.positive("classes", outputs)
    if classes > outputs:
        raise data.error(
            f"classes={classes}: expected at most {outputs}, the number of the network's outputs", "classes"
        )
    return classes


def leaves_of(data: Section, tree: WordTree | None) -> NDArray[np.bool_] | None:
    """(nodes,) bool: those in the list `leaves`, if the key is there. Raises ConfigError without a tree."""
    path = data.file("leaves")
    if path is None:
        return None
    if tree is None:
        raise data.error("leaves: the network has no tree", "leaves")
    wanted = set(read_text(path, DataError).split("\n"))
    found = np.array([name in wanted for name in tree.names])
    log.warning("Found %d leaves.", found.sum())
    return found


@dataclass(frozen=True, eq=False)
class Answer:
    """outputs: (outputs,) float32, summed over crops; None for an unreadable picture."""

    index: int
    picture: ListedPicture
    outputs: Array | None

    def top(self, classes: int, count: int) -> list[int]:
        """The classes of the largest of the first outputs; ties go to the lower number."""
        if self.outputs is None:
            return []
        return np.argsort(-self.outputs[:classes], kind="stable")[:count].tolist()


class BatchClassifier(ListRun):
    """An iterable of the answers to a list of pictures, in order.

    views: makes the crops of a picture, see `inference.classifier`. only_leaves: of a network with a word tree,
    True sets nodes with children to 0, None keeps the conditional probabilities. leaves: (nodes,) bool, instead
    of the tree's own. Raises OptionError for a detector.
    """

    counts_as = "a wrong answer"

    def __init__(
        self, network: Network, pictures: Sequence[ListedPicture], views: Views, *, batch: int = 1,
        threads: int = THREADS, only_leaves: bool | None = True, leaves: NDArray[np.bool_] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(network, batch, threads)
        if network.heads:
            kind = network.layers[network.heads[0]].kind
            raise OptionError(f"{network.path}: a detector (it has a [{kind}] layer), not a classifier")
        self.pictures, self.views = pictures, views
        self.waited = 0.0  # seconds that the network has waited for pictures
        self._tree = tree_of_network(network) if only_leaves is not None else None
        self._leaves_out: NDArray[np.bool_] | slice = slice(0)
        if self._tree is not None and only_leaves:
            self._leaves_out = ~(self._tree.leaves if leaves is None else leaves)

    def __iter__(self) -> Iterator[Answer]:
        start = clock()
        with one_thread_per_call():
            prepared = self.loaded(self._prepare, self.pictures)
            for first in range(0, len(self.pictures), self.batch):
                before = clock()
                ready = list(islice(prepared, self.batch))
                self.waited += clock() - before
                answers = self._outputs(ready)
                self.count(ready, start)
                for index, outputs in enumerate(answers, start=first):
                    yield Answer(index, self.pictures[index], outputs)

    def _prepare(self, picture: ListedPicture) -> list[Crop]:
        return self.views(load_image(picture.path), self.network)

    def _outputs(self, ready: Sequence[list[Crop] | ImageError]) -> list[Array | None]:
        readable = [(number, views) for number, views in enumerate(ready) if not isinstance(views, ImageError)]
        crops = [(number, crop) for number, views in readable for crop in views]
        found = outputs_of(self.network, [crop.pixels for _, crop in crops], check=False)
        sums: list[Array | None] = [None] * len(ready)
        for (number, crop), (output, seconds) in zip(crops, found, strict=True):
            self.timing.forward += seconds
            values, known = output.reshape(-1), sums[number]
            if self._tree is not None and crop.with_tree:
                values = self._tree.absolute(values)
                values[self._leaves_out] = 0
            sums[number] = values.copy() if known is None else known + values
        return sums


def class_of(name: str, labels: Sequence[str]) -> int:
    """The first class whose label the picture's path contains, or UNKNOWN."""
    return (matching(name, labels) or [UNKNOWN])[0]


def matching(name: str, labels: Sequence[str]) -> list[int]:
    """All classes whose label the picture's path contains."""
    return [number for number, label in enumerate(labels) if label in name]


@dataclass
class ConfusionCounts:
    """Top-1 and top-`top` hits of labelled pictures, and the confusion matrix."""

    labels: Sequence[str]
    top: int
    pictures: int = 0
    unlabelled: int = 0
    hits: int = 0
    top_hits: int = 0
    confusion: Counter[tuple[int, int]] = field(default_factory=Counter)  # (true class, predicted class)

    def add(self, answer: Answer) -> int:
        """Returns the class."""
        truth = class_of(answer.picture.name, self.labels)
        best = answer.top(len(self.labels), self.top)
        self.pictures += 1
        self.unlabelled += truth == UNKNOWN
        if best:
            self.hits += best[0] == truth
            self.top_hits += truth in best
            self.confusion[truth, best[0]] += 1
        return truth

    @property
    def accuracy(self) -> float:
        """Top-1, 0 to 1."""
        return self.hits / self.pictures if self.pictures else 0.0

    @property
    def top_accuracy(self) -> float:
        """Top-`top`, 0 to 1."""
        return self.top_hits / self.pictures if self.pictures else 0.0

    def table(self) -> list[dict[str, Any]]:
        """For JSON: a row per class present, its predictions by frequency."""
        rows = []
        for number in sorted({truth for truth, _ in self.confusion if truth != UNKNOWN}):
            found = [(best, count) for (truth, best), count in self.confusion.items() if truth == number]
            found.sort(key=lambda pair: (-pair[1], pair[0]))
            rows.append({
                **self._class(number),
                "pictures": sum(count for _, count in found),
                "correct": self.confusion[number, number],
                "taken_for": [{**self._class(best), "count": count} for best, count in found],
            })  # fmt: skip
        return rows

    def mistakes(self, count: int) -> list[tuple[str, str, int]]:
        """(true class, predicted class, pictures) of the most frequent ones."""
        wrong = [(n, *pair) for pair, n in self.confusion.items() if pair[0] not in (pair[1], UNKNOWN)]
        wrong.sort(key=lambda mistake: (-mistake[0], *mistake[1:]))
        return [(self.labels[truth], self.labels[best], n) for n, truth, best in wrong[:count]]

    def _class(self, number: int) -> dict[str, Any]:
        return {"class_id": number, "name": self.labels[number]}
