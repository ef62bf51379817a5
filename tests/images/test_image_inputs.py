"""Pictures in every form that programs hold them in become the same (h, w, 3) uint8 RGB."""

import io
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from pydarknet.errors import ImageError, OptionError
from pydarknet.images import image as remote
from pydarknet.images.image import as_picture, is_image

RGB = np.random.default_rng(5).integers(0, 256, (6, 9, 3), np.uint8)
GREY = RGB[:, :, 0]


@pytest.fixture
def png(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), RGB[:, :, ::-1])
    return path


def test_paths_and_bytes(png):
    for form in (png, str(png), png.read_bytes(), bytearray(png.read_bytes()), memoryview(png.read_bytes())):
        assert is_image(form)
        assert np.array_equal(as_picture(form), RGB)
        assert np.array_equal(as_picture(form, bgr=True), RGB)  # a file knows its order


def test_arrays():
    grey = np.stack([GREY] * 3, axis=2)
    alpha = np.concatenate([RGB, RGB[:, :, :1]], axis=2)
    assert as_picture(RGB) is not None and np.array_equal(as_picture(RGB), RGB)
    assert np.array_equal(as_picture(RGB[:, :, ::-1], bgr=True), RGB)
    assert np.array_equal(as_picture(alpha), RGB)
    assert np.array_equal(as_picture(alpha[:, :, [2, 1, 0, 3]], bgr=True), RGB)
    for form in (GREY, GREY[:, :, None]):
        assert np.array_equal(as_picture(form), grey)
        assert np.array_equal(as_picture(form, bgr=True), grey)
    for dtype in (np.float32, np.float64):
        assert np.array_equal(as_picture(RGB.astype(dtype) / 255), RGB)


def test_pillow():
    image = pytest.importorskip("PIL.Image")
    assert np.array_equal(as_picture(image.fromarray(RGB)), RGB)
    assert np.array_equal(as_picture(image.fromarray(GREY)), np.stack([GREY] * 3, axis=2))
    assert np.array_equal(as_picture(image.fromarray(RGB).convert("RGBA")), RGB)


def test_pillow_of_16_bits(tmp_path):
    """As OpenCV reads the same file; Pillow's own conversion would make nearly everything white."""
    image = pytest.importorskip("PIL.Image")
    deep = GREY.astype(np.uint16) * 256 + 77
    assert cv2.imwrite(str(tmp_path / "deep.png"), deep)
    expected = as_picture(tmp_path / "deep.png")
    assert np.array_equal(expected, np.stack([GREY] * 3, axis=2))
    assert np.array_equal(as_picture(image.open(tmp_path / "deep.png")), expected)
    assert np.array_equal(as_picture(image.fromarray(deep.astype(np.int32))), expected)
    with pytest.raises(OptionError, match=r"mode F with values from 0 to 1; expected 8 or 16 bits"):
        as_picture(image.fromarray(np.array([[0, 1]], np.float32)))
    with pytest.raises(OptionError, match=r"mode I with values from -1 to 1;"):
        as_picture(image.fromarray(np.array([[-1, 1]], np.int32)))


def test_open_files(png):
    expected = as_picture(png)
    with png.open("rb") as stream:
        assert is_image(stream)
        assert np.array_equal(as_picture(stream), expected)
    with png.open("rb") as stream:
        assert np.array_equal(as_picture(io.BytesIO(stream.read())), expected)
    with pytest.raises(OptionError, match="must be opened in binary mode; reading it gave str"):
        as_picture(io.StringIO("abc"))


def test_what_is_refused(tmp_path):
    with pytest.raises(ImageError, match="Cannot load image from 3 bytes: unknown or damaged format"):
        as_picture(b"abc")
    with pytest.raises(ImageError, match="the file is empty"):
        as_picture(b"")
    with pytest.raises(OptionError, match="floats from 0 to 1; found float32 from 0 to 200"):
        as_picture(np.array([[[0, 100, 200]]], np.float32))
    with pytest.raises(OptionError, match=r"found \(2, 2, 5\) uint8"):
        as_picture(np.zeros((2, 2, 5), np.uint8))
    assert not is_image([RGB]) and not is_image(iter([RGB])) and not is_image(3)


