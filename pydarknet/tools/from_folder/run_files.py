"""The folder of a run that is made from a data set, with all files that darknet needs.

    obj.data, obj.names, train.txt, valid.txt   the data set, with absolute paths
    data/           labels and links to pictures, if darknet would find no labels
    NAME.cfg        the network
    run.json        a description of the run
    commands.txt    the same run with darknet

The folder appears when all of them are written. The training adds weights, the log and the chart.
"""

import json
import os
import re
import shlex
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from ...config.dialect import ALEXEYAB
from ...datasets.convert.annotations import size_of_file
from ...datasets.convert.convert import LABELS, PICTURES, copy_picture, label_rows
from ...datasets.labels import as_rows, find_labels
from ...datasets.listing import RUN_FILE, UNSPLIT, LabelledPicture, Recognised, on_all_processors, read_picture
from ...errors import DataError, OptionError
from ...runtime.compile_time import clock
from ...training.validation import LEAST_INTERVAL
from ...utils.files import StrPath, hash_of, make_folder, read_text, write_file, write_folder_whole
from .plan import DatasetStatistics, Plan

RUN, DATA, NAMES, COMMANDS = RUN_FILE, "obj.data", "obj.names", "commands.txt"
RUNS = Path("runs")
Labelled = Mapping[Path, LabelledPicture]
_COPY = re.compile(r"(.+)\.rf\.[0-9A-Za-z]+")  # Roboflow's names of augmented copies


def read_labelled(found: Recognised) -> dict[Path, LabelledPicture]:
    """The pictures of a data set by path, with their valid labels and their sizes."""
    if found.annotated is None:
        classes = len(found.classes)
        return {item.picture: item for item in on_all_processors(lambda p: _read(p, classes), found.pictures)}
    return {
        p.path: LabelledPicture(0, p.path, None, rows=as_rows(label_rows(p).split()), size=(p.width, p.height))
        for p in found.annotated
    }


def _read(picture: Path, classes: int) -> LabelledPicture:
    found, size = read_picture(0, picture), (0, 0)
    good = [row for _, row, problem in found.checked(classes) if not problem]
    with suppress(DataError):  # the check reports it
        size = size_of_file(picture)
    return replace(found, rows=as_rows(good), size=size, wrong=found.problems(classes))


def split_lists(found: Recognised, labelled: Labelled, seed: int, share: float) -> dict[str, list[Path]]:
    """The pictures of each list; without a split, the fraction `share` becomes `valid`."""
    if UNSPLIT not in found.lists:
        return found.lists
    classes_in = {path: frozenset(item.rows[:, 0].astype(int).tolist()) for path, item in labelled.items()}
    train, valid = split(found.lists[UNSPLIT], classes_in, seed, share)
    return {"train": train, "valid": valid}


def groups_of(pictures: Sequence[Path]) -> list[list[Path]]:
    """The pictures in groups that must not be split. Raises DataError."""
    keys: dict[object, int] = {}
    joined = list(range(len(pictures)))

    def root(index: int) -> int:
        while joined[index] != index:
            index = joined[index]
        return index

    try:
        sizes = [picture.stat().st_size for picture in pictures]
        count = Counter(sizes)
        for index, (picture, size) in enumerate(zip(pictures, sizes, strict=True)):
            same: list[object] = [os.path.realpath(picture)]
            if copy := _COPY.fullmatch(picture.stem):
                same.append((picture.parent, copy[1]))
            if count[size] > 1:
                same.append(hash_of(picture))
            for key in same:
                joined[root(index)] = root(keys.setdefault(key, index))
    except OSError as error:
        raise DataError(f"{error.filename or picture}: {error.strerror or error}") from error
    groups: dict[int, list[Path]] = defaultdict(list)
    for index, picture in enumerate(pictures):
        groups[root(index)].append(picture)
    return list(groups.values())


