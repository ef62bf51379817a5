"""Pictures behind addresses: from a server of this machine that is slow, wrong, cut off or endless."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from pydarknet.errors import ImageError
from pydarknet.images import image as remote

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
    "address", ["http://127.0.0.1:1/x.png", "http://[", "http://127.0.0.1:99999999/x", "http:///x"]
)
def test_addresses_that_lead_nowhere(address):
    with pytest.raises(ImageError) as error:
        remote.load_remote_image(address)
    assert str(error.value).startswith(f'Cannot load image "{address}": ')
    assert "\n" not in str(error.value)
    assert len(str(error.value)) > len(address) + 25
