"""`track`: what it prints and writes, on a camera that pans over the toys."""

import csv
import json
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from pydarknet.images.image import load_image
from pydarknet.utils.resources import find_file

FRAMES, STEP = 20, 8  # frames, and pixels by which the view moves from one to the next
WORDS = ["track", "toys.cfg", "toys.weights", "--names", str(find_file("data/toys.names", None))]


@pytest.fixture(autouse=True)
def needs_trackers():
    pytest.importorskip("trackers")


@pytest.fixture
def video(folder):
    """The sample picture, which moves to the left; what leaves is followed by grey."""
    sample = load_image(find_file("data/sample.jpg", None))[..., ::-1]
    writer = cv2.VideoWriter("pan.avi", cv2.VideoWriter.fourcc(*"MJPG"), 25, sample.shape[1::-1])
    for number in range(FRAMES):
        frame = np.full_like(sample, 128)
        frame[:, : sample.shape[1] - STEP * number] = sample[:, STEP * number :]
        writer.write(frame)
    writer.release()
    return "pan.avi"


def test_every_toy_keeps_its_number(run, video):
    result = run(*WORDS, video, "--json", "--csv", "tracks.csv", "--no-picture")
    assert result.exit_code == 0, result.output
    frames = [json.loads(line) for line in result.stdout.splitlines()]
    assert [frame["frame"] for frame in frames] == list(range(1, FRAMES + 1))
    assert frames[0]["objects"] == []
    names, places = {}, {}
    for frame in frames[1:]:
        for each in frame["objects"]:
            names.setdefault(each["track_id"], set()).add(each["name"])
            places.setdefault(each["track_id"], []).append((frame["frame"], each["box"]["x"]))
    steady = {number: seen for number, seen in places.items() if len(seen) >= FRAMES - 3}
    assert len(steady) >= 6  # of ten toys, some of which leave the view
    for number, seen in steady.items():
        assert len(names[number]) == 1
        moved = (seen[-1][1] - seen[0][1]) / (seen[-1][0] - seen[0][0])
        assert moved == pytest.approx(-STEP, abs=2)
    with Path("tracks.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["frame"], row["track_id"], row["name"]) for row in rows] == [
        (str(frame["frame"]), str(each["track_id"]), each["name"]) for frame in frames for each in frame["objects"]
    ]


def test_lines_and_counts(run, video):
    result = run(*WORDS, video, "--count-line", ".5,0,.5,1", "--count-line", "320,480,320,0", "--out-dir", "out")
    assert result.exit_code == 0, result.output
    *lines, first, second = result.stdout.splitlines()
    assert lines[0].startswith("pan.avi frame 1: Predicted in ")
    assert all(
        re.fullmatch(r"pan\.avi frame \d+: Predicted in [\d.]+ seconds\.|[a-z]+ \d+: \d+%", line) for line in lines
    )
    # Down the screen, to the right is on the left; who moves left, goes out. The second line goes up.
    sample = json.loads(run("detect", *WORDS[1:], "--json", "--no-picture", find_file("data/sample.jpg", None)).stdout)
    centres = [each["box"]["x"] + each["box"]["width"] / 2 for each in sample["objects"]]
    crossing = sum(320 < x < 320 + STEP * (FRAMES - 1) for x in centres)
    assert crossing > 0
    assert first.startswith(f"line .5,0,.5,1: 0 in, {crossing} out (")
    assert second.startswith(f"line 320,480,320,0: {crossing} in, 0 out (")
    capture = cv2.VideoCapture("out/pan.avi")
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    assert len(frames) == FRAMES
    assert (frames[3][:100, 319:322] > 200).all(axis=2).mean() > 0.5  # the line is drawn


def test_a_sequence_of_pictures_and_classes(run, folder):
    sample = load_image(find_file("data/sample.jpg", None))[..., ::-1]
    for number in range(4):
        cv2.imwrite(f"f_{number}.png", np.roll(sample, -STEP * number, axis=1))
    result = run(*WORDS, "f_%d.png", "--json", "--classes", "boat,car", "--quiet", "--no-picture")
    frames = [json.loads(line) for line in result.stdout.splitlines()]
    assert [frame["filename"] for frame in frames] == [f"f_{number}.png" for number in range(4)]
    assert {each["name"] for each in frames[-1]["objects"]} == {"boat", "car"}
    assert [each["track_id"] for each in frames[-1]["objects"]] == [1, 2]


def test_what_cannot_be_done_is_one_line(run, video, monkeypatch):
    result = run(*WORDS, video, "--count-line", "1,2,3")
    assert (result.exit_code, result.stderr) == (1, "count line 1,2,3: expected four numbers, x1,y1,x2,y2\n")
    monkeypatch.setitem(sys.modules, "trackers", None)
    result = run(*WORDS, video)
    assert result.exit_code == 1
    assert result.stderr == "tracking needs the package trackers: pip install 'pydarknet[track]'\n"
