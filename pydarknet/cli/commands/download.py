"""`download`: published weights by name."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

from ..console import note, redraws, say
from ..options import FILE, command, flag

if TYPE_CHECKING:
    from ...config.published import Published
    from ...zoo.download import Progress


@command(
    "download",
    click.argument("names", metavar="[NAME]...", nargs=-1),
    flag("list", "show_list", help="Print the weights that can be downloaded."),
    flag("to DIR", type=FILE, help="The folder. Default: $PYDARKNET_MODELS, else ~/.cache/pydarknet/models, where all "
         "commands look for weights."),
    flag("url URL", help="Download from this address, such as a mirror's; the size and checksum of the published file "
         "apply."),
)  # fmt: skip
def download_command(names: tuple[str, ...], show_list: bool, to: str | None, url: str | None) -> None:
    """Download published weights of darknet by name, or the first layers (`.conv.N`) to train from.

    All commands, and `pydarknet.load`, then find them by that name. An interrupted download is continued. A file whose
    size or checksum is wrong is rejected. Needs pooch: pip install 'pydarknet[zoo]'

    \b
    Examples:
      pydarknet download --list
      pydarknet download yolov4-tiny
      pydarknet detect yolov4-tiny.cfg yolov4-tiny.weights dog.jpg
      pydarknet download yolov4-tiny.conv.29 --to backbones
    """
    from ...config.published import PUBLISHED

    if show_list and names:
        raise click.UsageError("--list takes no NAME")
    if show_list:
        say("\n".join(_list_lines(PUBLISHED.values())))
        return
    if not names:
        raise click.UsageError("which weights? `pydarknet download --list` shows all")
    if url and len(names) > 1:
        raise click.UsageError(f"--url is the address of one file; found {len(names)} names")
    from ...zoo.download import download

    for name in names:
        with _bar() as progress:
            path = download(name, to, url=url, progress=progress, report=note)
        say(str(path))


def _list_lines(entries: Iterable[Published]) -> list[str]:
    """The table of `--list`: name, cfg, size, how a download is checked, licence; a star marks files on the disk."""
    from ...utils.resources import models_folder

    folder = models_folder()
    rows = [("", "name", "cfg", "MB", "checked by", "licence of the weights")]
    for entry in entries:
        here = "*" if (folder / entry.file).is_file() else ""
        size = f"{entry.size / 1e6:.1f}" if entry.size else ""
        check = f"{entry.checksum.partition(':')[0]} ({entry.stated_by})" if entry.checksum else "size alone"
        rows.append((here, entry.name, entry.cfg, size, check, entry.licence))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        " ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, "<<<><<", widths, strict=True)).rstrip()
        for row in rows
    ]
    return [*lines, f"* is in {folder}"]


@contextmanager
def _bar() -> Iterator[Progress | None]:
    """Yield a function that draws a progress bar of bytes on standard error; None if that is not a terminal."""
    if not redraws():
        yield None
        return
    bars: list[Any] = []
    with ExitStack() as stack:

        def show(arrived: int, total: int | None) -> None:
            if not bars:
                made: Any = click.progressbar(
                    length=total or 0, label="bytes", file=sys.stderr, show_pos=True, show_percent=True
                )
                bars.append(stack.enter_context(made))
            bar = bars[0]
            if arrived < bar.pos:  # the server began anew
                bar.pos = 0
            bar.update(arrived - bar.pos)

        yield show
