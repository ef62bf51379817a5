"""Checkpoints: NAME, an ordinary .weights file, and NAME.state.npz with all else from which a run resumes.

The state holds the hash of its weights. Both are written under temporary names; then the weights are renamed,
then the state. A kill between the two leaves NAME.state.npz.new, whose hash fits: a complete pair exists at
every moment.
"""

import io
import json
import math
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OutputError, WeightsError
from ..network.network import Network
from ..network.weights import Header
from ..utils.arrays import Array
from ..utils.files import StrPath, atomic_write, flush, hash_of, log, output_errors
from .learner import Learner
from .state import COUNT, FINITE, SEED, TABLE, TEXT, check_arrays, check_values, or_none

FORMAT = 3  # of the state file; raised when names or meanings change. 1 named arrays by numbers, 2 had no hooks
STATE, NEW = ".state.npz", ".new"
_CONTENT, _NPY = "content", ".npy"
_KINDS = {
    "format": COUNT, "base": TEXT, "weights": TEXT, "hash": TEXT, "dialect": TEXT, "batch": COUNT,
    "subdivisions": COUNT, "progress": TABLE, "training": TABLE,
}  # fmt: skip
_PROGRESS = {
    "iteration": COUNT, "start": COUNT, "average": or_none(FINITE), "position": COUNT, "seed": SEED, "hooks": TABLE,
    "min_size": or_none(COUNT),
}  # fmt: skip


def base_name(cfg: StrPath, backslashes: bool = False) -> str:
    """A cfg's name up to its first dot. backslashes: separate as well."""
    name = os.fspath(cfg).rpartition("/")[2]
    return (name.rpartition("\\")[2] if backslashes else name).partition(".")[0]


@dataclass(frozen=True)
class Progress:
    """What a state file says of a run besides the learner's state."""

    iteration: int
    start: int  # the iteration at which the run began
    average: float | None  # of the loss; None before the first iteration
    position: int  # pictures that the loader has delivered
    seed: int
    hooks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # states of hooks by their keys
    min_size: int | None = None  # the smallest side of multi-scale training, if the user chose it


@dataclass(frozen=True)
class Checkpoint:
    """A pair on the disk. content: the JSON object of its state file."""

    state: Path
    content: Mapping[str, Any]

    @classmethod
    def read(cls, state: Path) -> "Checkpoint":
        """Raises WeightsError for the state file of another version."""
        arrays = _read(state, lambda name: name == _CONTENT)
        wrong = f"{state} is not the state of a training run"
        if _CONTENT not in arrays:
            raise WeightsError(f"{wrong}: it has no {_CONTENT}")
        with naming(wrong, ValueError, RecursionError):
            content = json.loads(str(arrays[_CONTENT]))
        if isinstance(content, dict) and content.get("format", FORMAT) != FORMAT:
            raise WeightsError(
                f"{state} has format {str(content['format'])[:20]!r} of another version of pydarknet; expected "
                f"{FORMAT}. To start a new run from its weights, name them without resume: {cls(state, {}).weights}"
            )
        with naming(wrong):
            check_values(content, _KINDS, "")
            progress = content["progress"]
            check_values(progress, _PROGRESS, "progress")
            check_values(progress["hooks"], dict.fromkeys(progress["hooks"], TABLE), "progress.hooks")
        return cls(state, content)

    @property
    def weights(self) -> Path:
        return self.state.with_name(self.state.name.removesuffix(NEW).removesuffix(STATE))

    @property
    def is_whole(self) -> bool:
        """Whether the state belongs to the weights."""
        try:
            return bool(self.content["hash"] == hash_of(self.weights))
        except OSError:
            return False

    @property
    def progress(self) -> Progress:
        return Progress(**self.content["progress"])

    @property
    def iteration(self) -> int:
        return self.progress.iteration


@contextmanager
def naming(what: str, *errors: type[Exception]) -> Iterator[None]:
    """A WeightsError of the block, or one of `errors`, becomes one that begins with `what`."""
    try:
        yield
    except WeightsError as error:
        raise WeightsError(f"{what}: {error}") from error
    except errors as error:
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise WeightsError(f"{what}: {text}") from error


def _is_in_file(network: Network) -> bool:
    return all(layer.record_options.is_whole and layer.record_options.save for layer in network.layers)


def save(folder: Path, name: str, learner: Learner, progress: Progress) -> Path:
    """Write a pair and return the path of its weights. Raises OutputError."""
    network = learner.network
    network.header = Header(*network.dialect.version, learner.seen)
    arrays = learner.state_dict()
    if not _is_in_file(network):
        arrays |= _parameters(network)
    with writing_pair(network, folder / name, folder / f"{name}{STATE}") as (hash_, state):
        content = {
            "format": FORMAT,
            "base": base_name(network.path, backslashes=network.dialect.name == "alexeyab"),
            "weights": name,
            "hash": hash_,
            "dialect": network.dialect.name,
            "batch": learner.mini_batch,
            "subdivisions": learner.subdivisions,
            "progress": {**vars(progress), "hooks": {key: dict(state) for key, state in progress.hooks.items()}},
            "training": learner.counters(),
        }
        with atomic_write(state) as stream:
            np.savez(stream, **{_CONTENT: np.array(json.dumps(content))}, **arrays)  # type: ignore[arg-type]
    return folder / name


@contextmanager
def writing_pair(network: Network, target: Path, beside: Path) -> Iterator[tuple[str, Path]]:
    """Write weights and, in the block, a file that belongs to them, so that a complete pair exists at every
    moment.

    Yields the hash of the weights, for that file, and its temporary path. Raises OutputError.
    """
    weights, new = target.with_name(f".{target.name}{NEW}"), beside.with_name(beside.name + NEW)
    try:
        network.save_weights(weights)
        yield hash_of(weights), new
        for path, final in ((weights, target), (new, beside)):
            path.replace(final)
            flush(target.parent)
    except (OSError, OutputError) as error:
        weights.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or str(error).rpartition(": ")[2]
        raise OutputError(f"{target}: cannot write: {reason}") from error


