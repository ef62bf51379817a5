"""Streams over HTTP: what clients get, and that no client holds up who publishes."""

import contextlib
import json
import socket
import threading
import time
import urllib.request
from urllib.error import HTTPError

import pytest

from pydarknet.errors import OptionError
from pydarknet.inference.video.mjpeg_server import CLIENTS, JSON, MJPEG, Format, Stream, jpeg_part
from pydarknet.utils import http_server
from pydarknet.utils.http_server import CONNECTIONS


def read(stream, into):
    """A thread that reads the whole body."""

    def work():
        with urllib.request.urlopen(stream.url, timeout=20) as reply:
            into.append((reply.headers["Content-Type"], reply.read()))

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def wait_for_clients(stream, count=1):
    end = time.monotonic() + 10
    while len(stream.clients) < count:
        assert time.monotonic() < end, "no client came"
        time.sleep(0.005)


def test_a_client_gets_an_array_of_what_is_published_while_it_listens():
    got = []
    with Stream(0, JSON) as stream:
        stream.publish(b"0")
        thread = read(stream, got)
        wait_for_clients(stream)
        stream.publish(b"1")
        stream.publish(b'{"a": 2}')
    thread.join(10)
    ((kind, body),) = got
    assert (kind, body) == ("application/json", b'[\n1, \n{"a": 2}\n]')
    assert json.loads(body) == [1, {"a": 2}]


def test_pictures_come_as_parts():
    got = []
    with Stream(0, MJPEG) as stream:
        threads = [read(stream, got), read(stream, got)]
        wait_for_clients(stream, 2)
        stream.publish(jpeg_part(b"first"))
        stream.publish(jpeg_part(b"second"))
    for thread in threads:
        thread.join(10)
    part = b"--mjpegstream\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n"
    expected = part % (5, b"first") + part % (6, b"second") + b"--mjpegstream--\r\n"
    assert got == [("multipart/x-mixed-replace; boundary=mjpegstream", expected)] * 2


def test_a_client_that_does_not_read_and_one_that_vanishes_hold_up_nobody():
    message, count = bytes(1 << 18), 200
    got = []
    with Stream(0, Format("text/plain", queue=8, may_skip=True)) as stream:
        lazy, gone = (socket.create_connection(("127.0.0.1", stream.port)) for _ in range(2))
        for client in (lazy, gone):
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        wait_for_clients(stream, 2)
        thread = read(stream, got)
        wait_for_clients(stream, 3)
        gone.close()
        start = time.perf_counter()
        for _ in range(count):
            stream.publish(message)
        assert time.perf_counter() - start < 4  # less than TIMEOUT, for which a client is waited for
        stream.publish(b"end")
        start = time.perf_counter()
    assert time.perf_counter() - start < 20  # closing waits for clients a little, not for ever
    thread.join(10)
    lazy.close()
    assert got[0][1].endswith(b"end")


def test_who_must_not_skip_is_disconnected_when_too_slow():
    with Stream(0, Format("text/plain", opening=b"[", closing=b"]", queue=4)) as stream:
        client = socket.create_connection(("127.0.0.1", stream.port))
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        wait_for_clients(stream)
        for _ in range(100):
            stream.publish(bytes(1 << 20))
        client.settimeout(10)
        received = b""
        while block := client.recv(1 << 20):
            received = received[-1:] + block
        assert not received.endswith(b"]")  # cut off, and not made to look whole
        client.close()


def test_a_client_that_sends_no_request_or_nonsense_does_no_harm(capfd):
    got = []
    with (
        Stream(0, JSON) as stream,
        socket.create_connection(("127.0.0.1", stream.port)),
        socket.create_connection(("127.0.0.1", stream.port)) as odd,
    ):
        odd.sendall(b"\xff\xfe\r\n\r\n")
        thread = read(stream, got)
        wait_for_clients(stream)
        stream.publish(b"1")
    thread.join(10)
    assert got[0][1] == b"[\n1\n]"
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_clients_that_drip_their_request_are_disconnected_and_bounded(monkeypatch):
    monkeypatch.setattr(http_server, "TIMEOUT", 0.25)
    before = threading.active_count()
    with Stream(0, JSON) as stream:
        dripping = [socket.create_connection(("127.0.0.1", stream.port)) for _ in range(CONNECTIONS + 20)]
        end, most = time.monotonic() + 20, 0
        while len(stream.requests) or not most:
            assert time.monotonic() < end, "a client that drips keeps its thread"
            for client in dripping:
                with contextlib.suppress(OSError):
                    client.sendall(b"G")
            most = max(most, threading.active_count() - before - 1)
            time.sleep(0.05)
        assert 0 < most <= CONNECTIONS
        got = []
        thread = read(stream, got)
        wait_for_clients(stream)
        stream.publish(b"1")
        for client in dripping:
            client.close()
    thread.join(10)
    assert got[0][1] == b"[\n1\n]"


def test_icons_and_a_crowd_are_refused():
    with Stream(0, JSON) as stream:
        with pytest.raises(HTTPError, match="404"):
            urllib.request.urlopen(f"{stream.url}favicon.ico", timeout=10)
        crowd = [socket.create_connection(("127.0.0.1", stream.port)) for _ in range(CLIENTS)]
        for client in crowd:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        wait_for_clients(stream, CLIENTS)
        with pytest.raises(HTTPError, match="503"):
            urllib.request.urlopen(stream.url, timeout=10)
        for client in crowd:
            client.close()


def test_only_the_given_address_listens():
    with Stream(0, JSON) as stream:
        assert stream.url == f"http://127.0.0.1:{stream.port}/"
        assert stream.socket.getsockname()[0] == "127.0.0.1"
    with Stream(0, JSON, "0.0.0.0") as stream:
        assert stream.socket.getsockname()[0] == "0.0.0.0"


@pytest.mark.parametrize("address", ["", " "])
def test_an_empty_address_does_not_mean_all_interfaces(address):
    with pytest.raises(OptionError, match=r"expected one such as 127\.0\.0\.1, or 0\.0\.0\.0 for all interfaces"):
        Stream(0, JSON, address)


@pytest.mark.parametrize("address", ["127.0.0.1", "no.such.host.invalid", "300.1.1.1"])
def test_a_port_or_address_that_cannot_be_had(address):
    with (
        Stream(0, JSON) as stream,
        pytest.raises(OptionError, match=rf"port {stream.port}: cannot listen on {address}"),
    ):
        Stream(stream.port, JSON, address)
