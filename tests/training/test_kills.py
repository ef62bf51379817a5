"""Training killed at random moments, again and again: nothing is lost, and the end is that of an undisturbed run.

PYDARKNET_KILLS=50 in the environment kills 50 times, which takes about two minutes.
"""

import json
import os
import signal
import time
from functools import partial

import numpy as np
import pytest
from support.processes import read_to, start
from support.training_files import detection_files

from pydarknet.training.checkpoint import newest


def entries(folder):
    """The lines of train.jsonl without times."""
    lines = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if "seconds" not in key} for line in lines]


KILLS = int(os.environ.get("PYDARKNET_KILLS", "3"))


@pytest.mark.slow
def test_random_kills_lose_nothing(tmp_path):
    files = detection_files(tmp_path, learning_rate=0.01)
    train = partial(start, "train", files.data, files.cfg, "-map", "--no-chart")
    rng, reached = np.random.default_rng(KILLS), 0
    for _ in range(KILLS):
        process = train("--resume", "--save-every", "1", "--max-batches", "1000000")
        read_to(process.stdout, "Loaded")
        time.sleep(float(rng.uniform(0, 0.3)))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        found = newest(files.folder, "net")
        iteration = found.iteration if found else 0
        assert iteration >= reached
        # A checkpoint follows each line of the log, so that at most one iteration is done again.
        assert len((files.folder / "train.jsonl").read_bytes().splitlines()) <= iteration + 1
        reached = iteration
    assert reached > KILLS
    end = str(reached + 3)
    for words in (["--resume"], ["--backup", str(tmp_path / "undisturbed")]):
        process = train(*words, "--max-batches", end)
        _, remarks = process.communicate(timeout=300)
        assert process.returncode == 0, remarks
    for name in ("net_final.weights", *(["net_best.weights"] if reached >= 100 else [])):
        assert (files.folder / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()
    assert entries(files.folder) == entries(tmp_path / "undisturbed")
    assert not list(files.folder.glob(".*")) and not list(files.folder.glob("*.new"))