def split(
    pictures: Sequence[Path], classes_in: Mapping[Path, frozenset[int]], seed: int = 0, share: float = 0.2
) -> tuple[list[Path], list[Path]]:
    """(training pictures, validation pictures), both in their original order; the same for the same seed.

    The groups are sorted by their rarest class, and `share` of them taken at even distances, so that each class
    has nearly that share. Raises DataError, OptionError.
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


def dataset_statistics(labelled: Labelled, train: Sequence[Path], classes: int) -> DatasetStatistics:
    """The statistics of the training pictures. Raises DataError if they have no objects."""
    items = [labelled[path] for path in train if labelled[path].size[0] and len(labelled[path].rows)]
    if not items:
        wrong = next((message for item in labelled.values() for message in item.wrong), "")
        what = f"no valid label: {wrong}" if wrong else "none with an object; expected at least one"
        raise DataError(f"{len(train)} training pictures, {what}")
    sizes = np.concatenate([item.rows[:, 3:] for item in items]).astype(np.float64)
    pictures = np.concatenate([np.tile(item.size, (len(item.rows), 1)) for item in items])
    return DatasetStatistics(len(train), classes, sizes, pictures)


# --- the folder ---


def next_folder() -> Path:
    """The first of runs/train1, runs/train2, ... that does not exist."""
    return next(path for n in count(1) if not (path := RUNS / f"train{n}").exists())


def write_run(
    folder: Path, found: Recognised, lists: Mapping[str, Sequence[Path]], plan: Plan, about: Mapping[str, Any]
) -> None:
    """Write the folder of a run, completely or not at all. about: the content of run.json."""
    make_folder(folder.parent)
    final = Path(os.path.abspath(folder))  # noqa: PTH100 - links stay as they are
    listed = {path for paths in lists.values() for path in paths}
    with write_folder_whole(folder) as part:
        names = _placed(found, listed, part, final)
        for key, paths in lists.items():
            _write_lines(part / f"{key}.txt", [names[path] for path in paths])
        _write_lines(part / NAMES, found.classes)
        entries = [f"{key} = {final / key}.txt" for key in lists]
        _write_lines(part / DATA, [f"classes = {len(found.classes)}", *entries, f"names = {final / NAMES}",
                                   f"backup = {final}"])  # fmt: skip
        write_file(part / f"{plan.choice.name}.cfg", plan.text)
        _write_lines(part / COMMANDS, darknet_commands(final, plan.choice.name, about.get("weights")))
        content = {**about, "data": DATA, "cfg": f"{plan.choice.name}.cfg"}
        write_file(part / RUN, json.dumps(content, indent=1).encode() + b"\n")


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    for line in lines:
        if "\n" in line or "\r" in line or line != line.strip():
            what = f"a line of {path.name} cannot contain line breaks, or spaces at its ends"
            raise DataError(f"{line!r}: {what}; rename the file")
    write_file(path, "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))


def _placed(found: Recognised, listed: set[Path], part: Path, final: Path) -> dict[Path, str]:
    by_path = {picture.path: picture for picture in found.annotated} if found.annotated is not None else {}
    names, taken = {}, set()
    for picture in sorted(listed):
        absolute = os.path.abspath(picture)  # noqa: PTH100 - as above
        labels = None if found.annotated is not None else find_labels(Path(absolute), ALEXEYAB)
        if labels is not None and labels[0] == f"{ALEXEYAB.name}'s rule":
            names[picture] = absolute
            continue
        stem = next(s for n in count() if (s := f"{picture.stem}_{n}" if n else picture.stem) not in taken)
        taken.add(stem)
        name = Path("data", PICTURES, f"{stem}{picture.suffix}")
        target = part / "data" / LABELS / f"{stem}.txt"
        for file in (part / name, target):
            file.parent.mkdir(parents=True, exist_ok=True)
        _link(Path(absolute), part / name)
        if labels is not None:
            _link(labels[1], target)
        else:
            target.write_text(label_rows(by_path[picture]), encoding="utf-8")
        names[picture] = str(final / name)
    return names


def _link(path: Path, link: Path) -> None:
    try:
        link.symlink_to(path)
    except (OSError, NotImplementedError):
        copy_picture(path, link)


def darknet_commands(folder: Path, name: str, weights: str | None) -> list[str]:
    """darknet's commands for the same run: training, mAP, detection."""
    files = [str(folder / DATA), str(folder / f"{name}.cfg")]
    best = str(folder / f"{name}_best.weights")
    commands = {
        "train": [*([weights] if weights else []), "-map", "-dont_show"], "map": [best], "test": [best, "PICTURE"],
    }  # fmt: skip
    return [shlex.join(["darknet", "detector", verb, *files, *rest]) for verb, rest in commands.items()]


