"""Each command that writes, with a disk that fails at each of its operations in turn, whose folder disappears, or that
is full: one line, and whole files only. Training has `training/test_disk_faults.py`."""

from __future__ import annotations

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
from support.evaluation_files import evaluation_files

from pydarknet.cli.app import pydarknet

# Words of each command, and whether a part of what it writes may be there: one file for each picture or frame.
COMMANDS = {
    "convert to darknet": ("dataset convert net.data --to darknet --out new", False),
    "convert to voc": ("dataset convert net.data --to voc --out new --copy", False),
    "convert to coco": ("dataset convert net.data --to coco --out new --copy", False),
    "valid coco": ("detector valid net.data net.cfg net.weights --eval coco --results new", False),
    "valid voc": ("detector valid net.data net.cfg net.weights --eval voc --results new", True),
    "valid kitti": ("detector valid net.data net.cfg net.weights --eval kitti --results new", True),
    "evaluate": ("evaluate net.data net.cfg net.weights --json new.json --worst new", True),
    "demo video": ("detector demo net.data net.cfg net.weights in.avi -dont_show -out_filename new.avi", False),
    "demo frames": ("detector demo net.data net.cfg net.weights in.avi -dont_show -prefix new_", True),
    "demo json": ("detector demo net.data net.cfg net.weights in.avi -dont_show -json_file_output new.json", False),
    "detect": ("detect net.cfg net.weights data/a0.png data/b1.png -out new.json --out-dir new", True),
    "anchors": ("anchors train.txt -num_of_clusters 1 -width 32 -height 32 -cfg net.cfg -write new.cfg", False),
    "partial": ("partial net.cfg net.weights new.weights 1", False),
    "average": ("average net.cfg new.weights net.weights net.weights", False),
    "denormalize": ("denormalize net.cfg net.weights new.weights", False),
    "export": ("export net.cfg net.weights new.onnx", False),
    "visualize": ("visualize net.cfg net.weights --out-dir new", True),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    evaluation_files(folder)
    (folder / "names").write_text("dog\ncat\n")
    writer = cv2.VideoWriter(str(folder / "in.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (48, 48))
    for number in range(3):
        writer.write(cv2.imread(str(folder / f"data/{'ab'[number % 2]}{number}.png")))
    writer.release()
    return folder


def run(command):
    result = CliRunner().invoke(pydarknet, command.split())
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def written(known):
    """Names and sizes of all files that are not in `known`."""
    return {str(path): path.stat().st_size for path in Path().rglob("*") if path.is_file() and str(path) not in known}


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


@pytest.fixture(params=COMMANDS)
def prepared(request, source, monkeypatch, tmp_path):
    """The words of a command in a folder that holds what it reads, what it writes, and the operations that takes."""
    command, many = COMMANDS[request.param]
    if request.param == "export":
        pytest.importorskip("onnx")

    def fresh(name):
        folder = tmp_path / name
        shutil.copytree(source, folder)
        for text in ("net.data", "train.txt"):
            (folder / text).write_text((folder / text).read_text().replace(str(source), str(folder)))
        monkeypatch.chdir(folder)
        return written({})

    known = fresh("whole")
    with monkeypatch.context() as patch:
        disk = BreakingDisk(patch, 1 << 30)
        result = run(command)
        operations = next(disk.count)
    assert result.exit_code == 0, result.output
    whole = written(known)
    assert whole and operations
    return command, many, fresh, whole, operations


def names_of(whole, folder):
    return {name.replace("whole", folder): size for name, size in whole.items()}


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
def test_a_disk_that_fills_up_under_a_video(source, tmp_path, name):
    """A bound on the size of files is a disk that is full in the middle of it; OpenCV says nothing about it."""
    writer = cv2.VideoWriter(str(tmp_path / "in.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (160, 120))
    rng = np.random.default_rng(1)
    for _ in range(30):
        writer.write(rng.integers(0, 256, (120, 160, 3), np.uint8))
    writer.release()
    words = f"detector demo net.data net.cfg net.weights {tmp_path}/in.avi -dont_show -out_filename {tmp_path}/{name}"
    command = [sys.executable, "-m", "pydarknet", *words.split()]

    def bounded():
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))

    process = subprocess.run(command, cwd=source, capture_output=True, text=True, preexec_fn=bounded)
    assert process.returncode == 1, process.stderr
    assert f"{name}: cannot write: " in process.stderr.splitlines()[-1]
    assert not [path for path in tmp_path.iterdir() if path.name not in ("in.avi", "dog.png")]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    assert (tmp_path / name).stat().st_size > 150_000
