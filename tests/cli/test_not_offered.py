"""Commands of darknet that are not offered say so."""

import pytest
from support.processes import process

from pydarknet.cli.app import COMMANDS
from pydarknet.cli.not_offered import ABSENT


@pytest.mark.parametrize("command", sorted(ABSENT))
def test_one_line_says_so(run, command):
    for words in ([], ["train", "a.cfg", "-clear", "-thresh", ".5"], ["--help"]):
        result = run(*command.split(), *words)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == f"{command} is not offered: {ABSENT[command]}\n"


def test_what_is_offered_is_not_among_them(run):
    assert not set(ABSENT) & set(COMMANDS)
    listed = {line.split()[0] for line in run("--help").stdout.splitlines() if line.strip()}
    assert "detect" in listed
    assert not set(ABSENT) & listed
    for group, name in (words.split() for words in ABSENT if " " in words):
        assert name not in {line.split()[0] for line in run(group, "--help").stdout.splitlines() if line.strip()}


@pytest.mark.slow
def test_as_a_process():
    result = process("go", "engine")
    assert result.returncode == 1
    assert result.stderr == f"go is not offered: {ABSENT['go']}\n"
