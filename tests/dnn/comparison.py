"""The same jobs for OpenCV 4 and for pydarknet.dnn, and how far the answers are apart."""

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

import pydarknet.dnn
from dnn.opencv import answers

SCRIPT = Path(__file__).with_name("opencv.py")
VARIABLE = "PYDARKNET_OPENCV4"  # the Python of an environment with opencv-python 4
TOLERANCE = 1e-3  # of boxes in fractions of the picture, and of scores


def opencv4():
    """That Python; the test is skipped without."""
    python = os.environ.get(VARIABLE)
    if not python:
        pytest.skip(f"no opencv-python 4: {VARIABLE} names no Python")
    return python


def ask_opencv(jobs, folder, python):
    """OpenCV's answers, a dictionary for each job."""
    (folder / "jobs.json").write_text(json.dumps(jobs, default=str))
    command = [python, SCRIPT, folder / "jobs.json", folder / "answers.npz"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr[-2000:]
    found = [{} for _ in jobs]
    with np.load(folder / "answers.npz") as arrays:
        for key in arrays.files:
            number, _, name = key.partition("/")
            found[int(number)][name] = arrays[key]
    return found


def ask_us(job):
    """Our answers to a job."""
    return answers(pydarknet.dnn, json.loads(json.dumps(job, default=str)))


@dataclass
class Difference:
    """The largest differences between two sets of answers.

    box: of rows, in fractions of the picture, or of a box that is larger; of detections, in pixels. score: of
    objectness and classes. other: of other outputs, in units of their deviation. moved: rows where one side has a class
    that the other has not, although its score is not at the threshold. rows, kept: how many rows, and scores above 0,
    there are.
    """

    box: float = 0.0
    score: float = 0.0
    other: float = 0.0
    moved: int = 0
    rows: int = 0
    kept: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, name, ours, theirs, thresh=np.inf):
        """Take one pair of answers of the same name into account."""
        ours, theirs = np.asarray(ours), np.asarray(theirs)
        if ours.shape != theirs.shape:
            self.wrong.append(f"{name}: shape {ours.shape}, OpenCV {theirs.shape}")
        elif theirs.dtype.kind in "Uiu":
            if not np.array_equal(ours, theirs):
                self.wrong.append(f"{name}: other names or numbers")
        elif name.startswith("detect"):
            self.kept += len(theirs)
            if not np.array_equal(ours[:, 0], theirs[:, 0]):
                self.wrong.append(f"{name}: other classes")
            self.score = max(self.score, np.abs(ours - theirs)[:, 1].max(initial=0))
            self.box = max(self.box, np.abs(ours - theirs)[:, 2:].max(initial=0))
        elif "yolo" in name or "detection_out" in name:
            self._add_rows(ours.reshape(-1, ours.shape[-1]), theirs.reshape(-1, ours.shape[-1]), thresh)
        else:
            deviation = max(float(theirs.std()), 1e-6)
            self.other = max(self.other, float(np.abs(ours - theirs).max()) / deviation)

    def _add_rows(self, ours, theirs, thresh):
        self.rows += len(theirs)
        self.kept += int(np.count_nonzero(theirs[:, 5:]))
        far = np.abs(ours - theirs)
        one_sided = (ours[:, 5:] > 0) != (theirs[:, 5:] > 0)
        at_threshold = one_sided & (np.abs(np.maximum(ours, theirs)[:, 5:] - thresh) < TOLERANCE)
        self.moved += int(np.count_nonzero(one_sided & ~at_threshold))
        self.box = max(self.box, float((far / np.maximum(1, theirs))[:, :4].max(initial=0)))
        self.score = max(self.score, float(far[:, 4].max(initial=0)), float(far[:, 5:][~one_sided].max(initial=0)))


def compare(ours, theirs, thresh=np.inf):
    """The Difference of two dictionaries of answers. thresh: of the heads; a score at it may be on either side."""
    found = Difference()
    assert sorted(ours) == sorted(theirs)
    for name, array in theirs.items():
        found.add(name, ours[name], array, thresh)
    return found
