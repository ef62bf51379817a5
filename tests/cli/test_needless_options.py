"""No option is silently ignored: what has an effect only beside another option says so, in every command."""

import click
import pytest

from pydarknet.cli.app import pydarknet as main
from pydarknet.cli.options import Option


def commands(group, ctx, path=()):
    """(words, command) of all commands."""
    for name in group.list_commands(ctx):
        found = group.get_command(ctx, name)
        if isinstance(found, click.Group):
            yield from commands(found, ctx, (*path, name))
        else:
            yield (*path, name), found


def names_of(command):
    return {each.name: each for each in command.params if each.expose_value}


def cases():
    for words, command in commands(main, click.Context(main)):
        for option in command.params:
            if isinstance(option, Option) and set(option.needs) & names_of(command).keys():
                yield pytest.param(words, command, option, id=f"{' '.join(words)} {option.opts[-1]}")


CASES = list(cases())
VALUES = {"IntRange": "3", "FloatRange": "0.3", "FiniteFloat": "0.3", "Share": "1/2"}


def given(option):
    """Words that give the option a value, which is not its default."""
    if option.is_flag:
        return [option.opts[-1]]
    kind = option.type
    value = kind.choices[-1] if isinstance(kind, click.Choice) else VALUES.get(type(kind).__name__, "x")
    return [f"{option.opts[-1]}={value}"]


def required(command):
    """Words for all arguments and options that a command must have; `train` gets its CFG."""
    words = ["x"] * sum(isinstance(each, click.Argument) and each.nargs == 1 for each in command.params)
    for each in command.params:
        words += given(each) if isinstance(each, click.Option) and each.required else []
    return words


def noted(command, words, capsys):
    command.make_context(command.name, [*required(command), *words])
    return capsys.readouterr().err


def test_the_options_that_were_found_ignored_are_among_them():
    known = {" ".join((*case.values[0], case.values[2].opts[-1])) for case in CASES}
    expected = {"detect --tile-overlap", "detector test --tile-overlap", "export --tune", "export --precision",
                "export --tolerance", "export --thresh", "train --bind", "train --token", "detector train --token",
                "detector train --mAP-epochs", "detector train --thresh", "train --iou-thresh"}  # fmt: skip
    assert expected <= known


@pytest.mark.parametrize("words, command, option", CASES)
def test_an_option_without_effect_says_so_in_one_line(words, command, option, capsys):
    others = names_of(command)
    needed = [others[name] for name in option.needs if name in others]
    if any(each.default not in (None, False) and not each.required for each in needed if isinstance(each.default, int)):
        assert noted(command, given(option), capsys) == ""  # as a port that has a default
        return
    missing = " or ".join(each.opts[-1] for each in needed)
    assert noted(command, given(option), capsys) == f"{option.opts[-1]} has no effect without {missing}\n"
    for each in needed:
        assert noted(command, [*given(option), *given(each)], capsys) == ""
    assert noted(command, [], capsys) == ""


def test_a_token_of_the_environment_is_for_all_commands(monkeypatch, capsys):
    monkeypatch.setenv("PYDARKNET_TOKEN", "secret")
    train = main.get_command(click.Context(main), "train")
    assert noted(train, [], capsys) == ""


def test_training_from_a_folder_always_measures(capsys):
    train = main.get_command(click.Context(main), "train")
    train.make_context("train", ["pictures/", "-iou_thresh", "0.3"])
    assert capsys.readouterr().err == ""