# --- addresses ---


PNG = cv2.imencode(".png", np.full((6, 8, 3), 77, np.uint8))[1].tobytes()


class Handler(BaseHTTPRequestHandler):
    """Answers by the path."""

    def do_GET(self):
        path = self.path.strip("/")
        if path == "moved":
            self.send_response(302)
            self.send_header("Location", "/picture")
            self.end_headers()
            return
        if path == "missing":
            self.send_error(404, "Not Found")
            return
        self.send_response(200)
        kind = {"video": "video/mp4", "stream": "multipart/x-mixed-replace; boundary=x", "page": "text/html"}
        self.send_header("Content-Type", kind.get(path, "image/png"))
        if path == "large":
            self.send_header("Content-Length", str(remote.LARGEST + 1))
        if path == "cut":
            self.send_header("Content-Length", str(len(PNG)))
        self.end_headers()
        self.body(path)

    def body(self, path):
        if path == "endless":
            for _ in range(100):
                self.wfile.write(bytes(1 << 10))
        elif path in ("silent", "dripping"):
            for byte in PNG:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                if self.server.ended.wait(5 if path == "silent" else 0.05):
                    break
        else:
            self.wfile.write(PNG[:20] if path == "cut" else b"<p>hello</p>" if path == "page" else PNG)

    def log_message(self, *_):
        pass


@pytest.fixture
def url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.ended = True, threading.Event()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.ended.set()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("path", ["picture", "moved", "picture?size=large#top"])
def test_a_picture(url, path):
    picture = remote.load_remote_image(f"{url}/{path}")
    assert picture.shape == (6, 8, 3)
    assert (picture == 77).all()


@pytest.mark.parametrize("path", ["video", "stream"])
def test_what_has_frames_is_no_picture(url, path):
    assert remote.load_remote_image(f"{url}/{path}") is None


@pytest.mark.parametrize("path, reason", [
    ("missing", "the server answers 404 Not Found"),
    ("cut", f"received 20 bytes; expected {len(PNG)}"),
    ("large", f"it has {remote.LARGEST + 1} bytes; expected at most {remote.LARGEST}"),
    ("page", "unknown or damaged format: this is a text file (12 bytes of text/html)"),
])  # fmt: skip
def test_what_is_no_picture_is_one_line(url, path, reason):
    with pytest.raises(ImageError) as error:
        remote.load_remote_image(f"{url}/{path}")
    assert str(error.value) == f'Cannot load image "{url}/{path}": {reason}'


def test_bounds_on_size_and_time(url, monkeypatch):
    monkeypatch.setattr(remote, "LARGEST", 10_000)
    with pytest.raises(ImageError, match="it has more than 10000 bytes"):
        remote.load_remote_image(f"{url}/endless")
    monkeypatch.setattr(remote, "SILENCE", 0.2)
    monkeypatch.setattr(remote, "MAX_SECONDS", 0.3)
    for path, reason in (
        ("silent", "timed out"),
        ("dripping", "bytes in 0.3 seconds; expected the whole picture"),
    ):
        start = time.monotonic()
        with pytest.raises(ImageError, match=reason):
            remote.load_remote_image(f"{url}/{path}")
        assert time.monotonic() - start < 10  # not the minute of a slow server


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:0/x.png", "http://[", "http://127.0.0.1:99999999/x", "http:///x"]
)
def test_addresses_that_lead_nowhere(address):
    with pytest.raises(ImageError) as error:
        remote.load_remote_image(address)
    assert str(error.value).startswith(f'Cannot load image "{address}": ')
    assert "\n" not in str(error.value)
    assert len(str(error.value)) > len(address) + 25
