"""Connections that do not send their request are closed; those that do are answered, however often they ask."""

import socket
import threading
import time

import pytest
from support.processes import wait_until

uvicorn = pytest.importorskip("uvicorn", reason="needs pydarknet[serve]")
from uvicorn.protocols.http.h11_impl import H11Protocol  # noqa: E402

from pydarknet.server.app import bounded_protocol  # noqa: E402
from pydarknet.utils.http_server import listen  # noqa: E402

SECONDS = 0.15
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def protocols():
    found = [H11Protocol]
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError:
        return found
    return [*found, HttpToolsProtocol]


@pytest.fixture(params=protocols(), ids=lambda each: each.__name__)
def connect(request):
    """A function that connects to a service whose header must arrive within SECONDS."""

    async def answer(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
        await send({"type": "http.response.body", "body": b"yes"})

    listening, protocol = listen("127.0.0.1", 0), bounded_protocol(request.param, SECONDS)
    server = uvicorn.Server(uvicorn.Config(answer, http=protocol, lifespan="off", log_level="error"))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    yield lambda: socket.create_connection(listening.getsockname(), timeout=20)
    server.should_exit = True
    thread.join(20)
    listening.close()


def seconds_until_closed(client, every=b""):
    """How long the service listens to a client that sends `every` again and again."""
    start = time.monotonic()
    client.settimeout(0.05)
    while time.monotonic() < start + 20:
        try:
            if every:
                client.sendall(every)
            if not client.recv(1000):
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - start


def read_answer(client):
    content = b""
    while not content.endswith(b"yes"):
        part = client.recv(1000)
        assert part, content
        content += part
    return content


def test_a_client_that_sends_nothing_is_closed(connect):
    with connect() as client:
        assert SECONDS / 2 < seconds_until_closed(client) < SECONDS + 5


def test_a_header_that_comes_byte_by_byte_is_closed(connect):
    with connect() as client:
        client.sendall(REQUEST[:-2])
        assert SECONDS / 2 < seconds_until_closed(client, b"a") < SECONDS + 5


def test_so_is_a_later_header_of_the_same_connection(connect):
    with connect() as client:
        client.sendall(REQUEST)
        read_answer(client)
        client.sendall(REQUEST[:-2])
        assert SECONDS / 2 < seconds_until_closed(client, b"a") < SECONDS + 5


def test_a_connection_that_asks_again_and_again_stays(connect):
    with connect() as client:
        until = time.monotonic() + 3 * SECONDS
        while time.monotonic() < until:
            client.sendall(REQUEST)
            assert read_answer(client).startswith(b"HTTP/1.1 200 OK")
            time.sleep(SECONDS / 5)
