"""`detect` and `classify` on videos, addresses and streams: what they print and write, and how they are ended."""

import csv
import json
import signal
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.processes import start
from support.videos import frames_of, make_video

from pydarknet.images.image import encode_image
from pydarknet.inference.video.capture import Capture
from pydarknet.inference.video.mjpeg_server import MJPEG, Stream, jpeg_part

ALEXEYAB = ["--dialect", "alexeyab"]


@pytest.fixture
def words(detector):
    make_video("in.avi")
    return ["detect", detector.cfg, detector.weights, "--names", detector.names, *ALEXEYAB]


def json_lines(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_lines_of_a_video(run, words):
    lines = run(*words, "in.avi", "dog.png", "-thresh", ".5").stdout.splitlines()
    titles = [line.partition(": Predicted in ")[0] for line in lines if "Predicted" in line]
    assert titles == [*(f"in.avi frame {number}" for number in range(1, 13)), "dog.png"]
    assert lines[-1] == "dog: 88%"
    assert len(frames_of("predictions.avi")) == 12
    assert Path("predictions.jpg").exists()


@pytest.mark.parametrize("every, limit, batch, numbers", [
    (1, None, 1, list(range(1, 13))), (5, None, 1, [1, 6, 11]), (3, None, 4, [1, 4, 7, 10]),
    (1, 3, 2, [1, 2, 3]), (4, 2, 16, [1, 5]), (20, None, 1, [1]),
])  # fmt: skip
def test_frames_are_numbered_by_the_video(run, words, every, limit, batch, numbers):
    more = [] if limit is None else ["--limit", limit]
    result = run(
        *words, "in.avi", "--every", every, "--batch", batch, "--json", "--csv", "f.csv", "-out", "f.json", *more
    )
    assert result.exit_code == 0
    assert [(each["filename"], each["frame"]) for each in json_lines(result)] == [("in.avi", n) for n in numbers]
    assert [frame["frame_id"] for frame in json.loads(Path("f.json").read_text())] == numbers
    with Path("f.csv").open(newline="") as stream:
        assert [row["frame"] for row in csv.DictReader(stream) if row["name"] == "dog"] == [str(n) for n in numbers]
    capture = Capture("predictions.avi")
    assert capture.rate == pytest.approx(15 / every, rel=0.02)
    assert len(frames_of("predictions.avi")) == len(numbers)


def test_files_of_several_videos_are_kept_apart(run, words):
    Path("sub").mkdir()
    make_video("sub/in.avi", 3)
    make_video("sub/b.mkv", 2)
    result = run(*words, "in.avi", "sub", "dog.png", "--out-dir", "out", "--crops", "parts", "--quiet", "-thresh", ".5")
    assert (result.exit_code, result.output) == (0, "")
    assert sorted(path.name for path in Path("out").iterdir()) == ["b.mkv", "dog.png", "in.avi", "in_2.avi"]
    assert [len(frames_of(f"out/{name}")) for name in ("in.avi", "in_2.avi", "b.mkv")] == [12, 3, 2]
    crops = sorted(path.name for path in Path("parts").iterdir())
    assert crops == sorted([
        *(f"in_{n:06d}_001_dog.jpg" for n in range(1, 13)), *(f"in_2_{n:06d}_001_dog.jpg" for n in (1, 2, 3)),
        *(f"b_{n:06d}_001_dog.jpg" for n in (1, 2)), "dog_001_dog.jpg"])  # fmt: skip
    assert cv2.imread("parts/dog_001_dog.jpg").shape == (12, 32, 3)
    assert not list(Path().glob("predictions*"))


def test_what_a_video_cannot_do_is_one_line(run, words):
    result = run(*words, "in.avi", "-save_labels", "--no-picture")
    assert result.exit_code == 1
    assert result.stderr == "in.avi: -save_labels writes beside picture files; a frame of a video has none\n"
    result = run(*words, "in.avi", "--out-dir", ".")
    assert result.stderr == "in.avi: would overwrite the picture itself; give another --out-dir\n"
    Path("bad.mp4").write_text("no video")
    result = run(*words, "bad.mp4", "camera:99", "dog.png", "--quiet")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        'Cannot load video "bad.mp4": unknown or damaged format',
        'Cannot use "camera:99": Couldn\'t connect to webcam. There is no camera 99',
    ]


def test_the_number_of_a_camera(run, words):
    """`source=0` is a camera elsewhere."""
    (line,) = run(*words, "0").stderr.splitlines()
    assert line == 'Cannot load image "0": No such file or directory; the camera of that number is camera:0'


