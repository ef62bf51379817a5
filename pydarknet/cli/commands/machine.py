"""`doctor`, `warm-up`, `help`, `version`, `completion`: this machine, this program."""

import json
from typing import Any

import click
from click.shell_completion import get_completion_class

from ...errors import OutputError
from ...version import __version__
from ..console import note, say
from ..options import FILE, command, flag


@command("doctor", "object")
def doctor_command(as_json: bool) -> None:
    """Print processor, versions, kernel cache, OpenCV's decoders, and problems.

    The output is meant for bug reports. The exit code is 1 if there are problems.

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


@command(
    "warm-up",
    click.argument("cfgs", metavar="[CFG]...", type=FILE, nargs=-1),
    flag("train", help="Also run a training step, to compile the kernels of training."),
)
def warm_up_command(cfgs: tuple[str, ...], **options: Any) -> None:
    """Compile and store the kernels of networks, so that later runs start at once.

    Runs each network once with random weights. Without CFG, runs bundled networks that have all common layers. Meant
    for container images and continuous integration.

    \b
    Examples:
      pydarknet warm-up
      pydarknet warm-up yolov4.cfg mine.cfg --train
    """
    from ...runtime.cache import CACHE_FOLDER
    from ...tools.profile import DEFAULT, warm_up
    from ...utils.resources import network_file

    for cfg in cfgs or DEFAULT:
        note(f"{cfg}: compiling ...")
        say(f"{cfg}: {warm_up(network_file(cfg), options['train']):.1f} s")
    if CACHE_FOLDER is None:
        raise OutputError("no folder for compiled kernels can be written; set NUMBA_CACHE_DIR to one that can")
    note(f"kernels are kept in {CACHE_FOLDER}")


@command("help", click.argument("words", metavar="[COMMAND]...", nargs=-1))
@click.pass_context
def help_command(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Print the help on a command; without one, the list of commands.

    \b
    Examples:
      pydarknet help detect
      pydarknet help detector demo
    """
    context = ctx.find_root()
    for word in words:
        if not isinstance(context.command, click.Group):
            context.fail(f"{context.command_path} has no commands")
        name, command, _ = context.command.resolve_command(context, [word])
        assert command is not None  # else it has failed
        context = click.Context(command, info_name=name, parent=context, **command.context_settings)
    say(context.get_help())


@command("version")
def version_command() -> None:
    """Print the version, as --version does.

    \b
    Example:
      pydarknet version
    """
    say(f"pydarknet {__version__}")


@command("completion", click.argument("shell", type=click.Choice(["bash", "zsh", "fish"])))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print a script that lets a shell complete commands, options and files.

    \b
    Examples:
      pydarknet completion bash >> ~/.bashrc
      pydarknet completion zsh >> ~/.zshrc
      pydarknet completion fish > ~/.config/fish/completions/pydarknet.fish
    """
    maker = get_completion_class(shell)
    assert maker is not None  # click has all three
    say(maker(ctx.find_root().command, {}, "pydarknet", "_PYDARKNET_COMPLETE").source())
