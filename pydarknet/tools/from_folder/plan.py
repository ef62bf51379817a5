"""The training plan for a data set: the network, its input size, its anchors, the number of iterations; and
advice.

darknet's rules: max_batches is 2000 for each class, at least 6000 and at least the number of pictures; the steps
are at 80 % and 90 % of it.
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...datasets.check import DatasetReport
from ...errors import DataError, OptionError
from ...utils.resources import network_file
from ..anchors import Sizes, find_anchors
from ..cfg.check import Retarget

SMALL, TINY = "small", "yolov4-tiny"
MANY_PICTURES = 1500  # from this number on, a larger network becomes better than `small`
MAX_HOURS = 2.0  # of training, for a network that is chosen by default
# Core-seconds to train yolov4-tiny on one picture at 416x416, measured on AVX-512 and AVX2 machines.
TINY_SECONDS = 0.12
IMAGES, MINI_BATCH = 64, 8  # pictures of an iteration and of a mini-batch, for all networks but `small`
CLEAR_SIDE = 17  # pixels of the network's input that the side of its smallest objects should have
SHORTEST, LONGEST = 192.0, 416.0  # pixels, the bounds of the longer side of the input of `small`
SMALLEST_SHARE = 5  # per cent of the objects that count as the smallest
ASPECT = 1.15  # ratio of width to height above which pictures count as rectangular

# The first layers of the published networks, as their authors name the files.
BACKBONES = {
    **dict.fromkeys(("yolov4-tiny", "yolov4-tiny-3l", "yolov4-tiny-custom"), "yolov4-tiny.conv.29"),
    **dict.fromkeys(("yolov4", "yolov4-custom"), "yolov4.conv.137"),
    **dict.fromkeys(("yolov3", "yolov3-spp"), "darknet53.conv.74"),
    "yolov4-csp": "yolov4-csp.conv.142",
    "yolov7": "yolov7.conv.132",
    "yolov3-tiny": "yolov3-tiny.conv.15",
    "yolov2": "darknet19_448.conv.23",
}


@dataclass(frozen=True)
class DatasetStatistics:
    """The properties of a data set that a plan depends on."""

    train: int  # training pictures
    classes: int
    sizes: Sizes  # (n, 2) width and height of each object, as fractions of its picture
    pictures: Sizes  # (n, 2) width and height of each object's picture, in pixels

    @property
    def aspect(self) -> float:
        """The ratio of the pictures' width to their height, median over the objects."""
        return float(np.median(self.pictures[:, 0] / self.pictures[:, 1]))

    def smallest(self) -> float:
        """The side of the smallest objects, as a fraction of their picture's longer side."""
        sides = np.sqrt((self.sizes * self.pictures).prod(axis=1)) / self.pictures.max(axis=1)
        return float(np.percentile(sides, SMALLEST_SHARE))


@dataclass(frozen=True)
class Choice:
    """A network file, and the reason for its choice."""

    cfg: Path
    reason: str

    @property
    def name(self) -> str:
        return self.cfg.name.partition(".")[0]


def choose_model(wanted: str | None, statistics: DatasetStatistics, cores: int | None = None) -> Choice:
    """The network file `wanted`, else one that suits pictures and cores. Raises OptionError."""
    if wanted is not None:
        path = Path(network_file(f"{wanted.removesuffix('.cfg')}.cfg"))
        if not path.is_file():
            raise OptionError(f"--model {wanted}: no such network; expected a bundled one, such as {TINY}, or a .cfg")
        return Choice(path, "chosen by --model")
    cores = cores or os.cpu_count() or 1
    hours = darknet_batches(statistics.classes, statistics.train) * IMAGES * TINY_SECONDS / cores / 3600
    machine, pictures = f"{cores} core{'s' if cores > 1 else ''}", f"{statistics.train} pictures"
    name, why = TINY, f"{pictures}, and {machine} train it in about {hours:.1f} hours"
    if hours > MAX_HOURS:
        name, why = SMALL, f"{TINY} would take about {hours:.0f} hours on {machine}; --model {TINY} chooses that"
    elif statistics.train < MANY_PICTURES:
        name, why = SMALL, f"{pictures} are few for a larger one; --model {TINY} chooses that"
    return Choice(Path(network_file(f"{name}.cfg")), why)


