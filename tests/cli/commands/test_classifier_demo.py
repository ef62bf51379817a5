"""`classifier demo`: its lines, its files, and how it ends."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from pydarknet.inference.video.capture import Capture


@pytest.fixture
def words(classifier):
    """The arguments of a demo of a video of five frames."""
    Path("pets.data").write_text(f"classes=3\ntop=2\nnames={classifier.names}\n")
    writer = cv2.VideoWriter("in.avi", cv2.VideoWriter.fourcc(*"MJPG"), 15, (64, 100))
    for number in range(5):
        writer.write(np.full((100, 64, 3), 60 + number, np.uint8))
    writer.release()
    return ["classifier", "demo", "pets.data", classifier.cfg, classifier.weights, "in.avi"]


def test_alexeyabs_lines(run, words):
    result = run(*words, "-dont_show", "--dialect=alexeyab")
    assert (result.exit_code, result.stderr) == (0, "")
    frame = (
        r"FPS: \d+\.\d\d  \(use -benchmark command line flag for correct measurement\)\n"
        r"50\.6%: Eskimo dog\n30\.7%: hen\n\n"
    )
    assert re.fullmatch(rf"Classifier Demo\n(?:{frame}){{5}}", result.stdout)
    assert result.stdout.split("\n")[1].startswith("FPS: 0.00  ")


def test_pjreddies_lines(run, words):
    result = run(*words, "-dont_show", "--dialect=pjreddie", "-t", "1")
    assert (result.exit_code, result.stderr) == (0, "")
    assert re.fullmatch(r"Classifier Demo\n(?:\nFPS:\d+\n9\n50\.6%: Eskimo dog\n){5}", result.stdout)


def test_json_and_more_classes_than_there_are(run, words):
    result = run(*words, "-dont_show", "--json", "-t", "9")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(rows) == 5
    assert [each["name"] for each in rows[0]["classes"]] == ["Eskimo dog", "hen", "cat"]
    assert rows[4]["classes"][0]["probability"] == pytest.approx(0.506, abs=1e-3)


def test_the_video_that_is_written(run, words):
    result = run(*words, "-dont_show", "-out_filename", "out.avi")
    assert result.exit_code == 0
    capture, frames = Capture("out.avi"), []
    while (frame := capture.read()) is not None:
        frames.append(frame)
    capture.close()
    assert len(frames) == 5
    assert frames[0].shape == (100, 64, 3)
    assert frames[0][:40].std() > 20  # the label
    assert frames[0][60:].std() < 5


def test_a_benchmark_ends_after_its_time(run, words):
    result = run(*words, "-benchmark", "-time_limit_sec", ".1", "-out_filename", "out.avi", "--dialect=alexeyab")
    assert result.exit_code == 0
    assert not Path("out.avi").exists()
    lines = result.stdout.split("\n")
    assert len(lines) > 7  # more than the video has
    assert re.fullmatch(r"FPS: \d+\.\d\d \t AVG_FPS = 0\.00 ", lines[1])


def test_without_a_screen_it_goes_on(run, words, monkeypatch):
    from pydarknet.errors import OptionError

    def refuse(title, full_screen):
        raise OptionError("there is no screen")

    monkeypatch.setattr("pydarknet.inference.video.capture.open_window", refuse)
    result = run(*words)
    assert result.exit_code == 0
    assert result.stderr == "there is no screen; continuing without a window, as with -dont_show\n"
    assert result.stdout.count("Eskimo dog") == 5


def test_pictures_are_frames_too(run, words):
    result = run(*words[:-1], "dog.png", "-dont_show")
    assert result.stdout.count("50.6%: Eskimo dog") == 1


@pytest.mark.parametrize(("video", "message"), [
    ("no.avi", "Cannot load video"),
    ("pets.data", 'Cannot load video "pets.data": unknown or damaged format'),
])  # fmt: skip
def test_what_cannot_be_read(run, words, video, message):
    result = run(*words[:-1], video, "-dont_show")
    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_detector_is_refused(run, words, detector):
    Path("two.data").write_text(f"classes=2\nnames={detector.names}\n")
    result = run("classifier", "demo", "two.data", detector.cfg, detector.weights, "in.avi", "-dont_show")
    assert result.exit_code == 1
    assert result.stderr == f"{detector.cfg}: a detector (it has a [yolo] layer); use detector demo\n"
