"""Each command that writes, with a disk that fails at each of its operations in turn, whose folder disappears, or that
is full: one line, and whole files only. Training has `training/test_disk_faults.py`."""

import errno
import itertools
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from support.writing_commands import COMMANDS, copy_inputs, make_inputs, written

from pydarknet.cli.app import pydarknet


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    make_inputs(folder)
    return folder


def run(command):
    result = CliRunner().invoke(pydarknet, command.split())
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


class BreakingDisk:
    """Operation `number` of the disk fails, and all after it; or before it the folder is removed."""

    def __init__(self, patch, number, error=None, folder=None):
        self.count, self.number, self.error, self.folder = itertools.count(), number, error, folder
        for owner, name in ((os, "fsync"), (os, "replace"), (Path, "replace"), (Path, "mkdir"), (os, "open")):
            patch.setattr(owner, name, self.failing(getattr(owner, name), name))

    def failing(self, operation, name):
        def wrapped(*arguments, **options):
            if name == "open" and not arguments[1] & os.O_CREAT:
                return operation(*arguments, **options)
            at = next(self.count)
            if at >= self.number and self.error is not None:
                raise OSError(self.error, os.strerror(self.error))
            if at == self.number and self.folder is not None:
                shutil.rmtree(self.folder)
            return operation(*arguments, **options)

        return wrapped


UNDISTURBED = {}  # what each command writes, and the operations that takes


@pytest.fixture(params=COMMANDS)
def prepared(request, source, monkeypatch, tmp_path):
    """The words of a command in a folder that holds what it reads, what it writes, and the operations that takes."""
    command, many = COMMANDS[request.param]
    if request.param == "export":
        pytest.importorskip("onnx")

    def fresh(name):
        folder = tmp_path / name
        copy_inputs(source, folder)
        monkeypatch.chdir(folder)
        return written({})

    if command not in UNDISTURBED:
        known = fresh("whole")
        with monkeypatch.context() as patch:
            disk = BreakingDisk(patch, 1 << 30)
            result = run(command)
            operations = next(disk.count)
        assert result.exit_code == 0, result.output
        UNDISTURBED[command] = written(known), operations
    whole, operations = UNDISTURBED[command]
    assert whole and operations
    return command, many, fresh, whole, operations


@pytest.mark.slow
def test_every_operation_of_the_disk_may_fail(prepared, monkeypatch):
    command, many, fresh, whole, operations = prepared
    for number in range(min(operations, 40)):
        error = (errno.ENOSPC, errno.EROFS, errno.EIO)[number % 3]
        known = fresh(f"fault{number}")
        with monkeypatch.context() as patch:
            BreakingDisk(patch, number, error)
            result = run(command)
        last = result.stderr.strip().splitlines()[-1]
        assert result.exit_code == 1, (number, result.output)
        assert os.strerror(error) in last, (number, last)
        found = written(known)
        assert not [name for name in found if "/." in f"/{name}"], number
        if many:
            assert set(found) < set(whole), number
        else:
            assert not found, number


@pytest.mark.slow
def test_the_folder_may_disappear(prepared, monkeypatch):
    command, _, fresh, whole, operations = prepared
    inside = any(name.startswith("new/") for name in whole) and "convert" not in command
    if not inside:
        command = " ".join(f"gone/{word}" if word.startswith("new") else word for word in command.split())
    for number in range(min(operations, 15)):
        known = fresh(f"gone{number}")
        folder = Path("new" if inside else "gone")
        folder.mkdir(exist_ok=True)
        with monkeypatch.context() as patch:
            BreakingDisk(patch, number, folder=folder)
            result = run(command)
        assert result.exit_code in (0, 1), (number, result.output)
        if result.exit_code:
            assert "cannot" in result.stderr.strip().splitlines()[-1], (number, result.output)
        assert not [name for name in written(known) if "/." in f"/{name}"], number


@pytest.mark.slow
@pytest.mark.parametrize("name", ["new.avi", "new.mkv", "new.mp4"])
def test_a_disk_that_fills_up_under_a_video(source, tmp_path, monkeypatch, name):
    """A bound on the size of files is a disk that is full in the middle of it; OpenCV says nothing about it."""
    writer = cv2.VideoWriter(str(tmp_path / "in.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (160, 120))
    rng = np.random.default_rng(1)
    for _ in range(30):
        writer.write(rng.integers(0, 256, (120, 160, 3), np.uint8))
    writer.release()
    words = f"detector demo net.data net.cfg net.weights {tmp_path}/in.avi -dont_show -out_filename {tmp_path}/{name}"
    command = [sys.executable, "-m", "pydarknet", *words.split()]

    def bounded():
        resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, 120_000))

    process = subprocess.run(command, cwd=source, capture_output=True, text=True, preexec_fn=bounded)
    assert process.returncode == 1, process.stderr
    assert f"{name}: cannot write: " in process.stderr.splitlines()[-1]
    assert not [path for path in tmp_path.iterdir() if path.name not in ("in.avi", "dog.png")]
    monkeypatch.chdir(source)
    assert run(words).exit_code == 0
    assert (tmp_path / name).stat().st_size > 120_000
