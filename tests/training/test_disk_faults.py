"""The disk fails at each operation of a run in turn: one line, whole files, and a resumed run that loses nothing."""

import errno
import itertools
import json
import os
from pathlib import Path

import pytest
from support.training_files import detection_files

import pydarknet
from pydarknet.errors import OutputError
from pydarknet.training import validation
from pydarknet.training.checkpoint import newest
from pydarknet.training.setup import MeasuringOptions as Options
from pydarknet.training.trainer import train

OPTIONS = {"measure": True, "measuring": Options(epochs=1), "chart": False, "save_every": 2, "max_batches": 4}


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "LEAST_INTERVAL", 2)
    return detection_files(tmp_path)


def break_disk(monkeypatch, number, error):
    """Have operation `number` of the disk fail, and all after it; the count of operations so far."""
    count = itertools.count()
    fsync, replace, rename = os.fsync, Path.replace, os.replace

    def failing(operation):
        def wrapped(*arguments, **options):
            if next(count) >= number:
                raise OSError(error, os.strerror(error))
            return operation(*arguments, **options)

        return wrapped

    monkeypatch.setattr(os, "fsync", failing(fsync))
    monkeypatch.setattr(Path, "replace", failing(replace))
    monkeypatch.setattr(os, "replace", failing(rename))
    return count


def entries(folder):
    lines = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if "seconds" not in key} for line in lines]


@pytest.mark.slow
def test_every_operation_of_the_disk_may_fail(files, tmp_path, monkeypatch):
    whole = tmp_path / "whole"
    with monkeypatch.context() as patch:
        count = break_disk(patch, 1 << 30, 0)
        list(train(files.data, files.cfg, backup=whole, **OPTIONS))
        operations = next(count)
    assert operations > 20
    for number in range(operations):
        error = (errno.ENOSPC, errno.EROFS, errno.EIO)[number % 3]
        folder = tmp_path / f"fault{number}"
        try:
            with monkeypatch.context() as patch:
                break_disk(patch, number, error)
                list(train(files.data, files.cfg, backup=folder, **OPTIONS))
        except OutputError as caught:
            assert "\n" not in str(caught)
            assert os.strerror(error) in str(caught)
            assert "checkpoint" in str(caught), "the last one is named"
        for path in folder.glob("*.weights"):
            pydarknet.load(files.cfg, path)  # whole, or an error
        found = newest(folder, "net")
        assert found is None or found.iteration in (2, 4)
        list(train(files.data, files.cfg, backup=folder, resume=True, **OPTIONS))
        for name in ("net_final.weights", "net_best.weights"):
            assert (folder / name).read_bytes() == (whole / name).read_bytes(), number
        assert entries(folder) == entries(whole), number
        assert not list(folder.glob(".*")), number
