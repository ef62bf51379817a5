"""Memory of `detect` is flat: over hundreds of pictures, the frames of a video, a stream."""

import json
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.processes import start

from pydarknet.images.image import encode_image
from pydarknet.inference.video.mjpeg_server import MJPEG, Stream, jpeg_part

COUNT, SETTLED = 200, 80  # items, and after how many of them memory is measured first
GROWTH = 12 << 20  # bytes; kept, a picture of 320 x 240 pixels would take 0.2 MB, a hundred and twenty 28 MB
SIZE = (240, 320, 3)


def resident(pid):
    """Bytes of the process that are in memory."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["VmRSS"].split()[0]) << 10


def growth(words, count):
    """How many bytes a run grows by between SETTLED and `count` results."""
    process = start(*words, "--json")
    sizes = []
    for number in range(1, count + 1):
        assert json.loads(process.stdout.readline())["objects"]
        if number in (SETTLED, count - 5):
            sizes.append(resident(process.pid))
    rest, error = process.communicate(timeout=60)
    assert (process.returncode, rest, error) == (0, "", "")
    return sizes[1] - sizes[0]


@pytest.fixture
def words(detector):
    return ["detect", detector.cfg, detector.weights, "--csv", "f.csv", "-out", "f.json", "-thresh", ".2"]


def noise(number):
    return np.random.default_rng(number).integers(0, 256, SIZE, np.uint8)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_list_of_many_pictures(words, folder):
    (folder / "many").mkdir()
    for number in range(COUNT):
        cv2.imwrite(f"many/{number}.jpg", noise(number))
    Path("list.txt").write_text("".join(f"many/{number}.jpg\n" for number in range(COUNT)))
    assert growth([*words, "list.txt", "--batch", 4, "--out-dir", "out"], COUNT) < GROWTH
    assert len(list(Path("out").iterdir())) == len(json.loads(Path("f.json").read_text())) == COUNT


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_video(words):
    writer = cv2.VideoWriter("in.avi", cv2.VideoWriter.fourcc(*"MJPG"), 25, SIZE[1::-1])
    for number in range(COUNT):
        writer.write(noise(number % 10))
    writer.release()
    assert growth([*words, "in.avi", "--crops", "parts"], COUNT) < GROWTH
    assert len(list(Path("parts").iterdir())) == 2 * COUNT


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_stream(words):
    ended, parts = threading.Event(), [jpeg_part(encode_image(noise(number))) for number in range(10)]

    def publish(stream):
        number = 0
        while not ended.wait(0.002):
            stream.publish(parts[number % 10])
            number += 1

    with Stream(0, MJPEG) as stream:
        threading.Thread(target=publish, args=(stream,), daemon=True).start()
        try:
            assert growth([*words, stream.url, "--limit", COUNT, "--crops", "parts"], COUNT) < GROWTH
        finally:
            ended.set()
