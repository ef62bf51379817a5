"""Weights written during training, each with a file beside it that says how to go on from there.

A checkpoint is a pair: NAME, an ordinary .weights file, and NAME.state.npz with everything else that training needs
(accumulated updates with momentum, counters, the average loss, the loader's position, random states). The state holds
the hash of its weights, so that files which do not belong together are not taken for a pair.

Both are written under other names first. Then the weights are renamed, then the state. A kill between the two leaves
NAME.state.npz.new, whose hash fits the new weights; one before both leaves the old pair. At no moment is there none.
"""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .errors import OutputError, WeightsError
from .files import flush, hash_of, write_whole
from .naming import base_name
from .network import Network
from .tensor import Array
from .training import Training
from .weights import Header

log = logging.getLogger("pydarknet")

FORMAT = 1  # of the state file
STATE, NEW = ".state.npz", ".new"
_KEYS = {"base", "weights", "hash", "dialect", "batch", "subdivisions", "progress", "training"}
_PARAMETER = "parameter_{}_{}"  # layer, number of the array


@dataclass(frozen=True)
class Progress:
    """How far a training run is, besides what `Training` knows."""

    iteration: int
    start: int  # the iteration at which the run began
    average: float | None  # of the loss; None before the first iteration
    position: int  # pictures that the loader has given
    seed: int
    saved: Mapping[str, int] = field(default_factory=dict)  # AlexeyAB's: the iteration of the last save of each kind
    measured: Mapping[str, Any] = field(default_factory=dict)  # what `Measuring.state` gives
    min_size: int | None = None  # of input sizes that change, where the user chose it


@dataclass(frozen=True)
class Checkpoint:
    """A pair found on the disk."""

    weights: Path
    state: Path
    content: Mapping[str, Any]

    @property
    def iteration(self) -> int:
        return int(self.content["progress"]["iteration"])

    @property
    def progress(self) -> Progress:
        return Progress(**self.content["progress"])


def _is_in_file(network: Network) -> bool:
    """Whether a .weights file holds all parameters, so that reading it brings them back."""
    return all(layer.stored.is_whole and layer.stored.save for layer in network.layers)


def save(folder: Path, name: str, training: Training, progress: Progress) -> Path:
    """Write the pair; until it is complete, a former one of that name stays. Raises OutputError."""
    network = training.network
    network.header = Header(*network.dialect.version, training.seen)
    target = folder / name
    weights, state = folder / f".{name}{NEW}", folder / f"{name}{STATE}{NEW}"
    arrays = dict(training.arrays())
    if not _is_in_file(network):
        arrays |= {_PARAMETER.format(i, j): array for i, j, array in _parameters(network)}
    try:
        network.save_weights(weights)
        content = {
            "format": FORMAT,
            "base": base_name(network.path, backslashes=network.dialect.name == "alexeyab"),
            "weights": name,
            "hash": hash_of(weights),
            "dialect": network.dialect.name,
            "batch": training.mini_batch,
            "subdivisions": training.subdivisions,
            "progress": {**vars(progress), "saved": dict(progress.saved), "measured": dict(progress.measured)},
            "training": training.counters(),
        }
        with write_whole(state) as stream:
            np.savez(stream, content=np.array(json.dumps(content)), **arrays)  # type: ignore[arg-type]
        weights.replace(target)
        flush(folder)
        state.replace(folder / f"{name}{STATE}")
        flush(folder)
    except (OSError, OutputError) as error:
        weights.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or str(error).rpartition(": ")[2]
        raise OutputError(f"{target}: cannot write: {reason}") from error
    return target


def _parameters(network: Network) -> list[tuple[int, int, Array]]:
    return [(i, j, r.array) for i, layer in enumerate(network.layers) for j, r in enumerate(layer.records())]


