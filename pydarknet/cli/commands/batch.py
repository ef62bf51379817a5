"""Archives of pictures, with results in parts, which a restart completes: `batch detect` and `batch classify` on a Ray
cluster, `detect --shard` and `classify --shard` without one; `batch map`."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ...archive.parts import Parts
from ...archive.store import TABLE, Store, is_uri
from ...archive.work import Failure, Work
from ...errors import DataError, ImageError
from ...model import Model
from ...network.weights import path_of
from ...utils.files import hash_of
from ...utils.resources import exists, network_file
from ...version import __version__
from ..console import Interruption, draw_line, note, redraws
from ..loading import Options, classifier_steps, detector_steps, load_model
from ..sources import EXTENSIONS, expand_inputs, expand_path, is_video

LOG_INTERVAL = 10.0  # seconds between two lines of progress if standard error is not a terminal
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
    ctx = click.get_current_context()
    for each in ctx.command.params:
        if each.name not in OF_SHARDS and ctx.get_parameter_source(each.name or "") is ParameterSource.COMMANDLINE:
            note(f"{each.opts[-1]} has no effect with --shard")
    number, count = options["shard"]
    shards: Options = {"block": None, "column": None, "format": "json", **options}
    _run(kind, cfg, weights, images, shards, lambda index: index % count == number - 1)


def _run(
    kind: str, cfg: str, weights: str, sources: Sequence[str], options: Options, is_mine: Callable[[int], bool],
    spread: Any = None,
) -> None:  # fmt: skip
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
    work, progress = Work(store, steps, options["batch"]), _Progress(sum(map(len, blocks.values())), options)
    if spread is None or not blocks:
        found: Any = ((index, work(listed)) for index, listed in blocks.items())
    else:
        found = spread.run(work, blocks, partial(Failure, reason=KILLED), 4 * model.parameter_count)
    with Interruption() as stop, closing(found), closing(stop.until(found)) as results:
        for index, outcomes in results:
            parts.write(index, outcomes)
            progress.add(len(outcomes))
    progress.end()
    _end(parts, all_of_mine, stop)


def _end(parts: Parts, blocks: Sequence[int], stop: Interruption) -> None:
    failed = parts.with_errors(blocks)
    if failed:
        note(f"pictures without a result: see {parts.folder}/errors-*, {len(failed)} files")
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
    """A line on standard error: pictures, pictures per second, time left."""

    def __init__(self, total: int, options: Options) -> None:
        self._total, self._quiet, self._done = total, options.get("quiet"), 0
        self._start = self._shown = time.monotonic()

    def add(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        rate = self._done / (now - self._start)
        left = (self._total - self._done) / rate
        text = f"{self._done} of {self._total} pictures, {rate:.2f} pictures/s, {_duration(left)} left"
        if self._quiet:
            return
        if redraws():
            draw_line(text)
        elif now - self._shown >= LOG_INTERVAL:
            self._shown = now
            note(text)

    def end(self) -> None:
        seconds = time.monotonic() - self._start
        if self._done and not self._quiet:
            note(f"{self._done} pictures in {seconds:.1f} s: {self._done / seconds:.2f} pictures/s")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def run_map(cfg: str, weights: str, address: str | None, cpus: int, actors: int, **options: Any) -> None:
    """As `detector map`, on a cluster."""
    from ...ray.measure import SpreadDetector
    from ...ray.spread import Spread
    from .evaluate import run_map as run

    run(cfg, weights, detector=partial(SpreadDetector, Spread(address, cpus, actors)), **options)
