"""`doctor` and `warm-up`: what this machine is, and the kernels that it has compiled."""

from __future__ import annotations

import json
from typing import Any

import click

from ...errors import OutputError
from ..console import note, say
from ..options import FILE, Command, flag


@click.command("doctor", cls=Command)
@flag("json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor_command(as_json: bool) -> None:
    """Print processor, versions, the kernel cache, OpenCV's decoders, and what is wrong.

    The output is meant for bug reports. The exit code is 1 where something is wrong.

    \b
    Examples:
      pydarknet doctor
      pydarknet doctor --json
    """
    from ...tools.doctor import diagnose, lines

    facts = diagnose()
    if as_json:
        say(json.dumps(facts, indent=1))
    else:
        for line in lines(facts):
            say(line)
    if facts["problems"]:
        raise click.exceptions.Exit(1)


@click.command("warm-up", cls=Command)
@click.argument("cfgs", metavar="[CFG]...", type=FILE, nargs=-1)
@flag("train", is_flag=True, help="Also run a training step, so that the kernels of training are compiled.")
def warm_up_command(cfgs: tuple[str, ...], **options: Any) -> None:
    """Compile the kernels of networks now and keep them, so that later runs start at once.

    Runs each network once with random weights. Without CFG, takes bundled networks that have all common layers. For
    images of containers and for continuous integration.

    \b
    Examples:
      pydarknet warm-up
      pydarknet warm-up yolov4.cfg mine.cfg --train
    """
    from ...runtime.cache import CACHE_FOLDER
    from ...tools.warm_up import DEFAULT, warm_up
    from ...utils.resources import network_file

    for cfg in cfgs or DEFAULT:
        note(f"{cfg}: compiling ...")
        say(f"{cfg}: {warm_up(network_file(cfg), options['train']):.1f} s")
    if CACHE_FOLDER is None:
        raise OutputError("no folder can hold the compiled kernels; set NUMBA_CACHE_DIR to one of yours")
    note(f"kernels are kept in {CACHE_FOLDER}")
