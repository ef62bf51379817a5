"""`doctor`, `warm-up`, `help`, `version`, `completion`, `download`: this machine, this program.

Large packages are imported late: some of these commands need none.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import click
from click.shell_completion import get_completion_class

from ...config.published import PUBLISHED
from ...errors import OutputError
from ...version import __version__
from ..console import fail_if, note, redraws, say


def run_doctor(as_json: bool) -> None:
    from ...tools.doctor import diagnose, lines

    facts = diagnose()
    say(*([json.dumps(facts, indent=1)] if as_json else lines(facts)))
    fail_if(facts["problems"])


def run_warm_up(cfgs: tuple[str, ...], **options: Any) -> None:
    from ...runtime.cache import CACHE_FOLDER
    from ...tools.profile import DEFAULT, warm_up
    from ...utils.resources import network_file

    for cfg in cfgs or DEFAULT:
        note(f"{cfg}: compiling ...")
        say(f"{cfg}: {warm_up(network_file(cfg), options['train']):.1f} s")
    if CACHE_FOLDER is None:
        raise OutputError("no folder for compiled kernels can be written; set NUMBA_CACHE_DIR to one that can")
    note(f"kernels are kept in {CACHE_FOLDER}")


def run_help(words: tuple[str, ...]) -> None:
    context = click.get_current_context().find_root()
    for word in words:
        if not isinstance(context.command, click.Group):
            context.fail(f"{context.command_path} has no commands")
        name, command, _ = context.command.resolve_command(context, [word])
        assert command is not None  # else it has failed
        context = click.Context(command, info_name=name, parent=context, **command.context_settings)
    say(context.get_help())


def run_version() -> None:
    say(f"pydarknet {__version__}")


def run_completion(shell: str) -> None:
    maker = get_completion_class(shell)
    assert maker is not None  # click has all three
    say(maker(click.get_current_context().find_root().command, {}, "pydarknet", "_PYDARKNET_COMPLETE").source())


def run_download(names: tuple[str, ...], show_list: bool, to: str | None, url: str | None) -> None:
    if show_list and names:
        raise click.UsageError("--list takes no NAME")
    if show_list:
        say(*_list_lines())
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


def _list_lines() -> list[str]:
    from ...utils.resources import models_folder

    folder = models_folder()
    rows = [("", "name", "cfg", "MB", "checked by", "licence of the weights")]
    for entry in PUBLISHED.values():
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
def _bar() -> Iterator[Callable[[int, int | None], None] | None]:
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

        yield show if redraws() else None