# --- an existing folder ---


@dataclass
class RunFolder:
    """The folder of a run. about: its run.json. data, cfg: its .data and .cfg files."""

    folder: Path
    about: dict[str, Any]

    @classmethod
    def open(cls, folder: StrPath) -> "RunFolder":
        """Read run.json. Raises DataError for another folder or a damaged file."""
        path = Path(folder) / RUN
        if not path.is_file():
            raise DataError(f"{folder}: no run of `pydarknet train FOLDER` (it has no {RUN})")
        try:
            about = json.loads(read_text(path, DataError))
            for name in (about["data"], about["cfg"]):
                if not isinstance(name, str) or name != os.path.basename(name):  # noqa: PTH119
                    raise KeyError("data and cfg")
        except (ValueError, KeyError, TypeError) as error:
            expected = "the file that `pydarknet train FOLDER` writes"
            raise DataError(f"{path}: damaged: {error}; expected {expected}") from error
        return cls(Path(folder), about)

    @staticmethod
    def is_one(folder: StrPath) -> bool:
        """Whether the folder has a run.json."""
        return os.path.isfile(os.path.join(folder, RUN))  # noqa: PTH113, PTH118 (no error for a name that is refused)

    def __post_init__(self) -> None:
        self.data, self.cfg = (self.folder / self.about[name] for name in ("data", "cfg"))


@contextmanager
def naming_source(source: StrPath) -> Iterator[None]:
    """Let errors of the block that name no file begin with the name of the data set."""
    try:
        yield
    except (DataError, OptionError) as error:
        if str(error)[:1].isdigit():
            raise type(error)(f"{source}: {error}") from error
        raise


# --- the time of an iteration ---

WARM_UP, MEASURED = 2, 8  # iterations; the first ones compile kernels and fill caches
OVERHEAD = 10.0  # seconds for loading, the last validation and the report
LEAST = 100  # iterations
STEP_COST = 3  # forward passes that a training step takes, about


def iterations_in(
    minutes: float, found: Recognised, lists: Mapping[str, Sequence[Path]], plan: Plan, began: float, **options: Any
) -> tuple[int, float]:
    """(the iterations that end about `minutes` after `began`, at least LEAST; the seconds of one)."""
    seconds = seconds_per_iteration(found, lists, plan, **options)
    pictures, measured = len(lists["train"]), len(lists["valid"])
    interval = max(LEAST_INTERVAL, 4 * pictures // plan.batch)
    measuring = seconds / plan.batch / STEP_COST * measured / interval
    left = 60 * minutes - OVERHEAD - (clock() - began)
    return max(LEAST, int(left / (seconds + measuring))), seconds


def seconds_per_iteration(found: Recognised, lists: Mapping[str, Sequence[Path]], plan: Plan, **options: Any) -> float:
    """Seconds of an iteration with loading, measured by a run in a temporary folder."""
    from ...training.trainer import Trainer

    with tempfile.TemporaryDirectory(prefix="pydarknet-") as temporary:
        folder = Path(temporary, "run")
        write_run(folder, found, lists, plan, {})
        trainer = Trainer(folder / DATA, folder / f"{plan.choice.name}.cfg", chart=False, checks=False, **options)
        began = clock()
        for number, _ in enumerate(trainer.run(), start=1):
            if number == WARM_UP:
                began = clock()
            if number == WARM_UP + MEASURED:
                trainer.stop()
                elapsed = clock() - began
    return max(elapsed, 1e-3) / MEASURED
