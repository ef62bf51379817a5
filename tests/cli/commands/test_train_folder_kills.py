"""`train FOLDER` killed at random moments, from the first on: the folder is enough to go on, and nothing is lost.

PYDARKNET_KILLS=20 in the environment kills 20 times, which takes about two minutes.
"""

import os
import signal
import time

import numpy as np
import pytest
from support.picture_folders import labelled, with_names
from support.processes import read_to, start, wait_until

from pydarknet.training.checkpoint import newest

KILLS = int(os.environ.get("PYDARKNET_KILLS", "2"))
NEW = ("train", "set", "--out", "killed", "--max-batches", "100000", "--width", "64", "--height", "48", "--seed", "5",
       "--no-chart", "--save-every", "1")  # fmt: skip
GO_ON = ("train", "killed", "--resume")


def finish(folder, words):
    process = start(*words, cwd=folder)
    _, remarks = process.communicate(timeout=600)
    assert process.returncode == 0, remarks
    return remarks


@pytest.mark.slow
def test_the_folder_is_enough_after_every_kill(tmp_path):
    with_names(labelled(tmp_path / "set", 20))
    rng, reached, moments = np.random.default_rng(KILLS), 0, []
    for number in range(KILLS):
        there = (tmp_path / "killed").exists()
        process = start(*(GO_ON if there else NEW), cwd=tmp_path)
        if number % 4:  # while it trains, an iteration after the last one; otherwise at any moment from the start on
            next((line for line in process.stdout if line.startswith(f"{reached + KILLS + 2}: ")), None)
        time.sleep(float(rng.uniform(0, 0.5 if number % 4 else 1.5)))
        process.send_signal(signal.SIGKILL)
        _, remarks = process.communicate(timeout=60)
        assert "Traceback" not in remarks
        if (tmp_path / "killed").exists():
            found = newest(tmp_path / "killed", "small")
            iteration = found.iteration if found else 0
            assert iteration >= reached
            reached = iteration
        moments.append(reached)
    assert reached > KILLS, moments
    end = ("--max-batches", str(reached + 2))
    assert f"iteration {reached}" in finish(tmp_path, (*GO_ON, *end))
    # The same without a kill: the cfg's own schedule, so that only the end is another one.
    process = start(*(word if word != "killed" else "whole" for word in NEW), cwd=tmp_path)
    wait_until((tmp_path / "whole" / "run.json").exists)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    for path in (tmp_path / "whole").glob("small*.weights"):
        path.unlink()
    finish(tmp_path, ("train", "whole", "--resume", *end))
    name = "small_final.weights"
    assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.slow
def test_a_stopped_run_says_how_to_go_on(tmp_path):
    with_names(labelled(tmp_path / "set", 10))
    process = start(*NEW, cwd=tmp_path)
    read_to(process.stdout, "Loaded")
    process.send_signal(signal.SIGINT)
    _, remarks = process.communicate(timeout=300)
    assert process.returncode == 130, remarks
    assert remarks.splitlines()[-1].endswith("To go on, pydarknet train killed --resume.")
