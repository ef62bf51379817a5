"""Where the pictures of a converted data set are: where they were, or copied."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from ...errors import OutputError


@dataclass(frozen=True)
class Placing:
    """`final`: the folder that the new data set will have; it is written elsewhere first. copy: whether pictures are
    copied into it."""

    final: Path
    copy: bool = False

    def reference(self, picture: Path) -> str:
        """The path of a picture that stays where it is, as seen from the new folder."""
        return Path(os.path.relpath(os.path.realpath(picture), os.path.realpath(self.final))).as_posix()

    def place(self, picture: Path, folder: Path) -> None:
        """Put a picture into a folder of the new data set: a copy, or a link to it. One that is not there is left
        out."""
        target = folder / picture.name
        if not picture.is_file() or target.is_symlink() or target.exists():
            return
        if self.copy:
            shutil.copyfile(picture, target)
            return
        try:
            target.symlink_to(Path(os.path.pardir) / self.reference(picture))
        except (OSError, NotImplementedError) as error:
            raise OutputError(f"{target}: cannot link to {picture} ({error}); copy the pictures instead") from error
