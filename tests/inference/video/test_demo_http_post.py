"""Objects by HTTP POST: the text, and what happens where nobody listens."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from pydarknet.boxes import Candidates
from pydarknet.config.dialect import ALEXEYAB
from pydarknet.errors import OptionError
from pydarknet.inference.detector import DetectionResult
from pydarknet.inference.video.demo import HttpPost

Received = list[tuple[str, str, str]]


@pytest.fixture
def server() -> Iterator[tuple[str, Received]]:
    """host:port, and (path, type, text) of each request that arrived."""
    received: Received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, self.headers["Content-Type"], body.decode()))
            self.send_response(500 if self.path == "/broken" else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    listening = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
    thread.start()
    yield f"127.0.0.1:{listening.server_port}", received
    listening.shutdown()
    thread.join(60)
    listening.server_close()


def found(*probabilities: list[float]) -> DetectionResult:
    count = len(probabilities)
    boxes = np.full((count, 4), 0.5, np.float32)
    table = np.array(probabilities, np.float32).reshape(count, 3)
    candidates = Candidates(boxes, np.ones(count, np.float32), table)
    return DetectionResult(candidates, ["dog", "größe", "cat"], 64, 48, 0.25, ALEXEYAB, 0.001)


def test_a_line_for_each_box(server: tuple[str, Received]) -> None:
    address, received = server
    with HttpPost(f"{address}/hook?a=1", "street.mp4") as post:
        post.send(found([0.3, 0, 0.9], [0, 0.5, 0], [0, 0.1, 0]))
        post.send(found())
        post.send(found([0, 0, 0.9]))
    (path, kind, first), (_, _, second) = received
    assert (path, kind) == ("/hook?a=1", "text/plain")
    head, time, source = first.partition("\ntime:\n")[0], *first.partition("\ntime:\n")[2].split("\nvideosource:\n")
    assert head == "dog, id: 0\ngröße, id: 1\n"
    assert len(time) == 19
    assert source == "street.mp4"
    assert second.startswith("cat, id: 2\n")


def test_one_frame_alone(server: tuple[str, Received]) -> None:
    address, received = server
    with HttpPost(f"http://{address}/", "0", once=True) as post:
        for _ in range(3):
            post.send(found([1, 0, 0]))
    assert len(received) == 1


@pytest.mark.parametrize("url", ["127.0.0.1:1/hook", "BROKEN"])
def test_a_failure_is_said_once(server: tuple[str, Received], url: str, caplog: pytest.LogCaptureFixture) -> None:
    with HttpPost(url.replace("BROKEN", f"{server[0]}/broken"), "a.avi") as post:
        for _ in range(3):
            post.send(found([1, 0, 0]))
    (record,) = caplog.records
    assert "cannot post: " in record.getMessage()
    assert record.getMessage().endswith("; the demo continues")


@pytest.mark.parametrize("url", ["ftp://host/path", "http://", "/path"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(OptionError, match="expected HOST/PATH or http://HOST:PORT/PATH"):
        HttpPost(url, "a.avi")
