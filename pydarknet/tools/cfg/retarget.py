"""Adapt a network file to a data set: number of classes, anchors and masks, and the filters that depend on them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...config.dialect import choose_dialect
from ...config.sections import CfgEditor, parse_config
from ...errors import ConfigError, OptionError
from ...layers import INPUT, Layer
from ...layers.connected import Connected
from ...layers.heads.base import Head
from ...layers.heads.detection import DetectionHead
from ...layers.heads.region import Region
from ...layers.heads.yolo import Yolo
from ...network.builder import input_size_hint
from ...utils.arrays import Array
from ..anchors import Sizes, format_anchors
from .lenient_build import LenientBuild

CELLS = 1  # a width for which `format_anchors` writes cells, with decimals


@dataclass(frozen=True)
class HeadPlan:
    """The requirements of a head: its mask (empty for [region]), and `channels` output channels of layer `source`."""

    index: int
    head: Head
    mask: list[int]
    channels: int
    source: int


class Retarget:
    """Adapts a network file to a data set. `text` holds the changes until `write` writes them."""

    def __init__(self, path: str | os.PathLike[str], dialect: str = "auto") -> None:
        """Read the file. Its filters and masks may be wrong. Raises ConfigError, OptionError."""
        self.text = CfgEditor(path)
        self.config = parse_config(self.text.path, self.text.text)
        self._dialect = dialect
        self.build = LenientBuild(self.config, choose_dialect(dialect, self.config))
        self.heads = [(i, layer) for i, layer in enumerate(self.build.layers) if isinstance(layer, Head)]
        self._anchored = [head for _, head in self.heads if isinstance(head, (Yolo, Region))]

    # --- anchors ---

    @property
    def unit(self) -> tuple[int, int]:
        """Width and height of the network's input in the unit of its anchors: pixels, or cells for [region]. Raises
        ConfigError for a network without anchors."""
        if not self._anchored:
            raise ConfigError(f"{self.text.path}: no layer with anchors; expected [yolo], [Gaussian_yolo] or [region]")
        first = self._anchored[0]
        plane = first.shape if isinstance(first, Region) else self.build.input
        return plane.width, plane.height

    @property
    def in_cells(self) -> bool:
        """Whether the unit of the anchors is cells, so that they have decimals."""
        return any(isinstance(head, Region) for head in self._anchored)

    @property
    def count(self) -> int:
        """The number of anchors in the file; 0 for a network without anchors."""
        counts = (head.num if isinstance(head, Yolo) else len(head.anchors) for head in self._anchored)
        return max(counts, default=0)

    @property
    def anchors(self) -> Sizes:
        """(k, 2): the anchors that the heads use, sorted by index."""
        used: dict[int, Array] = {}
        for head in self._anchored:
            numbers = head.mask if isinstance(head, Yolo) else range(len(head.anchors))
            used |= {number: head.anchors[number] for number in numbers}
        return np.array([used[number] for number in sorted(used)], np.float64).reshape(-1, 2)

    def masks(self, count: int) -> dict[int, list[int]]:
        """The mask of each head for `count` anchors sorted by area: heads with fewer cells get the larger anchors.

        Heads keep their number of anchors if these add up to `count`, else all get equal parts. Raises OptionError if a
        head would get none.
        """
        heads = sorted((item for item in self.heads if isinstance(item[1], Yolo)), key=lambda i: -i[1].shape.cells)
        if heads and count < len(heads):
            raise OptionError(f"{count} anchors for {len(heads)} heads; expected at least one for each")
        have = [len(head.mask) for _, head in heads if isinstance(head, Yolo)]
        if sum(have) != count:
            have = [count * (k + 1) // len(heads) - count * k // len(heads) for k in range(len(heads))]
        first, found = 0, {}
        for (index, _), many in zip(heads, have, strict=True):
            found[index] = list(range(first, first + many))
            first += many
        return found

    # --- requirements of the heads ---

    def plans(self, classes: int | None = None, count: int | None = None) -> list[HeadPlan]:
        """The requirements of each head for this number of classes and anchors (None: its own). Raises ConfigError."""
        masks, plans = {} if count is None else self.masks(count), []
        for index, head in self.heads:
            mask, each = masks.get(index, []), classes or head.classes
            if isinstance(head, Yolo):
                mask = mask or head.mask
                channels = len(mask) * (each + head.entries_before_classes)
            elif isinstance(head, Region):
                channels = (count or len(head.anchors)) * (each + head.coords + 1)
            else:
                assert isinstance(head, DetectionHead)
                channels = head.side**2 * ((1 + head.coords) * head.num + each)
            plans.append(HeadPlan(index, head, mask, channels, self._source(index)))
        return plans

    def _source(self, index: int) -> int:
        """The layer whose filters set the channels that layer `index` reads."""
        layers, layer = self.build.layers, self.build.layers[index]
        at = layer.sources[0]
        while at != INPUT:
            inner = layers[at]
            if _key_of(inner) is not None:
                return at
            if len(inner.sources) > 1 or inner.shape.channels != inner.inputs[0].channels:
                break
            at = inner.sources[0]
        raise layer.section.error(
            f"layer {index}: no layer sets its input channels; expected a [convolutional] or [connected] before it"
        )

    # --- changes ---

    def set_classes(self, classes: int) -> None:
        """Set the number of classes in all heads, or in the last layer of a classifier; `fit` then sets the filters."""
        for layer in [head for _, head in self.heads] or self.build.layers:
            if layer.section.has("tree"):
                raise layer.section.error("tree= sets the classes; remove it first", "tree")
        for index, head in self.heads:
            self.text.set(self.config.layers[index], "classes", str(classes), index)
            counters = head.section.integers("counters_per_class") or []
            if counters and len(counters) != classes:
                self.text.comment_out(self.config.layers[index], "counters_per_class", index)
        if not self.heads:
            last = len(self.build.layers) - 1
            self._set_channels(last if _key_of(self.build.layers[last]) else self._source(last), classes)

    def set_anchors(self, anchors: Sizes) -> None:
        """Set anchors, sorted by area, and masks in all heads; `fit` then sets the filters. Raises ConfigError,
        OptionError."""
        anchors = anchors[np.argsort(anchors.prod(axis=1), kind="stable")]
        text = format_anchors(anchors, CELLS if self.in_cells else self.unit[0])
        masks = self.masks(len(anchors))
        for index, _ in self.heads:
            section = self.config.layers[index]
            self.text.set(section, "anchors", text.strip(), index)
            self.text.set(section, "num", str(len(anchors)), index)
            if index in masks:
                self.text.set(section, "mask", ",".join(map(str, masks[index])), index)

    def set_net(self, values: Mapping[str, str]) -> None:
        """Set options of [net]."""
        for key, value in values.items():
            self.text.set(self.config.net, key, value)

    def fit(self, classes: int | None = None, count: int | None = None) -> None:
        """Set the filters before each head for this number of classes and anchors. Raises ConfigError."""
        for plan in self.plans(classes, count):
            self._set_channels(plan.source, plan.channels)

    def _set_channels(self, at: int, channels: int) -> None:
        key = _key_of(self.build.layers[at])
        assert key is not None
        self.text.set(self.config.layers[at], key, str(channels), at)

    def check(self) -> None:
        """Build the changed network. Raises ConfigError for its first fault."""
        config = parse_config(self.text.path, self.text.text)
        found = LenientBuild(config, choose_dialect(self._dialect, config))
        if errors := sorted(problem for problem in found.problems if problem.is_error):
            first = errors[0]
            more = f" and {len(errors) - 1} more errors, see `cfg check`" if len(errors) > 1 else ""
            size = input_size_hint(found.input.width, found.input.height) if "differ in size" in first.text else ""
            raise ConfigError(f"{self.text.path}: {first.text}{size} (line {first.line} of the changed file{more})")

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the changed file, if the network is valid. Raises ConfigError, OutputError."""
        self.check()
        self.text.write(path)


def _key_of(layer: Layer) -> str | None:
    """The option that sets the number of output channels of a layer."""
    if isinstance(layer, Connected):
        return "output"
    return "filters" if layer.kind in ("convolutional", "conv", "deconvolutional", "deconv", "local") else None