def test_classes_of_a_video(run, classifier):
    make_video("in.avi")
    result = run("classify", classifier.cfg, classifier.weights, "in.avi", "--every", 6, "--json", "-t", 1)
    assert [(each["filename"], each["frame"]) for each in json_lines(result)] == [("in.avi", 1), ("in.avi", 7)]
    result = run("classify", classifier.cfg, classifier.weights, "in.avi", "--limit", 1, "-t", 1)
    assert result.stdout.startswith("in.avi frame 1: Predicted in ")


def test_a_bar_for_the_frames_of_one_video(run, words, monkeypatch):
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda stream: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    shown = run(*words, "in.avi", "--json").stderr
    assert "frames" in shown
    assert "12/12" in shown
    assert "frames" not in run(*words, "in.avi", "--json", "--quiet").stderr
    assert "frames" not in run(*words, "in.avi", "--json", "--limit", 10).stderr


# --- addresses ---


class Pictures(BaseHTTPRequestHandler):
    """Serves the files of the test's folder."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "image/png" if self.path.endswith("png") else "video/x-msvideo")
        content = Path(self.path.strip("/")).read_bytes()
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def url(folder):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pictures)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_pictures_and_videos_behind_addresses(run, words, url):
    Path("list.txt").write_text(f"dog.png\n{url}/dog.png\n")
    result = run(*words, "list.txt", f"{url}/in.avi", "--json", "--out-dir", "out")
    assert result.exit_code == 0, result.stderr
    found = [(each["filename"], each.get("frame")) for each in json_lines(result)]
    assert found[:2] == [("dog.png", None), (f"{url}/dog.png", None)]
    assert found[2:] == [(f"{url}/in.avi", number) for number in range(1, 13)]  # a file, of which no frame is left out
    assert sorted(path.name for path in Path("out").iterdir()) == ["dog.png", "dog_2.png", "in.avi"]


class Publisher:
    """An MJPEG stream of this machine, as of a camera in the network."""

    def __init__(self):
        self.stream, self.ended = Stream(0, MJPEG), threading.Event()
        self.url = self.stream.url
        threading.Thread(target=self._publish, daemon=True).start()

    def _publish(self):
        jpeg = encode_image(np.full((48, 64, 3), 90, np.uint8))
        while not self.ended.wait(0.02):
            self.stream.publish(jpeg_part(jpeg))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.stream.close()


def test_a_stream(run, words):
    with Publisher() as publisher:
        result = run(*words, publisher.url, "--limit", "8", "--json")
        run(*words, publisher.url, "--limit", "3", "--out-dir", "out")
    assert result.exit_code == 0, result.stderr
    found = json_lines(result)
    assert len(found) == 8
    assert [each["objects"][0]["name"] for each in found] == ["dog"] * 8
    numbers = [each["frame"] for each in found]
    assert numbers == sorted(set(numbers))
    assert len(frames_of("out/127_0_0_1.avi")) == 3
    assert not list(Path().glob("predictions*"))  # a live source writes a video only where --out-dir asks for it


# --- as a process ---


@pytest.mark.slow
@pytest.mark.parametrize(("what", "number"), [
    ("video", signal.SIGINT), ("video", signal.SIGTERM), ("pictures", signal.SIGINT), ("stream", signal.SIGTERM),
])  # fmt: skip
def test_a_signal_leaves_whole_files(words, what, number):
    if what == "video":
        make_video("in.avi", 6000)
    Path("list.txt").write_text("dog.png\n" * 20000)
    with Publisher() as publisher:
        name = {"video": "in.avi", "pictures": "list.txt", "stream": publisher.url}[what]
        process = start(*words, name, "--json", "--csv", "f.csv", "-out", "f.json", "--out-dir", "out")
        lines = [process.stdout.readline() for _ in range(5)]
        assert not Path("f.csv").exists()
        process.send_signal(number)
        # Not `communicate`, which would lose what `readline` has read ahead.
        out, err = process.stdout.read(), process.stderr.read()
        process.wait(60)
    assert (process.returncode, err) == (128 + number, "")
    lines += out.splitlines()
    assert 5 <= len(lines) < 6000
    assert len(json.loads(Path("f.json").read_text())) == len(lines)
    with Path("f.csv").open(newline="") as stream:
        assert sum(row["name"] == "dog" for row in csv.DictReader(stream)) == len(lines)
    (written, *others) = list(Path("out").iterdir()) if what != "pictures" else [None]
    assert others == []
    if written is not None:
        assert len(frames_of(written)) == len(lines)
    assert not [*Path().glob(".*.part*"), *Path("out").glob(".*")]


@pytest.mark.slow
def test_ctrl_c_while_a_path_is_waited_for(words):
    process = start(*words, "--csv", "f.csv", "--json", stdin=subprocess.PIPE)
    process.stdin.write("dog.png\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["filename"] == "dog.png"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130
    assert process.stderr.read() == ""
    assert len(Path("f.csv").read_text().splitlines()) == 3
