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
# The alarm clock ends the process as a kill does: nothing handles its signal.
PROGRAM = """
import os, pathlib, signal, sys
seconds, *words = sys.argv[1:]
def starting(operation):
    def wrapped(path, *arguments, **options):
        if ".cache" not in str(path) and (operation is mkdir or arguments[0] & os.O_CREAT):
            signal.setitimer(signal.ITIMER_REAL, float(seconds)) if not started else None
            started.append(1)
        return operation(path, *arguments, **options)
    return wrapped
started, mkdir = [], pathlib.Path.mkdir
from pydarknet.cli import main
from pydarknet.runtime import cache
os.open, pathlib.Path.mkdir = starting(os.open), starting(mkdir)
sys.argv[1:] = words
main()
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills")
    make_inputs(folder)
    return folder


def killed_after(words, seconds):
    return subprocess.run([sys.executable, "-c", PROGRAM, str(seconds), *words.split()], capture_output=True, text=True)


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
def test_random_kills_leave_whole_files(source, tmp_path, monkeypatch, kind):
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
        process = killed_after(command, np.exp(rng.uniform(np.log(1e-4), np.log(0.3))))
        killed += process.returncode < 0
        assert process.returncode in (0, -14), process.stderr
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