def _parameters(network: Network) -> dict[str, Array]:
    return {
        f"parameter.layer.{index}.{number}.{record.name}": record.array
        for index, layer in enumerate(network.layers)
        for number, record in enumerate(layer.named_parameters())
    }


def newest(folder: Path, base: str) -> Checkpoint | None:
    """The pair of the network `base` with the highest iteration; None if the folder has none.

    Files that do not belong together are skipped with a warning. Raises WeightsError if no pair is complete.
    """
    found: list[Checkpoint] = []
    wrong = []
    for path in _files(folder, base):
        if path.name.endswith((STATE, STATE + NEW)):
            try:
                found.append(Checkpoint.read(path))
            except WeightsError as error:
                wrong.append(str(error))
    mine = [each for each in found if (each.content["base"], each.content["weights"]) == (base, each.weights.name)]
    for checkpoint in sorted(mine, key=lambda each: each.iteration, reverse=True):
        if checkpoint.is_whole:
            for line in wrong:
                log.warning("%s; it is skipped", line)
            return checkpoint
        if checkpoint.state.name.endswith(STATE):  # else a kill came first, and the older pair is whole
            wrong.append(f"{checkpoint.weights} is missing, or not the file that {checkpoint.state.name} belongs to")
    if wrong:
        raise WeightsError(f"{folder}: no checkpoint of {base} to resume from: {wrong[0]}")
    return None


def _files(folder: Path, base: str, hidden: str = "") -> list[Path]:
    with output_errors(folder, "cannot read the folder"), suppress(FileNotFoundError):
        return sorted(p for p in folder.iterdir() if p.name.startswith((f"{hidden}{base}.", f"{hidden}{base}_")))
    return []


def _read(path: Path, is_wanted: Callable[[str], bool]) -> dict[str, Array]:
    found: dict[str, Array] = {}
    # zipfile and numpy raise many types of errors for damaged files
    with naming(f"{path} is not the state of a training run", Exception), zipfile.ZipFile(path) as archive:
        left = path.stat().st_size
        for info in archive.infolist():
            name = info.filename.removesuffix(_NPY)
            if not is_wanted(name):
                continue
            if name in found:
                raise ValueError(f"it has two arrays {name[:60]!r}")
            left -= info.file_size
            if info.compress_type != zipfile.ZIP_STORED or left < 0:
                raise ValueError(f"array {name[:60]!r} is not stored as it was written")
            found[name] = _array(archive.read(info))
    return found


def _array(data: bytes) -> Array:
    stream = io.BytesIO(data)
    if (version := np.lib.format.read_magic(stream)) != (1, 0):
        raise ValueError(f"it has an array of version {version}")
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(data) - stream.tell():
        raise ValueError(f"an array {dtype} of shape {shape} has {len(data) - stream.tell()} bytes")
    values: Array = np.frombuffer(data, dtype, offset=stream.tell())
    return values.reshape(shape, order="F" if by_columns else "C")


def check_fits(checkpoint: Checkpoint, network: Network, subdivisions: int) -> None:
    """Raise WeightsError for a run with another dialect or mini-batch."""
    content, name = checkpoint.content, network.path
    for key, has in (("dialect", network.dialect.name), ("batch", network.batch), ("subdivisions", subdivisions)):
        if content[key] != has:
            what = "mini-batches" if key == "batch" else key
            raise WeightsError(
                f"{checkpoint.state}: the run had {what} {content[key]}, {name} now gives {has}; to start a new run "
                f"from these weights, name them: {checkpoint.weights}"
            )


def naming_run(checkpoint: Checkpoint, network: Network) -> AbstractContextManager[None]:
    """A WeightsError of the block names the state file and the network."""
    return naming(f"{checkpoint.state}: not the state of a training run of {network.path}")


def load_parameters(checkpoint: Checkpoint, network: Network) -> None:
    """Load the checkpoint's parameters into the network. Raises WeightsError."""
    if _is_in_file(network):
        network.loaded = network.load_weights(checkpoint.weights)
        return
    expected = _parameters(network)
    found = _read(checkpoint.state, lambda name: name.startswith("parameter."))
    with naming_run(checkpoint, network):
        check_arrays(found, expected)
    for name, array in expected.items():
        array[...] = found[name]
    network.parameters_changed()


def restore(checkpoint: Checkpoint, learner: Learner) -> None:
    """Load all but parameters. Raises WeightsError before any change."""
    network = learner.network
    parameters = {} if _is_in_file(network) else _parameters(network)
    state = _read(checkpoint.state, lambda name: name != _CONTENT and name not in parameters)
    with naming_run(checkpoint, network):
        learner.load_state_dict(state, checkpoint.content["training"])


def clean(folder: Path, base: str) -> None:
    """After kills: delete temporary files, rename states whose weights are renamed. Raises OutputError."""
    hidden = [*_files(folder, base, "."), *_files(folder, base, "..")]
    temporary = [path for path in hidden if path.name.endswith((".part", NEW))]
    states = [path for path in _files(folder, base) if path.name.endswith(STATE + NEW)]
    for path in [*temporary, *states]:
        with output_errors(path, "cannot be renamed or deleted"):
            if path in states and _belongs(path):
                path.replace(path.with_name(path.name.removesuffix(NEW)))
            else:
                path.unlink(missing_ok=True)


def _belongs(state: Path) -> bool:
    with suppress(WeightsError):
        return Checkpoint.read(state).is_whole
    return False
