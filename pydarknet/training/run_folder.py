"""The folder of a training run, cleared of results of earlier runs of the network.

A run overwrites files with darknet's names, and `resume` takes the checkpoint of the highest iteration. Results of an
earlier run are therefore moved to a folder NAME.old1, NAME.old2, ... inside.
"""

from __future__ import annotations

import logging
import math
import re
import shutil
from pathlib import Path

from ..errors import OutputError, WeightsError
from ..network.weights import Header
from ..utils.files import flush
from .checkpoint import NEW, STATE
from .metrics_log import METRICS_LOG

CHART = "chart.png"

log = logging.getLogger("pydarknet")


def set_aside(folder: Path, base: str, final: str, begins_with: Path | None, seen: int) -> Path | None:
    """Move results of earlier runs of the network `base` to a new folder inside. Returns it, or None if there are none.

    begins_with: the initial weights of the new run, which have seen `seen` images; they stay. If they are in this
    folder, weights that have not seen more images stay too, because the run continues from them. Best weights stay,
    because their sidecar records their measurement. final: the name of a run's final weights. Raises OutputError.
    """
    aside = next(path for n in range(1, 1 << 30) if not (path := folder / f"{base}.old{n}").exists())
    try:
        continues = seen > 0 and is_in(folder, begins_with)
        found = [path for path in _weights(folder, base, final) if not continues or _seen(path) > seen]
        if not found:
            return None
        aside.mkdir()
        for path in found:
            _move(path, aside, keep=begins_with is not None and begins_with.exists() and path.samefile(begins_with))
        for name in (METRICS_LOG, CHART):
            if (folder / name).exists():
                _copy(folder / name, aside) if continues else (folder / name).replace(aside / name)
        flush(aside)
        flush(folder)
    except OSError as error:
        raise OutputError(f"{aside}: cannot move earlier results here: {error.strerror or error}") from error
    what = found[0].name if len(found) == 1 else f"{found[0].name} and {len(found) - 1} more"
    log.warning(
        "%s: weights of an earlier run (%s) are now in %s; to continue that run, resume it there", folder, what, aside
    )
    return aside


def is_in(folder: Path, path: Path | None) -> bool:
    """Whether a file is directly in a folder."""
    return path is not None and folder.exists() and path.parent.exists() and path.parent.samefile(folder)


def _weights(folder: Path, base: str, final: str) -> list[Path]:
    """The weights files in the folder that runs of the network have written as checkpoints or averages."""
    name = re.escape(base)
    pattern = rf"{re.escape(final)}|{name}(\.backup|_final\.weights|_last\.weights|_ema\.weights|_\d+\.weights)"
    return sorted(path for path in folder.iterdir() if re.fullmatch(pattern, path.name) and path.is_file())


def _seen(path: Path) -> float:
    """The number of images that weights have seen; infinite for a file that is not a weights file."""
    try:
        with path.open("rb") as stream:
            return Header.parse(str(path), stream.read(512))[0].seen
    except WeightsError:
        return math.inf


def _move(weights: Path, aside: Path, keep: bool) -> None:
    """Move weights and their state. The state is moved first, because weights without a state are not taken for a
    checkpoint. keep: copy the weights instead."""
    for state in (weights.with_name(weights.name + STATE), weights.with_name(weights.name + STATE + NEW)):
        if state.exists():
            state.replace(aside / state.name)
    _copy(weights, aside) if keep else weights.replace(aside / weights.name)


def _copy(path: Path, aside: Path) -> None:
    shutil.copy2(path, aside / path.name)