def newest(folder: Path, base: str) -> Checkpoint | None:
    """The pair of the highest iteration among those of the network `base`; None where the folder has none.

    Pairs that do not fit together are passed over with a warning. Raises WeightsError where none of several fits.
    """
    found, wrong = [], []
    for path in _files(folder, base):
        if not path.name.endswith((STATE, STATE + NEW)):
            continue
        name = path.name.removesuffix(NEW).removesuffix(STATE)
        content = _content(path)
        if content is None:
            wrong.append(f"{path} is no state of a training run")
        elif (content["base"], content["weights"]) == (base, name):
            found.append(Checkpoint(folder / name, path, content))
    for checkpoint in sorted(found, key=lambda c: c.iteration, reverse=True):
        if checkpoint.weights.is_file() and hash_of(checkpoint.weights) == checkpoint.content["hash"]:
            for line in wrong:
                log.warning("%s; it is passed over", line)
            return checkpoint
        if checkpoint.state.name.endswith(STATE):  # else a kill came before the weights were renamed: nothing is lost
            wrong.append(f"{checkpoint.weights} is not there, or not the file that {checkpoint.state.name} belongs to")
    if wrong:
        raise WeightsError(f"{folder}: no checkpoint of {base} to go on from: {wrong[0]}")
    return None


def _files(folder: Path, base: str, hidden: str = "") -> list[Path]:
    """Files of the network `base` in a folder; `hidden`: that many dots before the name."""
    try:
        return sorted(p for p in folder.iterdir() if p.name.startswith((f"{hidden}{base}.", f"{hidden}{base}_")))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise OutputError(f"{folder}: cannot read the folder: {error.strerror or error}") from error


def _content(path: Path) -> dict[str, Any] | None:
    try:
        with np.load(path, allow_pickle=False) as archive:
            content = json.loads(str(archive["content"]))
        if content["format"] != FORMAT:
            return None
        Progress(**content["progress"])
        return content if set(content) >= _KEYS else None
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None


def check_fits(checkpoint: Checkpoint, network: Network, subdivisions: int) -> None:
    """Raise WeightsError where the run was another one: going on would not continue it."""
    content, name = checkpoint.content, network.path
    for key, has in (("dialect", network.dialect.name), ("batch", network.batch), ("subdivisions", subdivisions)):
        if content[key] != has:
            what = "mini-batches" if key == "batch" else key
            raise WeightsError(
                f"{checkpoint.state}: the run had {what} {content[key]}, {name} now gives {has}; to start a new run "
                f"from these weights, name them: {checkpoint.weights}"
            )


def load_parameters(checkpoint: Checkpoint, network: Network) -> None:
    """Give the network the checkpoint's parameters. Raises WeightsError."""
    if _is_in_file(network):
        network.loaded = network.load_weights(checkpoint.weights)
        return
    with _reading(checkpoint, network), np.load(checkpoint.state, allow_pickle=False) as archive:
        for i, j, array in _parameters(network):
            array[:] = archive[_PARAMETER.format(i, j)]
    network.parameters_changed()


def restore(checkpoint: Checkpoint, training: Training) -> None:
    """Give training, set up at the right input size, everything else. Raises WeightsError."""
    with _reading(checkpoint, training.network), np.load(checkpoint.state, allow_pickle=False) as archive:
        names = [name for name in archive.files if not name.startswith(("content", "parameter"))]
        training.restore_arrays({name: archive[name] for name in names})
        training.restore_counters(checkpoint.content["training"])


class _reading:  # noqa: N801
    """What goes wrong while a state is read is the fault of a file that is not this network's."""

    def __init__(self, checkpoint: Checkpoint, network: Network) -> None:
        self.text = f"{checkpoint.state}: not the state of a training run of {network.path}"

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (OSError, ValueError, KeyError, IndexError, AttributeError, zipfile.BadZipFile)):
            raise WeightsError(f"{self.text} ({error})") from error


def clean(folder: Path, base: str) -> None:
    """Delete what runs of this network that were killed while they wrote have left behind."""
    for path in [*_files(folder, base, "."), *_files(folder, base, "..")]:
        if path.name.endswith((".part", NEW)):
            path.unlink(missing_ok=True)
