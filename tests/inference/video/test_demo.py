"""Moving pictures: threads round the engine, averages of both dialects, order, ends and errors."""

import threading
import time
from functools import partial

import numpy as np
import pytest

from pydarknet.errors import ImageError, OptionError, OutputError
from pydarknet.inference.detector import DetectorOptions, detect
from pydarknet.inference.video.capture import AHEAD, DEFAULT_RATE, Reader
from pydarknet.inference.video.demo import Demo, DemoOptions, Drawer, FrameDetector, Rate, to_numbered_files
from pydarknet.layers.heads.base import Head

CFG = """
    [net]
    width=32
    height=32
    channels=3
    [convolutional]
    filters=14
    size=3
    stride=8
    pad=1
    activation=linear
    [yolo]
    mask=0,1
    anchors=8,8, 16,12
    num=2
    classes=2
"""
NAMES = ["dog", "cat"]


class Made:
    """Frames that are made on demand: random, of one seed each."""

    rate = DEFAULT_RATE

    def __init__(self, count, live=False, wrong_at=None, pause=0.0):
        self.count, self.live, self.wrong_at, self.pause = count, live, wrong_at, pause
        self.given, self.closed = 0, False

    def read(self):
        time.sleep(self.pause)
        if self.given == self.wrong_at:
            raise ImageError("this frame is damaged")
        if self.given == self.count:
            return None
        self.given += 1
        return picture(self.given)

    def close(self):
        self.closed = True


def picture(number):
    return np.random.default_rng(number).integers(0, 256, (40, 48, 3), np.uint8)


@pytest.fixture
def network(build):
    return lambda dialect, cfg=CFG: build(cfg, dialect)


def demo_options(network, frames=3, **options):
    return DemoOptions.of(network, options.pop("thresh", 0.4), 0.5, frames, **options)


def test_every_frame_is_looked_at_once_and_drawn_in_order(network):
    net, drawn, frames = network("alexeyab"), [], Made(9)
    for lag in (1, 3, 30):
        drawn.clear()
        frames = Made(9)
        detector = FrameDetector(net, NAMES, demo_options(net, lag))
        demo = Demo(detector, frames, [lambda number, image: drawn.append((number, image))])
        numbers = [number for number, _ in demo.run()]
        assert numbers == list(range(1, 10))
        assert [number for number, _ in drawn] == numbers
        assert frames.closed
        assert demo.ended
        for number, image in drawn:  # drawn into, but the same frame
            assert (image == picture(number)).mean() > 0.05  # of other random ones 0.004 would be equal


def test_alexeyabs_boxes_are_those_of_the_frame(network):
    net = network("alexeyab", CFG.replace("height=32", "height=40").replace("width=32", "width=48"))
    options = demo_options(net)
    assert (options.nms, options.delay, options.average, options.hier) == (0.45, 1, 1, options.thresh)
    found = [found for _, found in Demo(FrameDetector(net, NAMES, options), Made(4)).run()]
    for number, seen in enumerate(found, start=1):  # frames of the network's size need no scaling
        expected = detect(net, picture(number), NAMES, DetectorOptions.of(net, 0.4, letterbox=False))
        assert np.array_equal(seen.candidates.probabilities, expected.candidates.probabilities)
        assert np.array_equal(seen.candidates.boxes, expected.candidates.boxes)
        assert len(seen.in_array_order())


def test_pjreddies_outputs_are_means_over_frames(network):
    net = network("pjreddie")
    options = demo_options(net, 3, thresh=0.1)
    assert (options.nms, options.nms_kind, options.delay, options.average) == (0.4, "obj", 0, 3)
    detector, (head,) = FrameDetector(net, NAMES, options), [layer for layer in net.layers if isinstance(layer, Head)]
    raw = []
    for number in range(1, 6):
        net.forward(detector.prepare(picture(number)).pixels[None])
        raw.append(head.values.copy())
    means = []
    for _ in Demo(detector, Made(5)).run():
        means.append(head.values.copy())
    for k in range(5):
        assert np.allclose(means[k], sum(raw[max(0, k - 2) : k + 1]) / 3, atol=1e-6)


