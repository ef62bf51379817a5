"""`help`, `version`, `completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from ...version import __version__
from ..console import say
from ..options import command


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