def find_backbone(name: str, folders: Sequence[Path]) -> Path | None:
    """The pretrained first layers of a published network, in the first folder that has them."""
    file = BACKBONES.get(name)
    return next((folder / file for folder in folders if file and (folder / file).is_file()), None)


# --- iterations ---


def darknet_batches(classes: int, pictures: int) -> int:
    """max_batches by darknet's rule."""
    return max(6000, 2000 * classes, pictures)


def small_batches(classes: int, pictures: int) -> int:
    """max_batches of `small`: 1200 for up to 300 pictures; then by their square root."""
    return min(darknet_batches(classes, pictures), 100 * round(12 * max(1.0, math.sqrt(pictures / 300))))


# --- input size ---


def input_size(statistics: DatasetStatistics, is_small: bool, default: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of the input: for `small` as the smallest objects need, else of the area of `default`."""
    aspect, step = statistics.aspect, 16 if is_small else 32
    if not is_small and 1 / ASPECT < aspect < ASPECT:
        return default
    if is_small:
        longest = min(float(np.median(statistics.pictures.max(axis=1))), LONGEST)
        side = min(max(CLEAR_SIDE / statistics.smallest(), SHORTEST), longest)
        sides = side * min(1.0, aspect), side * min(1.0, 1 / aspect)
    else:
        area = default[0] * default[1]
        sides = math.sqrt(area * aspect), math.sqrt(area / aspect)
    width, height = (max(2, round(side / step)) * step for side in sides)
    return width, height


# --- the changed network file ---


@dataclass(frozen=True)
class Plan:
    """A network fitted to a data set."""

    choice: Choice
    text: bytes  # of the .cfg file
    width: int
    height: int
    max_batches: int
    batch: int  # pictures of an iteration
    anchors: Sizes  # (k, 2) in pixels of the input, for [region] in cells
    iou: float  # the mean of each object's best one with an anchor; NaN if the cfg's anchors are kept


def make_plan(
    choice: Choice,
    statistics: DatasetStatistics,
    seed: int = 0,
    max_batches: int | None = None,
    size: tuple[int | None, int | None] = (None, None),
) -> Plan:
    """The network file of `choice` with classes, anchors, size and schedule. Raises OptionError, ConfigError."""
    change, is_small = Retarget(choice.cfg), choice.name == SMALL
    if not change.heads:
        raise OptionError(f"{choice.cfg}: a network without detection heads; expected a detector")
    own = change.build.input
    width, height = input_size(statistics, is_small, (own.width, own.height))
    width, height = size[0] or width, size[1] or height
    options = schedule(statistics, is_small, max_batches)
    anchors, iou, fitted = change.anchors, math.nan, None
    unit = np.array(change.unit, np.float64) * (width / own.width, height / own.height)
    with suppress(DataError):  # fewer different boxes than anchors
        clusters = find_anchors(statistics.sizes * unit, change.count, seed=seed)
        anchors, iou = clusters.anchors if change.in_cells else np.maximum(clusters.anchors, 1), clusters.average_iou
        fitted = anchors
    change.set(statistics.classes, fitted, {"width": str(width), "height": str(height), **options})
    change.check()
    batch = int(options.get("batch", change.config.net.positive("batch", 1)))
    text = change.text.text.encode("utf-8", "surrogateescape")
    return Plan(choice, text, width, height, int(options["max_batches"]), batch, anchors, iou)


def schedule(statistics: DatasetStatistics, is_small: bool, max_batches: int | None = None) -> Mapping[str, str]:
    """The options of [net] for iterations, learning rate and batch."""
    rule = small_batches if is_small else darknet_batches
    batches = max_batches or rule(statistics.classes, statistics.train)
    options = {
        "max_batches": str(batches),
        "policy": "steps",
        "steps": f"{batches * 8 // 10},{batches * 9 // 10}",
        "scales": ".1,.1",
        "burn_in": str(min(100 if is_small else 1000, max(1, batches // 10))),
    }
    return options if is_small else options | {"batch": str(IMAGES), "subdivisions": str(IMAGES // MINI_BATCH)}


# --- advice ---

FEW_PICTURES, FEW_OBJECTS, FEW_VALIDATION = 100, 20, 20
UNBALANCED = 10  # times the objects of the rarest class
VERY_SMALL, SHARE = 8, 0.05  # side in pixels of the network's input; fraction of the objects
DIFFERENT = 1.3  # ratio of the 90th to the 10th percentile of the pictures' aspect ratios
LEAK = "{} pictures are in two lists: the mAP will be too high; see the errors above"
FEW = "few pictures: {} to train on; a reliable detector needs some hundreds"
IMPRECISE = "{} pictures to validate on: the mAP is imprecise: one object changes it a lot"
STEP = 32  # pixels, of a proposed input size


def advice(
    statistics: DatasetStatistics,
    plan: Plan,
    report: DatasetReport,
    names: Sequence[str],
    lists: Mapping[str, Sequence[Path]],
) -> list[str]:
    """One line for each remark, the most important first."""
    leaked, valid = report.kinds["in two lists"], len(lists["valid"])
    return [
        *([LEAK.format(leaked)] if leaked else []),
        *_on_classes(report, names),
        *_on_objects(statistics, plan),
        *_on_pictures(statistics, plan),
        *([FEW.format(statistics.train)] if statistics.train < FEW_PICTURES else []),
        *([IMPRECISE.format(valid)] if valid < FEW_VALIDATION else []),
    ]


def _on_classes(report: DatasetReport, names: Sequence[str]) -> Iterator[str]:
    train = report.lists["train"]
    have = [train.objects[number] for number in range(len(names))]
    if absent := [name for name, objects in zip(names, have, strict=True) if not objects]:
        yield f"no objects of {', '.join(absent)} in the training list: the AP of each will be 0"
    if len(names) == 1:
        yield (
            f"one class: mAP is the AP of {names[0]}. Pictures without it (with an empty label file) teach what it is "
            f"not; there are {train.without_objects or 'none'}"
        )
    elif any(have):
        fewest, most = min(filter(None, have)), max(have)
        rarest = names[have.index(fewest)]
        if most > UNBALANCED * fewest:
            counters = ",".join(str(max(1, objects)) for objects in have)
            yield (
                f"unbalanced: {fewest} objects of {rarest}, {most} of {names[have.index(most)]}. Look at the AP of "
                f"each class, not only at mAP; more pictures of {rarest} help most; counters_per_class={counters} in "
                "the [yolo] sections gives rare classes more weight"
            )
        elif fewest < FEW_OBJECTS:
            yield f"few objects: {fewest} of {rarest}; a detector needs hundreds of each class"


def _on_objects(statistics: DatasetStatistics, plan: Plan) -> Iterator[str]:
    size = plan.width, plan.height
    share = float((np.sqrt((statistics.sizes * size).prod(axis=1)) < VERY_SMALL).mean())
    if share > SHARE:
        larger = min(2.0, float(statistics.pictures.max()) / max(size))
        remedy = "use pictures of higher resolution, or parts of them"
        if larger > 1.2:
            width, height = (max(STEP, round(side * larger / STEP) * STEP) for side in size)
            remedy = f"--width {width} --height {height} makes them larger, and takes longer"
        few = f"fewer than {VERY_SMALL} pixels a side at {plan.width}x{plan.height}"
        yield f"very small objects: {share:.0%} have {few}; {remedy}"


def _on_pictures(statistics: DatasetStatistics, plan: Plan) -> Iterator[str]:
    low, high = np.percentile(statistics.pictures[:, 0] / statistics.pictures[:, 1], [10, 90])
    size = f"{plan.width}x{plan.height}"
    if high / low > DIFFERENT:
        yield f"pictures of different aspect ratios, {low:.2f} to {high:.2f}: each is stretched to {size}; " \
              "letter_box=1 in [net] would keep their aspect ratios"  # fmt: skip
    elif not 1 / ASPECT < statistics.aspect < ASPECT:
        width, height = np.median(statistics.pictures, axis=0)
        yield f"rectangular pictures, {width:.0f}x{height:.0f}: the input is {size}, so that objects keep their shape"
