"""`cfg check` and `cfg set`: .cfg files as texts."""

from __future__ import annotations

import click

from ..errors import ConfigError
from ..resources import network_file
from .console import note, say
from .loading import read_data_file
from .options import FILE, FlagsFirst, dialect_option, flag


@click.group("cfg", cls=FlagsFirst)
def cfg_command() -> None:
    """Check and change network files."""


@cfg_command.command("check")
@click.argument("cfgs", metavar="CFG...", type=FILE, nargs=-1, required=True)
@flag("data", type=FILE, metavar="FILE.data", help="Also compare the number of classes with this file's.")
@flag("strict", is_flag=True, help="Let warnings count as errors.")
@dialect_option
def check_command(cfgs: tuple[str, ...], data: str | None, strict: bool, dialect: str) -> None:
    """Print everything in network files that does not fit, with lines.

    Errors keep the network from working as its file says; warnings are for what darknet accepts but is hardly meant.
    The exit code is 1 where there are errors.

    \b
    Examples:
      pydarknet cfg check my.cfg
      pydarknet cfg check my.cfg --data obj.data
    """
    from ..cfg_check import check_config

    section, failed = read_data_file(data) if data else None, False
    for cfg in cfgs:
        try:
            checked = check_config(network_file(cfg), dialect, section)
        except ConfigError as error:
            failed = True
            note(str(error))
            continue
        for line in checked.lines():
            say(line)
        warnings = len(checked.problems) - checked.errors
        kind = f"{checked.layers} layers, {checked.dialect.name} dialect"
        say(f"{checked.path}: {_count(checked.errors, 'error')}, {_count(warnings, 'warning')} ({kind})")
        failed |= checked.errors > 0 or (strict and warnings > 0)
    if failed:
        raise click.exceptions.Exit(1)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
