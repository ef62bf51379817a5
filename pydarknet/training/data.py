"""The interfaces of a training set and of a source of mini-batches, and their creation from a .data file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..config.dialect import Dialect
from ..config.sections import Section
from ..datasets.classification import ClassificationDataset
from ..datasets.dataloader import Data, DataLoader
from ..datasets.detection import DetectionDataset
from ..layers.heads.base import Head
from ..layers.heads.detection import DetectionHead
from ..model import Model
from ..utils.arrays import Array


class ListedImages(Data, Protocol):
    """A training set that can check its labels."""

    def check(self, share: float = 0.5) -> str: ...


class BatchSource(Protocol):
    """A source of mini-batches, which depend only on its position.

    mini_batch: pictures of the next one. position: pictures delivered so far. waited: seconds that `next` has waited.
    """

    mini_batch: int
    position: int
    waited: float

    def next(self, width: int, height: int) -> tuple[Array, Sequence[Array]]: ...

    def close(self) -> None: ...


def open_pictures(data: Section, model: Model) -> ListedImages:
    """The training set of a .data file: with boxes for a network with heads, else with classes. Raises DataError,
    ConfigError."""
    net = model.config.net
    heads = [layer for layer in model.layers if isinstance(layer, Head)]
    if heads:
        return detection_set(data, net, heads[-1], model.dialect)
    tree = next((tree for layer in model.layers if (tree := getattr(layer, "tree", None)) is not None), None)
    return ClassificationDataset.from_config(data, net, model.classes, tree, model.dialect)


def detection_set(data: Section, net: Section, head: Head, dialect: Dialect) -> DetectionDataset:
    """The detection training set of a .data file, with the options of a head. Raises DataError, ConfigError."""
    wanted = head.pictures
    return DetectionDataset.from_config(
        data, net, dialect, classes=head.classes, jitter=wanted.jitter, resize=wanted.resize,
        max_boxes=wanted.max_boxes, grid=isinstance(head, DetectionHead),
    )  # fmt: skip


def open_source(pictures: ListedImages, batch: int, seed: int, threads: int, position: int) -> BatchSource:
    """A loader whose threads prepare mini-batches of these pictures."""
    return DataLoader(pictures, batch, seed, threads=threads, position=position)
