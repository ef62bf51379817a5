"""Help, version, completion, and what a misspelt command is answered."""

import os
import subprocess
import sys

import click
import pytest

from pydarknet.cli.app import COMMANDS, GROUPS, pydarknet as command
from pydarknet.version import __version__


@pytest.mark.parametrize("words", [(), ("detect",), ("detector", "demo"), ("classifier", "predict"), ("cfg",)])
def test_three_ways_to_help(run, words):
    expected = run(*words, "--help")
    assert (expected.exit_code, run("help", *words).stdout) == (0, expected.stdout)
    if words[-1:] != ("demo",):  # whose -h is darknet's: the height of a camera's frames
        assert run(*words, "-h").stdout == expected.stdout


def test_help_on_what_is_no_command(run):
    result = run("help", "detector", "tset")
    assert result.exit_code == 2
    assert "No such command 'tset'; did you mean test?" in result.stderr
    result = run("help", "detect", "test")
    assert (result.exit_code, "pydarknet detect has no commands" in result.stderr) == (2, True)


def test_version(run):
    assert run("version").stdout == run("--version").stdout == f"pydarknet {__version__}\n"


@pytest.mark.parametrize("words, meant", [
    (["detct", "a.cfg"], "; did you mean detect?"), (["clasify"], "; did you mean classify?"),
    (["detector", "tran"], "; did you mean train?"), (["warmup"], "; did you mean warm-up?"), (["xyzzy"], "."),
])  # fmt: skip
def test_a_misspelt_command_is_answered_by_the_nearest(run, words, meant):
    result = run(*words)
    wrong = next(word for word in words if word != "detector")
    assert result.exit_code == 2
    assert f"No such command '{wrong}'{meant}\n" in result.stderr


def test_the_list_of_commands_is_true(run):
    text = run("--help").stdout
    assert list(COMMANDS) == command.list_commands(click.Context(command))
    for title, (_, commands) in GROUPS.items():
        assert f"{title}:\n" in text
        for name, summary in commands.items():
            assert command.get_command(click.Context(command), name).name == name
            assert len(summary) <= 60 and summary in text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(run, shell):
    result = run("completion", shell)
    assert result.exit_code == 0
    assert f"_PYDARKNET_COMPLETE={shell}_complete" in result.stdout
    assert run("completion", "tcsh").exit_code == 2


def test_completion_completes():
    environment = os.environ | {"_PYDARKNET_COMPLETE": "bash_complete", "COMP_WORDS": "pydarknet cl", "COMP_CWORD": "1"}
    program = [sys.executable, "-c", "from pydarknet.cli import main; main()"]
    process = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=60)
    assert sorted(process.stdout.splitlines()) == ["plain,classifier", "plain,classify"]
