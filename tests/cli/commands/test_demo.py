"""`detector demo` and its kin: what they print, write and serve."""

import json
import re
import signal
import sys
import threading
import time
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.processes import start
from support.videos import frames_of, make_video

PIXELS = "\t(left_x:   16   top_y:   18   width:   32   height:   12)"
ALEXEYAB = "--dialect=alexeyab"


@pytest.fixture
def words(detector):
    """The arguments of a demo with a short video."""
    Path("pets.data").write_text("classes=2\nnames=detect.names\n")
    make_video("in.avi")
    return ["detector", "demo", "pets.data", detector.cfg, detector.weights, "in.avi", "-dont_show"]


def test_alexeyabs_lines(run, words):
    result = run(*words, "-ext_output", ALEXEYAB)
    assert result.exit_code == 0
    assert result.stderr == ""
    first, video, size, *rest = result.stdout.split("\n", 3)
    assert (first, video, size) == ("Demo", "video file: in.avi", "Video stream: 64 x 48 ")
    frame = re.escape(f"Objects:\n\ndog: 88% , cat: 27% {PIXELS}\n\n") + r"FPS:\d+\.\d \t AVG_FPS:\d+\.\d\n"
    end = re.escape("Stream closed.\ninput video stream closed. \n")
    assert re.fullmatch(f"(?:{frame}){{12}}{end}", rest[0])


def test_pjreddies_lines(run, words):
    result = run(*words, "--dialect=pjreddie", "-avg", "1")
    first, video, rest = result.stdout.split("\n", 2)
    assert (first, video) == ("Demo", "video file: in.avi")
    assert re.fullmatch(r"(?:\nFPS:\d+\.\d\nObjects:\n\ndog: 88%\n){12}", rest)


def test_pjreddies_average_begins_with_zeros(run, words):
    out = run(*words, "--dialect=pjreddie", "-avgframes", "2", "-thresh", ".9").stdout
    assert "dog" not in out
    lines = run(*words, "--dialect=pjreddie", "-avgframes", "2", "-thresh", ".2").stdout.split("Objects:")
    # At first, half of the objectness and half of the class's probability: a quarter of their product.
    assert [re.findall(r"dog: (\d+)%", part) for part in lines[1:4]] == [["22"], ["88"], ["88"]]


def test_the_other_commands_have_a_lower_threshold(run, words):
    for command in ("yolo", "coco"):
        out = run(command, "demo", *words[3:], "--names", "detect.names", "--dialect=pjreddie", "-avg", "1").stdout
        assert out.count("dog: 88%\ncat: 27%\n") == 12


@pytest.mark.slow
def test_annotated_video_pictures_and_json(run, words):
    outputs = ["-out_filename", "out.avi", "-prefix", "new/p", "-json_file_output", "out.json"]
    result = run(*words, *outputs, ALEXEYAB)
    assert result.stdout.count("\n cvWriteFrame \n") == 12
    assert result.stdout.endswith("input video stream closed. \noutput_video_writer closed. \n")
    frames = frames_of("out.avi")
    assert len(frames) == 12
    for number, frame in enumerate(frames):
        assert abs(frame[2, 2].astype(int) - 60 - number).max() < 12  # outside of the box
        assert np.ptp(frame[24:26, 14:50].astype(int)) > 60  # the box's coloured edge
    names = sorted(path.name for path in Path("new").glob("*"))
    assert names == [f"p_{number:08d}.jpg" for number in range(1, 13)]
    content = json.loads(Path("out.json").read_text())
    assert [frame["frame_id"] for frame in content] == list(range(1, 13))
    assert set(content[0]) == {"frame_id", "objects"}
    dog = content[0]["objects"][0]
    assert (dog["name"], dog["confidence"]) == ("dog", 0.880797)
    assert dog["relative_coordinates"] == {"center_x": 0.5, "center_y": 0.5, "width": 0.5, "height": 0.25}
    start = '[\n{\n "frame_id":1, \n "objects": [ \n  {"class_id":0, "name":"dog", "relative_coordinates":{"center_x":'
    assert Path("out.json").read_text().startswith(start)


def test_nothing_is_drawn_where_nothing_is_wanted(run, words):
    result = run(*words, "-dontdraw_bbox", "-out_filename", "out.avi", ALEXEYAB)
    assert "dog" not in result.stdout
    assert all(np.ptp(frame.astype(int)) < 12 for frame in frames_of("out.avi"))


@pytest.mark.parametrize("given", ["f_%03d.png", "frames", "fra*"])
def test_sequences_of_pictures(run, words, given):
    Path("frames").mkdir()
    for number in (1, 2, 3):
        for folder in (".", "frames"):
            cv2.imwrite(f"{folder}/f_{number:03d}.png", np.zeros((48, 64, 3), np.uint8))
    words[5] = "frames/*.png" if given == "fra*" else given
    result = run(*words, ALEXEYAB)
    assert result.exit_code == 0
    assert result.stdout.count("dog: 88%") == 3


def test_measuring_ends_in_time(run, words):
    result = run(*words, "-benchmark", "-time_limit_sec", ".2", ALEXEYAB)
    assert result.exit_code == 0
    assert "dog" not in result.stdout
    assert result.stdout.count("FPS:") > 12


