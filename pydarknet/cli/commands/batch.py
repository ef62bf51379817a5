"""Archives of pictures, with results in parts, which a restart completes: `batch detect` and `batch classify` on a Ray
cluster, `detect --shard` and `classify --shard` without one; `batch map`."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

from ...archive.parts import Parts
from ...archive.store import TABLE, Store, is_uri
from ...archive.work import Failure, Work
from ...errors import DataError, ImageError
from ...images.image import EXTENSIONS
from ...model import Model
from ...network.weights import path_of
from ...utils.files import hash_of
from ...utils.resources import exists, network_file
from ...version import __version__
from ..console import Interruption, counted, note, status
from ..loading import Options, classifier_steps, detector_steps, load_model
from ..options import given_options
from ..sources import expand_inputs, expand_path, is_video

KILLED = "the process that computed it ended, each time that it was tried"
# What `--shard` takes of the options of `detect` and `classify`.
OF_SHARDS = frozenset({
    "allow_partial", "as_json", "batch", "cfg", "classes", "data", "dialect", "fit", "height", "hier", "images",
    "letter_box", "names", "nms", "no_picture", "out", "precision", "quantized", "quiet", "shard", "stretch", "threads",
    "thresh", "tile_overlap", "tiles", "top", "tune", "verbose", "weights", "width",
})  # fmt: skip


def run_batch(kind: str, cfg: str, weights: str, source: str, **options: Any) -> None:
    from ...ray.spread import Spread

    spread = Spread(options["address"], options["cpus"], options["actors"])
    _run(kind, cfg, weights, [source], options, lambda index: True, spread)


def run_shard(kind: str, cfg: str, weights: str, images: Sequence[str], options: Options) -> None:
    """One of N shares of the blocks, in this process."""
    if not options["as_json"] or not options.get("out"):
        raise click.UsageError("--shard needs --json and --out DIR, the folder of the parts, one for all shards")
    given = given_options(click.get_current_context())
    note(*(f"{each.opts[-1]} has no effect with --shard" for each in given if each.name not in OF_SHARDS))
    number, count = options["shard"]
    shards: Options = {"block": None, "column": None, "format": "json", **options}
    _run(kind, cfg, weights, images, shards, lambda index: index % count == number - 1)


def _run(
    kind: str, cfg: str, weights: str, sources: Sequence[str], options: Options, is_mine: Callable[[int], bool],
    spread: Any = None,
) -> None:  # fmt: skip
    if is_uri(options["out"]):
        raise click.UsageError(f"--out {options['out']}: expected a folder of this machine")
    store, names = _pictures(sources, options["column"])
    model = load_model(cfg, weights, options)
    steps: Any = detector_steps(model, options) if kind == "detect" else classifier_steps(model, cfg, options)
    plan = {
        "command": kind, "source": list(sources), "column": options["column"],
        "cfg": hash_of(Path(network_file(cfg))), "weights": hash_of(Path(path_of(weights))),
        "pydarknet": __version__, **_how(model, steps, options),
    }  # fmt: skip
    parts = Parts(options["out"], names, options["block"], options["format"], plan)
    blocks = {index: parts.names_of(index) for index in parts.missing() if is_mine(index)}
    all_of_mine = [index for index in range(len(parts)) if is_mine(index)]
    if len(blocks) < len(all_of_mine):
        note(f"{len(all_of_mine) - len(blocks)} of {len(all_of_mine)} parts are there")
    work, progress = Work(store, steps, options["batch"]), _Progress(sum(map(len, blocks.values())))
    if spread is None or not blocks:
        found: Any = ((index, work(listed)) for index, listed in blocks.items())
    else:
        found = spread.run(work, blocks, partial(Failure, reason=KILLED), 4 * model.parameter_count)
    shown = nullcontext() if options.get("quiet") or not blocks else status(progress.text)
    with Interruption() as stop, closing(found), closing(stop.until(found)) as results, shown:
        for index, outcomes in results:
            parts.write(index, outcomes)
            progress.add(len(outcomes))
    if blocks and not options.get("quiet"):
        note(progress.summary)
    _end(parts, all_of_mine, stop)


def _end(parts: Parts, blocks: Sequence[int], stop: Interruption) -> None:
    failed = parts.with_errors(blocks)
    if failed:
        note(f"pictures without a result: see {parts.folder}/errors-*, {counted(len(failed), 'file')}")
    if stop.number is not None:
        note("interrupted; the same command goes on where parts are missing")
    stop.exit(not failed)


def _how(model: Model, steps: Any, options: Options) -> dict[str, Any]:
    """What else the results depend on."""
    how = {name: value for name, value in vars(steps).items() if name in ("classes", "top", "fit")}
    for part in ("options", "tiling"):
        if getattr(steps, part, None) is not None:
            how |= asdict(getattr(steps, part))
    names = hashlib.sha256("\n".join(steps.names).encode("utf-8", "surrogateescape")).hexdigest()
    own = {"dialect": model.dialect.name, "size": list(model.input_shape), "precision": model.precision}
    return {**own, "tune": options["tune"], "quantized": options["quantized"], "class names": names, **how}


def _pictures(sources: Sequence[str], column: str | None) -> tuple[Store, list[str]]:
    """Raises DataError."""
    if len(sources) == 1 and is_uri(sources[0]):
        store = Store(sources[0], column)
        return store, store.names(EXTENSIONS)
    found = [name for source in sources for name in _local(source)]
    pictures = [name for name in found if not is_video(name)]
    if len(pictures) < len(found):
        note(f"{len(found) - len(pictures)} videos are left out")
    if not pictures:
        raise DataError(f"{', '.join(sources) or 'no SOURCE'}: no pictures")
    store = Store(", ".join(sources), column)
    return store, store.names(EXTENSIONS, pictures)


def _local(source: str) -> Iterator[str]:
    names = expand_inputs([source])
    if any(isinstance(name, ImageError) for name in names):  # a folder without pictures
        names = expand_path(source, frozenset({TABLE}))
    for name in names:
        if isinstance(name, ImageError):
            raise DataError(str(name))
        if name == source and "://" not in source and not exists(source):
            raise DataError(f"{source}: no such file or folder")
        yield str(name)


class _Progress:
    """Pictures, pictures per second, time left."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._start = self._last = time.monotonic()  # _last: when there were results

    def add(self, count: int) -> None:
        self._done, self._last = self._done + count, time.monotonic()

    @property
    def _rate(self) -> float:
        return self._done / max(self._last - self._start, 1e-9)

    def text(self) -> str:
        now = time.monotonic()
        if not self._done:
            return f"0 of {self._total} pictures, {now - self._start:.0f} s so far"
        left = max(0.0, (self._total - self._done) / self._rate - (now - self._last))
        return f"{self._done} of {self._total} pictures, {self._rate:.2f} pictures/s, {_duration(left)} left"

    @property
    def summary(self) -> str:
        return f"{self._done} pictures in {self._last - self._start:.1f} s: {self._rate:.2f} pictures/s"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def run_map(cfg: str, weights: str, address: str | None, cpus: int, actors: int, **options: Any) -> None:
    """As `detector map`, on a cluster."""
    from ...ray.measure import SpreadDetector
    from ...ray.spread import Spread
    from .evaluate import run_map as run

    def waiting() -> AbstractContextManager[None]:
        start = time.monotonic()
        return status(lambda: f"waiting for the cluster, {time.monotonic() - start:.0f} s")

    run(cfg, weights, detector=partial(SpreadDetector, Spread(address, cpus, actors), waiting=waiting), **options)