def test_letterbox_follows_the_dialect_and_the_network(network):
    assert demo_options(network("pjreddie")).letterbox
    assert not demo_options(network("alexeyab")).letterbox
    assert demo_options(network("alexeyab"), letterbox=True).letterbox
    assert demo_options(network("alexeyab", CFG.replace("channels=3", "channels=3\n    letter_box=1"))).letterbox
    with pytest.raises(OptionError, match="avgframes 0"):
        demo_options(network("alexeyab"), 0)


def test_reading_goes_ahead_of_the_engine_but_not_far():
    frames = Made(50)
    reader = Reader(frames, lambda image: image)
    iterator = iter(reader)
    next(iterator)
    end = time.monotonic() + 5
    while frames.given < AHEAD + 2 and time.monotonic() < end:
        time.sleep(0.005)
    time.sleep(0.05)
    assert frames.given == AHEAD + 2  # those waiting, the one in hand, and the one given
    reader.close()
    assert frames.closed


def test_of_a_live_source_the_newest_frame_counts():
    frames = Made(10**9, live=True, pause=0.001)
    reader = Reader(frames, lambda image: image)
    iterator = iter(reader)
    next(iterator)
    time.sleep(0.2)
    given = frames.given
    assert given > 10
    seen = next(iterator).picture
    assert any(np.array_equal(seen, picture(k)) for k in range(given - 1, frames.given + 1))
    reader.close()


def test_a_damaged_frame_is_raised_after_those_before_it(network):
    net, numbers = network("alexeyab"), []
    with pytest.raises(ImageError, match="damaged"):
        for number, _ in Demo(FrameDetector(net, NAMES, demo_options(net)), Made(9, wrong_at=3)).run():
            numbers.append(number)
    assert numbers == [1, 2, 3]
    assert not {thread.name for thread in threading.enumerate()} & {"reader", "drawer"}


def test_an_error_of_a_sink_ends_the_demo(network):
    def full(number, image):
        if number == 2:
            raise OutputError("disk full")

    net, frames = network("alexeyab"), Made(40)
    with pytest.raises(OutputError, match="disk full"):
        list(Demo(FrameDetector(net, NAMES, demo_options(net)), frames, [full]).run())
    assert frames.closed
    assert frames.given < 20


def test_stop_limit_and_most(network):
    net = network("alexeyab")
    detector = FrameDetector(net, NAMES, demo_options(net))
    demo = Demo(detector, Made(10**9))
    for number, _ in demo.run():
        if number == 5:
            demo.stop()
    assert (demo.count, demo.ended) == (5, False)
    start = time.perf_counter()
    limited = Demo(detector, Made(10**9), limit=0.3)
    list(limited.run())
    assert 0.3 < time.perf_counter() - start < 5
    assert not limited.ended
    start = time.perf_counter()
    list(Demo(detector, Made(5), most=20).run())
    assert time.perf_counter() - start >= 5 / 20


def test_measuring_repeats_the_first_frame(network):
    net, frames = network("alexeyab"), Made(3)
    demo = Demo(FrameDetector(net, NAMES, demo_options(net)), frames, repeat_first=True)
    found = []
    for number, seen in demo.run():
        found.append(seen.candidates.probabilities)
        if number == 10:
            demo.stop()
    assert len(found) == 10
    assert all(np.array_equal(first, found[0]) for first in found)


def test_a_drawn_picture_can_stay_for_more_frames(network):
    net, drawn = network("alexeyab"), []
    detector = FrameDetector(net, NAMES, demo_options(net, 1))
    list(Demo(detector, Made(6), [lambda number, image: drawn.append(image)], hold=2, boxes=False).run())
    assert [np.array_equal(image, picture(k)) for image, k in zip(drawn, [1, 1, 1, 4, 4, 4], strict=True)] == [True] * 6


def test_numbered_files(tmp_path):
    write = partial(to_numbered_files, tmp_path / "p")
    write(7, picture(1))
    assert [path.name for path in tmp_path.iterdir()] == ["p_00000007.jpg"]


def test_a_drawer_that_is_closed_twice_ends():
    drawer = Drawer(2, [])
    drawer.close()
    drawer.finish()


def test_rates(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    rate = Rate()
    assert (rate.last, rate.smoothed, rate.average) == (0, 0, 0)
    for _ in range(30):
        now[0] += 0.1
        rate.tick()
    assert rate.last == pytest.approx(10)
    assert rate.smoothed == pytest.approx(10 * (1 - 0.9**30))
    now[0] += 0.1
    rate.tick()
    assert rate.average == pytest.approx(10)
