"""The folder that a training run writes to."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import OutputError


def make_folder(folder: Path) -> None:
    """Make the folder where it is missing, and see that it can be written to. Raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot make the folder: {error.strerror or error}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{folder}: cannot write to this folder")