def test_without_a_display_the_demo_goes_on(run, words, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    words.remove("-dont_show")
    result = run(*words, ALEXEYAB)
    if sys.platform == "linux":
        assert result.stderr == "cannot show a picture: no display; continuing without a window, as with -dont_show\n"
        assert result.stdout.count("dog: 88%") == 12


@pytest.mark.parametrize("video, option, reason", [
    ("no.avi", "", 'Cannot load video "no.avi": No such file or directory'),
    ("pets.data", "", 'Cannot load video "pets.data": unknown or damaged format'),
    ("no_%d.png", "", "no_%d.png: no file of this pattern"),
    ("in.avi", "-out_filename=x.gif", "x.gif: cannot write a video: expected a name that ends in .avi"),
    ("in.avi", "-json_file_output=no/x.json", "no/x.json: cannot write: No such file or directory"),
    ("in.avi", "-prefix=in.avi/x", "in.avi: cannot make the folder: File exists"),
    ("in.avi", "--bind=203.0.113.1", "port 0: cannot listen on 203.0.113.1: "),
])  # fmt: skip
def test_what_cannot_be_done_ends_with_one_line(run, words, video, option, reason):
    words[5] = video
    result = run(*words, "-json_port", "0", ALEXEYAB, *filter(None, [option]))
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith(reason)
    assert len([line for line in result.stderr.splitlines() if "http://" not in line]) == 1
    assert not list(Path.cwd().glob(".*.part*"))


def test_a_classifier_has_no_objects(run, words, classifier):
    words[3:5] = [classifier.cfg, classifier.weights]
    words += ["--names", classifier.names]
    result = run(*words)
    assert result.exit_code == 1
    assert "has no detection layer" in result.stderr


# --- as a process: streams and signals ---


def url_of(process, name):
    """What the process says about where it serves; it listens by then."""
    line = process.stderr.readline()
    assert line.startswith(f"{name} at http://127.0.0.1:"), line
    return line.split()[-1]


@pytest.mark.slow
def test_streams_of_pictures_and_objects(words):
    make_video("in.avi", 40)
    process = start(*words, ALEXEYAB, "-json_port", "0", "-mjpeg_port", "0", "-fps_lim", "60")
    got = {}

    def read(name, url):
        with urllib.request.urlopen(url, timeout=60) as reply:
            got[name] = reply.headers["Content-Type"], reply.read()

    readers = []
    for name in ("JSON", "MJPEG"):
        readers.append(threading.Thread(target=read, args=(name, url_of(process, name))))
        readers[-1].start()
    for reader in readers:
        reader.join(60)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    kind, body = got["JSON"]
    frames = json.loads(body)
    assert kind == "application/json"
    numbers = [frame["frame_id"] for frame in frames]
    assert numbers == list(range(numbers[0], 41))
    assert {found["name"] for frame in frames for found in frame["objects"]} == {"dog", "cat"}
    kind, body = got["MJPEG"]
    boundary = kind.partition("boundary=")[2].encode()
    parts = body.split(b"--" + boundary)
    assert parts[-1] == b"--\r\n"
    pictures = [cv2.imdecode(np.frombuffer(p.split(b"\r\n\r\n", 1)[1], np.uint8), 1) for p in parts[1:-1]]
    assert len(pictures) > 5
    assert all(picture.shape == (48, 64, 3) and np.ptp(picture[24:26].astype(int)) > 40 for picture in pictures)
    assert out.count(" JSON-stream sent. \n") == out.count(" MJPEG-stream sent. \n") == 40


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_whole_files(words, number):
    make_video("in.avi", 2000)
    outputs = ["-out_filename", "out.avi", "-json_file_output", "out.json", "-json_port", "0"]
    process = start(*words, ALEXEYAB, *outputs, "-fps_lim", "50")
    url = url_of(process, "JSON")
    with urllib.request.urlopen(url, timeout=60) as reply:
        body = reply.read(400)  # some frames have passed
        process.send_signal(number)
        body += reply.read()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (128 + number, "")
    assert out.endswith("input video stream closed. \noutput_video_writer closed. \n")
    assert "Stream closed." not in out
    frames = json.loads(Path("out.json").read_text())
    assert 0 < len(frames) == len(frames_of("out.avi")) == out.count("cvWriteFrame") < 2000
    assert json.loads(body)[-1] == frames[-1]
    assert not list(Path.cwd().glob(".*.part*"))


@pytest.mark.slow
def test_sigterm_before_the_first_frame_leaves_no_part_files(words):
    process = start(*words, ALEXEYAB, "-json_file_output", "out.json", "-out_filename", "out.avi", "-fps_lim", "1")
    assert process.stdout.readline() == "Demo\n"
    process.terminate()
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 128 + signal.SIGTERM
    assert not list(Path.cwd().glob(".*.part*"))


@pytest.mark.slow
def test_a_client_that_does_not_read_does_not_stop_the_demo(words):
    make_video("in.avi", 60)
    process = start(*words, ALEXEYAB, "-mjpeg_port", "0", "-fps_lim", "60")
    url = url_of(process, "MJPEG")
    with urllib.request.urlopen(url, timeout=60):
        begun = time.monotonic()
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.count("Objects:") == 60
    assert time.monotonic() - begun < 30
