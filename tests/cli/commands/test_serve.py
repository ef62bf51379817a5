"""`serve` as a process: where it listens, how it ends, what it refuses."""

import http.client
import json
import re
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest
from support.processes import start

ROOT = Path(__file__).parents[3]
TOYS = [str(ROOT / "cfg/toys.cfg"), str(ROOT / "data/toys.weights")]

needs_extra = pytest.mark.skipif(
    any(__import__("importlib.util").util.find_spec(name) is None for name in ("starlette", "uvicorn")),
    reason="needs pydarknet[serve]",
)


@needs_extra
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_requests_under_way_are_finished(number):
    sample = (ROOT / "data/sample.jpg").read_bytes()
    with start("serve", *TOYS, "--port", "0") as process:
        line = process.stderr.readline()
        port = int(re.search(r"listening on http://127\.0\.0\.1:(\d+)/$", line)[1])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.putrequest("POST", "/v1/detect")
        connection.putheader("Content-Length", str(len(sample)))
        connection.endheaders()
        connection.send(sample[:1000])  # the request is under way
        other = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        other.request("GET", "/healthz")
        assert other.getresponse().read() == b"ok\n"
        process.send_signal(number)
        threading.Timer(0.5, connection.send, [sample[1000:]]).start()
        response = connection.getresponse()
        assert response.status == 200
        assert json.loads(response.read())["objects"]
        assert process.wait(60) == 0
        assert process.stderr.read() == ""


@needs_extra
def test_what_cannot_be_served(run, detector):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run("serve", detector.cfg, detector.weights, "--port", str(port))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"port {port}: cannot listen on 127.0.0.1: ")
    result = run("serve", detector.cfg, detector.weights, "--bind", "")
    assert (result.exit_code, result.stderr) == (
        1, 'address "": expected one such as 127.0.0.1, or 0.0.0.0 for all interfaces\n'
    )  # fmt: skip
    assert run("serve", "none.cfg", detector.weights, "--port=0").exit_code == 1
    assert run("serve", detector.cfg, detector.weights, "--port=99999").exit_code == 2


def test_a_missing_package_is_one_line(run, detector, monkeypatch):
    for module in [name for name in sys.modules if name.startswith("pydarknet.server")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = run("serve", detector.cfg, detector.weights)
    assert result.exit_code == 1
    assert result.stderr == "serve needs the package uvicorn: pip install 'pydarknet[serve]'\n"
