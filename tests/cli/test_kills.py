"""Each command that writes, killed at random moments from its first file on: what stands under a final name is whole,
what was there before is there or replaced, and the same command runs again. Training has `training/test_kills.py`.

PYDARKNET_KILLS=20 in the environment kills each command 20 times, which takes some minutes.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from support.writing_commands import COMMANDS, copy_inputs, make_inputs, written

from pydarknet.cli.app import pydarknet

KILLS = int(os.environ.get("PYDARKNET_KILLS", "1"))
# A process that has imported everything, and forks for each line: a folder, seconds, the words of a command. The alarm
# clock ends the child as a kill does: nothing handles its signal.
PROGRAM = """
import os, pathlib, signal, sys
def starting(operation, seconds):
    def wrapped(path, *arguments, **options):
        if ".cache" not in str(path) and (operation is mkdir or arguments[0] & os.O_CREAT):
            signal.setitimer(signal.ITIMER_REAL, float(seconds)) if not started else None
            started.append(1)
        return operation(path, *arguments, **options)
    return wrapped
started, mkdir = [], pathlib.Path.mkdir
import pydarknet.model
from pydarknet.cli import main
for line in sys.stdin:
    folder, seconds, *words = line.split()
    child = os.fork()
    if not child:
        os.chdir(folder)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.open, pathlib.Path.mkdir = starting(os.open, seconds), starting(mkdir, seconds)
        sys.argv[1:] = words
        main()
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills")
    make_inputs(folder)
    return folder


@pytest.fixture(scope="module")
def killed_after():
    """The exit code of a command in a folder that is killed so many seconds after it began to write."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=-1, stdout=-1, text=True) as process:

        def run(folder, command, seconds):
            print(folder, seconds, command, file=process.stdin, flush=True)
            return int(process.stdout.readline())

        yield run
        process.stdin.close()


def run(words):
    result = CliRunner().invoke(pydarknet, words.split())
    assert result.exit_code == 0, result.output


def content(name):
    """What must be equal in two runs: not the seconds, nor the names of folders, which JSON and lists hold."""
    data = Path(name).read_bytes()
    if name.endswith(".json"):
        return len(json.loads(data))
    return data.replace(str(Path.cwd()).encode(), b".")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs signals")
@pytest.mark.parametrize("kind", COMMANDS)
def test_random_kills_leave_whole_files(killed_after, source, tmp_path, monkeypatch, kind):
    command, _ = COMMANDS[kind]
    if kind == "export":
        pytest.importorskip("onnx")
    copy_inputs(source, tmp_path / "whole")
    monkeypatch.chdir(tmp_path / "whole")
    known = written({})
    run(command)
    expected, inputs = {name: content(name) for name in written(known)}, {name: content(name) for name in known}
    rng, killed = np.random.default_rng(KILLS), 0
    for number in range(KILLS):
        monkeypatch.chdir(tmp_path)
        copy_inputs(source, tmp_path / f"kill{number}")
        monkeypatch.chdir(tmp_path / f"kill{number}")
        former = {}
        if number % 2 and "convert" not in command:  # files of an earlier run
            for name in expected:
                Path(name).parent.mkdir(exist_ok=True, parents=True)
                shutil.copy(tmp_path / "whole" / name, name)
            former = {name: content(name) for name in written(known)}
        code = killed_after(Path.cwd(), command, np.exp(rng.uniform(np.log(1e-4), np.log(0.3))))
        killed += code < 0
        assert code in (0, -14)
        found = {name: content(name) for name in written(known) if not any(p.startswith(".") for p in Path(name).parts)}
        assert found.items() <= expected.items(), number
        assert set(former) <= set(found), number
        assert {name: content(name) for name in known} == inputs
        if "convert" in command:
            assert set(found) in (set(), set(expected)), number
        if not (Path("new").is_dir() and "convert" in command):
            run(command)
        assert {name for name in written(known) if not name.startswith(".") and "/." not in name} == set(expected)
    assert killed or KILLS < 10
