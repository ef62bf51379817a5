"""Frames in and out: files, sequences of pictures, what cannot be read or written."""

import base64
import os

import cv2
import numpy as np
import pytest

from pydarknet.errors import ImageError, OutputError
from pydarknet.images.image import encode_image, load_image, write_image
from pydarknet.inference.video.capture import (
    CODECS,
    Capture,
    PictureSequence,
    is_pattern,
    numbered_paths,
    stretch_frame,
    without_opencv_lines,
    write_video,
)


def frame(number, width=64, height=48):
    """A frame whose red, green and blue tell its number."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = (number * 20, 255 - number * 20, 128)
    return picture


def frames_of(source):
    found = []
    while (picture := source.read()) is not None:
        found.append(picture)
    source.close()
    return found


@pytest.mark.parametrize("extension", list(CODECS))
def test_a_written_video_is_read_back(tmp_path, extension):
    path = tmp_path / f"out{extension}"
    with write_video(path, 12.0) as video:
        for number in range(10):
            assert not path.exists()
            video.write(frame(number))
    capture = Capture(str(path))
    assert capture.rate == pytest.approx(12, abs=0.01)
    assert not capture.live
    read = frames_of(capture)
    assert len(read) == 10
    for number, picture in enumerate(read):
        assert picture.shape == (48, 64, 3)
        assert np.abs(picture.mean((0, 1)) - frame(number).mean((0, 1))).max() < 12
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.slow
@pytest.mark.parametrize("extension", [".mp4", ".webm"])
def test_browsers_play_it(browser, tmp_path, extension):
    with write_video(tmp_path / f"out{extension}", 12.0) as video:
        for number in range(12):
            video.write(frame(number, 128, 96))
    content = base64.b64encode((tmp_path / f"out{extension}").read_bytes()).decode()
    state = browser.execute_async_script(
        """
        const done = arguments[1], video = document.createElement("video");
        video.onended = () => done([video.videoWidth, video.videoHeight, video.duration]);
        video.onerror = () => done(video.error.message);
        video.muted = true;
        video.src = arguments[0];
        video.play();
        """,
        f"data:video/{extension[1:]};base64,{content}",
    )
    assert state == [128, 96, pytest.approx(1, abs=0.1)]


def test_nothing_that_opencv_says_reaches_standard_error(tmp_path, capfd):
    for extension in (".webm", ".mp4"):
        with write_video(tmp_path / f"out{extension}", 12.0) as video:
            video.write(frame(1))
    with without_opencv_lines():
        os.write(2, b"[mp4 @ 0x5566] something\na line of another thread\n")
    os.write(2, b"a later line\n")
    assert capfd.readouterr().err == "a line of another thread\na later line\n"


def test_a_container_without_a_codec_is_one_line(tmp_path, monkeypatch, warnings):
    monkeypatch.setitem(CODECS, ".webm", ("XXXX",))
    with pytest.raises(OutputError) as error, write_video(tmp_path / "out.webm", 12.0) as video:
        video.write(frame(1))
    assert str(error.value).endswith(
        "out.webm: this OpenCV cannot write a .webm video of 64 x 48 pixels (XXXX); try .avi"
    )
    monkeypatch.setitem(CODECS, ".mp4", ("XXXX", "mp4v"))
    with write_video(tmp_path / "out.mp4", 12.0) as video:
        video.write(frame(1))
    assert warnings() == [f"{tmp_path}/out.mp4: this OpenCV writes neither H.264 nor VP9, so browsers will not play it"]


def test_every_nth_frame(tmp_path):
    with write_video(tmp_path / "out.avi", 12.0) as video:
        for number in range(10):
            video.write(frame(number))
    capture = Capture(str(tmp_path / "out.avi"), every=4)
    assert capture.frames == 10
    passed = []
    while (picture := capture.read()) is not None:
        passed.append((capture.count, round(picture[..., 0].mean() / 20)))
    assert passed == [(1, 0), (5, 4), (9, 8)]


def test_frames_of_another_size_are_scaled(tmp_path):
    with write_video(tmp_path / "out.avi", 25) as video:
        video.write(frame(1))
        video.write(frame(1, 128, 96))
    assert [picture.shape for picture in frames_of(Capture(str(tmp_path / "out.avi")))] == [(48, 64, 3)] * 2


def test_a_video_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "out.avi"
    path.write_bytes(b"former")
    with pytest.raises(KeyboardInterrupt), write_video(path, 25) as video:
        video.write(frame(1))
        raise KeyboardInterrupt
    with pytest.raises(OutputError, match="there were no frames"), write_video(path, 25):
        pass
    assert path.read_bytes() == b"former"
    assert [p.name for p in tmp_path.iterdir()] == ["out.avi"]


@pytest.mark.parametrize("name, reason", [
    ("out.xyz", "expected a name that ends in .avi"), ("out", "expected a name"), ("no/out.avi", "No such file"),
])  # fmt: skip
def test_a_video_that_cannot_be_written(tmp_path, name, reason):
    with pytest.raises(OutputError, match=reason), write_video(tmp_path / name, 25):
        pass


@pytest.mark.parametrize("content, reason", [(None, "No such file"), (b"", "unknown or"), (b"text\n" * 99, "unknown")])
def test_a_video_that_cannot_be_read(tmp_path, content, reason):
    path = tmp_path / "in.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=f'Cannot load video ".*in.mp4": {reason}'):
        Capture(str(path))


def test_a_camera_that_is_not_there():
    with pytest.raises(ImageError, match="no camera 99"):
        Capture(99)


def test_a_video_cut_short_says_how_many_frames_could_be_read(tmp_path, warnings):
    path = tmp_path / "in.avi"
    with write_video(path, 25) as video:
        for number in range(12):
            video.write(np.random.default_rng(number).integers(0, 256, (48, 64, 3), np.uint8))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    read = len(frames_of(Capture(str(path))))
    assert 0 < read < 11
    assert warnings() == [f"{path}: {read} of 12 frames could be read"]


def test_numbered_pictures_come_by_their_number(tmp_path):
    for number in (2, 10, 1):
        write_image(tmp_path / f"f_{number}.png", frame(number))
    write_image(tmp_path / "g_3.png", frame(3))
    pattern = str(tmp_path / "f_%d.png")
    assert is_pattern(pattern)
    assert [picture[0, 0, 0] for picture in frames_of(PictureSequence(numbered_paths(pattern)))] == [20, 40, 200]
    with pytest.raises(ImageError, match="no file of this pattern"):
        numbered_paths(str(tmp_path / "h_%04d.png"))
    with pytest.raises(ImageError, match="cannot read the folder: No such file"):
        numbered_paths(str(tmp_path / "no" / "h_%04d.png"))
    (tmp_path / "100%d.avi").write_bytes(b"")
    assert not is_pattern(str(tmp_path / "100%d.avi"))  # there is a file of that very name


def test_a_picture_that_cannot_be_read_is_an_error_in_its_turn(tmp_path):
    write_image(tmp_path / "1.png", frame(1))
    sequence = PictureSequence([tmp_path / "1.png", tmp_path / "2.png"])
    assert sequence.read() is not None
    with pytest.raises(ImageError, match=r"2\.png"):
        sequence.read()


def test_frames_are_scaled_in_8_bits():
    picture = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
    x = stretch_frame(picture, 24, 20)
    assert (x.shape, x.dtype) == ((3, 20, 24), np.float32)
    assert np.array_equal(x * 255, np.rint(x * 255))
    expected = cv2.resize(picture.astype(np.float32), (24, 20)).transpose(2, 0, 1) / 255
    assert np.abs(x - expected).max() <= 1 / 255
    assert stretch_frame(picture, 24, 20, 1).shape == (1, 20, 24)


def test_jpeg_in_memory(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encode_image(frame(5)))
    assert np.abs(load_image(tmp_path / "a.jpg").astype(int) - frame(5)).max() < 6


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_pipes_and_devices_are_no_videos(tmp_path):
    os.mkfifo(tmp_path / "pipe.avi")
    (tmp_path / "null.avi").symlink_to("/dev/null")
    for name, said in (("pipe.avi", "it is a pipe"), ("null.avi", "it is a device"), ("", "Is a directory")):
        with pytest.raises(ImageError, match=f"^Cannot load video .*: {said}"):
            Capture(str(tmp_path / name))
